"""The wording of events: a request's result and its thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given

from bot.domain.models import Event, EventType, HubSpotIds, Kind, Request, Verdict
from bot.messages.block_kit import Line, message
from bot.messages.events import event_lines
from bot.messages.phrases import Links
from bot.messages.results import result_of
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

AT = "2026-11-23 12:00:00 UTC  "


def words(lines: Iterable[Line]) -> list[str]:
    """The text of lines."""
    return text_of(message(list(lines)).blocks).splitlines()


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        (
            event(EventType.REQUESTED, "U0ALICE"),
            [
                "<@U0ALICE> asked to unlatch 2554529, Stolen Bikes: contact 101, company 202",
                "Why: moved to the new portal",
            ],
        ),
        (
            event(EventType.DECISION_DENIED, "U0BOB", why="Not listed."),
            ["<@U0BOB> was refused: “Not listed.”"],
        ),
        (event(EventType.CONFIRMED, "U0BOB"), ["<@U0BOB> confirmed it"]),
        (event(EventType.CANCELLED, "U0ALICE"), ["<@U0ALICE> cancelled it"]),
        (event(EventType.EXPIRED), ["expired: nobody decided in time"]),
        (
            event(EventType.BEGUN),
            ["its turn came, and the customer was still latched"],
        ),
        (
            event(EventType.RECLAIMED, claim=2),
            ["the work was interrupted and has been resumed"],
        ),
        (
            event(EventType.CLEARED, seconds=0.2, how="read_back"),
            [
                "✅ Unlatched · took 0.2 s",
                "Cleared: contact 101, company 202",
                "Fusebill's reply did not show this, but reading the customer again did.",
            ],
        ),
        (
            event(EventType.UNKNOWN, why="Interrupted."),
            [
                "❓ Outcome unknown",
                "We don't know yet whether this was done. ",
                "Interrupted.",
                "Check again reads the customer and changes nothing by itself.",
            ],
        ),
        (
            event(EventType.DELIVERY_FAILED, why="Slack: no"),
            ["the card or a reply could not be posted: Slack: no"],
        ),
    ],
)
def test_each_event_is_shown_with_its_time(what: Event, lines: list[str]) -> None:
    assert words(event_lines(what, CARD, NO_LINKS)) == [AT + lines[0], *lines[1:]]


def test_an_undo_whose_turn_came_was_still_to_be_done() -> None:
    undo = replace(CARD, kind=Kind.RELATCH)
    assert words(event_lines(event(EventType.BEGUN), undo, NO_LINKS)) == [
        f"{AT}its turn came, and the customer was still not latched"
    ]


def test_a_request_to_latch_again_says_so() -> None:
    asked = event(EventType.REQUESTED, "U0BOB")
    first = words(event_lines(asked, replace(CARD, kind=Kind.RELATCH), NO_LINKS))[0]
    assert "asked to latch again 2554529" in first


@given(EVENTS, REQUESTS, ALL_LINKS)
def test_slack_accepts_every_event(what: Event, request: Request, links: Links) -> None:
    assert refused_by_slack(message(list(event_lines(what, request, links)))) == []


@given(EVENTS, REQUESTS, ALL_LINKS)
def test_every_result_has_a_title_and_words(what: Event, request: Request, links: Links) -> None:
    result = result_of(card_of_one(request, what), links)
    drawn = message(result.lines)
    assert result.title
    assert refused_by_slack(drawn) == []
    assert "None" not in shown(drawn)


@pytest.mark.parametrize("outcome", [EventType.REFUSED, EventType.UNKNOWN])
def test_a_lone_surrogate_in_a_reason_does_not_block_the_message(outcome: EventType) -> None:
    broken = event(outcome, why="\ud83d Fusebill refused.")
    card = card_of_one(replace(CARD, verdict=Verdict.CONFIRMED), broken)
    drawn = message(result_of(card, NO_LINKS).lines)
    assert refused_by_slack(drawn) == []
    assert "Fusebill refused." in shown(drawn)


def test_the_last_outcome_is_the_result() -> None:
    confirmed = replace(CARD, verdict=Verdict.CONFIRMED)
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
    (Kind.UNLATCH, {"unread": "HTTP 503"}, "could not be read, so we don't know"),
]


def test_a_card_that_ended_early_says_why() -> None:
    expiry = event(EventType.EXPIRED, "", found={"vid": 7}, early=True)
    request = replace(CARD, verdict=Verdict.EXPIRED)
    early = "the clock of the bot's machine was set back, so the card ended early; the customer is"
    assert early.capitalize() in shown(
        message(result_of(card_of_one(request, expiry), NO_LINKS).lines)
    )
    line = shown(message(list(event_lines(expiry, request, NO_LINKS))))
    assert f"expired: {early}" in line


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
    for said in (
        shown(message(result_of(card_of_one(request, expiry), NO_LINKS).lines)),
        shown(message(list(event_lines(expiry, request, NO_LINKS)))),
    ):
        assert f"the customer {expected}" in said
        assert ("while the bot was away" in said) is away
        assert "nothing was changed" not in said
