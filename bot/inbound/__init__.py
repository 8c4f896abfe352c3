"""What Slack sends to the bot, over HTTP or Socket Mode.

`listeners` turns each payload into a call of a class in `requests`; `guard` answers for what fails
in it; `http` and `socket_mode` receive the payloads; `manifest` describes the app to Slack. May
import every package below it (`requests`, `slack`, `messages`, `fusebill`, `ledger`, `domain`,
`settings`, `ops`). Start with `listeners`.
"""
