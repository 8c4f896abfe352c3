"""Reads what people paste: a column of ids, rows of a spreadsheet or of a file, or lines by hand.

Rows are read as CSV reads them. The column that holds the customers is the one that the header row
names, or else the only one whose cells are all ids; otherwise a person must choose it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from bot.domain.cells import QUOTED_LENGTH, Id, NoId, doubts_of, ids_of, is_joiner, meaning, why_not
from bot.domain.commands import MAX_CUSTOMERS, Doubt, too_many
from bot.domain.tables import HUBSPOT, ID, REFERENCE, Row, Table, table_of, tables_of

SHOWN_CELLS = 3
LABELLED = "This looks like the page of one customer: paste its Stax Bill ID and nothing else."
MOVED = "This line has more cells than the first one."
NONE_HERE = "There is no Stax Bill ID here: put each on its own line."
DIFFERENT_COLUMNS = "The ids stand in different columns: put each first in its line."


@dataclass(frozen=True, slots=True)
class LineError:
    """What can't be understood in a pasted text; `line` counts from 1, None is the whole text."""

    line: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """A pasted text: each customer once, in order; valid only if there are no errors.

    `doubts` are references and the like, to be shown as the customers whom they name. `left_out`
    are lines without a customer, in a column that a header row or a person has chosen.
    """

    customer_ids: tuple[int, ...]
    errors: tuple[LineError, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    left_out: tuple[LineError, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column to choose: its key, its name if the text has a header row, and its first cells."""

    key: str
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A text of which nobody but a person can say which column holds the customers."""

    columns: tuple[Column, ...]


def read_lines(
    text: str, customer_url: str | None = None, column: str | None = None
) -> Pasted | ColumnChoice:
    """Read a pasted text; raises nothing.

    `column` is the key of the one that a person has chosen for this very text. The address of a
    customer's page is an id too; for `customer_url` see `read_address`.
    """
    tables = tables_of(text, customer_url)
    if any(table.is_labelled for table in tables):
        return _refused(LABELLED)
    for table in [*tables, table_of(text, " ", customer_url)] if column else []:
        for index in range(len(table.names)):
            if column == table.key(index):
                return _taken(table, index)
    if not all(table.rows for table in tables):
        return _refused(NONE_HERE)
    named = [table for table in tables if any(table.kinds)]
    if named:
        return _named(named[0])
    if len(tables) == 1 and not tables[0].even:
        return _by_hand(tables[0], table_of(text, " ", customer_url), customer_url)
    return _of_rows(tables)


def _of_rows(tables: Sequence[Table]) -> Pasted | ColumnChoice:
    """Rows without names that we know: the only column of ids, or a choice."""
    found = _found(tables[0])
    if len(tables) == 1 and not tables[0].has_header and len(found) == 1:
        return _taken(tables[0], found[0])
    return _choice([table for table in tables if table.columns(Id, Doubt)] or tables)


def _named(table: Table) -> Pasted | ColumnChoice:
    """The column that the header row names."""
    for kind in (ID, REFERENCE):
        found = [index for index, each in enumerate(table.kinds) if each == kind]
        if found:
            return _taken(table, found[0]) if len(found) == 1 else _choice([table])
    return _refused(_of_hubspot(table.names[table.kinds.index(HUBSPOT)]))


def _by_hand(table: Table, words: Table, customer_url: str | None) -> Pasted | ColumnChoice:
    """Lines as people type them: each must hold one customer."""
    lists = {row: _count_listed(row, customer_url) for row in table.rows}
    found = _found(table)
    if max(lists.values()) <= 1:
        others = [cell for row in table.rows for i, cell in enumerate(row.cells) if [i] != found]
        if found and not any(_names(cell.split(" ")[0], customer_url) for cell in others):
            return _taken(table, found[0])
        if found or all(lists.values()):
            return _choice([table if found else words])
        if len(table.names) == 1 and all(map(_is_code, table.rows)):
            return _taken(table, 0)
    errors = [LineError(row.line, why) for row, n in lists.items() if (why := _wrong(row, n))]
    ids = ids_of(each for row in table.rows for each in row.meanings)
    return Pasted(ids, tuple(errors) or (LineError(None, DIFFERENT_COLUMNS),))


def _wrong(row: Row, count: int) -> str:
    """What is wrong with a line that begins with `count` ids; empty if it has one as a cell."""
    if count > 1:
        return (
            f"{count} numbers stand in this line: put each customer on its own line, without"
            " thousands separators."
        )
    return "" if any(isinstance(each, Id | Doubt) for each in row.meanings) else _why_none(row)


def _taken(table: Table, index: int) -> Pasted:
    """What a column holds."""
    kind = table.kinds[index]
    if kind == HUBSPOT:
        return _refused(_of_hubspot(table.names[index]))
    # one separator too many within a cell has moved all that follows
    moved = [row for row in table.rows if index and row.width > table.usual_width]
    cells = {row: row.meanings[index] for row in table.rows if row not in moved}
    has_ids = kind == ID or any(isinstance(each, Id | Doubt) for each in cells.values())
    if kind == REFERENCE or not has_ids:
        cells = {row: Doubt(row.cells[index]) if row.cells[index] else None for row in cells}
    ids, doubts = ids_of(cells.values()), doubts_of(cells.values())
    left_out = [LineError(row.line, MOVED) for row in moved]
    left_out += [
        LineError(row.line, _why_none(row, index))
        for row, each in cells.items()
        if not isinstance(each, Id | Doubt)
    ]
    count = len(ids) + len(doubts)
    if count > MAX_CUSTOMERS or not count:
        return _refused(too_many(count) if count else NONE_HERE, ids)
    return Pasted(ids, (), doubts, tuple(left_out))


def _refused(why: str, customer_ids: tuple[int, ...] = ()) -> Pasted:
    return Pasted(customer_ids, (LineError(None, why),))


def _found(table: Table) -> list[int]:
    """The columns of ids, or else those that may be; of those with the same ids the first."""
    found: dict[object, int] = {}
    for index in table.columns(Id) or table.columns(Id, Doubt):
        found.setdefault(tuple(row.meanings[index] for row in table.rows), index)
    return list(found.values())


def _choice(tables: Sequence[Table]) -> ColumnChoice:
    columns = []
    for table in tables:
        for index, name in enumerate(table.names):
            cells = [row.cells[index] for row in table.rows if row.cells[index]][:SHOWN_CELLS]
            columns += [Column(table.key(index), name, tuple(cells))] if cells else []
    return ColumnChoice(tuple(columns))


def _count_listed(row: Row, customer_url: str | None) -> int:
    """How many ids a line begins with, however they are joined."""
    words = re.split(r"[\s,;|]+", " ".join(filter(None, row.cells)))
    run = takewhile(lambda word: _names(word, customer_url) or is_joiner(word), words)
    return sum(_names(word, customer_url) for word in run)


def _names(word: str, customer_url: str | None) -> bool:
    return isinstance(meaning(word, customer_url), Id | Doubt)


def _is_code(row: Row) -> bool:
    """Whether a line is one word with letters and digits, as references are."""
    cell = row.cells[0]
    return re.fullmatch(r"(?=.*\d)(?=.*[A-Za-z])[\w-]+", cell, re.ASCII) is not None


def _why_none(row: Row, index: int | None = None) -> str:
    """Why a line holds no customer, in a column or in any."""
    at = range(len(row.cells)) if index is None else [index]
    for each in at:
        found, cell = row.meanings[each], row.cells[each]
        if isinstance(found, NoId):
            return found.why
        if re.fullmatch("#?[0-9]+", cell):
            return why_not(cell)
    shown = " ".join(filter(None, (row.cells[each] for each in at)))
    return f"There is no Stax Bill ID{f' in {shown[:QUOTED_LENGTH]!r}' if shown else ''}."


def _of_hubspot(name: str) -> str:
    return (
        f"“{name[:QUOTED_LENGTH]}” is HubSpot's id, and Fusebill can't be searched by it: paste the"
        " column “Stax Bill ID” of Fusebill's customer list."
    )
