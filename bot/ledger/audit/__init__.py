"""What auditors ask of the ledger; it only reads.

`export` lists the events and requests, `verify` finds what was changed in the database,
`comparison` what only the log lines of the events can show, and `stored` reads values as they are.
May import the rest of `ledger`, and `domain`. Start with `export`.
"""
