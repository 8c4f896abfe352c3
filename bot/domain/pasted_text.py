"""Reads what people paste: a column of ids, rows of a spreadsheet or of a file, or lines by hand.

Rows are read as CSV reads them, their separator is found from all of them. A quote without its
other half is a letter, and a comma within 99,50 or 2,500.00 separates nothing. The column that
holds the customers is the one that the header row names, or else the only one whose cells are all
ids; otherwise a person must choose it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from bot.domain.cells import (
    ANY_PAGES,
    Meaning,
    NoId,
    Pages,
    doubts_of,
    ids_of,
    is_joiner,
    meaning,
    tidy,
    why_not,
)
from bot.domain.commands import MAX_CUSTOMERS, QUOTED_LENGTH, Doubt, too_many
from bot.domain.plain_text import blanked, one_line, searchable
from bot.domain.values import value

SHOWN_CELLS = 3
LABELLED = "This looks like the page of one customer: paste its Stax Bill ID and nothing else."
MOVED = "This line has more cells than the first one."
NONE_HERE = "There is no Stax Bill ID here: put each on its own line."
DIFFERENT_COLUMNS = "The ids stand in different columns: put each first in its line."


@value
class LineError:
    """What can't be understood in a pasted text; `line` counts from 1, None is the whole text."""

    line: int | None
    why: str


