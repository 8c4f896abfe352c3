"""The work on a decided request: from the click on **Unlatch customer** to the recorded outcome.

`worker` takes a request and records its outcome; `customer_work` runs the `execution` for each of
its customers, which calls Fusebill; `results` says what came of it. `rechecking` reads a cleared
customer once more later.
May import `bot.requests.publishing`, `slack`, `messages`, `fusebill`, `ledger`, `domain`,
`settings` and `ops`. Start with `worker`.
"""
