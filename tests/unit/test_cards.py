"""Cards and thread replies: Slack accepts them, whatever the ledger holds."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.models import (
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Request,
    Verdict,
)
from bot.messages.block_kit import Message
from bot.messages.card import Action, draw, duplicate
from bot.messages.phrases import Links
from bot.messages.results import result_of
from bot.messages.thread import EVENTS_A_REPLY, next_reply
from bot.sandbox.slack.validation.block_kit import buttons, text_of
from tests.support.hostile import (
    ALL_LINKS,
    BY_LINKS,
    CARD,
    EVENTS,
    LINKS,
    NO_LINKS,
    NOON,
    PERMALINKS,
    REQUESTS,
    TEXTS,
    card_of_one,
    event,
    inlines,
    people_of,
    shown,
    wrong_with,
)
from tests.support.many import card_of, confirmed, customers, happened
from tests.support.names import BOB

OUTCOMES = [EventType.REFUSED, EventType.UNKNOWN, EventType.CHANGED, EventType.CLEARED]
ERRORS = st.lists(TEXTS, min_size=1, max_size=20)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A message, and what it was built from."""

    message: Message
    request: Request
    people: set[str]


def question(request: Request, links: Links) -> Message:
    """The card of a request that waits for a decision."""
    return draw_of(replace(request, verdict=None, outcome=None), links)


def draw_of(request: Request, links: Links, *events: Event) -> Message:
    return draw(card_of_one(request, *events), links)


@st.composite
def cards(draw: st.DrawFn) -> Drawn:
    request = draw(REQUESTS)
    links = draw(ALL_LINKS)
    events = tuple(draw(st.lists(EVENTS, max_size=3)))
    card = card_of_one(request, *events)
    message = draw(
        st.sampled_from(
            [
                question(request, links),
                draw_of(replace(request, verdict=Verdict.CONFIRMED, outcome=None), links),
                draw_of(
                    replace(request, verdict=request.verdict or Verdict.EXPIRED), links, *events
                ),
                duplicate(card, None),
                duplicate(card, "https://sandbox.slack.com/archives/C0BILLING/p1"),
            ]
        )
    )
    return Drawn(message, request, people_of(card))


@st.composite
def replies(draw: st.DrawFn) -> Drawn:
    """A reply as the thread is told: some events, at most one of them an outcome."""
    request = draw(REQUESTS)
    why = draw(TEXTS)
    earlier = [
        event(EventType.REQUESTED, "U0ALICE", reason=request.reason),
        *[event(EventType.DECISION_DENIED, "U0BOB", why=why)] * (EVENTS_A_REPLY - 3),
        event(EventType.CONFIRMED, "U0BOB"),
    ]
    outcome = event(
        draw(st.sampled_from(OUTCOMES)), texts=draw(ERRORS), status=409, seconds=0.1, why="Refused."
    )
    card = card_of_one(request, *earlier, outcome)
    reply = next_reply(card, 0, draw(ALL_LINKS))
    assert reply
    assert reply.shown == EVENTS_A_REPLY
    return Drawn(reply.message, request, people_of(card))


@st.composite
def lone_replies(draw: st.DrawFn) -> Drawn:
    request, only = draw(REQUESTS), draw(EVENTS)
    # a quiet event waits for the next that is not
    card = card_of_one(request, only, event(EventType.DECISION_DENIED, "U0BOB", why="No."))
    reply = next_reply(card, 0, draw(ALL_LINKS))
    assert reply
    return Drawn(reply.message, request, people_of(card))


ANY = st.one_of(cards(), replies(), lone_replies())


@given(ANY)
def test_slack_accepts_every_message_and_it_mentions_nobody_else(drawn: Drawn) -> None:
    assert wrong_with(drawn.message, drawn.people, *BY_LINKS, PERMALINKS) == []


@given(cards())
def test_every_card_names_the_id_first_and_its_buttons_carry_the_requests(drawn: Drawn) -> None:
    customer_id = str(drawn.request.customer.customer_id)
    header = drawn.message.blocks[0]
    assert header["type"] == "header"
    assert customer_id in header["text"]["text"]
    assert customer_id in drawn.message.text.splitlines()[0]
    elements = [element for block in drawn.message.blocks for element in block.get("elements", ())]
    values = {element["value"] for element in elements if element["type"] == "button"}
    assert values <= {drawn.request.id}


@given(REQUESTS, ALL_LINKS)
def test_a_confirmation_card_shows_every_id_that_would_be_cleared(
    request: Request, links: Any
) -> None:
    card = text_of(question(request, links).blocks)
    ids = request.customer.ids
    assert ids.vid is None or f"contact {ids.vid}" in card
    assert ids.company_id is None or f"company {ids.company_id}" in card


