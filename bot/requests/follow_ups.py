"""What can follow an end: undo what was cleared, look again at what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import structlog

from bot.domain.models import Customer, EventType, Happening, Kind, Outcome, Person, Request
from bot.domain.policy import Decision
from bot.fusebill.responses import FusebillError
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.execution import compare
from bot.requests.lookup import Lookup
from bot.requests.posting import Cards, Place
from bot.requests.worker import Settler

log = structlog.get_logger(__name__)


class SecondThoughts:
    """Both start from a settled card and read the customer before they offer anything."""

    def __init__(
        self,
        ledger: Ledger,
        lookup: Lookup,
        cards: Cards,
        settler: Settler,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._lookup = lookup
        self._cards = cards
        self._settler = settler
        self._links = links
        self._metrics = metrics
        self._threads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def undo(self, request: Request, person: Person, place: Place) -> None:
        """Post a card in the same thread that would latch the customer to its old ids again."""
        async with self._alone(request) as current:
            if current.outcome is not Outcome.CLEARED or current.undone_by:
                await self._cards.whisper(place, ephemerals.nothing_to_undo())
            elif await self._ledger.open_follow_up(current):
                await self._cards.whisper(place, ephemerals.follow_up_open())
            elif customer := await self._read(current, place):
                await self._offer_undo(current, customer, person, place)

    async def _offer_undo(
        self, request: Request, customer: Customer, person: Person, place: Place
    ) -> None:
        if customer.ids:
            await self._cards.whisper(place, ephemerals.latched_anew(customer, self._links))
            return
        wanted = replace(customer, ids=request.customer.ids)
        reason = f"Undo: {request.reason}" if request.reason else "Undo"
        relatch = self._cards.request(
            person, place, wanted, reason, kind=Kind.RELATCH, follows=request
        )
        await self._cards.post(relatch, place)

    async def check_again(self, request: Request, person: Person, place: Place) -> None:
        """Read the customer of a card that ended UNKNOWN; where nothing changed, ask anew."""
        async with self._alone(request) as current:
            if current.outcome is not Outcome.UNKNOWN:
                await self._cards.whisper(place, ephemerals.known_by_now())
            elif await self._ledger.open_follow_up(current):
                await self._cards.whisper(place, ephemerals.follow_up_open())
            elif customer := await self._read(current, place):
                await self._look(current, customer, person, place)

    async def _look(
        self, request: Request, customer: Customer, person: Person, place: Place
    ) -> None:
        finding = compare(customer.ids, request, called=True)
        if finding is None:
            again = self._cards.request(
                person, place, request.customer, request.reason, kind=request.kind, follows=request
            )
            await self._cards.post(again, place)
            return
        now = datetime.now(UTC)
        found = Happening(now, EventType(finding.outcome), person.user_id, finding.details)
        trail = await self._ledger.record(
            request,
            found,
            fenced=False,
            outcome=finding.outcome,
            settled_at=now,
            due_at=self._settler.lease(now),
        )
        self._metrics.outcomes.labels(request.kind, finding.outcome).inc()
        # not a mere redrawing: what turns out to be restored marks another request as undone
        self._settler.start(trail.request)

    @asynccontextmanager
    async def _alone(self, request: Request) -> AsyncIterator[Request]:
        """The request as it is now, to one press at a time: people press twice."""
        async with self._threads.setdefault(request.id, asyncio.Lock()):
            yield await self._ledger.get(request.id) or request

    async def deny(
        self, request: Request, person: Person, place: Place, decision: Decision
    ) -> None:
        """Keep it in ledger and thread, and tell the person why."""
        now = datetime.now(UTC)
        why: dict[str, object] = {"why": decision.why}
        trail = await self._ledger.record(
            request,
            Happening(now, EventType.DECISION_DENIED, person.user_id, why),
            fenced=False,
            due_at=request.due_at or self._settler.lease(now),
        )
        self._settler.redraw(trail)
        await self._cards.whisper(place, ephemerals.denied(decision.why, decision.channels))

    async def _read(self, request: Request, place: Place) -> Customer | None:
        customer_id = request.customer.customer_id
        try:
            return await self._lookup.read(customer_id, place)
        except FusebillError as error:
            await self._cards.whisper(place, ephemerals.not_read(customer_id, error))
            return None
