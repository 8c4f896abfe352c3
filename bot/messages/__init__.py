"""Everything the bot says in Slack, as pure functions from domain values to Block Kit messages.

`card` draws a card as it is now and `thread` composes the replies in its thread; both take a `Card`
of 1 to 50 requests with their events, and only their layout looks at the number. `results` words
how a card ended or how far it is, and `outcomes` what came of one request. `answers` and
`click_answers` are what one person sees after a command or a press, `lists` search results, past
and open requests and help, `questions` what a text may mean; `forms` and `paste_form` are modals.
`phrases` words customers and ids, `fusebill_errors` the errors and answers of Fusebill; `tables`
shows many customers at once; `block_kit` builds, escapes and cuts. What differs between kinds,
verdicts, outcomes and events stands in `bot.domain.meanings`. Nothing here does I/O. It may import
`domain` and the errors of `fusebill`. Start with `card`.
"""