def test_the_confirmation_card_shows_the_customer_the_ids_the_requester_and_the_reason() -> None:
    assert text_of(question(CARD, NO_LINKS).blocks).splitlines() == [
        "Unlatch Stolen Bikes (2554529)?",
        "Stax Bill ID: 2554529",
        "Company: Stolen Bikes",
        "Name: Sam Spokes",
        "Customer ID: REF-7 (the reference, not the id above)",
        "Status: Active, account Good",
        "Email: sam@bikes.example, pay@bikes.example",
        "Would be cleared: contact 101, company 202",
        "Asked by: <@U0ALICE>, 2026-11-23 12:00:00 UTC",
        "Why: moved to the new portal",
        "Expires: 2026-11-23 12:15:00 UTC",
        "[Unlatch customer] [Cancel]",
    ]


def test_the_confirmation_card_leaves_out_empty_fields() -> None:
    bare = replace(CARD, reason="", customer=Customer(2554529, HubSpotIds(101)))
    assert text_of(question(bare, NO_LINKS).blocks).splitlines() == [
        "Unlatch customer 2554529?",
        "Stax Bill ID: 2554529",
        "Would be cleared: contact 101",
        "Asked by: <@U0ALICE>, 2026-11-23 12:00:00 UTC",
        "Expires: 2026-11-23 12:15:00 UTC",
        "[Unlatch customer] [Cancel]",
    ]


def test_ids_are_links_if_the_settings_are_given() -> None:
    links = {i["text"]: i["url"] for i in inlines(question(CARD, LINKS)) if "url" in i}
    assert links == {
        "2554529": "https://admin.example/customers/2554529",
        "101": "https://app-eu1.hubspot.com/contacts/777/record/0-1/101",
        "202": "https://app-eu1.hubspot.com/contacts/777/record/0-2/202",
    }


def test_without_those_settings_no_id_is_a_link() -> None:
    assert not [i for i in inlines(question(CARD, NO_LINKS)) if i["type"] == "link"]


@pytest.mark.parametrize(
    ("kind", "label", "style"),
    [(Kind.UNLATCH, "Unlatch customer", "danger"), (Kind.RELATCH, "Latch again", "primary")],
)
def test_one_button_names_the_action_and_the_other_cancels(
    kind: Kind, label: str, style: str
) -> None:
    card = question(replace(CARD, kind=kind), NO_LINKS)
    actions = card.blocks[-1]["elements"]
    offered = [(b["text"]["text"], b["action_id"], b.get("style")) for b in actions]
    assert offered == [(label, Action.CONFIRM, style), ("Cancel", Action.CANCEL, None)]


@given(REQUESTS, st.sampled_from(Verdict), st.lists(EVENTS, max_size=3), ALL_LINKS)
def test_a_decided_card_cannot_be_decided_again(
    request: Request, verdict: Verdict, events: list[Event], links: Any
) -> None:
    for outcome in (None, request.outcome):
        card = draw_of(replace(request, verdict=verdict, outcome=outcome), links, *events)
        blocks = [{"block_id": str(n), **block} for n, block in enumerate(card.blocks)]
        offered = {button["action_id"] for _block_id, button in buttons(blocks)}
        assert not offered & {Action.CONFIRM, Action.CANCEL}


def test_the_working_card_says_that_it_waits_for_fusebill() -> None:
    card = shown(draw_of(replace(CARD, verdict=Verdict.CONFIRMED), NO_LINKS))
    assert "⏳ Unlatching Stolen Bikes (2554529)" in card
    assert "Waiting for Fusebill" in card
    assert "contact 101, company 202" in card


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7, "Waiting for Fusebill. This card will show the result."),
        (8, "Fusebill takes its time; waiting up to 30 s."),
        (30, "Fusebill gave no answer; the bot looks for up to 30 s more what came of it."),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_working_card_says_how_long_it_waits(count: int, seconds: int, said: str) -> None:
    card = happened(confirmed(card_of(customers(count))), EventType.BEGUN, to=[0])
    begun_at = card.first.events[-1].at
    message = shown(draw(card, NO_LINKS, now=begun_at + timedelta(seconds=seconds)))
    assert (said in message) is (count == 1 or seconds >= 8)
    assert ("takes its time" in message) is (seconds == 8)


