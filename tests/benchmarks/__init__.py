"""How fast the bot is, beside others that do the same work: `python -m tests.benchmarks`.

A flow is what a person sees: a command becomes a card; a click on it becomes the result and a
reply in the thread. Every variant serves it against the same doubles of Slack and Fusebill.

    variants    the servers that are compared, each a process of its own on one core
    doubles     Slack and Fusebill on loopback, on the other core, with a settable delay
    load        people who type and click, as signed requests
    flows       what happened to a flow, and which of its time was not the remote side's
    measures    one server started, loaded, measured
    ledgers     databases for ours: empty, or filled with a million requests
    report      medians, ratios, the table and the JSON

A remote leg is the time from a call's arrival at a double to its answer. "Beyond" its remote legs
is what is left of the time from the request to the call that shows the result, once the union of
the legs before it is taken away.
"""
