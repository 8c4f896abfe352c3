"""A request from the command to the result.

`service` has a method for each command and button; `deciding` takes the verdicts; `permissions`
says who may do it; `posting` records the request and has its card posted; `follow_ups` holds
**Undo…** and **Check again**; `lookup` and `pending` answer one person's questions; `preview` reads
the customers of one card side by side, `pasting` has a form for their ids.

`work` executes what was decided, `publishing` shows it in card and thread, and `sweep` takes up
what the ledger's clock says is due.
May import `slack`, `messages`, `fusebill`, `ledger`, `domain`, `settings` and `ops`. Start with
`service`.
"""
