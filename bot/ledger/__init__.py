"""The database: a row a request, its events, which are only ever added, and the jobs.

Each change of a card is a function of a transaction and values, which `bot.requests.runner` runs:
`ask_steps` has them until its card is posted, `decide_steps` those that people press, `work_steps`
those that come after. `people` keeps what people did, what they are called and how to answer them,
`jobs` what is still to be done, and `due_jobs` takes that up. A step reads a card with `rows`,
which maps rows to domain objects; `same_customer` says what else is done for its customers.
`lists` reads what is only listed. `tables` defines the tables, `hash_chain` links the events
and says whether rows are what these vouch for, `witness` logs each committed one, `database` opens
and migrates SQLite or PostgreSQL and runs transactions, and `audit` reads the ledger for auditors.

May import `domain`, `settings` and `ops`. Start reading in `ask_steps`.
"""
