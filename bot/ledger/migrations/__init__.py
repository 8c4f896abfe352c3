"""The Alembic migrations of the ledger's schema; `versions/` holds one module per version."""
