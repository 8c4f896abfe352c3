"""Undoes a cleared request, and checks one with an unknown outcome again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import structlog

from bot.domain.meanings import may_be_checked, may_be_undone
from bot.domain.models import Customer, EventType, Kind, NewEvent, Person, Request
from bot.domain.policy import Decision
from bot.fusebill.errors import FusebillError
from bot.ledger.gate import FollowUpOpen, Overtaken
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.execution import compare
from bot.requests.lookup import Lookup
from bot.requests.posting import CardPoster, Place
from bot.requests.worker import Worker

log = structlog.get_logger(__name__)


class FollowUps:
    """Handles **Undo…** and **Check again**; both read the customer before they offer anything."""

    def __init__(
        self,
        ledger: Ledger,
        lookup: Lookup,
        poster: CardPoster,
        worker: Worker,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._lookup = lookup
        self._poster = poster
        self._worker = worker
        self._links = links
        self._metrics = metrics
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def undo(self, request: Request, person: Person, place: Place) -> None:
        """Post a card in the same thread that offers to latch the customer to its old ids."""
        async with self._locked(request) as current:
            if not may_be_undone(current):
                self._worker.catch_up_soon(current)
                await self._poster.send_ephemeral(place, ephemerals.nothing_to_undo())
            elif await self._ledger.open_follow_up(current):
                await self._poster.send_ephemeral(place, ephemerals.follow_up_open())
            elif other := await self._ledger.changed_since(current):
                await self._say_changed(other, place)
            elif customer := await self._read(current, place):
                await self._offer_undo(current, customer, person, place)

    async def _offer_undo(
        self, request: Request, customer: Customer, person: Person, place: Place
    ) -> None:
        if customer.ids:
            await self._poster.send_ephemeral(
                place, ephemerals.latched_meanwhile(customer, self._links)
            )
            return
        restored = replace(customer, ids=request.customer.ids)
        reason = f"Undo: {request.reason}" if request.reason else "Undo"
        relatch = self._poster.request(
            person, place, restored, reason, kind=Kind.RELATCH, follows=request
        )
        await self._post(relatch, place)

    async def _post(self, follow_up: Request, place: Place) -> None:
        """Post a card, unless another instance was quicker: the ledger decides."""
        try:
            await self._poster.post(follow_up, place)
        except FollowUpOpen:
            await self._poster.send_ephemeral(place, ephemerals.follow_up_open())
        except Overtaken as error:
            await self._say_changed(error.by, place)

    async def _say_changed(self, other: Request, place: Place) -> None:
        url = await self._lookup.permalink(other)
        await self._poster.send_ephemeral(place, ephemerals.changed_since(other, url))

    async def check_again(self, request: Request, person: Person, place: Place) -> None:
        """Read the customer of an UNKNOWN card: record what happened, or post a new card.

        A new card is posted if the customer still has the ids that the card shows.
        """
        async with self._locked(request) as current:
            if not may_be_checked(current):
                self._worker.catch_up_soon(current)
                await self._poster.send_ephemeral(place, ephemerals.outcome_known())
            elif await self._ledger.open_follow_up(current):
                await self._poster.send_ephemeral(place, ephemerals.follow_up_open())
            elif customer := await self._read(current, place):
                await self._record_or_ask(current, customer, person, place)

    async def _record_or_ask(
        self, request: Request, customer: Customer, person: Person, place: Place
    ) -> None:
        result = compare(customer.ids, request, called=True)
        if result is None:
            again = self._poster.request(
                person, place, request.customer, request.reason, kind=request.kind, follows=request
            )
            await self._post(again, place)
            return
        now = datetime.now(UTC)
        event = NewEvent(now, EventType(result.outcome), person.user_id, result.details)

        def known(current: Request) -> Request | None:
            if not may_be_checked(current):
                return None
            due_at = self._worker.lease(now)
            return replace(current, outcome=result.outcome, settled_at=now, due_at=due_at)

        try:
            history = await self._ledger.append(request, event, known, alone=True)
        except FollowUpOpen:
            await self._poster.send_ephemeral(place, ephemerals.follow_up_open())
            return
        except Overtaken as error:
            url = await self._lookup.permalink(error.by)
            await self._poster.send_ephemeral(place, ephemerals.unknown_since(error.by, url))
            return
        if history is None:
            await self._poster.send_ephemeral(place, ephemerals.outcome_known())
            return
        self._metrics.outcomes.labels(request.kind, result.outcome).inc()
        # start() rather than redraw(): a RESTORED outcome also marks the undone request
        self._worker.start(history.request)

    @asynccontextmanager
    async def _locked(self, request: Request) -> AsyncIterator[Request]:
        """The request as it is now, one click at a time: people click twice.

        This saves reads and is no promise: another instance has locks of its own, so what must not
        happen twice is asked again in the transaction that writes it.
        """
        async with self._locks.setdefault(request.id, asyncio.Lock()):
            yield await self._ledger.get(request.id) or request

    async def deny(
        self, request: Request, person: Person, place: Place, decision: Decision
    ) -> None:
        """Record a refusal in the ledger and the thread, and tell the person why."""
        now = datetime.now(UTC)
        why: dict[str, object] = {"why": decision.why}
        denial = NewEvent(now, EventType.DECISION_DENIED, person.user_id, why)
        history = await self._ledger.deny(request, denial, self._worker.lease(now))
        if history:
            self._worker.redraw(history)
        await self._poster.send_ephemeral(place, ephemerals.denied(decision.why, decision.channels))

    async def _read(self, request: Request, place: Place) -> Customer | None:
        customer_id = request.customer.customer_id
        try:
            return await self._lookup.read(customer_id, place)
        except FusebillError as error:
            await self._poster.send_ephemeral(place, ephemerals.not_read(customer_id, error))
            return None
