"""Clients of the world outside: clock, ids, crypto, storage, cache."""
