"""Builds tables of many customers: Slack's table block, and the same as lines where it has none.

Both keep to a number of characters in all cells. Where the values are longer together, only the
longest are cut, and ids never: a part of an id could be somebody else's id.
Limits: docs.slack.dev/reference/block-kit/blocks/table-block
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from bot.messages.block_kit import SHOWN_LENGTH, Block, Line, cut, say, text, units

MAX_ROWS = 100
MAX_COLUMNS = 20
MAX_CHARACTERS = 10_000
EMPTY = "-"

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, and how its values are shown; the values of `exact` are never cut."""

    title: str
    align: Literal["left", "center", "right"] = "left"
    wrapped: bool = False
    exact: bool = False


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
