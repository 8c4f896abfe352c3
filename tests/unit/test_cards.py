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
    Person,
    Request,
    Verdict,
)
from bot.messages.block_kit import Message
from bot.messages.card import Action, Deciders, draw, duplicate
from bot.messages.phrases import Links
from bot.messages.results import result_of
from bot.sandbox.slack.validation.block_kit import buttons, text_of
from tests.support.hostile import (
    ALL_LINKS,
    BY_LINKS,
    CARD,
    EVENTS,
    NO_LINKS,
    NOON,
    PERMALINKS,
    REQUESTS,
    card_of_one,
    event,
    people_of,
    shown,
    wrong_with,
)
from tests.support.many import card_of, confirmed, customers, happened
from tests.support.names import ALICE, BOB

AT = "2026-11-23 12:00:00 UTC"
EXPIRES = "<!date^1795436100^{time}|2026-11-23 12:15:00 UTC>"


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


@given(cards())
def test_slack_accepts_every_card_and_it_mentions_nobody_else(drawn: Drawn) -> None:
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


def test_a_card_that_waits_for_days_says_dates_and_any_other_says_times_alone() -> None:
    long = replace(CARD, expires_at=CARD.asked_at + timedelta(days=2))
    assert question(long, NO_LINKS).text.count("^{date_short_pretty} at {time}|") == 2
    assert question(CARD, NO_LINKS).text.count("^{time}|") == 2


def test_the_confirmation_card_leaves_out_empty_fields() -> None:
    bare = replace(CARD, reason="", customer=Customer(2554529, HubSpotIds(101)))
    assert text_of(question(bare, NO_LINKS).blocks).splitlines() == [
        "Unlatch customer 2554529?",
        "Clears contact 101. Can be undone.",
        f"Asked by <@U0ALICE>, {AT}.",
        "[Unlatch customer 2554529] [Cancel]",
        f"Expires {EXPIRES}",
    ]


def test_the_card_says_what_needs_care_and_who_may_confirm_before_anybody_presses() -> None:
    held = replace(CARD.customer, status="Hold", account_status="PoorStanding")
    deciders = Deciders(["U0BOB"], two_person=True, listed=True)
    drawn = draw(card_of_one(replace(CARD, customer=held)), NO_LINKS, deciders)
    assert text_of(drawn.blocks).splitlines()[3:6] == [
        "⚠️ On hold, poor standing",
        "Somebody else on the list of confirmers has to confirm.",
        "For <@U0BOB>",
    ]


def test_a_screen_reader_hears_of_each_button_what_it_is_about() -> None:
    cleared = card_of_one(replace(CARD, verdict=Verdict.CONFIRMED, outcome=Outcome.CLEARED))
    for card in (question(CARD, NO_LINKS), draw(cleared, NO_LINKS)):
        actions = next(each for each in card.blocks if each["type"] == "actions")
        for each in actions["elements"]:
            assert "Stolen Bikes (2554529)" in each["accessibility_label"]
            assert each["text"]["text"] in each["accessibility_label"]


@pytest.mark.parametrize(
    ("kind", "label", "style"),
    [
        (Kind.UNLATCH, "Unlatch Stolen Bikes", "danger"),
        (Kind.RELATCH, "Latch Stolen Bikes again", "primary"),
    ],
)
def test_one_button_names_the_action_and_the_customer_and_the_other_cancels(
    kind: Kind, label: str, style: str
) -> None:
    card = question(replace(CARD, kind=kind), NO_LINKS)
    actions = card.blocks[-2]["elements"]
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


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7, "Waiting for Fusebill. This card will show the result."),
        (8, "Fusebill is slow to answer; the bot waits up to 30 s."),
        (30, "Fusebill did not answer; for 30 s more the bot reads what came of the call."),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_the_working_card_says_how_long_it_waits(count: int, seconds: int, said: str) -> None:
    card = happened(confirmed(card_of(customers(count))), EventType.BEGUN, to=[0])
    begun_at = card.first.events[-1].at
    message = shown(draw(card, NO_LINKS, now=begun_at + timedelta(seconds=seconds)))
    assert (said in message) is (count == 1 or seconds >= 8)
    assert ("is slow to answer" in message) is (seconds == 8)


