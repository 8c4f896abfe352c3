"""Compares the bot's speed with other bots that do the same work: `python -m tests.benchmarks`.

A flow is what a person sees: a command becomes a card; a click on it becomes the result and a
reply in the thread. Every variant serves the flow against the same doubles of Slack and Fusebill.

    variants    the servers that are compared
    servers     starts a server as a process on its own core
    doubles     Slack and Fusebill on loopback, on the other core, with a delay that can be set
    load        sends commands and clicks as signed requests
    flows       the calls and times of one flow
    measures    starts, loads and measures one server after the other
    ledgers     databases for the bot: empty, or filled with a million requests
    targets     the figures to reach
    report      prints the tables and writes the JSON

A leg is one remote call, from its arrival at a double to its answer. "Beyond its legs" is the
bot's own time: from the request to the call that shows the result, minus the union of the legs
before that call. `README.md` in this folder shows the results.
"""
