"""Undoes a cleared request, and checks one with an unknown outcome again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import structlog

from bot.domain.meanings import may_be_checked, may_be_undone
from bot.domain.models import Card, Customer, EventType, Kind, LeftOut, NewEvent, Person, Request
from bot.fusebill.errors import FusebillError
from bot.ledger.gate import FollowUpOpen, Overtaken
from bot.ledger.store import Ledger
from bot.messages import click_answers, ephemerals
from bot.messages.block_kit import Message
from bot.messages.fusebill_errors import reason
from bot.messages.many import ephemerals as many_ephemerals
from bot.messages.phrases import Links, display_name
from bot.ops.metrics import Metrics
from bot.requests.lookup import Lookup
from bot.requests.posting import CardPoster, Place
from bot.requests.preview import Preview
from bot.requests.publishing.redrawing import Redrawing
from bot.requests.work.results import ExecutionResult, compare
from bot.requests.work.worker import Worker

log = structlog.get_logger(__name__)


class FollowUps:
    """Handles **Undo…** and **Check again**; both read the customer before they offer anything."""

    def __init__(
        self,
        ledger: Ledger,
        lookup: Lookup,
        preview: Preview,
        poster: CardPoster,
        worker: Worker,
        redrawing: Redrawing,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._lookup = lookup
        self._preview = preview
        self._poster = poster
        self._worker = worker
        self._redrawing = redrawing
        self._links = links
        self._metrics = metrics
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def undo(self, card: Card, person: Person, place: Place) -> None:
        """Post a card in the same thread that offers to latch the customers to their old ids."""
        async with self._locked(card) as current:
            undoable = [request for request in current.requests if may_be_undone(request)]
            if not undoable:
                self._redrawing.catch_up(current.first)
                await self._poster.send_ephemeral(place, click_answers.nothing_to_undo())
            elif await self._ledger.open_follow_up(current):
                await self._poster.send_ephemeral(place, click_answers.follow_up_open())
            else:
                await self._undo(undoable, person, place)

    async def _undo(self, undoable: Sequence[Request], person: Person, place: Place) -> None:
        """Offer to undo what nothing else has changed since; the rest is left out and named."""
        left_out: list[LeftOut] = []
        unchanged: list[Request] = []
        for request in undoable:
            other = await self._ledger.changed_since(request)
            if other is None:
                unchanged.append(request)
                continue
            if len(undoable) == 1:
                await self._say_changed(other, place)
                return
            left_out.append(_left_out(request, _changed_by(other)))
        found = await self._read(unchanged, place)
        restorable: list[tuple[Request, Customer]] = []
        for request, customer in zip(unchanged, found, strict=True):
            if isinstance(customer, FusebillError):
                left_out.append(_left_out(request, f"could not be read: {reason(customer)}"))
            elif not customer.ids:
                restorable.append((request, customer))
            elif len(undoable) == 1:
                latched = click_answers.latched_meanwhile(customer, self._links)
                await self._poster.send_ephemeral(place, latched)
                return
            else:
                left_out.append(_left_out(request, "latched to other ids now"))
        if restorable:
            await self._offer_undo(restorable, left_out, person, place)
        elif len(undoable) > 1:
            await self._poster.send_ephemeral(place, click_answers.nothing_left_to_undo(left_out))

    async def _offer_undo(
        self,
        restorable: Sequence[tuple[Request, Customer]],
        left_out: Sequence[LeftOut],
        person: Person,
        place: Place,
    ) -> None:
        requests = [request for request, _customer in restorable]
        restored = [replace(customer, ids=request.customer.ids) for request, customer in restorable]
        why = requests[0].reason
        relatch = self._poster.card(
            person,
            place,
            restored,
            f"Undo: {why}" if why else "Undo",
            kind=Kind.RELATCH,
            follows=requests,
        )
        if await self._post(relatch, place, left_out) and left_out and len(requests) == 1:
            others = many_ephemerals.others_not_undone(left_out, self._links)
            await self._poster.send_ephemeral(place, others)

    async def _post(self, card: Card, place: Place, left_out: Sequence[LeftOut] = ()) -> bool:
        """Post a card, unless another instance was quicker: the ledger decides."""
        try:
            return await self._poster.post(card, place, left_out)
        except FollowUpOpen:
            await self._poster.send_ephemeral(place, click_answers.follow_up_open())
        except Overtaken as error:
            await self._say_changed(error.by, place)
        return False

    async def _say_changed(self, other: Request, place: Place) -> None:
        url = await self._lookup.permalink(other)
        await self._poster.send_ephemeral(place, click_answers.changed_since(other, url))

    async def check_again(self, card: Card, person: Person, place: Place) -> None:
        """Read the customers whose outcome is unknown: record what happened, or post a new card.

        The new card is about those that still have the ids that the card shows.
        """
        async with self._locked(card) as current:
            unknown = [request for request in current.requests if may_be_checked(request)]
            if not unknown:
                self._redrawing.catch_up(current.first)
                await self._poster.send_ephemeral(place, click_answers.outcome_known())
            elif await self._ledger.open_follow_up(current):
                await self._poster.send_ephemeral(place, click_answers.follow_up_open())
            else:
                await self._check(unknown, person, place)

    async def _check(self, unknown: Sequence[Request], person: Person, place: Place) -> None:
        recorded: list[str] = []
        still_latched: list[Request] = []
        changed_by: list[Request] = []
        # what keeps one from being recorded may keep many: it is said once
        refusals: dict[str, Message] = {}
        for request, customer in zip(unknown, await self._read(unknown, place), strict=True):
            if isinstance(customer, FusebillError):
                continue
            result = compare(customer.ids, request, called=True)
            if result is None:
                still_latched.append(request)
                continue
            try:
                refusal = await self._record(request, result, person)
            except Overtaken as error:
                changed_by.append(error.by)
                continue
            if refusal is None:
                recorded.append(request.id)
            else:
                refusals[refusal.text] = refusal
        if recorded:
            # not redraw(): a RESTORED outcome also marks the undone request
            self._worker.conclude_soon(unknown[0].card_id, recorded)
        for refusal in refusals.values():
            await self._poster.send_ephemeral(place, refusal)
        if changed_by:
            await self._say_unknown_since(changed_by, place)
        if still_latched:
            again = self._poster.card(
                person,
                place,
                [request.customer for request in still_latched],
                unknown[0].reason,
                kind=unknown[0].kind,
                follows=still_latched,
            )
            await self._post(again, place)

    async def _say_unknown_since(self, changed_by: Sequence[Request], place: Place) -> None:
        if len(changed_by) == 1:
            url = await self._lookup.permalink(changed_by[0])
            said = click_answers.unknown_since(changed_by[0], url)
        else:
            ids = [request.customer.customer_id for request in changed_by]
            said = many_ephemerals.many_unknown_since(ids)
        await self._poster.send_ephemeral(place, said)

    async def _record(
        self, request: Request, result: ExecutionResult, person: Person
    ) -> Message | None:
        """Record an outcome that the customer shows now; returns why that is wrong, if it is.

        Raises: Overtaken.
        """
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
            return click_answers.follow_up_open()
        if history is None:
            return click_answers.outcome_known()
        self._metrics.outcomes.labels(request.kind, result.outcome).inc()
        return None

    @asynccontextmanager
    async def _locked(self, card: Card) -> AsyncIterator[Card]:
        """The card as it is now, one click at a time: people click twice.

        This saves reads and is no promise: another instance has locks of its own, so what must not
        happen twice is asked again in the transaction that writes it.
        """
        async with self._locks.setdefault(card.id, asyncio.Lock()):
            yield await self._ledger.get_card(card.id) or card

    async def _read(
        self, requests: Sequence[Request], place: Place
    ) -> Sequence[Customer | FusebillError]:
        """Read the customers of requests; tell the person why one could not be read."""
        ids = [request.customer.customer_id for request in requests]
        found = await self._preview.read_all(ids, place)
        for customer_id in ids:
            if isinstance(error := found[customer_id], FusebillError):
                await self._poster.send_ephemeral(place, ephemerals.not_read(customer_id, error))
                # one is enough: the reason is mostly the same for all
                break
        return [found[customer_id] for customer_id in ids]


def _changed_by(other: Request) -> str:
    """What another request does, or did, to a customer that it leaves an undo without."""
    if other.outcome is None:
        return "being changed by another request"
    known = not may_be_checked(other)
    return f"{'changed' if known else 'perhaps changed'} since by another request"


def _left_out(request: Request, why: str) -> LeftOut:
    return LeftOut(request.customer.customer_id, why, display_name(request.customer))
