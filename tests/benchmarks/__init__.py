"""Compares the bot's speed with other bots that do the same work: `python -m tests.benchmarks`.

A flow is what a person sees: a command becomes a card; a click on it becomes the result and a
reply in the thread. Every variant serves the flow against the same doubles of Slack and Fusebill.

    rows         what the report shows: the figures to reach, and the bots side by side
    measures     measures groups of rows, one repetition at a time
    variants     the servers that are compared
    interpreter  the Python that runs them
    servers      starts a server as a process on its own core
    doubles      Slack and Fusebill on loopback, on the other core, with a delay that can be set
    load         sends commands and clicks as signed requests
    flows        the calls and times of one flow
    batch        one card for fifty customers, and the loops of a script beside it
    patient      the bot with longer waits, for callgrind
    ledgers      databases for the bot: empty, or filled with a million requests
    samples      the figures of one run
    results      their medians, kept in results.json
    report       writes README.md
    chart        draws chart.svg

A leg is one remote call, from its arrival at a double to its answer. "Beyond its legs" is the
bot's own time: from the request to the call that shows the result, minus the union of the legs
before that call. `README.md` in this folder shows the results.
"""
