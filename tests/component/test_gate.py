"""The gate on each database: one decision wins, and the others learn of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.models import Card, EventType, Kind, NewEvent, Outcome, Request, Verdict
from bot.domain.policy import ALLOWED, Decision
from bot.ledger.gate import FollowUpOpen, Overtaken
from bot.ledger.leases import Leases
from bot.ledger.store import Ledger
from tests.support.ledger import (
    ASKED,
    BOB,
    LATER,
    LEASE,
    NOT_LISTED,
    NOW,
    REQUEST,
    cleared,
    confirm,
    confirmed,
)

OVERTAKEN = Decision(allowed=False, why="overtaken")
FOLLOW_UP = {"kind": Kind.RELATCH, "thread_ts": REQUEST.message_ts, "undoes": REQUEST.id}


async def test_one_of_twenty_concurrent_deciders_wins(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    results = await asyncio.gather(*(confirm(ledger) for _ in range(20)))
    assert Counter(result.taken for result in results) == {True: 1, False: 19}
    assert [event.type for event in (await ledger.request_history(REQUEST.id)).events] == [
        EventType.REQUESTED,
        EventType.CONFIRMED,
    ]


async def test_a_late_decider_gets_the_first_decision(ledger: Ledger) -> None:
    first = await confirmed(ledger)
    assert (await confirm(ledger)).request == first
    assert (first.verdict, first.decider, first.decided_at) == (Verdict.CONFIRMED, BOB, NOW)


async def test_a_click_after_the_expiry_does_not_count(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    assert not (await confirm(ledger, REQUEST.expires_at)).taken


@pytest.mark.parametrize(("late_s", "taken"), [(-1, False), (0, True), (1, True)])
async def test_a_request_does_not_expire_early(ledger: Ledger, late_s: int, taken: bool) -> None:  # noqa: FBT001  # parametrized
    await ledger.add(REQUEST, ASKED)
    at = REQUEST.expires_at + timedelta(seconds=late_s)
    expired = NewEvent(at, EventType.EXPIRED, "", {})
    result = await ledger.decide(
        REQUEST.id, Verdict.EXPIRED, expired, decider=None, due_at=at + LEASE
    )
    assert result.taken is taken


async def test_a_denied_decision_is_recorded_and_decides_nothing(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    result = await confirm(ledger, judge=lambda _request, _other: NOT_LISTED)
    assert (result.taken, result.decision, result.request.verdict) == (False, NOT_LISTED, None)
    denial = (await ledger.request_history(REQUEST.id)).events[-1]
    assert (denial.type, denial.actor) == (EventType.DECISION_DENIED, "U0BOB")
    assert denial.details == {"verdict": "confirmed", "why": "not on the list"}


async def test_deciding_an_unknown_request_raises_key_error(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        await confirm(ledger)


async def test_one_of_two_follow_ups_confirmed_at_once_is_overtaken(
    ledger: Ledger,
) -> None:
    # in two threads: in one, the second could not even be asked
    two = [
        replace(REQUEST, id=x * 32, message_ts=f"1.{x}", **FOLLOW_UP | {"thread_ts": f"0.{x}"})  # type: ignore[arg-type]  # by name
        for x in ("b", "c")
    ]
    for request in two:
        await ledger.add(request, ASKED)
    at = NOW + timedelta(seconds=1)
    confirmation = NewEvent(at, EventType.CONFIRMED, "U0BOB", {})
    results = await asyncio.gather(
        *(
            ledger.decide(
                request.id,
                Verdict.CONFIRMED,
                confirmation,
                decider=BOB,
                due_at=at + LEASE,
                judge=lambda _request, other: OVERTAKEN if other else ALLOWED,
            )
            for request in two
        )
    )
    assert Counter((result.taken, result.decision.why) for result in results) == {
        (True, ""): 1,
        (False, "overtaken"): 1,
    }


async def test_a_double_click_that_is_refused_is_one_refusal(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    for milliseconds in (0, 150, 5000):
        at = NOW + timedelta(milliseconds=milliseconds)
        await confirm(ledger, at, judge=lambda _request, _other: NOT_LISTED)
    events = (await ledger.request_history(REQUEST.id)).events
    assert [event.type for event in events].count(EventType.DECISION_DENIED) == 2


async def test_a_thread_has_one_open_follow_up(ledger: Ledger) -> None:
    await cleared(ledger, await confirmed(ledger))
    two = [replace(REQUEST, id=x * 32, message_ts=f"1.{x}", **FOLLOW_UP) for x in ("b", "c")]  # type: ignore[arg-type]  # by name
    results = await asyncio.gather(
        *(ledger.add(request, ASKED) for request in two), return_exceptions=True
    )
    assert Counter(type(result) for result in results) == {Request: 1, FollowUpOpen: 1}


async def test_an_undo_of_what_has_been_changed_since_is_not_added(ledger: Ledger) -> None:
    await cleared(ledger, await confirmed(ledger))
    later = replace(REQUEST, id="b" * 32, message_ts="2.1", thread_ts="2.1")
    await ledger.add(later, ASKED)
    at = NOW + timedelta(minutes=1)
    result = await ledger.decide(
        later.id,
        Verdict.CONFIRMED,
        NewEvent(at, EventType.CONFIRMED, "U0BOB", {}),
        decider=BOB,
        due_at=at + LEASE,
    )
    await ledger.record(
        result.request,
        NewEvent(at, EventType.CLEARED, "", {}),
        outcome=Outcome.CLEARED,
        settled_at=at,
    )
    with pytest.raises(Overtaken) as raised:
        await ledger.add(replace(REQUEST, id="c" * 32, message_ts="1.2", **FOLLOW_UP), ASKED)  # type: ignore[arg-type]  # by name
    assert raised.value.by.id == later.id


async def test_a_card_of_many_is_decided_with_all_its_requests(
    ledger: Ledger, leases: Leases
) -> None:
    rest = [
        replace(REQUEST, id=x * 32, card_id=REQUEST.id, position=n, card_size=3, due_at=None)
        for n, x in ((2, "b"), (3, "c"))
    ]
    first = replace(REQUEST, card_size=3)
    card = await ledger.add_card(Card((first, *rest)), [ASKED] * 3)
    assert [r.id for r in await leases.overdue(REQUEST.expires_at, LEASE)] == [REQUEST.id]
    result = await confirm(ledger)
    assert [r.verdict for r in result.card.requests] == [Verdict.CONFIRMED] * 3
    assert [r.claim for r in result.card.requests] == [r.claim + 1 for r in card.requests]
    reclaimed = await leases.reclaim(result.card.requests, LATER, LATER + LEASE)
    assert reclaimed is not None
    assert len(reclaimed.mine) == 3
    stopped = NewEvent(LATER, EventType.STOP_REQUESTED, "U0BOB", {})
    assert await ledger.stop(REQUEST.id, stopped)
    assert await ledger.is_stopping(REQUEST.id)
