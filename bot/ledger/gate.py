"""The gate: who may decide a request now, and what else is done for the same customer.

These functions run inside a transaction that `store` began, under the lock of the request's row and
of its customer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from bot.domain.models import Event, EventType, Kind, NewEvent, Person, Request, Verdict
from bot.domain.policy import ALLOWED, Decision
from bot.ledger import queries
from bot.ledger.hash_chain import fingerprint
from bot.ledger.mapping import request_row

DOUBLE_CLICK = timedelta(seconds=2)


class FollowUpOpen(Exception):
    """Another request in the same thread is undecided or being executed."""


class Overtaken(Exception):
    """Since the request that an undo would undo, `by` has changed the customer, or may have."""

    def __init__(self, by: Request) -> None:
        super().__init__(by.id)
        self.by = by


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The result of an attempt to decide a request.

    `taken`: the verdict is now in the ledger. If not, `decision` says why this person may not
    decide; if `decision` allows it, the request was already decided or has expired. `other` is the
    request that overtook this one. `after` names the requests for the same customer that were being
    executed at the time: this one's work has to wait for them.
    """

    request: Request
    taken: bool
    decision: Decision = ALLOWED
    other: Request | None = None
    after: tuple[str, ...] = ()


Judge = Callable[[Request, Request | None], Decision]
"""Applies the policy: may this person decide the request?

The second argument is the request that overtook it, if one did: another one for the same customer
that took effect after this one was asked, or may still, or that is being executed right now.
"""
Change = Callable[[Request], Request | None]
"""Changes a request, as it is under its lock; None if the event no longer applies to it."""


def expired(request: Request, at: datetime) -> bool:
    """Whether a click at this time comes too late.

    Until it is noted that the card was posted, `due_at` is the lease of whoever posts it.
    """
    if request.due_at is None:
        return True
    if request.message_ts is None:
        return max(request.due_at, request.expires_at) <= at
    # a reminder may be due before the expiry
    return request.expires_at <= at


def with_card(request: Request, message_ts: str) -> Request:
    """The request with the card that was clicked, if the ledger doesn't know its card yet."""
    if request.message_ts or not message_ts:
        return request
    thread_ts = request.thread_ts or message_ts
    # whoever posts the card may still have to note that it expires later
    due_at = max(request.due_at or request.expires_at, request.expires_at)
    return replace(request, message_ts=message_ts, thread_ts=thread_ts, due_at=due_at)


def allow(_request: Request, _other: Request | None) -> Decision:
    """A Judge without rules."""
    return ALLOWED


def require_room(connection: Connection, follow_up: Request) -> None:
    """Check that a follow-up may be added. Raises: FollowUpOpen; Overtaken."""
    queries.lock_customer(connection, follow_up)
    if queries.open_follow_up(connection, follow_up):
        raise FollowUpOpen(follow_up.id)
    undone = queries.find(connection, follow_up.undoes) if follow_up.undoes else None
    if undone and (by := changed_since(connection, undone)):
        raise Overtaken(by)


def changed_since(connection: Connection, request: Request) -> Request | None:
    """The last other request that changed the customer after this one did, or may have."""
    since = request.settled_at or request.decided_at or request.asked_at
    others = queries.others_since(connection, request, since)
    # an undo of this very request that came to nothing can be repeated
    return next((o for o in others if o.undoes != request.id), None)


def others(connection: Connection, request: Request) -> list[Request]:
    """What else was done for the customer since a request was asked, or is being done."""
    queries.lock_customer(connection, request)
    return queries.others_since(connection, request, request.asked_at)


def overtaking(request: Request, others: Sequence[Request]) -> Request | None:
    """The first of `others` that a request must not be confirmed after."""
    return next((o for o in others if not _can_wait(request, o)), None)


def _can_wait(request: Request, other: Request) -> bool:
    """Whether a request can be confirmed while another is executed, and wait for its end.

    Two that clear the same customer can: the second finds nothing left to clear. An undo can't.
    """
    return other.outcome is None and request.kind is other.kind is Kind.UNLATCH


def earlier(
    connection: Connection, request: Request, verdict: Verdict, new_event: NewEvent
) -> DecisionResult | None:
    """The result of the same attempt to decide, if it has taken effect."""
    mine = (new_event.at, new_event.actor)
    for event in queries.history_of(connection, request).events:
        if (event.at, event.actor) == mine and event.type.value == verdict.value:
            return DecisionResult(request, taken=True, after=after(event))
        if (event.at, event.actor, event.type) == (*mine, EventType.DECISION_DENIED):
            decision = Decision(False, str(event.details.get("why", "")))
            return DecisionResult(request, taken=False, decision=decision)
    return None


def after(event: Event) -> tuple[str, ...]:
    """The requests that a confirmed one has to wait for, from the event that confirmed it."""
    found = event.details.get("after")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def deny(
    connection: Connection,
    request: Request,
    verdict: Verdict,
    new_event: NewEvent,
    decision: Decision,
    other: Request | None,
) -> DecisionResult:
    """Record a refusal, once for a double click."""
    details: dict[str, object] = {"verdict": verdict, "why": decision.why}
    denial = replace(new_event, type=EventType.DECISION_DENIED, details=details)
    if not repeats(connection, request, denial):
        request = queries.append(connection, request, denial)
    return DecisionResult(request, taken=False, decision=decision, other=other)


def repeats(connection: Connection, request: Request, denial: NewEvent) -> bool:
    """Whether a refusal is the second half of a double click."""
    wanted = (denial.type, denial.actor, denial.details)
    return any(
        (event.type, event.actor, event.details) == wanted
        and abs(denial.at - event.at) <= DOUBLE_CLICK
        for event in queries.history_of(connection, request).events
    )


def take(
    connection: Connection,
    request: Request,
    verdict: Verdict,
    new_event: NewEvent,
    decider: Person | None,
    due_at: datetime,
    after: tuple[str, ...],
) -> DecisionResult:
    """Record the verdict and claim the request for the worker that acts on it."""
    details = dict(new_event.details)
    if decider:
        # the hash chain covers the event, and `verify` compares the row with it
        details["team"] = decider.team_id
    if after:
        details["after"] = list(after)
    decided = replace(
        request,
        verdict=verdict,
        decider=decider,
        decided_at=new_event.at,
        due_at=due_at,
        claim=request.claim + 1,
    )
    details["row"] = fingerprint(request_row(decided), posted=True)
    decided = queries.append(connection, decided, replace(new_event, details=details))
    return DecisionResult(decided, taken=True, after=after)
