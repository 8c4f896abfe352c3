"""Shows the customers of a card of many: Slack's table block, the same as lines, and as text.

Slack takes no table everywhere, and limits the characters of all cells. Where the names are too
long together they are cut, all to one length, and ids never: a part of an id could be somebody
else's id.
Limits: docs.slack.dev/reference/block-kit/blocks/table-block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.commands import MAX_CUSTOMERS
from bot.domain.models import Request
from bot.messages.block_kit import (
    MESSAGE_LENGTH,
    SHOWN_LENGTH,
    TEXT_LENGTH,
    Block,
    Line,
    Message,
    Part,
    cut,
    escape,
    lines,
    link,
    message,
    say,
    size,
    units,
    unlinked,
)
from bot.messages.phrases import COMPANY, CONTACT, Links, amount, display_name, ids_inline

MAX_CHARACTERS = 10_000
EMPTY = "-"
"""Slack refuses an empty cell."""
RESULT_LENGTH = 40
ROW_LENGTH = 170
"""Of a customer's longest ids and result with their titles, as a line."""
NAME_LENGTHS = (SHOWN_LENGTH, 60, 30, 15, 8)
"""How long a name or a reference may be, tried in this order."""
TEXT_NAME_LENGTHS = (60, 30, 15)
"""The same, in the text of a message."""


def with_table(
    before: Sequence[Part],
    requests: Sequence[Request],
    after: Sequence[Part] = (),
    *,
    results: Sequence[str] = (),
    links: Links,
) -> Message:
    """A message with the table of these requests' customers between other parts.

    `results` are the words for each request's state, which stand before the HubSpot ids of the
    card. Names are cut where Slack's limits leave no room for them, ids never. Ids are linked if
    the links fit, and what stands around the table too.
    """
    above, below = message(*before), message(*after)
    shown = requests[:MAX_CUSTOMERS]
    if size(above.blocks) + size(below.blocks) > MESSAGE_LENGTH - len(shown) * ROW_LENGTH:
        above = replace(above, blocks=unlinked(above.blocks))
        below = replace(below, blocks=unlinked(below.blocks))
    room = min(MESSAGE_LENGTH - size(above.blocks) - size(below.blocks), MAX_CHARACTERS)
    # a phone has room for three columns
    ids = "Result (contact / company)" if results else "Contact / company"
    titles = ["Id", "Company", ids, "Reference"]
    said = [cut(each, RESULT_LENGTH) for each in results[: len(shown)]] or [""] * len(shown)
    for length in NAME_LENGTHS:
        rows = [_row(*each, length) for each in zip(shown, said, strict=True)]
        listed = lines(_labelled(titles, row) for row in rows)
        if size(listed) <= room:
            break
    linked = [_linked(*each, links) for each in zip(shown, said, rows, strict=True)]
    cells = linked if sum(map(size, linked)) <= room else [[*map(_cell, row)] for row in rows]
    table = {
        "type": "table",
        "rows": [[*map(_cell, titles)], *cells],
        "column_settings": [
            {"align": "right", "is_wrapped": False},
            {"align": "left", "is_wrapped": True},
            {"align": "left", "is_wrapped": True},
            {"align": "left", "is_wrapped": False},
        ],
    }
    missing = len(requests) - len(shown)
    more = [lines([[say(f"{missing} more are not shown.")]])] if missing else []
    return Message(
        _text(above.text, requests, results, below.text),
        [*above.blocks, table, *more, *below.blocks],
        [*above.blocks, listed, *more, *below.blocks],
    )


def _row(request: Request, result: str, length: int) -> list[str]:
    """A customer's id, its name, the ids of the card with the result, and its reference."""
    customer = request.customer
    ids = "".join(part["text"] for part in _ids(request, result, Links()))
    name, reference = (cut(each, length) for each in (display_name(customer), customer.reference))
    return [str(customer.customer_id), name or EMPTY, ids, reference or EMPTY]


def _ids(request: Request, result: str, links: Links) -> Line:
    """The HubSpot contact and company that the card shows, after the words for a result."""
    ids = request.customer.ids
    both = [
        link(links.record(CONTACT, ids.vid), str(ids.vid or EMPTY)),
        say(" / "),
        link(links.record(COMPANY, ids.company_id), str(ids.company_id or EMPTY)),
    ]
    return [say(f"{result} ("), *both, say(")")] if result else both


def _linked(request: Request, result: str, row: Sequence[str], links: Links) -> list[Block]:
    """A row of the table, with links on its ids where the admin configured them."""
    who, name, ids, reference = map(_cell, row)
    if page := links.customer(request.customer.customer_id):
        who = lines([[link(page, row[0])]])
    if links.hubspot_portal_id:
        ids = lines([_ids(request, result, links)])
    return [who, name, ids, reference]


def _cell(value: str) -> Block:
    return {"type": "raw_text", "text": value}


def _labelled(titles: Sequence[str], row: Sequence[str]) -> Line:
    """A row as a line: "Id 2554529, Company Stolen Bikes".

    The titles between the values keep a right-to-left name from taking the next number with it.
    """
    pairs = enumerate(zip(titles, row, strict=True))
    return [
        part
        for number, (title, value) in pairs
        for part in (say(f"{', ' if number else ''}{title} "), say(value))
    ]


def _text(above: str, requests: Sequence[Request], results: Sequence[str], below: str) -> str:
    """The message as text; where not all customers fit, it says how many more the card shows."""
    start = "\n".join(filter(None, (above, below)))
    room = TEXT_LENGTH - units(start) - 1
    states = [f" {each}" for each in results] or [""] * len(requests)
    for length in TEXT_NAME_LENGTHS:
        said = [_said(*each, length) for each in zip(requests, states, strict=True)]
        if sum(units(each) + 1 for each in said) <= room:
            return "\n".join([start, *said])
    room -= units(_more(len(requests))) + 1
    if room < 0:
        return start
    fitting: list[str] = []
    for each in said:
        room -= units(each) + 1
        if room < 0:
            break
        fitting.append(each)
    return "\n".join([start, *fitting, _more(len(requests) - len(fitting))])


def _said(request: Request, state: str, length: int) -> str:
    """A customer for the text: its id and result, its name, and its HubSpot ids."""
    customer = request.customer
    name = escape(cut(display_name(customer), length))
    ids = "".join(part["text"] for part in ids_inline(customer.ids, Links()))
    return f"Id {customer.customer_id}{state}: {', '.join(filter(None, (name, ids)))}"


def _more(number: int) -> str:
    return f"{amount(number, 'more customer')} on the card."
