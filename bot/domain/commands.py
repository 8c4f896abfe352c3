"""What a person may want of the bot, as values: what a typed or pasted text turns into.

A text with one meaning becomes that, one with two a question; what names no customer by an id is
searched for. `typed_text` and `pasted_text` read the texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from bot.domain.plain_text import one_line, printable, visible
from bot.domain.values import value

COMMAND = "/unlatch"
"""The command's usual name. Slack says how it was typed: a test app's has another one."""
MAX_CUSTOMERS = 50
MAX_DIGITS = 18
QUOTED_LENGTH = 40
MAX_REASON_LENGTH = 500
TOO_LONG = f"The reason is longer than {MAX_REASON_LENGTH} characters."
ASK_USAGE = "<Stax Bill ID> [reason]"
MOVE_USAGE = "move <Stax Bill ID> to contact <id> company <id> [reason]"


@value
class Place:
    """Where somebody typed or clicked: the channel, and the `response_url` to answer only them.

    `is_direct`: it is a direct message, of two people or more. `command` is what to type there.
    """

    channel_id: str
    response_url: str
    is_direct: bool = False
    command: str = COMMAND


@value
class Doubt:
    """What may name a customer, if a person says so who has seen the customer's name.

    `typed` is a reference (`customer_id` is then None), a number with leading zeros (a reference
    before it is the id `customer_id`), or, with `is_address`, the address of a page at Fusebill
    whose number `customer_id` may be another record's. Only an address is no reference.
    """

    typed: str
    customer_id: int | None = None
    is_address: bool = False

    @property
    def why(self) -> str:
        """Why somebody must say whom it means, where a text is too unclear to ask about it."""
        if self.is_address:
            return "This address may be another record's: type the Stax Bill ID, digits only."
        typed = self.typed[:QUOTED_LENGTH]
        return (
            f"“{typed}” begins with 0, so it may be a reference (a “Customer ID”)."
            f" To see whose it is, search for it: find {typed}"
        )


@value
class Ask:
    """`/unlatch <Stax Bill ID>, … [reason]`: customers, each once and in order, and a reason.

    `doubts` are those of whom a person must say who they are.
    """

    customer_ids: tuple[int, ...]
    reason: str = ""
    doubts: tuple[Doubt, ...] = ()


@value
class Question:
    """A text that a person must decide about: whom its doubts mean, or which meaning it has.

    `meant` takes everything as customers that could be some, and leaves out addresses that name
    nobody; `few`, if there is one, takes what is not certain as a part of the reason. `why` says
    what is wrong with an address that names no customer.
    """

    meant: Ask
    few: Ask | None = None
    why: str = field(default="", compare=False)


@value
class Many:
    """`/unlatch many`: a form to paste many ids into."""


@value
class Move:
    """`/unlatch move <Stax Bill ID> to …`: to other ids, or the ids to another customer.

    `ids` holds what is named of HubSpot, by the fields of `HubSpotIds`; None removes an id, and
    what is not named stays as it is. `to` is the other customer; with `ids`, too, it gets these,
    and this customer has none any more. Without any of them a form asks.
    """

    customer_id: int
    ids: Mapping[str, int | None]
    to: int | None
    reason: str

    @property
    def customer_ids(self) -> tuple[int, ...]:
        """The customers that it is about, in the order in which they are changed."""
        return (self.customer_id,) if self.to is None else (self.customer_id, self.to)


@value
class Find:
    """`/unlatch find <text>`, or any words: searched as a whole, in names, references and emails.

    `customer_ids` are the first ids among the words: they are hits too, and never more than that.
    """

    text: str
    customer_ids: tuple[int, ...] = ()


@value
class History:
    """`/unlatch history [Stax Bill ID]`."""

    customer_id: int | None


@value
class UndoOf:
    """`/unlatch undo <Stax Bill ID>`: that customer's history, since **Undo…** is on the card."""

    customer_id: int


@value
class Pending:
    """`/unlatch pending`."""


@value
class Help:
    """`/unlatch help`, or `/unlatch` alone."""


@value
class Malformed:
    """A text that is none of these; `why` says what is wrong, `usage` what to type after /unlatch.

    The usage is that of what the person wanted: whoever looks for something must not be told how to
    ask for an unlatch.
    """

    why: str
    usage: str = ASK_USAGE


Asked = Ask | Question | Malformed
"""What a text comes to that begins with an id."""
Command = Asked | Many | Move | Find | History | UndoOf | Pending | Help


def asked(customer_ids: Sequence[int], reason: str) -> Ask | Malformed:
    """Ask about these customers, by an id or several; raises nothing.

    The reason becomes one line, and is none if nobody sees anything of it.
    """
    reason = tidy_reason(reason)
    if len(reason) > MAX_REASON_LENGTH:
        return Malformed(TOO_LONG)
    different = tuple(dict.fromkeys(customer_ids))
    valid = all(0 < each < 10**MAX_DIGITS for each in different)
    if not (valid and 0 < len(different) <= MAX_CUSTOMERS):
        return Malformed(f"A card is about 1 to {MAX_CUSTOMERS} customers.")
    return Ask(different, reason)


def tidy_reason(typed: str) -> str:
    """A reason as one line; empty if nobody sees anything of it."""
    reason = one_line(printable(typed))
    return reason if visible(reason) else ""


def too_many(count: int) -> str:
    """What to do about more customers than a card takes."""
    return f"These are {count} customers; one card takes at most {MAX_CUSTOMERS}. Split them up."
