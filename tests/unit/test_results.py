"""The wording of a result, and of each event in a thread."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from bot.domain.models import Card, Event, EventType, HubSpotIds, Kind, Outcome, Request, Verdict
from bot.messages.block_kit import message
from bot.messages.phrases import Links
from bot.messages.results import result_of
from bot.messages.thread import event_line
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
    CARD,
    EVENTS,
    NO_LINKS,
    REQUESTS,
    card_of_one,
    event,
    refused_by_slack,
    shown,
)
from tests.support.many import card_of, customers, happened

AT = " · 2026-11-23 12:00:00 UTC"


def words(what: Event, request: Request = CARD) -> str:
    """The line about an event in its thread."""
    return text_of(message([event_line(what, request, NO_LINKS)]).blocks)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            event(EventType.DECISION_DENIED, "U0BOB", why="Not listed."),
            f"<@U0BOB> was refused{AT}: Not listed.",
        ),
        (event(EventType.DECLINED, "U0BOB", why="on the card"), f"<@U0BOB> declined{AT}"),
        (event(EventType.RECLAIMED, claim=2), f"The bot resumed interrupted work{AT}"),
        (
            event(EventType.CLEARED, seconds=0.2, status=200),
            f"✅ Unlatched{AT} · Fusebill: HTTP 200 · 0.2 s",
        ),
        (
            event(EventType.CLEARED, "U0BOB", how="read_back"),
            f"<@U0BOB> checked again: ✅ Unlatched{AT} · read back",
        ),
        (event(EventType.UNKNOWN, why="on the card"), f"❓ Outcome unknown{AT}"),
        (
            event(EventType.LATCHED_AGAIN, found={"vid": 7}),
            f"The bot read the customer again: latched to contact 7{AT}",
        ),
        (
            event(EventType.DELIVERY_FAILED, why="Slack: no"),
            f"The bot could not post the card or a reply{AT}: Slack: no",
        ),
    ],
)
def test_each_event_has_one_line_with_its_time(what: Event, line: str) -> None:
    assert words(what) == line


def test_equal_answers_of_fusebill_are_counted_and_others_follow() -> None:
    lost = {"status": None, "why": "lost"}
    failed = {"status": 500, "texts": ["one", "two", "three", "four", "five"]}
    calls = [lost, lost, failed, {"status": 200}]
    assert words(event(EventType.CLEARED, calls=calls, how="read_back", seconds=3)) == (
        f"✅ Unlatched{AT} · Fusebill: no answer (lost), 2 times, then HTTP 500 “one”, “two”,"
        " “three” +2 more, then HTTP 200 · read back · 3 s"
    )


@given(EVENTS, REQUESTS, ALL_LINKS)
def test_slack_accepts_every_event_and_every_result_which_has_a_title_and_words(
    what: Event, request: Request, links: Links
) -> None:
    assert refused_by_slack(message([event_line(what, request, links)])) == []
    result = result_of(card_of_one(request, what), links)
    drawn = message(result.lines)
    assert result.title
    assert refused_by_slack(drawn) == []
    assert "None" not in shown(drawn)


def test_the_last_outcome_is_the_result() -> None:
    confirmed = replace(CARD, verdict=Verdict.CONFIRMED, outcome=Outcome.CLEARED)
    events = [
        event(EventType.REQUESTED, "U0ALICE"),
        event(EventType.REFUSED),
        event(EventType.CLEARED),
        event(EventType.DELIVERY_FAILED, why="gone"),
    ]
    assert result_of(card_of_one(confirmed, *events), NO_LINKS).title == "✅ Unlatched"


LOOKED: list[tuple[Kind, dict[str, object], str]] = [
    (Kind.UNLATCH, {"found": {"vid": 101, "company_id": 202}}, "is still latched to contact 101"),
    (Kind.UNLATCH, {"found": {"vid": 7}}, "is now latched to contact 7."),
    (Kind.UNLATCH, {"found": {"vid": None, "company_id": None}}, "is no longer latched."),
    (Kind.RELATCH, {"found": {"vid": None, "company_id": None}}, "is not latched."),
    (Kind.RELATCH, {"found": {"vid": 101, "company_id": 202}}, "is latched to contact 101"),
    (Kind.UNLATCH, {"unread": "HTTP 503"}, "could not be read, so the bot doesn't know"),
]


def test_a_card_that_ended_early_says_why() -> None:
    expiry = event(EventType.EXPIRED, "", found={"vid": 7}, early=True)
    request = replace(CARD, verdict=Verdict.EXPIRED)
    early = "the clock of the bot's machine was set back, so the card ended early; the customer is"
    assert early.capitalize() in shown(
        message(result_of(card_of_one(request, expiry), NO_LINKS).lines)
    )


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize(("kind", "details", "expected"), LOOKED, ids=str)
def test_an_expired_card_that_nobody_watched_says_what_was_seen(
    kind: Kind,
    details: dict[str, object],
    expected: str,
    away: bool,  # noqa: FBT001  # parametrized
) -> None:
    request = replace(
        CARD,
        kind=kind,
        customer=replace(CARD.customer, ids=HubSpotIds(101, 202)),
        verdict=Verdict.EXPIRED,
    )
    expiry = event(EventType.EXPIRED, "", **details | ({"away": True} if away else {}))
    said = shown(message(result_of(card_of_one(request, expiry), NO_LINKS).lines))
    assert f"the customer {expected}" in said
    assert ("while the bot was away" in said) is away
    assert "nothing was changed" not in said


def test_half_of_a_pair_that_was_not_called_was_not_refused() -> None:
    card = card_of(customers(2), kind=Kind.MOVE)
    first, last = card.requests
    pair = (replace(first, to=HubSpotIds()), replace(last, to=first.customer.ids))
    confirmed = happened(Card(pair), EventType.CONFIRMED, "U0BOB")
    half = happened(confirmed, EventType.MOVED, to=[0])
    for end in (EventType.STOPPED, EventType.NOT_BEGUN):
        ended = result_of(happened(half, end, to=[1]), NO_LINKS)
        assert "Fusebill refused" not in text_of(message(ended.lines).blocks)
