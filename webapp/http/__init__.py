"""Between Flask and the services: who asks, what they send, how it is answered, what goes wrong, what is logged."""
