"""Everything the bot says in Slack, as pure functions from domain values to Block Kit messages.

`block_kit` builds, escapes and cuts; `tables` shows many customers at once; `phrases` words
customers, ids and Fusebill's errors; `events` words what happened to a request. From these, `cards`
makes cards, `threads` the replies in their threads, `forms` the modals, `ephemerals` the messages
that only one person sees, `click_answers` those to a click that can't be followed, and `lists`
search results, past and open requests, and help.
`many` does the same for cards of several customers, and `drawing` chooses between the two.
Nothing here does I/O. It may import `domain` and the errors of `fusebill`. Start with `cards`.
"""
