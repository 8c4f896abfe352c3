"""What people read about a card of many customers; its modules are named as those for one customer.

`tables` shows all customers, `results` words how they fared, and `events` what happened to them.
From these, `cards` makes the cards, `threads` the replies in their threads and `ephemerals` what
one person sees. `paste_form` is the form of `/unlatch many`.
May import what `bot.messages` may, and its modules for one customer except `drawing`, which
chooses between the two. Start with `cards`.
"""
