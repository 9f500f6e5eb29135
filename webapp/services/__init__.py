"""Business rules and transactions, one noun a file. No HTTP, no broker; the actor comes first."""
