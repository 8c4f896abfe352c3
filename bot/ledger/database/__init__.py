"""How SQL reaches the database, whatever it says.

`engine` opens and migrates SQLite or PostgreSQL, `executor` runs transactions in threads, and
`statements` runs SQL that is compiled once. `sqlite_files` says what is in a SQLite file's way. May
import `witness` and `schema` of `ledger`. Start with `engine`.
"""
