"""Tables of many customers: Slack takes them, no id is cut, and the same is there as lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from unicodedata import bidirectional

import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Customer, HubSpotIds, Request
from bot.messages.block_kit import Message, cut, header, say
from bot.messages.tables import NAME_LENGTHS, with_table
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import (
    CARD,
    CUSTOMERS,
    NO_LINKS,
    STOLEN_BIKES,
    inlines,
    mentions_and_links,
    refused_by_slack,
)

MANY = st.lists(CUSTOMERS, min_size=1, max_size=20)
BESIDE = st.integers(min_value=0, max_value=6_000)
NOBODY = Customer(3100017)
WORST = Customer(10**18 - 1, HubSpotIds(10**18 - 1, 10**18 - 2), "", "🚲" * 9_000, "x" * 9_000)


def drawn(customers: list[Customer], beside: int = 0) -> Message:
    """A message with a table, with so many characters beside it."""
    requests: list[Request] = [replace(CARD, customer=each) for each in customers]
    title = header("Unlatch many customers?")
    return with_table([title], requests, [[[say("x" * beside)]]] if beside else [], links=NO_LINKS)


def as_lines(message: Message) -> Message:
    """The message where Slack takes no table."""
    assert message.without_table
    return Message(message.text, message.without_table)


def cells(message: Message) -> list[list[str]]:
    """The texts of a table's cells, without its header row."""
    return [[cell["text"] for cell in row] for row in message.blocks[1]["rows"][1:]]


def name_of(customer: Customer) -> str:
    return customer.company_name or customer.name


@given(MANY, BESIDE)
def test_slack_takes_every_table_and_every_line_of_it_and_no_id_is_cut(
    customers: list[Customer], beside: int
) -> None:
    message = drawn(customers, beside)
    for each in (message, as_lines(message)):
        assert refused_by_slack(each) == []
        assert mentions_and_links(each) == set()
    for customer, row in zip(customers, cells(message), strict=True):
        assert row[0] == str(customer.customer_id)
        assert row[2] == f"{customer.ids.vid or '-'} / {customer.ids.company_id or '-'}"


@given(MANY, BESIDE)
def test_all_names_are_cut_to_one_length_and_a_short_one_is_whole(
    customers: list[Customer], beside: int
) -> None:
    found = [(row[1], row[3]) for row in cells(drawn(customers, beside))]
    assert found in [
        [
            (cut(name_of(each), length) or "-", cut(each.reference, length) or "-")
            for each in customers
        ]
        for length in NAME_LENGTHS
    ]


@given(MANY)
def test_the_lines_say_what_the_table_says(customers: list[Customer]) -> None:
    message = drawn(customers)
    found = [inline["text"] for inline in inlines(as_lines(message))]
    assert found[1::2] == [cell for row in cells(message) for cell in row]
    # a title stands between a name and the next number
    for first, second in pairwise(found):
        if any(bidirectional(character) in ("R", "AL") for character in first):
            assert not second[0].isdigit()
            assert any(bidirectional(character) == "L" for character in second)


def test_a_table_has_a_header_row_and_its_columns_settings() -> None:
    table = drawn([STOLEN_BIKES]).blocks[1]
    assert text_of([table]).splitlines() == [
        "Id | Company | Contact / company | Reference",
        "2554529 | Stolen Bikes | 101 / 202 | REF-7",
    ]
    assert [(each["align"], each["is_wrapped"]) for each in table["column_settings"]] == [
        ("right", False),
        ("left", True),
        ("left", True),
        ("left", False),
    ]


def test_the_lines_name_each_value() -> None:
    lines = as_lines(drawn([STOLEN_BIKES, NOBODY]))
    assert text_of(lines.blocks).splitlines()[1:] == [
        "Id 2554529, Company Stolen Bikes, Contact / company 101 / 202, Reference REF-7",
        "Id 3100017, Company -, Contact / company - / -, Reference -",
    ]


@pytest.mark.parametrize(("count", "length"), [(1, 200), (50, 30)])
def test_the_longest_values_of_many_customers_fit(count: int, length: int) -> None:
    message = drawn([WORST] * count)
    assert (refused_by_slack(message), refused_by_slack(as_lines(message))) == ([], [])
    row = [str(10**18 - 1), cut("🚲" * 200, length), f"{10**18 - 1} / {10**18 - 2}"]
    assert cells(message) == [[*row, cut("x" * 300, length)]] * count


def test_where_there_is_hardly_room_only_names_are_cut() -> None:
    (row, *_others) = cells(drawn([WORST] * 50, 6_000))
    assert row == [str(10**18 - 1), "🚲🚲🚲…", f"{10**18 - 1} / {10**18 - 2}", "xxxxxxx…"]
