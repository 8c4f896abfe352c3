"""Ids of many customers are read or refused; where a text has two meanings, both are returned."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from bot.domain import commands
from bot.domain.batch_input import (
    MAX_CUSTOMERS,
    MAX_DIGITS,
    Ambiguous,
    LineError,
    Pasted,
    Reading,
    Refused,
    read_ids,
    read_lines,
)

ONE, TWO, THREE = 2554529, 3100017, 3100025
PIECES = ["#", "2554529", "0", "12", ",", ";", "\n", "\t", " ", "\r\n", "٣", "moved", "1,500", '"']
TYPED = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=()), max_size=5), max_size=9
).map("".join)
IDS = st.integers(min_value=1, max_value=10**MAX_DIGITS - 1)
MANY = st.lists(IDS, min_size=1, max_size=MAX_CUSTOMERS, unique=True)
SEPARATORS = st.sampled_from([", ", "; ", "\n", "\r\n", " ,\t", ",\n", " ;", ";;", "\t\n "])
REASONS = st.sampled_from(["", "moved portal", "3rd party", "after 12, 13 and #14", "- R&D <x>"])


@pytest.mark.parametrize(
    ("typed", "ids", "reason"),
    [
        ("2554529", [ONE], ""),
        ("2554529 moved portal", [ONE], "moved portal"),
        ("2554529, 3100017; #3100025 moved portal", [ONE, TWO, THREE], "moved portal"),
        ("2554529,3100017;3100025", [ONE, TWO, THREE], ""),
        ("#2554529\n#3100017\r\n3100025\rmoved\nportal", [ONE, TWO, THREE], "moved portal"),
        ("2554529 , 3100017 ;\t3100025", [ONE, TWO, THREE], ""),
        ("2554529,, ;3100017,", [ONE, TWO], ""),
        (" , 2554529", [ONE], ""),
        ("2554529 \n 3100017", [ONE, TWO], ""),
        ("2554529, 3100017, 2554529, #03100017", [ONE, TWO], ""),
        ("2554529, moved portal", [ONE], "moved portal"),
        ("2554529, moved, 3100017", [ONE], "moved, 3100017"),
        ("2554529, 3rd party, 3100017", [ONE], "3rd party, 3100017"),
        ("2554529 12.5 % off", [ONE], "12.5 % off"),
        ("2554529 0 invoices", [ONE], "0 invoices"),
        ("2554529 3rd of May", [ONE], "3rd of May"),
        ("2554529 and 12,345 contacts", [ONE], "and 12,345 contacts"),
        ("2554529 + 3,100,017", [ONE], "+ 3,100,017"),
        ("2554529, #moved", [ONE], "#moved"),
        ("2554529, 3100017 moved\x00to\ud800you", [ONE, TWO], "moved to you"),
        ("101, 202, 303", [101, 202, 303], ""),
        # what nobody sees around an id
        ("\u200b2554529\ufeff,\u200b3100017\u2060", [ONE, TWO], ""),
        ("2554529 \u200b moved", [ONE], "moved"),
        ("2554529,303", [ONE, 303], ""),
    ],
)
def test_ids_and_a_reason_are_read(typed: str, ids: list[int], reason: str) -> None:
    assert read_ids(typed) == Reading(tuple(ids), reason)


@pytest.mark.parametrize(
    ("typed", "many", "few"),
    [
        ("2554529 3100017", Reading((ONE, TWO)), Reading((ONE,), "3100017")),
        ("2554529\t3100017", Reading((ONE, TWO)), Reading((ONE,), "3100017")),
        ("2554529\u00a0#3100017", Reading((ONE, TWO)), Reading((ONE,), "#3100017")),
        ("2554529,\u200b \u200b3100017", Reading((ONE, TWO)), Reading((ONE,), "\u200b3100017")),
        ("2554529\u20283100017", Reading((ONE, TWO)), Reading((ONE,), "3100017")),
        (
            "2554529 12 months free",
            Reading((ONE, 12), "months free"),
            Reading((ONE,), "12 months free"),
        ),
        (
            "2554529, 3100017 12 months, free",
            Reading((ONE, TWO, 12), "months, free"),
            Reading((ONE, TWO), "12 months, free"),
        ),
        (
            "2554529 3100017, 3100025",
            Reading((ONE, TWO, THREE)),
            Reading((ONE,), "3100017, 3100025"),
        ),
        (
            "2554529 12, 12.5 or 0",
            Reading((ONE, 12), "12.5 or 0"),
            Reading((ONE,), "12, 12.5 or 0"),
        ),
        (
            "2554529 1,500 invoices",
            Reading((ONE, 1, 500), "invoices"),
            Reading((ONE,), "1,500 invoices"),
        ),
        ("2554529 2554529", Reading((ONE,)), Reading((ONE,), "2554529")),
    ],
)
def test_where_only_blanks_stand_between_numbers_nothing_is_guessed(
    typed: str, many: Reading, few: Reading
) -> None:
    assert read_ids(typed) == Ambiguous(many, few)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "The customer's id is missing."),
        (" ,;\n", "The customer's id is missing."),
        ("abc 2554529", "'abc' is not a customer id: digits only."),
        ("#", "digits only"),
        ("0, 2554529", "No customer has the id 0."),
        ("٣٤٥, 2554529", "digits only"),
        ("2554529, 0", "No customer has the id 0."),
        ("2554529, " + "1" * 19, "a customer id has at most 18 digits"),
        ("2554529, ٣٤٥", "'٣٤٥' is not a customer id: digits only."),
        ("2554529, 3100017: moved", "'3100017:' is not a customer id"),
        ("2554529, 31OOO17, 3100025", "'31OOO17' is not a customer id"),
        ("2554529\n#31OOO17", "'#31OOO17' is not a customer id"),
        ("1,500", "'1,500' looks like one number"),
        ("2,554,529, 3100017 moved", "'2,554,529,' looks like one number"),
        ("2554529; #3,100,017", "'#3,100,017' looks like one number"),
        ("x" * 9_000, "digits only"),
        ("2,\u200b554,529", "looks like one number"),
        ("2 554 529", "Is 2554529 one id? Then type it without blanks."),
        ("2\u202f554\u202f529 moved", "Is 2554529 one id?"),
        ("#12\u00a0345, moved", "Is 12345 one id?"),
    ],
)
def test_a_mistyped_id_is_refused_by_name(typed: str, why: str) -> None:
    refused = read_ids(typed)
    assert isinstance(refused, Refused)
    assert why in refused.why
    assert refused.why.isprintable()
    assert len(refused.why) < 250


@pytest.mark.parametrize("separator", [", ", "\n", " "])
def test_more_customers_than_a_card_takes_are_refused_with_their_number(separator: str) -> None:
    ids = [str(ONE + number) for number in range(63)]
    refused = Refused("These are 63 customers; one card takes at most 50. Split them up.")
    assert read_ids(separator.join(ids)) == refused
    assert read_ids(separator.join([*ids, *ids])) == refused
    assert read_ids(", ".join([*ids[:50], ids[0]])) == Reading(tuple(map(int, ids[:50])))


@given(MANY, st.data(), REASONS)
def test_any_separators_and_marks_give_the_same_ids(
    ids: list[int], data: st.DataObject, reason: str
) -> None:
    marks = st.sampled_from(["", "#"])
    typed = "".join(f"{data.draw(marks)}{each}{data.draw(SEPARATORS)}" for each in ids)
    assert read_ids(typed + reason) == Reading(tuple(ids), reason)


@given(TYPED)
@example("2554529\x85" + "12")
def test_any_text_is_read_without_raising(typed: str) -> None:
    read = read_ids(typed)
    if isinstance(read, Refused):
        assert read.why.isprintable()
        return
    for reading in [read] if isinstance(read, Reading) else [read.many, read.few]:
        assert 1 <= len(reading.customer_ids) <= MAX_CUSTOMERS
        assert len(set(reading.customer_ids)) == len(reading.customer_ids)
        assert all(str(each) in typed for each in reading.customer_ids)
        assert reading.reason == " ".join(reading.reason.split())
        reading.reason.encode()


@given(TYPED)
def test_two_readings_take_the_same_text_as_ids_or_as_the_reason(typed: str) -> None:
    read = read_ids(f"{ONE} {TWO}{typed}")
    if isinstance(read, Ambiguous):
        assert read.many.customer_ids[:1] == read.few.customer_ids == (ONE,)
        assert read.few.reason.startswith(str(TWO))
        assert read.few.reason.endswith(read.many.reason)


@given(st.integers(min_value=-5, max_value=10**20).map(str), REASONS)
def test_a_command_for_one_customer_means_what_it_meant_before(number: str, reason: str) -> None:
    read, command = read_ids(f"{number} {reason}"), commands.parse(f"{number} {reason}")
    if isinstance(command, commands.Ask):
        assert read == Reading((command.customer_id,), command.reason)
    else:
        assert isinstance(read, Refused)


@pytest.mark.parametrize(
    ("pasted", "ids"),
    [
        ("2554529\n3100017\n\n 3100025 \n", [ONE, TWO, THREE]),
        ("2554529\r\n#3100017\r3100025", [ONE, TWO, THREE]),
        ("2554529\n3100017\n2554529", [ONE, TWO]),
        ("2554529\tStolen Bikes\tREF-7\t101\t202", [ONE]),
        ("Stolen Bikes\t2554529\t101", [ONE]),
        ("24 Hour Bikes\t2554529\n7\t3100017", [ONE, 7]),
        ("2554529\t101\t202", [ONE]),
        ("\t\t2554529", [ONE]),
        ("2554529,Stolen Bikes,REF-7", [ONE]),
        ('"2554529";"Stolen Bikes; Ltd"', [ONE]),
        ("'2554529", [ONE]),
        ("\u200b2554529\u00ad\tBikes", [ONE]),
        ("\ufeff2554529\n3100017,", [ONE, TWO]),
        ("2554529 Stolen Bikes, Inc.\nBikes 3100017", [ONE, TWO]),
        ("2554529 Bikes 24 / 7\n3100017, Route 66 & 67, moved", [ONE, TWO]),
        ("https://admin.example/customers/2554529\n3100017", [ONE, TWO]),
        ("<https://admin.example/v1/2554529/edit?a=1#b>\tBikes\t3100017", [ONE]),
        ("Bikes\thttps://admin.example/#/customers/2554529?tab=1", [ONE]),
        ("Stolen Bikes https://admin.example/customers/2554529, moved", [ONE]),
        ("https://app.hubspot.com/contacts/7/record/0-1/101, 2554529", [ONE]),
    ],
)
def test_the_first_id_of_each_pasted_line_counts(pasted: str, ids: list[int]) -> None:
    assert read_lines(pasted) == Pasted(tuple(ids))


@pytest.mark.parametrize(
    ("pasted", "line", "why"),
    [
        ("2554529\n\nStolen Bikes\n3100017", 3, "There is no customer id in 'Stolen Bikes'."),
        ("Customer\tCompany\n2554529\tBikes", 1, "There is no customer id in 'Customer Company'."),
        ("24 Hour Bikes\tREF-7", 1, "There is no customer id in '24 Hour Bikes REF-7'."),
        ("2554529\n2554529, 3100017", 2, "2 numbers stand in this line"),
        ("2554529 3100017 3100025", 1, "3 numbers stand in this line"),
        ("2,554,529", 1, "without thousands separators"),
        ("2554529\r\n0\r\n", 2, "No customer has the id 0."),
        ("0\t2_000", 1, "No customer has the id 0."),
        ("1" * 19, 1, "a customer id has at most 18 digits"),
        ("2554529.0", 1, "There is no customer id in '2554529.0'."),
        ("https://app.hubspot.com/contacts/7/record/0-1/101", 1, "an address of HubSpot"),
        ("7\nhttps://admin.example/a/1/b/2", 2, "several numbers in its path"),
        ("https://admin.example/customers/0", 1, "No customer has the id 0."),
        ("https://[junk/1", 1, "This is not an address"),
        ("https://a.example/c/2554529, https://a.example/c/7", 1, "2 numbers stand in this line"),
        ("2554529 and 3100017", 1, "2 numbers stand in this line"),
        ("2554529 and 3100017 moved", 1, "2 numbers stand in this line"),
        ("2554529 & 3100017 + 3100025", 1, "3 numbers stand in this line"),
        ("2554529 moved portal, 3100017", 1, "2554529 and 3100017 could both be the id"),
        ("24 Hour Bikes, 3100017", 1, "24 and 3100017 could both be the id"),
        ("٣٤٥", 1, "There is no customer id in '٣٤٥'."),
        ("", None, "There is no customer id here"),
        (" \n\t\n", None, "There is no customer id here"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(
    pasted: str, line: int | None, why: str
) -> None:
    (error,) = read_lines(pasted).errors
    assert error.line == line
    assert why in error.why


def test_a_pasted_address_that_fits_the_admins_names_a_customer() -> None:
    url = "https://a.example/7/customer/{id}/view"
    assert read_lines("https://a.example/7/customer/2554529/view", url) == Pasted((ONE,))


def test_each_line_that_cannot_be_understood_is_told() -> None:
    pasted = read_lines("a\n2554529\nb")
    assert [error.line for error in pasted.errors] == [1, 3]
    assert pasted.customer_ids == (ONE,)


def test_more_pasted_customers_than_a_card_takes_are_told_with_their_number() -> None:
    lines = [str(ONE + number) for number in range(51)]
    why = "These are 51 customers; one card takes at most 50. Split them up."
    assert read_lines("\n".join([*lines, *lines])).errors == (LineError(None, why),)
    assert read_lines("\n".join(lines[:50])).errors == ()


@given(MANY, st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_a_pasted_column_is_read_in_its_order(ids: list[int], line_break: str) -> None:
    assert read_lines(line_break.join(map(str, ids))) == Pasted(tuple(ids))


@given(MANY, st.sampled_from(["\n", "\r\n"]))
def test_a_pasted_column_means_the_same_in_a_command(ids: list[int], line_break: str) -> None:
    pasted = line_break.join(map(str, ids))
    assert read_ids(pasted) == Reading(read_lines(pasted).customer_ids)


@given(TYPED)
def test_any_pasted_text_is_read_or_told(typed: str) -> None:
    pasted = read_lines(typed)
    assert pasted.customer_ids or pasted.errors
    assert len(pasted.customer_ids) <= MAX_CUSTOMERS
    assert all(error.why.isprintable() for error in pasted.errors)
    assert all(str(each) in typed for each in pasted.customer_ids)
