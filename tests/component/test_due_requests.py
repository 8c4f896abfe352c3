"""The ledger's clock: reminders and rechecks are taken by one, and only while they make sense."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.domain.clock import recheck_at, reminder_at
from bot.domain.models import Event, EventType, NewEvent, Outcome, Request, RequestHistory, Verdict
from bot.ledger.database.engine import Database
from bot.ledger.due_requests import DueRequests
from bot.ledger.leases import LostClaim
from bot.ledger.store import Ledger
from tests.support.ledger import ASKED, BOB, NOW, REQUEST, cleared, confirmed

AT = reminder_at(REQUEST.asked_at, REQUEST.expires_at)
WAITING = replace(REQUEST, due_at=AT)
CLEARED = replace(
    REQUEST, verdict=Verdict.CONFIRMED, outcome=Outcome.CLEARED, settled_at=NOW, due_at=None
)
HOUR = timedelta(hours=1)


def history(request: Request, *kinds: EventType) -> RequestHistory:
    numbered = enumerate(kinds, 1)
    return RequestHistory(request, tuple(Event("a", n, NOW, kind, "", {}) for n, kind in numbered))


async def test_one_of_ten_claims_at_once_gets_the_reminder(database: Database) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    request = await ledger.add(WAITING, ASKED)
    claims = [due.claim_reminder(request, AT, notifies=True) for _ in range(10)]
    assert len([claim for claim in await asyncio.gather(*claims) if claim]) == 1
    after = await ledger.request_history(request.id)
    assert [event.type for event in after.events] == [EventType.REQUESTED, EventType.REMINDED]
    assert after.request.due_at == REQUEST.expires_at


@pytest.mark.parametrize(
    ("minutes_late", "notify"),
    [(4, ["U0BOB"]), (6, ["U0BOB"]), (0, [])],
    ids=["nearly expired", "expired", "nobody to notify"],
)
async def test_a_reminder_that_makes_no_sense_is_left_out(
    database: Database, minutes_late: int, notify: list[str]
) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    request = await ledger.add(WAITING, ASKED)
    now = AT + timedelta(minutes=minutes_late)
    assert await due.claim_reminder(request, now, notifies=bool(notify)) is None
    after = await ledger.request_history(request.id)
    assert len(after.events) == 1
    assert after.request.due_at == REQUEST.expires_at


async def test_a_decided_card_gives_no_reminder(database: Database) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    request = await ledger.add(WAITING, ASKED)
    confirmed = NewEvent(AT, EventType.CONFIRMED, "U0BOB", {})
    await ledger.decide(request.id, Verdict.CONFIRMED, confirmed, decider=BOB, due_at=AT + HOUR)
    assert await due.claim_reminder(request, AT, notifies=True) is None


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=4)])
async def test_a_click_counts_after_the_reminder_until_the_expiry(
    database: Database, late: timedelta
) -> None:
    ledger = Ledger(database)
    request = await ledger.add(WAITING, ASKED)
    at = AT + late
    confirmed = NewEvent(at, EventType.CONFIRMED, "U0BOB", {})
    gate = await ledger.decide(
        request.id, Verdict.CONFIRMED, confirmed, decider=BOB, due_at=at + HOUR
    )
    assert gate.taken


async def test_a_recheck_needs_the_claim(database: Database) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    await ledger.add(replace(CLEARED, claim=2), ASKED)
    event = NewEvent(NOW, EventType.RECHECKED, "", {})
    with pytest.raises(LostClaim):
        await due.record_recheck(replace(CLEARED, claim=1), event, NOW + HOUR)


async def confirmed_later(
    ledger: Ledger, outcome: Outcome | None, decided_at: datetime = NOW + HOUR
) -> None:
    """Another request for the same customer, with its outcome."""
    verdict = Verdict.CONFIRMED
    later = replace(REQUEST, id="b" * 32, verdict=verdict, decided_at=decided_at, due_at=None)
    await ledger.add(later, ASKED)
    if outcome:
        event = NewEvent(decided_at, EventType(outcome.value), "", {})
        await ledger.record(later, event, outcome=outcome, settled_at=decided_at)


@pytest.mark.parametrize("decided_at", [NOW + HOUR, NOW - HOUR], ids=["", "the clock was set back"])
@pytest.mark.parametrize("outcome", [None, Outcome.RESTORED, Outcome.UNKNOWN])
async def test_a_later_request_of_the_customer_explains_what_a_recheck_shows(
    database: Database, outcome: Outcome | None, decided_at: datetime
) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    first = (await cleared(ledger, await confirmed(ledger))).request
    await confirmed_later(ledger, outcome, decided_at)
    event = NewEvent(NOW, EventType.LATCHED_AGAIN, "", {})
    found = await due.record_recheck(first, event, NOW + HOUR)
    assert (found.history, found.is_running) == (None, outcome is None)
    assert (await ledger.request_history(first.id)).events[-1].type == EventType.CLEARED


async def test_a_later_request_that_changed_nothing_explains_nothing(database: Database) -> None:
    due, ledger = DueRequests(database), Ledger(database)
    first = (await cleared(ledger, await confirmed(ledger))).request
    await confirmed_later(ledger, Outcome.REFUSED)
    event = NewEvent(NOW, EventType.LATCHED_AGAIN, "", {})
    assert (await due.record_recheck(first, event, NOW + HOUR)).history is not None


@pytest.mark.parametrize(
    "request_",
    [
        replace(CLEARED, outcome=Outcome.ALREADY_CLEAR),
        replace(CLEARED, outcome=Outcome.RESTORED),
        replace(CLEARED, outcome=Outcome.UNKNOWN),
        replace(CLEARED, undone_by="b" * 32),
        replace(CLEARED, outcome=None),
    ],
    ids=["already clear", "restored", "unknown", "undone", "under way"],
)
def test_only_what_was_cleared_and_not_undone_is_rechecked(request_: Request) -> None:
    assert recheck_at(history(request_), 3600, NOW) is None


def test_a_recheck_is_due_once_and_for_a_week() -> None:
    assert recheck_at(history(CLEARED), 3600, NOW) == NOW + HOUR
    assert recheck_at(history(CLEARED), 0, NOW) is None
    assert recheck_at(history(CLEARED), 3600, NOW + timedelta(days=8)) is None
    for done in (EventType.RECHECKED, EventType.LATCHED_AGAIN):
        assert recheck_at(history(CLEARED, done), 3600, NOW) is None