def test_the_card_of_one_customer_says_so_once_nothing_waits_any_more() -> None:
    after = happened(card_of(customers(1)), EventType.CONFIRMED, after=["other"])
    assert "its call may run for up to 60 s" in shown(draw(after, NO_LINKS))
    begun = happened(after, EventType.BEGUN)
    assert "Waiting for Fusebill." in shown(draw(begun, NO_LINKS))


@pytest.mark.parametrize(
    ("verdict", "decider", "people"),
    [
        (Verdict.CONFIRMED, BOB, ["By <@U0BOB> for <@U0ALICE>, AT: moved to the new portal"]),
        (Verdict.CONFIRMED, ALICE, ["By <@U0ALICE>, AT: moved to the new portal"]),
        (Verdict.CANCELLED, ALICE, ["By <@U0ALICE>, AT: moved to the new portal"]),
        (
            Verdict.DECLINED,
            BOB,
            ["By <@U0BOB>, AT: not now", "Asked by <@U0ALICE>, AT: moved to the new portal"],
        ),
        (Verdict.EXPIRED, None, ["Asked by <@U0ALICE>, AT: moved to the new portal"]),
    ],
)
def test_a_decided_card_says_who_decided_for_whom_when_and_why(
    verdict: Verdict, decider: Person | None, people: list[str]
) -> None:
    decided = replace(CARD, verdict=verdict, decider=decider, decided_at=NOON)
    what = event(EventType(verdict), decider.user_id if decider else "", why="not now")
    card = text_of(draw_of(decided, NO_LINKS, what).blocks).replace(AT, "AT").splitlines()
    assert [line for line in card if "<@" in line] == people


@pytest.mark.parametrize(
    ("verdict", "outcome", "title", "line"),
    [
        (Verdict.EXPIRED, None, "⌛ Expired", "nothing was changed"),
        (
            Verdict.CONFIRMED,
            event(EventType.CLEARED, how="answer", status=200, seconds=0.2),
            "✅ Unlatched",
            "Cleared contact 101 and company 202.",
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
            "Now latched to contact 303; the card showed contact 101 and company 202.",
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
            (
                "The bot doesn't know whether this was done. Check again reads the customer and"
                " changes nothing.\nNo answer."
            ),
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


def test_the_card_shows_three_of_fusebills_errors_each_cut_and_counts_the_others() -> None:
    errors = ["x" * 9_000, *(f"error {n}" for n in range(19))]
    refused = event(EventType.REFUSED, texts=errors, status=409, why="Fusebill refused.")
    decided = replace(
        CARD, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON, outcome=Outcome.REFUSED
    )
    card = text_of(draw_of(decided, NO_LINKS, refused).blocks)
    assert "Fusebill: error 1 (HTTP 409)\n+17 more\n" in card
    assert re.search(r"Fusebill: x{100,}… \(HTTP 409\)", card)


@pytest.mark.parametrize(
    ("what", "title", "line", "offered"),
    [
        (EventType.UNDONE, "↩️ Undone", "<@U0BOB> gave back contact 101 and company 202", []),
        (EventType.LATCHED_AGAIN, "⚠️ Latched again", "Found latched to contact 9,", ["Ask again"]),
        (EventType.CUSTOMER_GONE, "🔎 Gone from Fusebill", "Fusebill has no such customer", []),
    ],
)
def test_the_title_says_what_holds_now_and_only_buttons_that_work_are_left(
    what: EventType, title: str, line: str, offered: list[str]
) -> None:
    decided = replace(
        CARD, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON, outcome=Outcome.CLEARED
    )
    cleared = event(EventType.CLEARED)
    card = draw_of(decided, NO_LINKS, cleared, event(what, "U0BOB", found={"vid": 9}))
    assert shown(card).startswith(f"{title}: Stolen Bikes (2554529)\n{line}")
    actions = [each for each in card.blocks if each["type"] == "actions"]
    assert [b["text"]["text"] for each in actions for b in each["elements"]] == offered
