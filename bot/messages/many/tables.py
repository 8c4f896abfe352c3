"""Shows all customers of a card: as a table with exact ids, as lines, and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.domain.commands import MAX_CUSTOMERS
from bot.domain.models import HubSpotIds, Request
from bot.messages.block_kit import (
    MESSAGE_LENGTH,
    TEXT_LENGTH,
    Block,
    Line,
    Message,
    cut,
    escape,
    lines,
    link,
    message,
    say,
    size,
    units,
)
from bot.messages.phrases import Links, amount, display_name
from bot.messages.tables import MAX_CHARACTERS, Column, table, table_lines

RESULT_LENGTH = 40
NAME_LENGTHS = (60, 30, 15)
"""How long a name may be in the text of a message, tried in this order."""
_CUSTOMER = (
    Column("Id", "right", exact=True),
    Column("Company", wrapped=True),
    Column("Reference"),
    Column("Contact", "right", exact=True),
    Column("Company id", "right", exact=True),
)
# beside the id, where a phone shows it without scrolling
_WITH_RESULT = (_CUSTOMER[0], Column("Result", exact=True), *_CUSTOMER[1:])

Part = Block | Iterable[Line] | None


def with_table(
    before: Sequence[Part],
    requests: Sequence[Request],
    after: Sequence[Part] = (),
    *,
    results: Sequence[str] = (),
    links: Links,
) -> Message:
    """A message with the table of these requests' customers between other parts.

    `results` are the words for each request's state; without any there is no such column. Names are
    cut where Slack's limits leave no room for them, ids never. Ids are linked if the links fit.
    """
    above, below = message(*before), message(*after)
    room = MESSAGE_LENGTH - size(above.blocks) - size(below.blocks)
    shown = requests[:MAX_CUSTOMERS]
    said = [cut(each, RESULT_LENGTH) for each in results[: len(shown)]]
    columns, rows = (_WITH_RESULT if said else _CUSTOMER), _rows(shown, said)
    drawn = table(columns, rows, limit=min(room, MAX_CHARACTERS))
    drawn = _linked(drawn, shown, links, min(room, MAX_CHARACTERS))
    listed = lines(table_lines(columns, rows, limit=min(room, MAX_CHARACTERS)))
    missing = len(requests) - len(shown)
    more = [lines([[say(f"{missing} more are not shown.")]])] if missing else []
    return Message(
        _text(above.text, _words(requests, results), below.text),
        [*above.blocks, drawn, *more, *below.blocks],
        [*above.blocks, listed, *more, *below.blocks],
    )


def _rows(requests: Sequence[Request], results: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    for position, request in enumerate(requests):
        customer, ids = request.customer, request.customer.ids
        names = [display_name(customer), customer.reference]
        exact = [_digits(ids.vid), _digits(ids.company_id)]
        said = [results[position]] if results else []
        rows.append([str(customer.customer_id), *said, *names, *exact])
    return rows


def _digits(number: int | None) -> str:
    return "" if number is None else str(number)


def _linked(drawn: Block, requests: Sequence[Request], links: Links, limit: int) -> Block:
    """The table with links on its ids; the same table if the links are too long for it."""
    rows = [drawn["rows"][0]]
    for cells, request in zip(drawn["rows"][1:], requests, strict=True):
        ids = request.customer.ids
        first, *middle, _contact, _company = cells
        rows.append(
            [
                _cell(first, links.customer(request.customer.customer_id)),
                *middle,
                _cell(cells[-2], links.contact(ids.vid) if ids.vid is not None else None),
                _cell(cells[-1], links.company(ids.company_id) if ids.company_id else None),
            ]
        )
    linked = drawn | {"rows": rows}
    return linked if sum(map(size, rows)) <= limit else drawn


def _cell(plain: Block, url: str | None) -> Block:
    return lines([[link(url, plain["text"])]]) if url else plain


def _words(requests: Sequence[Request], results: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each customer for the text: its id and result, its name, and its HubSpot ids."""
    said = [f" {each}:" for each in results] or [":"] * len(requests)
    return [
        (
            f"Id {request.customer.customer_id}{state}",
            display_name(request.customer),
            _ids_words(request.customer.ids),
        )
        for request, state in zip(requests, said, strict=True)
    ]


def _ids_words(ids: HubSpotIds) -> str:
    named = (("contact", ids.vid), ("company", ids.company_id))
    return ", ".join(f"{name} {id_}" for name, id_ in named if id_ is not None)


def _text(above: str, customers: Sequence[tuple[str, str, str]], below: str) -> str:
    """The message as text; where not all customers fit, it says how many more the card shows."""
    start = "\n".join(filter(None, (above, below)))
    room = TEXT_LENGTH - units(start) - 1
    for length in NAME_LENGTHS:
        said = [_customer_text(*each, length) for each in customers]
        if sum(units(each) + 1 for each in said) <= room:
            return "\n".join([start, *said])
    room -= units(_more(len(customers))) + 1
    if room < 0:
        return start
    fitting: list[str] = []
    for each in said:
        room -= units(each) + 1
        if room < 0:
            break
        fitting.append(each)
    left = len(customers) - len(fitting)
    return "\n".join([start, *fitting, _more(left)])


def _customer_text(start: str, name: str, ids: str, length: int) -> str:
    shown = escape(cut(name, length))
    return f"{start} {', '.join(filter(None, (shown, ids)))}"


def _more(number: int) -> str:
    return f"{amount(number, 'more customer')} on the card."
