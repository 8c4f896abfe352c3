"""The database: one row per request, and an append-only list of events for each of them.

`store.Ledger` is what the rest of the bot uses; each of its methods is one transaction. `engine`
opens and migrates SQLite or PostgreSQL, and `executor` runs the transactions in threads. `outbox`
keeps what waits to be shown in Slack. `queries` holds the SQL, and `statements` runs it; `mapping`
turns rows into domain objects, and `hash_chain` links the events. `export` and `verify` read the
ledger for auditors. `witness` logs each committed event, and `comparison` compares the ledger with
such logs.

May import `domain`, `settings` and `ops`. Start reading in `store.py`.
"""
