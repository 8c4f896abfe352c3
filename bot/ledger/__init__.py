"""The database: a row a request, its events, which are only ever added, and the jobs.

`steps` has each change of a card up to its decision, `work_steps` each one after it: a function of
a transaction and values, which `bot.requests.runner` runs. `jobs` says what is still to be done,
and by whom. A step reads a card with `rows`, which maps rows to domain objects; `same_customer`
says what else is done for its customers, `vouching` whether its rows are what its events say.
`lists` reads what is only listed, `response_urls` keeps how to answer one person. `tables` defines
the tables, `hash_chain` links the events, `witness` logs each committed one, `database` opens and
migrates SQLite or PostgreSQL and runs transactions, and `audit` reads the ledger for auditors.

May import `domain`, `settings` and `ops`. Start reading in `steps`.
"""
