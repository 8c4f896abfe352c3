"""What the channel sees of a request: its card and the card's thread, drawn from the ledger.

`card_sender` posts a new card; `publisher` updates the card and has `thread_replies` post in its
thread, until Slack has both as the ledger does; `private_messages` tell people what the card can't
show. `progress` shows how far the work is; `reminders` reminds of a card that still waits;
`redrawing` draws a card again after something else changed what it shows. `log_fields` says what
every log line about a request has.
May import `slack`, `messages`, `ledger`, `domain`, `settings` and `ops`. Start with `publisher`.
"""
