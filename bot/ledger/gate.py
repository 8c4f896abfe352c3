"""The gate: who may decide a request now, and what else is done for the same customer.

These functions run inside a transaction that `store` began, under the lock of the request's row and
of its customer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from bot.domain.meanings import VERDICTS
from bot.domain.models import (
    Card,
    Event,
    EventType,
    Kind,
    NewEvent,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.domain.policy import ALLOWED, Decision
from bot.ledger import queries, same_customer
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


After = Mapping[str, Sequence[str]]
"""For each of a card's requests, by its id, those of other cards that it has to wait for."""


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The result of an attempt to decide a card.

    `taken`: the verdict is now in the ledger. If not, `decision` says why this person may not
    decide; if `decision` allows it, the card was already decided or has expired. `other` is the
    request that overtook one of the card's. `after` names, for each of the card's requests, those
    for the same customer that were being executed at the time: its work has to wait for them.
    """

    card: Card
    taken: bool
    decision: Decision = ALLOWED
    other: Request | None = None
    after: After = field(default_factory=dict)

    @property
    def request(self) -> Request:
        """The request that speaks for the card."""
        return self.card.first


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


def with_message(card: Card, message_ts: str) -> Card:
    """The card with the message that was clicked, if the ledger doesn't know its message yet."""
    if card.first.message_ts or not message_ts:
        return card
    thread_ts = card.first.thread_ts or message_ts
    posted = [replace(r, message_ts=message_ts, thread_ts=thread_ts) for r in card.requests]
    # whoever posts the card may still have to note that it expires later
    due_at = max(card.first.due_at or card.first.expires_at, card.first.expires_at)
    return Card((replace(posted[0], due_at=due_at), *posted[1:]))


def allow(_request: Request, _other: Request | None) -> Decision:
    """A Judge without rules."""
    return ALLOWED


def require_room(connection: Connection, follow_up: Card) -> None:
    """Check that a follow-up may be added. Raises: FollowUpOpen; Overtaken."""
    require_no_follow_up(connection, follow_up)
    for request in follow_up.requests:
        undone = queries.find(connection, request.undoes) if request.undoes else None
        if undone and (by := changed_since(connection, undone)):
            raise Overtaken(by)


def require_no_follow_up(connection: Connection, card: Card) -> None:
    """Check that no other card in the thread is open, and keep it so. Raises: FollowUpOpen."""
    same_customer.lock_customers(connection, card)
    if same_customer.open_follow_up(connection, card):
        raise FollowUpOpen(card.id)


def changed_since(connection: Connection, request: Request) -> Request | None:
    """The last other request that changed the customer after this one did, or may have."""
    others = same_customer.changed_since(connection, request)
    # an undo of this very request that came to nothing can be repeated
    return next((o for o in others if o.undoes != request.id), None)


def others(connection: Connection, card: Card) -> list[Request]:
    """What other cards did for a card's customers since it was asked, or are doing."""
    same_customer.lock_customers(connection, card)
    return same_customer.others_since_asked(connection, card)


def unfinished(card: Card, others: Sequence[Request]) -> After:
    """For each request of a card, those of `others` for its customer that are being executed."""
    running = [other for other in others if other.outcome is None]
    waits = {
        request.id: [
            other.id
            for other in running
            if other.customer.customer_id == request.customer.customer_id
        ]
        for request in card.requests
    }
    return {request_id: found for request_id, found in waits.items() if found}


def overtaking(request: Request, others: Sequence[Request]) -> Request | None:
    """The first of `others` that a request must not be confirmed after."""
    return next((o for o in others if not _can_wait(request, o)), None)


def _can_wait(request: Request, other: Request) -> bool:
    """Whether a request can be confirmed while another is executed, and wait for its end.

    Two that clear the same customer can: the second finds nothing left to clear. An undo can't.
    """
    return other.outcome is None and request.kind is other.kind is Kind.UNLATCH


def earlier(
    connection: Connection, card: Card, verdict: Verdict, new_event: NewEvent
) -> DecisionResult | None:
    """The result of the same attempt to decide, if it has taken effect."""
    mine = (new_event.at, new_event.actor)
    histories = queries.card_history_of(connection, card).histories
    for event in histories[0].events:
        if (event.at, event.actor) == mine and event.type.value == verdict.value:
            return DecisionResult(card, taken=True, after=waits_of(histories))
        if (event.at, event.actor, event.type) == (*mine, EventType.DECISION_DENIED):
            decision = Decision(False, str(event.details.get("why", "")))
            return DecisionResult(card, taken=False, decision=decision)
    return None


def waits_of(histories: Sequence[RequestHistory]) -> After:
    """The requests that each of these has to wait for, from the events that confirmed them."""
    return {
        history.request.id: [other for event in history.events for other in after(event)]
        for history in histories
    }


def after(event: Event) -> tuple[str, ...]:
    """The requests that a confirmed one has to wait for, from the event that confirmed it."""
    found = event.details.get("after")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def deny(
    connection: Connection,
    card: Card,
    verdict: Verdict,
    new_event: NewEvent,
    decision: Decision,
    other: Request | None,
) -> DecisionResult:
    """Record a refusal, once for a double click."""
    details: dict[str, object] = {"verdict": verdict, "why": decision.why}
    denial = replace(new_event, type=EventType.DECISION_DENIED, details=details)
    if not repeats(connection, card.first, denial):
        denied = queries.append(connection, card.first, denial)
        card = Card((denied, *card.requests[1:]))
    return DecisionResult(card, taken=False, decision=decision, other=other)


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
    card: Card,
    verdict: Verdict,
    new_events: Sequence[NewEvent],
    decider: Person | None,
    due_at: datetime,
    after: After,
) -> DecisionResult:
    """Record the verdict and claim the card's requests for the worker that acts on it."""
    executes = VERDICTS[verdict].executes
    decided = [
        replace(
            request,
            verdict=verdict,
            decider=decider,
            decided_at=new_events[0].at,
            # without work, only the card has to be drawn
            due_at=due_at if executes or request is card.first else None,
            claim=request.claim + 1,
        )
        for request in card.requests
    ]
    vouching = [
        replace(event, details=_vouching(request, event, decider, after))
        for request, event in zip(decided, new_events, strict=True)
    ]
    card = queries.append_all(connection, decided, vouching)
    return DecisionResult(card, taken=True, after=after)


def _vouching(
    decided: Request, new_event: NewEvent, decider: Person | None, after: After
) -> dict[str, object]:
    """The details of the event that decides a request."""
    details = dict(new_event.details)
    if decider:
        # the hash chain covers the event, and `verify` compares the row with it
        details["team"] = decider.team_id
    if waits_for := after.get(decided.id):
        details["after"] = list(waits_for)
    details["row"] = fingerprint(request_row(decided), posted=True)
    return details
