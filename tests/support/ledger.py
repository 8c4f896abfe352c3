"""A request as the ledger's own tests write it, the steps that it takes there, and its audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.domain.models import (
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    NewEvent,
    Outcome,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.domain.policy import Decision
from bot.ledger.audit.verify import verify
from bot.ledger.database.engine import open_engine
from bot.ledger.gate import DecisionResult
from bot.ledger.hash_chain import canonical_json, digest
from bot.ledger.store import Ledger

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LEASE = timedelta(seconds=30)
LATER = NOW + LEASE + timedelta(seconds=1)
ALICE, BOB = Person("U0ALICE", "T0SANDBOX"), Person("U0BOB", "T0PARTNER")
REQUEST = Request(
    id="a" * 32,
    kind=Kind.UNLATCH,
    customer=Customer(2554529, HubSpotIds(101, 434381295294), "Zoë", "Stolen Bikes 🚲", "2554530"),
    channel_id="C0BILLING",
    message_ts="1795476057.349284",
    thread_ts="1795476057.349284",
    requester=ALICE,
    reason="moved — “new” portal",
    asked_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    due_at=NOW + timedelta(minutes=15),
)
NOT_LISTED = Decision(allowed=False, why="not on the list")
ASKED = NewEvent(NOW, EventType.REQUESTED, "U0ALICE", {"reason": "moved", "vid": 101})


async def confirm(ledger: Ledger, at: datetime = NOW, **result: object) -> DecisionResult:
    new_event = NewEvent(at, EventType.CONFIRMED, "U0BOB", {})
    values: dict[str, object] = {"decider": BOB, "due_at": at + LEASE, **result}
    return await ledger.decide(REQUEST.id, Verdict.CONFIRMED, new_event, **values)  # type: ignore[arg-type]  # by name


async def confirmed(ledger: Ledger) -> Request:
    await ledger.add(REQUEST, ASKED)
    return (await confirm(ledger)).request


async def cleared(ledger: Ledger, request: Request) -> RequestHistory:
    new_event = NewEvent(NOW, EventType.CLEARED, "", {"status": 200})
    return await ledger.record(
        request, new_event, outcome=Outcome.CLEARED, settled_at=NOW, due_at=NOW + LEASE
    )


def broken(database_url: str) -> list[str]:
    """What `audit --verify` finds."""
    engine = open_engine(database_url, read_only=True)
    try:
        return list(verify(engine))
    finally:
        engine.dispose()


def hash_of(event: Event) -> str:
    """The hash that an event must have."""
    return digest(
        event.previous,
        event.request_id,
        event.number,
        event.at,
        event.type,
        event.actor,
        canonical_json(event.details),
    )
