"""A request from the command to the result.

`service` has a method for each command and button; `deciding` takes the verdicts; `permissions`
says who may do it; `posting` records the request, and `card_sender` posts its card; `worker` has
`customer_work` run the `execution` for each customer, `progress` show how far it is, and
`publisher` update card and thread; `sweep` takes up what is due; `follow_ups` holds **Undo…** and
**Check again**; `reminders` and `rechecking` act on the ledger's clock; `lookup` and `pending`
answer one person's questions; `preview` reads the customers of one card side by side, `pasting` has
a form for their ids.
May import `slack`, `messages`, `fusebill`, `ledger`, `domain`, `settings` and `ops`. Start with
`service`.
"""
