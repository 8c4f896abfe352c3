"""Everything the bot says in Slack, as pure functions from domain values to Block Kit messages.

`block_kit` builds, escapes and cuts; `tables` shows many customers at once; `phrases` words
customers, ids and Fusebill's errors; `events` words what happened to a request. From these, `cards`
makes cards and thread replies, `ephemerals` the messages that only one person sees, and `lists`
search results, history and help. Nothing here does I/O. It may import `domain` and the errors of
`fusebill`. Start with `cards`.
"""
