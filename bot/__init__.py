"""A Slack app that frees a Fusebill customer from its HubSpot contact and company.

Somebody types `/unlatch <customerId> <why>`, a card shows whom that would free and from what,
somebody presses the button, the bot calls Fusebill once, and the card's thread keeps the trail.

Imports go down only (the contract is in `pyproject.toml`):

    __main__                          the command line
    sandbox                           the same server between a simulated Slack and Fusebill
    server                            opens the bot to Slack and its host, stops when told
    composition                       the only place that builds
    listeners | web | socket_mode     Slack's payloads in, the workflow's calls out
    workflow                          who may do it, then doing it: ask, decide
    second_thoughts | audit | verify | check   undo and look again; the ledger read out and
                                      verified; the admin's check
    lookup                            customers and past requests for one person
    cards                             a request: its card in Slack, then its row
    settle                            what follows a verdict; the sweep
    deed | delivery                   read, compare, call, look; cards and threads in Slack
    members | manifest                who is in a user group; what Slack is told of the app
    slack | listings
    ephemerals                          what one person alone is told
    messages                          cards and threads
    wording                           the words for customers, ids and events
    fusebill | ledger | readout | policy | pacer | blocks | command | metrics | tasks | log
    fusebill_answers | slack_answers | database | records
    transactions | transport | rows | statements
    migrations
    schema
    models | settings
"""
