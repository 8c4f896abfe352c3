"""Values and rules without I/O: what a request is, who may do what, what a text means.

May import nothing else of the bot. Start with `models`, then `policy` (who may ask and decide, and
when), `meanings` (one table for each enum) and `outcomes` (what a customer's ids show of a
request). Texts of people: `plain_text` tidies them, `cells` says what a word, an address or a cell
means by itself, `typed_text` (after `/unlatch`), `moves` (after `/unlatch move`) and `pasted_text`
(rows) what all of it means, as one of the values in `commands`.
"""
