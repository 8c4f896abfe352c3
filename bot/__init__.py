"""A Slack bot that clears a Fusebill customer's link to its HubSpot contact and company.

Somebody types `/unlatch <Stax Bill ID> <reason>`. The bot posts a card that shows the customer and
the HubSpot ids that would be cleared. Somebody confirms it, the bot calls Fusebill once, and the
card's thread keeps the history.

The rooms, from the top down; each imports only from those below it (`pyproject.toml` holds the
contract):

    __main__   the command line
    sandbox    the same bot between a simulated Slack and a simulated Fusebill
    app        builds, opens, stops and checks the bot
    inbound    what Slack sends: commands and clicks, over HTTP or Socket Mode
    requests   a request from the command to the result: ask, decide, work, show
    slack      the calls to Slack: client, errors, rate limiter, user groups
    messages   what people read: cards, threads, private answers, lists
    fusebill   the calls to Fusebill: client, responses, errors
    ledger     the database: requests and their events; `audit/` exports and verifies them
    domain     values and rules, no I/O
    settings   the environment variables, checked once
    ops        logs, metrics and background tasks; imports nothing of the bot
    environment  finds mistyped variables and values

To follow a click, start in `inbound/listeners.py`, then `requests/decide.py`.
"""

__version__ = "1.0.0"
