"""Reads a text as rows of cells, as CSV reads them; the separator is found from all rows.

A quote without its other half is a letter, and a comma within 99,50 or 2,500.00 separates nothing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain.cells import Id, Meaning, meaning, tidy
from bot.domain.commands import Doubt
from bot.domain.plain_text import blanked, one_line, searchable

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


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the line where it begins, the count of its own cells, and as many as all rows have."""

    line: int
    width: int
    cells: tuple[str, ...]
    meanings: tuple[Meaning, ...]


@dataclass(frozen=True, slots=True)
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
        if self.has_header and any(isinstance(meaning(name, None), Id) for name in self.names):
            return True
        return any(_kind(cell) for row in self.rows for cell in row.cells)

    def columns(self, *kinds: type[Id | Doubt]) -> list[int]:
        """The columns whose cells are all of these kinds."""
        every = range(len(self.names))
        return [i for i in every if all(isinstance(row.meanings[i], kinds) for row in self.rows)]

    def key(self, index: int) -> str:
        """What tells a column from all others of the same text."""
        return f"{_SEPARATORS.index(self.separator)}-{index}"


def tables_of(text: str, customer_url: str | None) -> list[Table]:
    """The ways to read a text as rows: one, unless two separators do equally well."""
    separators = "\t" if "\t" in text else [s for s in ";|," if s in _IN_NUMBERS.sub("", text)]
    found = [table_of(text, separator, customer_url) for separator in separators]
    wide = [table for table in found if len(table.names) > 1]
    even = [table for table in wide if table.even]
    return even or wide or [table_of(text, "\t", customer_url)]


def table_of(text: str, separator: str, customer_url: str | None) -> Table:
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
        meanings = tuple(meaning(cell, customer_url) if cell else None for cell in padded)
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
