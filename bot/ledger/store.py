"""Stores requests and their events: what was asked, decided and done.

Cards and threads are drawn from the ledger, never the other way round. A change of a request and
its event are one transaction. Events are only ever inserted, and their hashes form a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from bot.domain.models import (
    Card,
    CardHistory,
    NewEvent,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.ledger import gate, outbox, queries
from bot.ledger.database.engine import LedgerUnavailable, try_to_write
from bot.ledger.gate import Change, DecisionResult, Judge, Overtaken
from bot.ledger.leases import LostClaim
from bot.ledger.reading import Reader

MAX_RETRY_DELAY_S = 0.5
"""A decision that fails faster than this is tried once more: both fit into Slack's 3 s."""


class AlreadyAsked(Exception):
    """The ledger has a card with this id, which was asked for at another time."""


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Write(Protocol[T_co]):
    """A transaction that may be run again; `again` says that it may have taken effect before."""

    def __call__(self, connection: Connection, *, again: bool) -> T_co: ...


class Ledger(Reader):
    """Requests and events in SQLite or PostgreSQL.

    Every method is one transaction and raises LedgerUnavailable if the database fails. A method
    that writes an event may be repeated by itself, if it is not certain that its commit took
    effect: the second time it looks first.
    """

    async def add(
        self, request: Request, new_event: NewEvent, response_url: str | None = None
    ) -> Request:
        """Insert a card of one request: see `add_card`."""
        card = await self.add_card(Card((request,)), [new_event], response_url)
        return card.first

    async def add_card(
        self, card: Card, new_events: Sequence[NewEvent], response_url: str | None = None
    ) -> Card:
        """Insert a card's requests, each with its first event, which vouches for the row.

        `response_url` is kept while it works, to tell the requester what the card can't show.
        Raises: FollowUpOpen if it is a follow-up and its thread has another one that is open;
        Overtaken if it is an undo and a customer has been changed again; AlreadyAsked.
        """

        def work(connection: Connection, *, again: bool) -> Card:
            first = card.first
            if again and (added := queries.find_card(connection, card.id)):
                return _same(added, card)
            if first.thread_ts not in (None, first.message_ts):
                gate.require_room(connection, card)
            added = queries.add(connection, card, new_events)
            if response_url:
                at = new_events[0].at
                outbox.remember(connection, card.id, first.requester, response_url, at)
            return added

        try:
            return await self._write(work)
        except LedgerUnavailable as error:
            # the first commit was still under way when the second try looked
            if isinstance(error.__cause__, IntegrityError) and (
                added := await self.get_card(card.id)
            ):
                return _same(added, card)
            raise

    async def decide(
        self,
        card_id: str,
        verdict: Verdict,
        new_event: NewEvent,
        *,
        decider: Person | None,
        due_at: datetime,
        judge: Judge = gate.allow,
        message_ts: str = "",
        response_url: str | None = None,
        seen: Mapping[str, dict[str, object]] | None = None,
    ) -> DecisionResult:
        """The gate: record the verdict if there is none yet and `judge` allows it.

        It is one verdict about all requests of the card. A click counts only before the card
        expires, an expiry only after. `due_at` is the deadline of the worker that acts on the
        verdict. A click on the card `message_ts` may be quicker than the note that it was posted:
        then this notes it. `response_url` is kept while it works. `seen` has, for each request,
        more details for the event.
        Raises: KeyError if there is no such card.
        """
        lease = due_at - new_event.at

        def work(connection: Connection, *, again: bool) -> DecisionResult:
            card = queries.lock_card(connection, card_id)
            if again and (result := gate.earlier(connection, card, verdict, new_event)):
                return result
            expiry = verdict is Verdict.EXPIRED
            if card.first.verdict or card.first.due_at is None:
                return DecisionResult(card, taken=False)
            overdue = queries.is_overdue(card.first, new_event.at, lease)
            late = overdue if expiry else gate.expired(card.first, new_event.at)
            if late is not expiry:
                return DecisionResult(card, taken=False)
            card = gate.with_message(card, message_ts)
            others = gate.others(connection, card) if verdict is Verdict.CONFIRMED else []
            other = gate.overtaking(card.first, others)
            decision = judge(card.first, other)
            if not decision.allowed:
                return gate.deny(connection, card, verdict, new_event, decision, other)
            if decider and response_url:
                outbox.remember(connection, card_id, decider, response_url, new_event.at)
            events = [
                replace(new_event, details=new_event.details | (seen or {}).get(request.id, {}))
                for request in card.requests
            ]
            after = gate.unfinished(card, others)
            return gate.take(connection, card, verdict, events, decider, due_at, after)

        return await self._write(work, within_s=MAX_RETRY_DELAY_S, urgent=True)

    async def decided(
        self, card_id: str, verdict: Verdict, new_event: NewEvent
    ) -> DecisionResult | None:
        """What became of an attempt to decide whose answer was lost; None if nothing did.

        It waits for the transaction of that attempt to end.
        """

        def work(connection: Connection) -> DecisionResult | None:
            card = queries.lock_card(connection, card_id)
            return gate.earlier(connection, card, verdict, new_event)

        return await self._database.run(work)

    async def record(
        self,
        request: Request,
        new_event: NewEvent,
        *,
        fenced: bool = True,
        again: bool = False,
        **changes: Any,  # noqa: ANN401  # fields of Request
    ) -> RequestHistory:
        """Append an event and change the request's fields, as the worker that holds its claim.

        `again`: an earlier call with the same event failed, but may have taken effect. Raises:
        LostClaim if another worker has claimed the request since; never if not `fenced`.
        """

        def work(connection: Connection, *, again: bool) -> RequestHistory:
            current = queries.lock(connection, request.id)
            if again and queries.holds(connection, current, new_event):
                return queries.history_of(connection, current)
            if fenced and current.claim != request.claim:
                raise LostClaim(request.id)
            changed = queries.append(connection, replace(current, **changes), new_event)
            return queries.history_of(connection, changed)

        return await self._write(work, again=again)

    async def append(
        self, request: Request, new_event: NewEvent, change: Change, *, alone: bool = False
    ) -> RequestHistory | None:
        """Append an event of somebody who holds no claim, if `change` allows it; else None.

        With `alone`: raises FollowUpOpen if the thread has another request that is open; Overtaken
        if another request has changed the customer since, so that its ids say nothing of this one.
        """

        def work(connection: Connection, *, again: bool) -> RequestHistory | None:
            current = queries.lock(connection, request.id)
            if again and queries.holds(connection, current, new_event):
                return queries.history_of(connection, current)
            if alone:
                gate.require_no_follow_up(connection, Card((current,)))
                if by := gate.changed_since(connection, current):
                    raise Overtaken(by)
            changed = change(current)
            if changed is None:
                return None
            changed = queries.append(connection, changed, new_event)
            return queries.history_of(connection, changed)

        return await self._write(work)

    async def deny(
        self, request: Request, denial: NewEvent, due_at: datetime
    ) -> RequestHistory | None:
        """Append a refusal, to be drawn by `due_at`; None if it is half of a double click."""

        def work(connection: Connection, *, again: bool) -> RequestHistory | None:
            current = queries.lock(connection, request.id)
            if again and queries.holds(connection, current, denial):
                return queries.history_of(connection, current)
            if gate.repeats(connection, current, denial):
                return None
            # a recheck may be due much later
            due = replace(current, due_at=min(current.due_at or due_at, due_at))
            return queries.history_of(connection, queries.append(connection, due, denial))

        return await self._write(work)

    async def stop(self, card_id: str, pressed: NewEvent) -> CardHistory | None:
        """Record that a card's work is to be stopped; None if no request is still to be done."""

        def work(connection: Connection, *, again: bool) -> CardHistory | None:
            card = queries.lock_card(connection, card_id)
            if again and queries.holds(connection, card.first, pressed):
                return queries.card_history_of(connection, card)
            if not any(request.is_to_be_executed for request in card.requests):
                return None
            if not queries.is_stopping(connection, card_id):
                stopped = queries.append(connection, card.first, pressed)
                card = Card((stopped, *card.requests[1:]))
            return queries.card_history_of(connection, card)

        return await self._write(work, urgent=True)

    async def ping(self) -> None:
        """Check that the database takes a write. Raises: LedgerUnavailable."""
        await self._database.run(try_to_write)

    async def _write(
        self,
        work: _Write[T],
        *,
        again: bool = False,
        within_s: float | None = None,
        urgent: bool = False,
    ) -> T:
        """Run a transaction; if it fails, and perhaps took effect, run it once more.

        The second time it is told to look first. `within_s` limits how long the first may have
        taken, and then the second is run after any failure. A click waits for what is `urgent`.
        """
        began = monotonic()
        try:
            return await self._database.run(partial(work, again=again), urgent=urgent)
        except LedgerUnavailable as error:
            repeat = error.uncertain if within_s is None else monotonic() - began <= within_s
            if not repeat:
                raise
            first = error
        try:
            return await self._database.run(partial(work, again=True), urgent=urgent)
        except LedgerUnavailable as error:
            uncertain = error.uncertain or first.uncertain
            raise LedgerUnavailable(str(error), uncertain=uncertain) from error.__cause__


def _same(added: Card, card: Card) -> Card:
    """The card as it was added. Raises: AlreadyAsked if that was another attempt."""
    if added.first.asked_at != card.first.asked_at:
        raise AlreadyAsked(card.id)
    return added