def test_the_card_of_one_customer_says_so_once_nothing_waits_any_more() -> None:
    after = happened(card_of(customers(1)), EventType.CONFIRMED, after=["other"])
    assert "for up to 60 s after it was sent" in shown(draw(after, NO_LINKS))
    begun = happened(after, EventType.BEGUN)
    assert "Waiting for Fusebill." in shown(draw(begun, NO_LINKS))


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (Verdict.CONFIRMED, "Confirmed by: <@U0BOB>, 2026-11-23 12:00:00 UTC"),
        (Verdict.CANCELLED, "Cancelled by: <@U0BOB>, 2026-11-23 12:00:00 UTC"),
        (Verdict.EXPIRED, "Expired: 2026-11-23 12:00:00 UTC"),
    ],
)
def test_a_decided_card_says_who_decided_and_when(verdict: Verdict, line: str) -> None:
    decider = None if verdict is Verdict.EXPIRED else BOB
    decided = replace(CARD, verdict=verdict, decider=decider, decided_at=NOON)
    card = text_of(draw_of(decided, NO_LINKS).blocks).splitlines()
    assert card[-1] == line
    assert "Asked by: <@U0ALICE>, 2026-11-23 12:00:00 UTC" in card
    assert "Why: moved to the new portal" in card


@pytest.mark.parametrize(
    ("verdict", "outcome", "title", "line"),
    [
        (
            Verdict.CANCELLED,
            None,
            "🚫 Cancelled",
            "Nothing was changed. The card showed: contact 101, company 202",
        ),
        (Verdict.EXPIRED, None, "⌛ Expired", "nothing was changed"),
        (
            Verdict.CONFIRMED,
            event(EventType.CLEARED, how="answer", status=200, seconds=0.2),
            "✅ Unlatched",
            "Cleared: contact 101, company 202",
        ),
        (
            Verdict.CONFIRMED,
            event(EventType.ALREADY_CLEAR),
            "☑️ Already clear",
            "no longer latched",
        ),
        (
            Verdict.CONFIRMED,
            event(EventType.CHANGED, found={"vid": 303, "company_id": None}),
            "⚠️ Not done, the ids changed",
            "Now: contact 303\n",
        ),
        (
            Verdict.CONFIRMED,
            event(EventType.REFUSED, texts=["Customer is on hold"], status=409, why="No."),
            "❌ Not done",
            "Fusebill: Customer is on hold (HTTP 409)",
        ),
        (
            Verdict.CONFIRMED,
            event(EventType.UNKNOWN, why="No answer."),
            "❓ Outcome unknown",
            "We don't know yet whether this was done. \nNo answer.",
        ),
    ],
)
def test_the_card_shows_the_result(
    verdict: Verdict, outcome: Event | None, title: str, line: str
) -> None:
    decided = replace(CARD, verdict=verdict, decider=BOB, decided_at=NOON)
    if outcome:
        decided = replace(decided, outcome=Outcome(outcome.type))
    card = text_of(draw_of(decided, NO_LINKS, *([outcome] if outcome else [])).blocks)
    assert card.startswith(f"{title}: Stolen Bikes (2554529)\n")
    assert line in card


def test_a_result_that_is_not_there_yet_is_not_claimed() -> None:
    confirmed = replace(CARD, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON)
    result = result_of(card_of_one(confirmed), NO_LINKS)
    assert result.heading == "⏳ In progress: Stolen Bikes (2554529)"
    assert "not known yet" in str(result.lines)
    card = text_of(draw_of(confirmed, NO_LINKS).blocks)
    assert card.startswith("⏳ Unlatching Stolen Bikes (2554529) …\n")


def test_the_card_shows_each_of_fusebills_errors_cut_separately() -> None:
    errors = ["x" * 9_000, *(f"error {n}" for n in range(19))]
    refused = event(EventType.REFUSED, texts=errors, status=409, why="Fusebill refused.")
    decided = replace(
        CARD, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON, outcome=Outcome.REFUSED
    )
    card = text_of(draw_of(decided, NO_LINKS, refused).blocks)
    assert all(f"Fusebill: error {n} (HTTP 409)" in card for n in range(19))
    assert re.search(r"Fusebill: x{100,}… \(HTTP 409\)", card)


def test_a_reply_begins_with_the_result_and_lists_each_event_with_its_time() -> None:
    events = [
        event(EventType.REQUESTED, "U0ALICE"),
        event(EventType.CONFIRMED, "U0BOB"),
        event(EventType.CLEARED, status=200, seconds=0.21, how="answer"),
    ]
    at = "2026-11-23 12:00:00 UTC"
    reply = next_reply(card_of_one(CARD, *events), 0, NO_LINKS)
    assert reply
    assert reply.shown == 3
    assert text_of(reply.message.blocks).splitlines() == [
        "✅ Unlatched: Stolen Bikes (2554529)  <@U0ALICE>",
        "Cleared: contact 101, company 202",
        f"{at}  <@U0ALICE> asked to unlatch 2554529, Stolen Bikes: contact 101, company 202",
        "Why: moved to the new portal",
        f"{at}  <@U0BOB> confirmed it",
        f"{at}  unlatched · Fusebill answered HTTP 200 · took 0.21 s",
    ]