@value
class Pasted:
    """A pasted text: each customer once, in order; valid only if there are no errors.

    `doubts` are references and the like, to be shown as the customers whom they name. `left_out`
    are lines without a customer, in a column that a header row or a person has chosen.
    """

    customer_ids: tuple[int, ...]
    errors: tuple[LineError, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    left_out: tuple[LineError, ...] = ()


@value
class Column:
    """A column to choose: its key, its name if the text has a header row, and its first cells."""

    key: str
    name: str
    cells: tuple[str, ...]


@value
class ColumnChoice:
    """A text of which nobody but a person can say which column holds the customers."""

    columns: tuple[Column, ...]


def read_lines(
    text: str, pages: Pages = ANY_PAGES, column: str | None = None
) -> Pasted | ColumnChoice:
    """Read a pasted text; raises nothing.

    `column` is the key of the one that a person has chosen for this very text.
    """
    tables = tables_of(text, pages)
    if any(table.is_labelled for table in tables):
        return _refused(LABELLED)
    for table in [*tables, table_of(text, " ", pages)] if column else []:
        for index in range(len(table.names)):
            if column == table.key(index):
                return _taken(table, index)
    if not all(table.rows for table in tables):
        return _refused(NONE_HERE)
    if named := next((table for table in tables if any(table.kinds)), None):
        return _named(named)
    if len(tables) == 1 and not tables[0].even:
        return _by_hand(tables[0], table_of(text, " ", pages), pages)
    # rows without names that we know: the only column of ids, or a choice
    found = _found(tables[0])
    is_plain = len(tables) == 1 and not tables[0].has_header and len(found) == 1
    with_ids = [table for table in tables if table.columns(int, Doubt)]
    return _taken(tables[0], found[0]) if is_plain else _choice(with_ids or tables)


def _named(table: Table) -> Pasted | ColumnChoice:
    """The column that the header row names."""
    kind = next(each for each in (ID, REFERENCE, HUBSPOT) if each in table.kinds)
    is_certain = kind == HUBSPOT or table.kinds.count(kind) == 1
    return _taken(table, table.kinds.index(kind)) if is_certain else _choice([table])


def _by_hand(table: Table, words: Table, pages: Pages) -> Pasted | ColumnChoice:
    """Lines as people type them: each must hold one customer."""
    lists = {row: _count_listed(row, pages) for row in table.rows}
    found = _found(table)
    if max(lists.values()) <= 1:
        others = [cell for row in table.rows for i, cell in enumerate(row.cells) if [i] != found]
        if found and not any(_names(cell.split(" ")[0], pages) for cell in others):
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
    return "" if any(isinstance(each, int | Doubt) for each in row.meanings) else _why_none(row)


def _taken(table: Table, index: int) -> Pasted:
    """What a column holds."""
    kind = table.kinds[index]
    if kind == HUBSPOT:
        return _refused(
            f"“{table.names[index][:QUOTED_LENGTH]}” is HubSpot's id, and Fusebill can't be"
            " searched by it: paste the column “Stax Bill ID” of Fusebill's customer list."
        )
    # one separator too many within a cell has moved all that follows
    moved = [row for row in table.rows if index and row.width > table.usual_width]
    cells = {row: row.meanings[index] for row in table.rows if row not in moved}
    has_ids = kind == ID or any(isinstance(each, int | Doubt) for each in cells.values())
    if kind == REFERENCE or not has_ids:
        cells = {row: Doubt(row.cells[index]) if row.cells[index] else None for row in cells}
    ids, doubts = ids_of(cells.values()), doubts_of(cells.values())
    left_out = [LineError(row.line, MOVED) for row in moved]
    left_out += [
        LineError(row.line, _why_none(row, index))
        for row, each in cells.items()
        if not isinstance(each, int | Doubt)
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
    for index in table.columns(int) or table.columns(int, Doubt):
        found.setdefault(tuple(row.meanings[index] for row in table.rows), index)
    return list(found.values())


def _choice(tables: Sequence[Table]) -> ColumnChoice:
    columns = []
    for table in tables:
        for index, name in enumerate(table.names):
            cells = [row.cells[index] for row in table.rows if row.cells[index]][:SHOWN_CELLS]
            columns += [Column(table.key(index), name, tuple(cells))] if cells else []
    return ColumnChoice(tuple(columns))


def _count_listed(row: Row, pages: Pages) -> int:
    """How many ids a line begins with, however they are joined."""
    words = re.split(r"[\s,;|]+", " ".join(filter(None, row.cells)))
    run = takewhile(lambda word: _names(word, pages) or is_joiner(word), words)
    return sum(_names(word, pages) for word in run)


def _names(word: str, pages: Pages) -> bool:
    return isinstance(meaning(word, pages), int | Doubt)


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


ID, REFERENCE, HUBSPOT = "id", "reference", "HubSpot's id"
_NAMES = {
    **dict.fromkeys(("stax bill id", "staxbill id", "fusebill id", "fusebillid"), ID),
    **dict.fromkeys(("customer id", "reference", "customer reference"), REFERENCE),
    **dict.fromkeys(("record id", "hs_object_id", "hubspot id", "hubspotid", "vid"), HUBSPOT),
    **dict.fromkeys(("hubspot contact id", "hubspot company id", "hubspotcompanyid"), HUBSPOT),
}
"""What a header row calls a column, in small letters.

Fusebill's lists: support.staxbill.com/hc/en-us/articles/7311637035923 and 7375220988819.
"""
_SEPARATORS = "\t;|, "
_IN_NUMBERS = re.compile(r"(?<![\d,.])(\d{1,3}(,\d{3})+(\.\d+)?|[\d.]+,\d{1,2})(?![\d,])")


@value
class Row:
    """A row: the line where it begins, the count of its own cells, and as many as all rows have."""

    line: int
    width: int
    cells: tuple[str, ...]
    meanings: tuple[Meaning, ...]


@value
class Table:
    """A text as rows, `even` as a program writes them, or else as a person types lines.

    `names` are those of its header row, each empty if it has none; so are the `kinds` of columns.
    """

    separator: str
    has_header: bool
    names: tuple[str, ...]
    usual_width: int
    rows: tuple[Row, ...]
    even: bool

    @property
    def kinds(self) -> list[str]:
        return [_kind(name) for name in self.names]

    @property
    def is_labelled(self) -> bool:
        """Whether names stand beside or between the cells, as on the page of one customer."""
        if self.has_header and any(isinstance(meaning(name), int) for name in self.names):
            return True
        return any(_kind(cell) for row in self.rows for cell in row.cells)

    def columns(self, *kinds: type[int | Doubt]) -> list[int]:
        """The columns whose cells are all of these kinds."""
        every = range(len(self.names))
        return [i for i in every if all(isinstance(row.meanings[i], kinds) for row in self.rows)]

    def key(self, index: int) -> str:
        """What tells a column from all others of the same text."""
        return f"{_SEPARATORS.index(self.separator)}-{index}"


def tables_of(text: str, pages: Pages) -> list[Table]:
    """The ways to read a text as rows: one, unless two separators do equally well."""
    separators = "\t" if "\t" in text else [s for s in ";|," if s in _IN_NUMBERS.sub("", text)]
    found = [table_of(text, separator, pages) for separator in separators]
    wide = [table for table in found if len(table.names) > 1]
    even = [table for table in wide if table.even]
    return even or wide or [table_of(text, "\t", pages)]


def table_of(text: str, separator: str, pages: Pages) -> Table:
    """A text as rows of cells between these separators."""
    found = list(_rows(text, separator))
    width = max((len(_filled(cells)) for _, cells in found), default=0)
    # whoever types one line by hand may separate anything by commas
    same_width = len({len(cells) for _, cells in found}) == 1 and len(found) > 1
    even = width > 1 and (separator == "\t" or same_width)
    first = found[0][1] if found else ()
    # other names than ours have no digits
    has_header = any(map(_kind, first)) or (even and not re.search(r"\d", "".join(first)))
    rows = []
    for line, cells in found:
        padded = (*cells, *[""] * width)[:width]
        meanings = tuple(meaning(cell, pages) if cell else None for cell in padded)
        rows.append(Row(line, len(_filled(cells)), padded, meanings))
    names = rows[0].cells if has_header else ("",) * width
    usual_width = rows[0].width if rows else 0
    # two pages of a list have two header rows
    below = tuple(row for row in rows if not (has_header and row.cells == names))
    return Table(separator, has_header, names, usual_width, below, even)


def _rows(text: str, separator: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each row that says something, and the line where it begins."""
    # at the end of a line that holds nothing else, a separator is none
    ends = "" if separator in text else _SEPARATORS
    for line, cells in _csv_rows(text, separator):
        if not re.fullmatch(r"[-:=\s]*", "".join(cells)):
            yield line, tuple(one_line(tidy(blanked(cell).strip(ends))) for cell in cells)


def _csv_rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    lines = re.split("(?<=\n)", re.sub("\r\n?", "\n", text))
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        reader = csv.reader(
            lines, delimiter=separator, quoting=quoting, skipinitialspace=True, strict=True
        )
        rows, line = [], 1
        try:
            for cells in reader:
                rows.append((line, cells))
                line = reader.line_num + 1
        except csv.Error:
            continue
        return rows
    return []


def _filled(cells: Sequence[str]) -> Sequence[str]:
    """A row's cells without the empty ones at its end."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _kind(name: str) -> str:
    return _NAMES.get(searchable(name).casefold(), "")
