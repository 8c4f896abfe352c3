"""Pasted rows are read as CSV reads them; where a person must choose a column, nothing is taken."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from bot.domain.commands import MAX_CUSTOMERS, MAX_DIGITS, Ask, Doubt
from bot.domain.pasted_text import ColumnChoice, LineError, Pasted, read_lines
from bot.domain.typed_text import parse
from tests.unit.test_typed_text import standing_alone

SAMPLES = Path(__file__).parents[1] / "samples" / "pasted"
ONE, TWO = 2554529, 3100017
PIECES = ["#", "2554529", "0", "12", ",", ";", "\n", "\t", " ", "\r\n", "٣", "moved", "1,500", '"']
TYPED = st.lists(
    st.sampled_from([*PIECES, "Customer ID", "Stax Bill ID", "0012", "|", "99,50"])
    | st.text(st.characters(exclude_categories=()), max_size=5),
    max_size=12,
).map("".join)
IDS = st.integers(min_value=1, max_value=10**MAX_DIGITS - 1)
MANY = st.lists(IDS, min_size=1, max_size=MAX_CUSTOMERS, unique=True)
CELLS = ["7", "2554529", "0012", "Doe, 7", "Roe; 8", "24 Hour", 'the "9"', "2,500.00", "12.5", ""]


def written(rows: list[list[str]], separator: str) -> str:
    text = StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


@given(
    st.lists(st.lists(st.sampled_from(CELLS), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(",;\t"),
)
def test_an_id_is_a_whole_cell_whatever_separates_the_cells(
    rows: list[list[str]], separator: str
) -> None:
    found = read_lines(written(rows, separator))
    if isinstance(found, Pasted) and not found.errors:
        whole = {int(cell) for row in rows for cell in row if cell.isdigit()}
        assert set(found.customer_ids) <= whole
        assert {each.customer_id for each in found.doubts} <= whole


@given(TYPED)
@example('"1\n2"\n"')
def test_any_pasted_text_is_read_or_told_or_asked_about(typed: str) -> None:
    found = read_lines(typed)
    if isinstance(found, ColumnChoice):
        assert found.columns
        return
    assert found.customer_ids or found.doubts or found.errors
    assert len(found.customer_ids) + len(found.doubts) <= MAX_CUSTOMERS
    assert all(each.why.isprintable() for each in (*found.errors, *found.left_out))
    assert set(found.customer_ids) <= standing_alone(typed.replace("|", " "))


@given(TYPED)
def test_whichever_column_a_person_chooses_is_read_or_told(typed: str) -> None:
    choice = read_lines(typed)
    for column in choice.columns if isinstance(choice, ColumnChoice) else ():
        found = read_lines(typed, column=column.key)
        assert isinstance(found, Pasted)
        assert found.customer_ids or found.doubts or found.errors


@given(MANY, st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_a_pasted_column_is_read_in_its_order(ids: list[int], line_break: str) -> None:
    assert read_lines(line_break.join(map(str, ids))) == Pasted(tuple(ids))


@given(MANY.filter(lambda ids: len(ids) > 1), st.sampled_from(["\n", "\r\n"]))
def test_a_pasted_column_means_the_same_in_a_command(ids: list[int], line_break: str) -> None:
    assert parse(line_break.join(map(str, ids))) == Ask(tuple(ids), "")


def test_a_column_that_a_person_has_chosen_is_taken_and_what_it_lacks_is_listed() -> None:
    pasted = "2554529\tBikes\t7\n3100017\tTents\n\tDoe\t8\n"
    choice = read_lines(pasted)
    assert isinstance(choice, ColumnChoice)
    first, _, last = choice.columns
    assert read_lines(pasted, column=first.key) == Pasted(
        (ONE, TWO), left_out=(LineError(3, "There is no Stax Bill ID."),)
    )
    assert read_lines(pasted, column=last.key) == Pasted(
        (7, 8), left_out=(LineError(2, "There is no Stax Bill ID."),)
    )


def test_a_chosen_column_without_an_id_holds_references() -> None:
    pasted = "Bikes\tREF-7\nTents\tREF-8"
    choice = read_lines(pasted)
    assert isinstance(choice, ColumnChoice)
    assert read_lines(pasted, column=choice.columns[1].key) == Pasted(
        (), doubts=(Doubt("REF-7"), Doubt("REF-8"))
    )


def test_a_column_to_choose_is_shown_by_its_name_and_first_cells() -> None:
    choice = read_lines("Invoice No,Company\n1,a\n2,b\n3,c\n4,d\n")
    assert isinstance(choice, ColumnChoice)
    assert [(each.name, each.cells) for each in choice.columns] == [
        ("Invoice No", ("1", "2", "3")),
        ("Company", ("a", "b", "c")),
    ]


def test_a_key_of_another_text_chooses_nothing() -> None:
    assert read_lines("2554529\n3100017", column="4-7") == Pasted((ONE, TWO))


def test_of_the_audit_log_the_lines_without_a_customer_are_listed() -> None:
    found = read_lines((SAMPLES / "fusebill_audit_log.csv").read_text())
    assert found == Pasted((ONE, TWO), left_out=(LineError(3, "There is no Stax Bill ID."),))


def test_a_row_with_a_cell_too_many_is_left_out_since_its_cells_have_moved() -> None:
    found = read_lines("Company,Balance,Stax Bill ID\nBikes,0,2554529\nDoe, 7,99,3100017\n")
    assert found == Pasted(
        (ONE,), left_out=(LineError(3, "This line has more cells than the first one."),)
    )


def test_more_pasted_customers_than_a_card_takes_are_told_with_their_number() -> None:
    lines = [str(ONE + number) for number in range(51)]
    found = read_lines("\n".join([*lines, *lines]))
    why = "These are 51 customers; one card takes at most 50. Split them up."
    assert isinstance(found, Pasted)
    assert found.errors == (LineError(None, why),)
    assert read_lines("\n".join(lines[:50])) == Pasted(tuple(map(int, lines[:50])))


@pytest.mark.parametrize("text", ["x" * 20_000, '"' + "x\n" * 1_500, "a,b\n" * 1_500])
def test_a_text_of_any_length_is_read(text: str) -> None:
    assert read_lines(text)
