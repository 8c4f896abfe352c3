"""How SQL reaches the database, whatever it says.

`engine` opens SQLite or PostgreSQL, `migrating` brings it to this bot's version, `executor` runs
transactions in threads, and `statements` runs SQL that is compiled once. May
import `witness` and `tables` of `ledger`. Start with `engine`.
"""
