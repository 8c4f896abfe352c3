"""Validates the `table` block as Slack does, and renders it as text.

Limits and fields: docs.slack.dev/reference/block-kit/blocks/table-block. A message with two tables
is refused as `invalid_attachments`, every other fault as `invalid_blocks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation.block_checks import (
    MAX_ID_LENGTH,
    Check,
    choice,
    flag,
    items,
    keys,
    one_of,
    problem,
    string,
)
from bot.sandbox.slack.validation.rich_text import rich_text, rich_text_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ROWS = 100
MAX_COLUMNS = 20
MAX_CHARACTERS = 10_000
ONE_TABLE = "only_one_table_allowed"
ALIGNMENTS = ("left", "center", "right")


def table(block: dict[str, Any], path: str) -> Iterator[str]:
    """Report what is wrong with a `table` block."""
    yield from keys(block, path, "rows", "block_id column_settings")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from items(block, "rows", path, MAX_ROWS, _row)
    characters = _characters(block.get("rows"))
    if characters > MAX_CHARACTERS:
        text = f"{characters} characters in all cells, no more than {MAX_CHARACTERS}"
        yield problem(f"{path}/rows", text)
    if "column_settings" in block:
        yield from items(block, "column_settings", path, MAX_COLUMNS, _settings)


def one_table(blocks: list[Any]) -> Iterator[str]:
    """Report a message with more than one table."""
    kinds = [block.get("type") for block in blocks if isinstance(block, dict)]
    if kinds.count("table") > 1:
        yield problem("", ONE_TABLE)


def table_lines(block: dict[str, Any]) -> Iterator[str]:
    """The text of a `table` block, one line per row."""
    for row in block["rows"]:
        yield " | ".join(map(_shown, row))


def _shown(cell: dict[str, Any]) -> str:
    return " ".join(rich_text_lines(cell)) if cell["type"] == "rich_text" else str(cell["text"])


def _row(row: object, path: str) -> Iterator[str]:
    if not isinstance(row, list):
        yield problem(path, "must be an array")
        return
    # `items` checks a field of an object, and a row has no name
    parent, _, index = path.rpartition("/")
    yield from items({index: row}, index, parent, MAX_COLUMNS, one_of(_CELLS, "cell"))


def _settings(settings: object, path: str) -> Iterator[str]:
    if settings is None:  # the column keeps the defaults
        return
    if not isinstance(settings, dict):
        yield problem(path, "must be an object")
        return
    yield from keys(settings, path, "", "align is_wrapped")
    yield from choice(settings, "align", path, ALIGNMENTS)
    yield from flag(settings, "is_wrapped", path)


def _raw_text(cell: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(cell, path, "text")
    yield from string(cell, "text", path, MAX_CHARACTERS)


def _raw_number(cell: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(cell, path, "value text")
    yield from string(cell, "text", path, MAX_CHARACTERS)
    value = cell.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield problem(f"{path}/value", "must be a number")


def _characters(value: object) -> int:
    """The UTF-16 units of all texts in a cell or a list of cells."""
    if isinstance(value, list):
        return sum(map(_characters, value))
    if not isinstance(value, dict):
        return 0
    text = value.get("text")
    here = len(text.encode("utf-16-le", "surrogatepass")) // 2 if isinstance(text, str) else 0
    return here + _characters(value.get("elements"))


_CELLS: dict[str, Check] = {
    "raw_text": _raw_text,
    "raw_number": _raw_number,
    "rich_text": rich_text,
}
