"""Tables of many customers: Slack takes them, no id is cut, and the same is there as lines."""

from __future__ import annotations

from itertools import pairwise
from unicodedata import bidirectional

import pytest
from hypothesis import given, strategies as st

from bot.messages.block_kit import Message, cut, header, message
from bot.messages.tables import MAX_CHARACTERS, Column, table, table_lines
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import NUMBERS, TEXTS, inlines, mentions_and_links, refused_by_slack

COLUMNS = (
    Column("Id", "right", exact=True),
    Column("Company", wrapped=True),
    Column("Reference"),
    Column("Contact", "right", exact=True),
)
LIMITS = st.integers(min_value=1_500, max_value=MAX_CHARACTERS)
Row = tuple[str, str, str, str]
CONTACTS = st.just("") | NUMBERS.map(str)
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(NUMBERS.map(str), TEXTS, TEXTS, CONTACTS), max_size=20
)
BIKES: Row = ("2554529", "Stolen Bikes", "REF-7", "101")
WORST: Row = ("9" * 18, "🚲" * 9_000, "x" * 9_000, "9" * 18)


def units(value: str) -> int:
    """The length of a text in UTF-16 units, as Slack counts it."""
    return len(value.encode("utf-16-le")) // 2


def both(rows: list[Row], limit: int = MAX_CHARACTERS) -> tuple[Message, Message]:
    """A message with a table, and one with the same as lines."""
    title = header("Unlatch many customers?")
    lines = message(title, table_lines(COLUMNS, rows, limit=limit))
    return message(title, table(COLUMNS, rows, limit=limit)), lines


def cells(rows: list[Row], limit: int = MAX_CHARACTERS) -> list[list[str]]:
    """The texts of a table's cells, without its header row."""
    block = table(COLUMNS, rows, limit=limit)
    return [[cell["text"] for cell in row] for row in block["rows"][1:]]


@given(ROWS, LIMITS)
def test_slack_takes_every_table_and_every_line_of_it_and_no_id_is_cut(
    rows: list[Row], limit: int
) -> None:
    as_table, as_lines = both(rows, limit)
    assert refused_by_slack(as_table) == []
    assert not rows or refused_by_slack(as_lines) == []
    assert mentions_and_links(as_table) | mentions_and_links(as_lines) == set()
    shown = cells(rows, limit)
    assert [(row[0], row[3]) for row in shown] == [(row[0], row[3] or "-") for row in rows]
    titles = [column.title for column in COLUMNS]
    assert sum(units(text) for row in [titles, *shown] for text in row) <= limit
    lines = table_lines(COLUMNS, rows, limit=limit)
    assert sum(units(part["text"]) for line in lines for part in line) <= limit


@given(ROWS, LIMITS)
def test_a_long_value_does_not_cut_a_short_one(rows: list[Row], limit: int) -> None:
    ids = sum(units(text or "-") for row in rows for text in (row[0], row[3]))
    titles = sum(len(column.title) for column in COLUMNS)
    share = (limit - titles - ids) // (2 * len(rows) or 1)
    for row, shown in zip(rows, cells(rows, limit), strict=True):
        for typed, text in zip(row[1:3], shown[1:3], strict=True):
            whole = cut(typed, 200) or "-"
            assert text == whole or (units(whole) > share and text.endswith("…"))


@given(ROWS)
def test_values_that_fit_are_shown_whole_and_lines_say_what_the_table_says(rows: list[Row]) -> None:
    # 20 rows of two names of 200 units, two ids and a header row are below 10,000
    assert cells(rows) == [
        [row[0], cut(row[1], 200) or "-", cut(row[2], 200) or "-", row[3] or "-"] for row in rows
    ]
    as_table, as_lines = both(rows)
    assert as_table.text == as_lines.text
    # a title stands between a name and the next number
    for first, second in pairwise(
        part["text"] for line in table_lines(COLUMNS, rows) for part in line
    ):
        if any(bidirectional(character) in ("R", "AL") for character in first):
            assert not second[0].isdigit()
            assert any(bidirectional(character) == "L" for character in second)


def test_a_table_has_a_header_row_and_its_columns_settings() -> None:
    block = table(COLUMNS, [BIKES])
    assert text_of([block]).splitlines() == [
        "Id | Company | Reference | Contact",
        "2554529 | Stolen Bikes | REF-7 | 101",
    ]
    assert [(each["align"], each["is_wrapped"]) for each in block["column_settings"]] == [
        ("right", False),
        ("left", True),
        ("left", False),
        ("right", False),
    ]


def test_the_lines_name_each_value() -> None:
    _table, lines = both([BIKES, ("3100017", "", "", "")])
    assert text_of(lines.blocks).splitlines()[1:] == [
        "Id 2554529, Company Stolen Bikes, Reference REF-7, Contact 101",
        "Id 3100017, Company -, Reference -, Contact -",
    ]


@pytest.mark.parametrize("count", [1, 50, 99])
def test_the_longest_values_of_many_customers_fit(count: int) -> None:
    as_table, as_lines = both([WORST] * count)
    assert (refused_by_slack(as_table), refused_by_slack(as_lines)) == ([], [])
    assert len(list(inlines(as_lines))) == 2 * len(COLUMNS) * count
    assert {row[0] for row in cells([WORST] * count)} == {"9" * 18}


def test_where_there_is_hardly_room_only_names_are_cut() -> None:
    titles, ids = 25, 3 * 36
    (row, *_others) = cells([WORST] * 3, titles + ids + 3 * (4 + 4))
    assert row == ["9" * 18, "🚲…", "xxx…", "9" * 18]


@pytest.mark.parametrize(
    ("columns", "rows", "limit"),
    [
        (COLUMNS, [BIKES] * 100, MAX_CHARACTERS),
        (COLUMNS * 6, [BIKES * 6], MAX_CHARACTERS),
        (COLUMNS, [BIKES[:3]], MAX_CHARACTERS),
        (COLUMNS, [BIKES], 36),
        (COLUMNS, [BIKES], 20),
        (COLUMNS[:1], [("2554529",)], 8),
    ],
    ids=["rows", "columns", "a short row", "no room for names", "no room for ids", "one id"],
)
def test_a_table_that_slack_would_refuse_is_not_built(
    columns: tuple[Column, ...], rows: list[tuple[str, ...]], limit: int
) -> None:
    with pytest.raises(ValueError, match=r"too many|leave no room|zip\(\) argument"):
        table(columns, rows, limit=limit)
