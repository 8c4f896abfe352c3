"""Leases on each database: who holds a request, until when, and who may take it over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.models import Card, EventType, NewEvent, Verdict
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.store import Ledger
from tests.support.ledger import (
    ASKED,
    LATER,
    LEASE,
    NOW,
    REQUEST,
    cleared,
    confirmed,
)

BACK = timedelta(hours=1)


@pytest.mark.parametrize("write", ["record", "change", "release"])
async def test_a_worker_that_lost_its_claim_writes_nothing(
    ledger: Ledger, leases: Leases, write: str
) -> None:
    request = await confirmed(ledger)
    reclaimed = await leases.reclaim([request], LATER, LATER + LEASE)
    assert reclaimed is not None
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "record": lambda: cleared(ledger, request),
        "change": lambda: leases.change(request, due_at=None),
        "release": lambda: leases.release(Card((request,)), [2], [request.id]),
    }
    with pytest.raises(LostClaim):
        await writes[write]()
    assert await ledger.request_history(REQUEST.id) == reclaimed.history.first


async def test_work_with_a_valid_lease_is_not_reclaimed(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    assert await leases.reclaim([request], NOW + LEASE - timedelta(seconds=1), LATER) is None


async def test_one_of_ten_concurrent_reclaimers_wins(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    reclaimers = [leases.reclaim([request], LATER, LATER + LEASE) for _ in range(10)]
    [reclaimed] = [each for each in await asyncio.gather(*reclaimers) if each]
    assert reclaimed.history.first.request.claim == request.claim + 1
    assert reclaimed.history.first.events[-1].type is EventType.RECLAIMED


async def test_reclaiming_a_finished_request_counts_an_attempt_without_an_event(
    ledger: Ledger,
    leases: Leases,
) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    reclaimed = await leases.reclaim([history.request], LATER, LATER + LEASE)
    assert reclaimed is not None
    first = reclaimed.history.first
    assert (first.request.publish_attempts, first.events) == (1, history.events)


async def test_overdue_requests_come_longest_overdue_first(ledger: Ledger, leases: Leases) -> None:
    due = {"late": 2, "later": 1, "not yet": 60}
    for name, minutes in due.items():
        at = NOW + timedelta(minutes=minutes)
        await ledger.add(replace(REQUEST, id=name, due_at=at), ASKED)
    await ledger.add(replace(REQUEST, id="done", due_at=None), ASKED)
    overdue = await leases.overdue(NOW + timedelta(minutes=2), LEASE)
    assert [request.id for request in overdue] == ["later", "late"]


async def test_a_fully_posted_request_is_never_due_again(ledger: Ledger, leases: Leases) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    await leases.release(Card((history.request,)), [3], [REQUEST.id])
    released = await ledger.get(REQUEST.id)
    assert released == replace(history.request, due_at=None, last_posted_event=3)


async def test_a_request_stays_due_if_an_event_came_while_it_was_drawn(
    ledger: Ledger, leases: Leases
) -> None:
    drawn = await cleared(ledger, await confirmed(ledger))
    undone = NewEvent(NOW, EventType.UNDONE, "U0BOB", {})
    await ledger.record(drawn.request, undone, fenced=False, due_at=LATER)
    await leases.release(Card((drawn.request,)), [3], [REQUEST.id])
    released = await ledger.get(REQUEST.id)
    assert released is not None
    assert released.due_at == LATER


async def test_a_failed_delivery_is_recorded(ledger: Ledger, leases: Leases) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    failure = NewEvent(NOW, EventType.DELIVERY_FAILED, "", {"why": "channel_not_found"})
    await leases.release(Card((history.request,)), [0], [REQUEST.id], failure=failure)
    after = await ledger.request_history(REQUEST.id)
    assert (after.request.due_at, after.events[-1].type) == (None, EventType.DELIVERY_FAILED)


async def test_a_clock_that_was_set_back_delays_no_work(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    assert [r.id for r in await leases.overdue(NOW - BACK, LEASE)] == [request.id]
    reclaimed = await leases.reclaim([request], NOW - BACK, NOW - BACK + LEASE)
    assert reclaimed is not None
    assert await leases.overdue(NOW - BACK, LEASE) == []


async def test_a_clock_that_was_set_back_keeps_no_card_alive(
    ledger: Ledger, leases: Leases
) -> None:
    await ledger.add(REQUEST, ASKED)
    assert [r.id for r in await leases.overdue(NOW - BACK, LEASE)] == [REQUEST.id]
    expired = NewEvent(NOW - BACK, EventType.EXPIRED, "", {})
    result = await ledger.decide(
        REQUEST.id, Verdict.EXPIRED, expired, decider=None, due_at=NOW - BACK + LEASE
    )
    assert result.taken


@pytest.mark.parametrize("skew_s", [0, 1, 29])
async def test_clocks_that_differ_by_less_than_a_lease_take_nothing_away(
    ledger: Ledger, leases: Leases, skew_s: int
) -> None:
    await ledger.add(replace(REQUEST, id="b" * 32), ASKED)
    await confirmed(ledger)
    assert await leases.overdue(NOW - timedelta(seconds=skew_s), LEASE) == []


async def test_a_thread_has_one_that_posts_in_it(ledger: Ledger, leases: Leases) -> None:
    request = await ledger.add(REQUEST, ASKED)
    card = Card((request,))
    taken = await asyncio.gather(*(leases.take_thread(card, NOW, LEASE) for _ in range(10)))
    assert Counter(map(str, taken)) == {"[0]": 1, "None": 9}
    await leases.leave_thread(card, [1])
    assert await leases.take_thread(card, NOW, LEASE) == [1]


@pytest.mark.parametrize("at", [LATER, NOW - BACK], ids=["later", "the clock was set back"])
async def test_a_thread_whose_poster_is_gone_can_be_taken(
    ledger: Ledger, leases: Leases, at: datetime
) -> None:
    card = Card((await ledger.add(REQUEST, ASKED),))
    assert await leases.take_thread(card, NOW, LEASE) == [0]
    assert await leases.take_thread(card, at, LEASE) == [0]


async def test_a_refusal_is_drawn_soon_though_a_recheck_is_due_much_later(
    ledger: Ledger, leases: Leases
) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    recheck = NOW + timedelta(days=1)
    await leases.change(history.request, due_at=recheck)
    denial = NewEvent(NOW, EventType.DECISION_DENIED, "U0BOB", {"why": "not on the list"})
    denied = await ledger.deny(history.request, denial, NOW + LEASE)
    assert denied is not None
    assert denied.request.due_at == NOW + LEASE


async def test_who_only_draws_a_card_renews_no_lease(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    await leases.renew([], LATER + LEASE)
    assert await ledger.get(request.id) == request
