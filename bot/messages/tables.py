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
from bot.domain.models import Request
from bot.messages.block_kit import (
    MESSAGE_LENGTH,
    SHOWN_LENGTH,
    TEXT_LENGTH,
    Block,
    Inline,
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
from bot.messages.phrases import Links, amount, display_name, ids_inline

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


_WHO = (Column("Id", "right", exact=True), Column("Company", wrapped=True))
# a phone has room for three columns
_CUSTOMER = (*_WHO, Column("Contact / company", wrapped=True, exact=True), Column("Reference"))
_WITH_RESULT = (
    *_WHO,
    Column("Result (contact / company)", wrapped=True, exact=True),
    Column("Reference"),
)


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
    around = MESSAGE_LENGTH - len(shown) * ROW_LENGTH
    if size(above.blocks) + size(below.blocks) > around:
        above = replace(above, blocks=unlinked(above.blocks))
        below = replace(below, blocks=unlinked(below.blocks))
    room = MESSAGE_LENGTH - size(above.blocks) - size(below.blocks)
    said = [cut(each, RESULT_LENGTH) for each in results[: len(shown)]] or [""] * len(shown)
    columns, rows = (_WITH_RESULT if results else _CUSTOMER), [*map(_row, shown, said)]
    drawn = table(columns, rows, limit=min(room, MAX_CHARACTERS))
    drawn = _linked(drawn, shown, said, links, min(room, MAX_CHARACTERS))
    listed = lines(table_lines(columns, rows, limit=min(room, MAX_CHARACTERS)))
    missing = len(requests) - len(shown)
    more = [lines([[say(f"{missing} more are not shown.")]])] if missing else []
    return Message(
        _text(above.text, _words(requests, results), below.text),
        [*above.blocks, drawn, *more, *below.blocks],
        [*above.blocks, listed, *more, *below.blocks],
    )


def _row(request: Request, result: str) -> list[str]:
    customer = request.customer
    changing = "".join(part["text"] for part in _changing(request, result, Links()))
    return [str(customer.customer_id), display_name(customer), changing, customer.reference]


def _changing(request: Request, result: str, links: Links) -> list[Inline]:
    """The HubSpot contact and company that the card shows, after the words for a result."""
    ids = request.customer.ids
    contact = links.contact(ids.vid) if ids.vid else None
    company = links.company(ids.company_id) if ids.company_id else None
    both = [
        link(contact, str(ids.vid or EMPTY)),
        say(" / "),
        link(company, str(ids.company_id or EMPTY)),
    ]
    return [say(f"{result} ("), *both, say(")")] if result else both


def _linked(
    drawn: Block, requests: Sequence[Request], results: Sequence[str], links: Links, limit: int
) -> Block:
    """The table with links on its ids; the same table if the links are too long for it."""
    rows = [drawn["rows"][0]]
    for row, request, result in zip(drawn["rows"][1:], requests, results, strict=True):
        who, company, ids, reference = row
        if page := links.customer(request.customer.customer_id):
            who = lines([[link(page, who["text"])]])
        if links.hubspot_portal_id:
            ids = lines([_changing(request, result, links)])
        rows.append([who, company, ids, reference])
    linked = drawn | {"rows": rows}
    return linked if sum(map(size, rows)) <= limit else drawn


def _words(requests: Sequence[Request], results: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each customer for the text: its id and result, its name, and its HubSpot ids."""
    said = [f" {each}:" for each in results] or [":"] * len(requests)
    return [
        (
            f"Id {request.customer.customer_id}{state}",
            display_name(request.customer),
            "".join(part["text"] for part in ids_inline(request.customer.ids, Links())),
        )
        for request, state in zip(requests, said, strict=True)
    ]


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
