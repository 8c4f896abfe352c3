"""The database: one row per request, and an append-only list of events for each of them.

The rest of the bot uses four classes; each of their methods is one transaction. `store.Ledger` adds
and decides requests and records what was done; `gate` says who may decide one now, and `reading`
has what it reads. `leases.Leases` says who holds a request, and until when. `outbox.Outbox` keeps
what waits to be shown in Slack, and `due_requests.DueRequests` what is to be reminded of or looked
at again.

`database` opens and migrates SQLite or PostgreSQL, and runs transactions. `queries` holds the SQL,
and `same_customer` says what else is done for a card's customers; `mapping` turns rows into domain
objects, and `hash_chain` links the events. `witness` logs each committed event. `audit` reads the
ledger for auditors, and compares it with such logs.

May import `domain`, `settings` and `ops`. Start reading in `store.py`.
"""
