"""Values and rules without I/O: what a request is, who may do what, what a command means.

May import nothing else of the bot. Start with `models`, then `policy` (who may ask and decide),
`meanings` (one table for each enum), `commands` (the text after `/unlatch`) and `batch_input` (the
ids of many customers).
"""
