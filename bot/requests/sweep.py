"""Looks in the ledger for what is due: cards to remind of or to expire, and abandoned work.

Whatever a process was doing when it was killed is found here by the next one, or by another
instance. What fell due while no bot ran is looked at before anything is said of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.clock import is_due_for_reminder
from bot.domain.models import EventType, NewEvent, Request, Verdict
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.gate import waits_of
from bot.ledger.leases import Leases
from bot.ledger.outbox import Outbox
from bot.ledger.store import Ledger
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.publishing.card_sender import CardSender
from bot.requests.publishing.reminders import Reminders
from bot.requests.work.customer_work import CustomerWork
from bot.requests.work.worker import Worker
from bot.settings import Timing

log = structlog.get_logger(__name__)

MAX_AT_ONCE = 4
"""Fewer than the ledger has connections: clicks must not wait behind rows that are locked."""


class Sweep:
    """Takes up what is due; each instance of the bot runs it every few seconds."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        outbox: Outbox,
        worker: Worker,
        work: CustomerWork,
        sender: CardSender,
        reminders: Reminders,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._outbox = outbox
        self._worker = worker
        self._work = work
        self._sender = sender
        self._reminders = reminders
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing
        self._started_at = datetime.now(UTC)

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep until the bot stops, whatever goes wrong in between."""
        caught_up = False
        while not stopping.is_set():
            try:
                if not caught_up:
                    await self.catch_up_stale()
                    caught_up = True
                await self.sweep()
            except LedgerUnavailable as error:
                log.warning("sweep postponed", why=str(error))
            except Exception:
                log.exception("sweep failed")
            await asyncio.sleep(self._timing.sweep_every_s)

    async def sweep(self) -> None:
        """Remind of cards and expire them, and reclaim requests whose worker is gone.

        What was cleared is reclaimed too when its recheck is due.
        """
        now = datetime.now(UTC)
        cards: dict[str, list[Request]] = {}
        for request in await self._leases.overdue(now, self._timing.lease):
            cards.setdefault(request.card_id, []).append(request)
        places = asyncio.Semaphore(MAX_AT_ONCE)

        async def take_up(card_id: str, requests: Sequence[Request]) -> None:
            async with places:
                await self._take_up(card_id, requests, now)

        # a card whose rows somebody else has locked must not hold up the others
        taken_up = await asyncio.gather(
            *(take_up(card_id, requests) for card_id, requests in cards.items()),
            return_exceptions=True,
        )
        for failure in taken_up:
            if isinstance(failure, BaseException):
                raise failure

    async def _take_up(self, card_id: str, requests: Sequence[Request], now: datetime) -> None:
        request = requests[0]
        if self._tasks.are_busy_with(card_id):
            # its worker here is slow, not dead; a second one would only add to the queue
            return
        if not request.kind.is_known:
            # a newer version of the bot knows what to do
            return
        if request.verdict is not None:
            await self._reclaim(requests)
        elif request.message_ts is None:
            await self._resume_posting(request)
        elif is_due_for_reminder(request, now):
            self._reminders.start(request)
        elif request.asked_at < self._started_at or now < request.expires_at:
            # a decision may be missing: no bot ran, the ledger is an older copy, or its times
            # say nothing because the clock was set back
            self._tasks.spawn(self._look_and_expire(request))
        else:
            await self._expire(request)

    async def catch_up_stale(self) -> None:
        """Have everything drawn by the next sweep that an earlier process could not draw."""
        await self._outbox.hurry_stale(datetime.now(UTC), self._timing.lease)

    async def _reclaim(self, requests: Sequence[Request]) -> None:
        # not the sweep's time: a slow ledger would shorten the leases of its last requests
        now = datetime.now(UTC)
        reclaimed = await self._leases.reclaim(requests, now, self._worker.lease(now))
        if reclaimed is None:
            return
        history, mine = reclaimed.history, reclaimed.mine
        abandoned = sum(r.is_to_be_executed for r in history.card.requests if r.id in mine)
        if abandoned:
            self._metrics.reclaimed.inc(abandoned)
            log.warning("abandoned work reclaimed", request_id=history.card.id, requests=abandoned)
        self._tasks.spawn(self._worker.finish(history.card, mine, waits_of(history.histories)))

    async def _resume_posting(self, request: Request) -> None:
        if self._sender.is_sending(request.card_id):
            return
        now = datetime.now(UTC)
        reclaimed = await self._leases.reclaim([request], now, self._worker.lease(now))
        if reclaimed:
            log.warning("request without a card taken up", request_id=request.id)
            self._tasks.spawn(self._sender.resume(reclaimed.history))

    async def _look_and_expire(self, request: Request) -> None:
        """Expire a card that nobody watched all along, and say what its customers are like."""
        try:
            card = await self._ledger.get_card(request.card_id)
            if card is None:
                return
            with self._tasks.busy_with(card.id):
                found = await asyncio.gather(*map(self._work.look, card.requests))
                late = datetime.now(UTC) - request.expires_at
                why: dict[str, object] = {}
                if late > self._timing.lease:
                    why = {"away": True}
                elif late < timedelta():
                    why = {"early": True}
                seen = {r.id: each | why for r, each in zip(card.requests, found, strict=True)}
                await self._expire(request, seen)
        except LedgerUnavailable as error:
            log.warning("expiry left to the sweep", request_id=request.id, why=str(error))

    async def _expire(
        self, request: Request, seen: Mapping[str, dict[str, object]] | None = None
    ) -> None:
        now = datetime.now(UTC)
        result = await self._ledger.decide(
            request.card_id,
            Verdict.EXPIRED,
            NewEvent(now, EventType.EXPIRED, "", {}),
            decider=None,
            due_at=self._worker.lease(now),
            seen=seen,
        )
        if result.taken:
            self._metrics.verdicts.labels(request.kind, Verdict.EXPIRED).inc()
            self._worker.start(result.card)
