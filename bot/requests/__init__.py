"""The story of a card, from the command to its result. Start here.

`ask` reads the customers and records what is asked, `post_cards` posts its card; `decide` takes
what people press; `work` does what was confirmed, one `execution` a customer; `show` draws card and
thread. `follow_ups` has **Undo…** and **Check again**; `due` a waiting card's reminder and end, and
a later look at what was changed. `lists` and `paste` answer one person, `customers` reads and
searches in Fusebill, and `people` applies the rules and tells people what others need not see.
`runner` runs the ledger's steps and starts the jobs that they set.

May import `slack`, `messages`, `fusebill`, `ledger`, `domain`, `settings` and `ops`.
"""
