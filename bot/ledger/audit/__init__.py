"""What auditors ask of the ledger; it only reads.

`export` lists the events and requests, `verify` finds what was changed in the database, and
`comparison` what only the log lines of the events can show. May import the rest of `ledger`, and
`domain`. Start with `export`.
"""
