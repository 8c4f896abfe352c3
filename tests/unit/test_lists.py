"""Lists for one person: Slack accepts them, whatever is in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Ask
from bot.domain.models import Customer, HubSpotIds, Kind, Outcome, Verdict
from bot.domain.typed_text import parse
from bot.inbound.payloads import meaning
from bot.messages import lists
from bot.messages.block_kit import Message
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
    BY_LINKS,
    CARD,
    CUSTOMERS,
    LINKS,
    NO_LINKS,
    NUMBERS,
    PERMALINKS,
    REQUESTS,
    STOLEN_BIKES,
    TEXTS,
    wrong_with,
)

ASKS = (
    st.builds(lambda number, reason: parse(f"{number} {reason[:400]}"), NUMBERS, TEXTS)
    .filter(lambda typed: isinstance(typed, Ask))
    .map(lambda typed: cast("Ask", typed))
)
HITS = st.lists(CUSTOMERS, min_size=1, max_size=5)
ADDRESSES = st.none() | st.just("https://sandbox.slack.com/archives/C0BILLING/p1700000000000100")
PAST = st.lists(st.tuples(REQUESTS, ADDRESSES), max_size=10)
PEOPLE = st.lists(st.sampled_from(["U0ALICE", "U0BOB", "W0CAROL"]), max_size=3)
LISTS = st.one_of(
    st.builds(lists.did_you_mean, ASKS, HITS, ALL_LINKS),
    st.builds(lists.found, TEXTS, st.just([]) | HITS, ALL_LINKS, more=st.booleans()),
    st.builds(lists.history, st.none() | NUMBERS, PAST, PEOPLE),
    st.just(lists.usage()),
)


def lines(message: Message) -> list[str]:
    return text_of(message.blocks).splitlines()


def buttons_of(message: Message) -> list[dict[str, Any]]:
    return [e for b in message.blocks if b["type"] == "actions" for e in b["elements"]]


@given(LISTS)
def test_slack_accepts_every_list_and_it_mentions_nobody_else(message: Message) -> None:
    known = {"<@U0ALICE>", "<@U0BOB>", "<@W0CAROL>"}
    assert wrong_with(message, known, *BY_LINKS, PERMALINKS) == []


@given(ASKS, HITS)
def test_each_button_asks_for_its_customer_with_the_typed_reason(
    ask: Ask, hits: list[Customer]
) -> None:
    buttons = buttons_of(lists.did_you_mean(ask, hits, NO_LINKS))
    for hit, button in zip(hits, buttons, strict=True):
        assert meaning({"actions": [button]}) == (
            Ask((hit.customer_id,), ask.reason),
            "/unlatch",
        )


@given(HITS, TEXTS)
def test_each_search_result_has_a_button_without_a_reason(hits: list[Customer], text: str) -> None:
    buttons = buttons_of(lists.found(text, hits, NO_LINKS, more=False))
    asked = [meaning({"actions": [button]})[0] for button in buttons]
    assert asked == [Ask((hit.customer_id,), "") for hit in hits]


def test_a_search_result_shows_the_customer_and_its_ids() -> None:
    assert lines(lists.found("bikes", [STOLEN_BIKES], LINKS, more=False)) == [
        "🔎 Customers matching bikes",
        "Stolen Bikes, Sam Spokes",
        "Stax Bill ID 2554529, Customer ID REF-7",
        "latched to contact 101 and company 202",
        "[Use this one]",
    ]


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        (Customer(7), ["no name", "Stax Bill ID 7", "not latched to anything"]),
        (
            Customer(7, HubSpotIds(101), company_name="Bikes", status="Hold"),
            ["Bikes · ⚠️ On hold", "Stax Bill ID 7", "latched to contact 101"],
        ),
    ],
    ids=["nothing known", "a company"],
)
def test_empty_fields_are_left_out(customer: Customer, expected: list[str]) -> None:
    assert lines(lists.found("x", [customer], NO_LINKS, more=False))[1:-1] == expected


STATES = [
    ({}, "⏳ waiting for a click"),
    ({"verdict": Verdict.CONFIRMED}, "⏳ in progress"),
    ({"verdict": Verdict.CANCELLED}, "🚫 cancelled"),
    ({"outcome": Outcome.CLEARED}, "✅ unlatched"),
    ({"outcome": Outcome.CLEARED, "undone_by": "beef"}, "↩️ undone"),
]
UNDONE = [
    ({}, "⏳ undo waiting for a click"),
    ({"verdict": Verdict.CONFIRMED}, "⏳ undo in progress"),
    ({"verdict": Verdict.CANCELLED}, "🚫 undo cancelled"),
    ({"outcome": Outcome.RESTORED}, "↩️ restored"),
    ({"outcome": Outcome.CHANGED}, "⚠️ undo not done, the ids changed"),
]


def state_of(changes: dict[str, Any]) -> str:
    """The state that the history shows for a request with these changes."""
    if "outcome" in changes:
        changes = changes | {"verdict": Verdict.CONFIRMED}
    _title, state, _asked = lines(lists.history(None, [(replace(CARD, **changes), None)], []))
    return state.removesuffix(" · 2554529 Stolen Bikes")


@pytest.mark.parametrize(("changes", "expected"), STATES, ids=[state for _c, state in STATES])
def test_a_past_request_shows_its_state(changes: dict[str, Any], expected: str) -> None:
    assert state_of(changes) == expected


@pytest.mark.parametrize(("changes", "expected"), UNDONE, ids=[state for _c, state in UNDONE])
def test_a_past_undo_is_named_as_one(changes: dict[str, Any], expected: str) -> None:
    assert state_of(changes | {"kind": Kind.RELATCH}) == expected


def test_an_incomplete_search_without_hits_does_not_say_that_nothing_matches() -> None:
    shown_text = text_of(lists.found("a", [], NO_LINKS, more=True).blocks)
    assert shown_text == "🔎 Fusebill returns too many customers for a: type more of the text."
