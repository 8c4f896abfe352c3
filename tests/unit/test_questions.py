"""Questions about customers in doubt: Slack accepts them, and each button says what it does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, strategies as st

from bot.domain.commands import Ask, Doubt, Move, Question, tidy_reason
from bot.domain.models import Customer, Request
from bot.messages.block_kit import Message
from bot.messages.questions import waits_already, whom
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
    CARD,
    CUSTOMERS,
    NO_LINKS,
    NUMBERS,
    TEXTS,
    mentions_and_links,
    refused_by_slack,
    wrong_with,
)

URL = "https://sandbox.slack.example/archives/C0BILLING/p1"

DOUBTS = st.one_of(
    st.builds(Doubt, TEXTS),
    st.builds(Doubt, TEXTS, NUMBERS),
    st.builds(Doubt, TEXTS, NUMBERS, st.just(True)),  # hypothesis passes it on
)
REASONS = TEXTS.map(lambda text: tidy_reason(text[:500]))
READINGS = st.builds(Ask, st.lists(NUMBERS, max_size=3, unique=True).map(tuple), REASONS)
FEW = st.builds(Ask, st.lists(NUMBERS, min_size=1, max_size=3, unique=True).map(tuple), REASONS)
ANSWERED = st.lists(st.tuples(DOUBTS, st.lists(CUSTOMERS, max_size=5)), min_size=1, max_size=8)


def zero(number: int) -> Customer:
    return Customer(number, company_name=f"Zero {number}")


def asked(
    *hits: list[int], ids: tuple[int, ...] = (), reason: str = "", few: Ask | None = None
) -> Message:
    """The question about as many references, which these customers have."""
    doubts = tuple(Doubt(f"REF-{number}") for number in range(len(hits)))
    found = [[zero(each) for each in one] for one in hits]
    return whom(Question(Ask(ids, reason, doubts), few), found, NO_LINKS)


def choices(message: Message) -> list[tuple[str, list[int]]]:
    """The label of each button, and the customers that it asks for."""
    pressable = [e for b in message.blocks if b["type"] == "actions" for e in b["elements"]]
    values: list[dict[str, Any]] = [json.loads(each["value"]) for each in pressable]
    texts = [each["text"]["text"] for each in pressable]
    return [(text, value["ids"]) for text, value in zip(texts, values, strict=True)]


@given(READINGS, ANSWERED, st.none() | FEW, ALL_LINKS)
def test_slack_accepts_every_question(
    meant: Ask,
    answered: list[tuple[Doubt, list[Customer]]],
    few: Ask | None,
    links: Any,
) -> None:
    doubts, hits = tuple(doubt for doubt, _ in answered), [each for _, each in answered]
    question = Question(Ask(meant.customer_ids, meant.reason, doubts), few)
    message = whom(question, hits, links)
    assert refused_by_slack(message) == []
    offered = {each for _label, ids in choices(message) for each in ids}
    known = {each.customer_id for one in hits for each in one} | set(meant.customer_ids)
    assert offered <= known | set(few.customer_ids if few else ())


def test_customers_are_choices_alone_or_together_each_with_what_is_certain() -> None:
    assert choices(asked([1, 2])) == [("Zero 1 (1)", [1]), ("Zero 2 (2)", [2])]
    assert choices(asked([1, 2], ids=(9,))) == [
        ("Zero 1 (1) and 1 more", [9, 1]),
        ("Zero 2 (2) and 1 more", [9, 2]),
    ]
    # one customer for each reference
    assert choices(asked([1], [2], [])) == [("Zero 2 (2) and 1 more", [1, 2])]
    assert choices(asked([1], [1])) == [("Zero 1 (1)", [1])]


def test_several_doubts_of_several_customers_are_choices_of_one_each() -> None:
    found = choices(asked([1, 2], [3, 4], ids=(9,)))
    assert [ids for _label, ids in found] == [[9], [1], [2], [3], [4]]


def test_of_many_choices_it_is_said_that_there_are_more() -> None:
    message = asked([1, 2, 3], [4, 5, 6])
    assert len(choices(message)) == 5
    assert "There are more: ask about one of them at a time." in text_of(message.blocks)


def test_nobody_leaves_what_is_certain_and_the_rest_as_the_reason() -> None:
    message = asked([], ids=(9,), few=Ask((9,), "REF-0"))
    assert choices(message) == [
        ("One customer", [9]),
        ("One customer, the rest is the reason", [9]),
    ]
    assert "REF-0 is not a Stax Bill ID or Customer ID." in text_of(message.blocks)


def test_fifty_references_fit_a_message() -> None:
    message = asked(*[[number] for number in range(1, 51)], reason="x" * 500)
    assert [ids for _label, ids in choices(message)] == [list(range(1, 51))]
    assert "REF-49 may be: Zero 50 (50), no contact and no company" in text_of(message.blocks)
    assert mentions_and_links(message) == set()


WAITING = st.lists(
    st.tuples(st.builds(lambda c: replace(CARD, customer=c), CUSTOMERS), st.none() | st.just(URL)),
    min_size=1,
    max_size=50,
)
MOVES = st.builds(
    Move,
    NUMBERS,
    st.fixed_dictionaries({"vid": st.none() | NUMBERS, "company_id": NUMBERS}),
    st.none() | NUMBERS,
    REASONS,
)


@given(WAITING, READINGS | MOVES)
def test_slack_accepts_every_question_about_cards_that_wait(
    waiting: list[tuple[Request, str | None]], wanted: Ask | Move
) -> None:
    message = waits_already(waiting, wanted, "/unlatch")
    assert message
    assert wrong_with(message, {"<@U0ALICE>"}, URL, f"<{URL}") == []


def test_what_no_button_can_carry_is_not_asked_about() -> None:
    longest = Ask(tuple(range(10**17, 10**17 + 50)), '"' * 500)
    assert waits_already([(CARD, None)], longest, "/unlatch")
    assert waits_already([(CARD, None)], longest, "/unlatch-of-the-test-app") is None


def test_of_many_cards_that_wait_the_first_are_named() -> None:
    message = waits_already([(CARD, None)] * 12, Ask((1, 2), ""), "/unlatch")
    assert message
    assert text_of(message.blocks).count("asked by") == 10
    assert "\n2 more\n" in text_of(message.blocks)
