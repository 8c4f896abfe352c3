"""What the channel sees of a request: its card and the card's thread, drawn from the ledger.

`card_sender` posts a new card; `publisher` updates card and thread until Slack has them as the
ledger does; `progress` shows how far the work is; `reminders` reminds of a card that still waits.
May import `slack`, `messages`, `ledger`, `domain`, `settings` and `ops`. Start with `publisher`.
"""
