"""Builds tables of many customers: Slack's table block, and the same as lines where it has none.

`with_table` makes the message around the table of a card's customers. Table and lines keep to a
number of characters in all cells. Where the values are longer together, only the longest are cut,
and ids never: a part of an id could be somebody else's id.
Limits: docs.slack.dev/reference/block-kit/blocks/table-block
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from bot.domain.commands import MAX_CUSTOMERS
from bot.domain.models import HubSpotIds, Request
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
    text,
    units,
    unlinked,
)
from bot.messages.phrases import Links, amount, display_name

MAX_ROWS = 100
MAX_COLUMNS = 20
MAX_CHARACTERS = 10_000
EMPTY = "-"
RESULT_LENGTH = 40
ROW_LENGTH = 170
"""Of a customer's longest ids and result with their titles, as a line."""
NAME_LENGTHS = (60, 30, 15)
"""How long a name may be in the text of a message, tried in this order."""

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, and how its values are shown; the values of `exact` are never cut."""

    title: str
    align: Literal["left", "center", "right"] = "left"
    wrapped: bool = False
    exact: bool = False


_CUSTOMER = (
    Column("Id", "right", exact=True),
    Column("Company", wrapped=True),
    Column("Contact", "right", exact=True),
    Column("Company id", "right", exact=True),
    Column("Reference"),
)
_WITH_RESULT = (*_CUSTOMER[:2], Column("Result", exact=True), *_CUSTOMER[2:])


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
    cut where Slack's limits leave no room for them, ids never. Ids are linked if the links fit, and
    what stands around the table too.
    """
    above, below = message(*before), message(*after)
    shown = requests[:MAX_CUSTOMERS]
    around = MESSAGE_LENGTH - len(shown) * ROW_LENGTH
    if size(above.blocks) + size(below.blocks) > around:
        above = replace(above, blocks=unlinked(above.blocks))
        below = replace(below, blocks=unlinked(below.blocks))
    room = MESSAGE_LENGTH - size(above.blocks) - size(below.blocks)
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
        exact = [_digits(ids.vid), _digits(ids.company_id)]
        said = [results[position]] if results else []
        name, reference = display_name(customer), customer.reference
        rows.append([str(customer.customer_id), name, *said, *exact, reference])
    return rows


def _digits(number: int | None) -> str:
    return "" if number is None else str(number)


def _linked(drawn: Block, requests: Sequence[Request], links: Links, limit: int) -> Block:
    """The table with links on its ids; the same table if the links are too long for it."""
    rows = [drawn["rows"][0]]
    for cells, request in zip(drawn["rows"][1:], requests, strict=True):
        ids = request.customer.ids
        first, *middle, contact, company, reference = cells
        rows.append(
            [
                _linked_cell(first, links.customer(request.customer.customer_id)),
                *middle,
                _linked_cell(contact, links.contact(ids.vid) if ids.vid is not None else None),
                _linked_cell(company, links.company(ids.company_id) if ids.company_id else None),
                reference,
            ]
        )
    linked = drawn | {"rows": rows}
    return linked if sum(map(size, rows)) <= limit else drawn


def _linked_cell(plain: Block, url: str | None) -> Block:
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
    return " and ".join(f"{name} {id_}" for name, id_ in named if id_ is not None)


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


def table(columns: Sequence[Column], rows: Rows, *, limit: int = MAX_CHARACTERS) -> Block:
    """A table block with a header row; `limit` is for the UTF-16 units of all cells, titles too.

    Raises: ValueError for more than 99 rows or 20 columns, a row of another length than the
    columns, or more exact values than the limit holds.
    """
    if len(rows) >= MAX_ROWS or len(columns) > MAX_COLUMNS:
        raise ValueError(f"{len(rows)} rows of {len(columns)} columns are too many for a table")
    titles = [column.title for column in columns]
    values = _fitted(columns, rows, limit - sum(map(units, titles)))
    return {
        "type": "table",
        "rows": [[_cell(value) for value in row] for row in (titles, *values)],
        "column_settings": [
            {"align": column.align, "is_wrapped": column.wrapped} for column in columns
        ],
    }


def table_lines(
    columns: Sequence[Column], rows: Rows, *, limit: int = MAX_CHARACTERS
) -> list[Line]:
    """The same as lines, "Id 2554529, Company Stolen Bikes"; `limit` is for all their UTF-16 units.

    The titles between the values keep a right-to-left name from taking the next number with it.
    Raises: ValueError for a row of another length than the columns, or more exact values than the
    limit holds.
    """
    labels = [f"{', ' if number else ''}{each.title} " for number, each in enumerate(columns)]
    values = _fitted(columns, rows, limit - len(rows) * sum(map(units, labels)))
    return [
        list(chain.from_iterable(_labelled(*pair) for pair in zip(labels, row, strict=True)))
        for row in values
    ]


def _cell(value: str) -> Block:
    return {"type": "raw_text", "text": value}


def _labelled(label: str, value: str) -> Line:
    return say(label), text(value, limit=units(value))


def _fitted(columns: Sequence[Column], rows: Rows, limit: int) -> list[list[str]]:
    """The rows' values, each on one line, of at most `limit` UTF-16 units in all."""
    shown = [[_shown(*pair) for pair in zip(columns, row, strict=True)] for row in rows]
    lengths = [
        (column.exact, units(value))
        for row in shown
        for column, value in zip(columns, row, strict=True)
    ]
    left = limit - sum(length for exact, length in lengths if exact)
    longest = _longest([length for exact, length in lengths if not exact], left)
    return [
        [
            value if column.exact else cut(value, longest)
            for column, value in zip(columns, row, strict=True)
        ]
        for row in shown
    ]


def _shown(column: Column, value: str) -> str:
    limit = 2 * len(value) if column.exact else SHOWN_LENGTH
    return cut(value, limit) or EMPTY  # Slack refuses an empty cell


def _longest(lengths: Iterable[int], limit: int) -> int:
    """How long a value may be so that all fit: what short values leave over, long ones share."""
    waiting, longest = sorted(lengths), SHOWN_LENGTH
    for position, length in enumerate(waiting):
        longest = limit // (len(waiting) - position)
        if length > longest:
            break
        limit -= length
    if limit < 0 or longest < 1:
        raise ValueError("the values that may not be cut leave no room for the others")
    return longest
