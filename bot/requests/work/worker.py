"""Executes decided requests, records their outcome, and has card and thread updated.

A click that was acknowledged must reach its end even if the process is killed at any point. So
each step is in the ledger before the next one starts, each worker holds a lease (`due_at`), and the
sweep of any instance reclaims a request whose lease has run out. Running a request again is safe:
the execution compares the customer with the card before each call. A worker that lost its claim
can't write any more (LostClaim).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from bot.domain.models import (
    Card,
    CardHistory,
    EventType,
    NewEvent,
    Outcome,
    Request,
    RequestHistory,
    Verdict,
)
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.gate import After
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.store import Ledger
from bot.messages import drawing
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.publishing.log_fields import about
from bot.requests.publishing.progress import Progress
from bot.requests.publishing.publisher import Publisher
from bot.requests.publishing.redrawing import Redrawing
from bot.requests.work.customer_work import CustomerWork
from bot.requests.work.rechecking import Rechecker
from bot.settings import Timing
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)


class Worker:
    """Finishes decided requests; can be killed at any point and run again."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        publisher: Publisher,
        redrawing: Redrawing,
        work: CustomerWork,
        progress: Progress,
        rechecker: Rechecker,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._publisher = publisher
        self._redrawing = redrawing
        self._work = work
        self._progress = progress
        self._rechecker = rechecker
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing

    def lease(self, now: datetime) -> datetime:
        """When the lease of a worker that starts now ends."""
        return now + self._timing.lease

    def start(self, card: Card, after: After | None = None) -> None:
        """Finish a decided card in a background task; see `finish`."""
        self._tasks.spawn(self.finish(card, after=after))

    def start_if_decided(self, card_id: str, verdict: Verdict, click: NewEvent) -> None:
        """Finish a card if this click decided it, though the answer of its commit was lost."""
        self._tasks.spawn(self._start_if_decided(card_id, verdict, click))

    async def finish(
        self, card: Card, mine: Collection[str] | None = None, after: After | None = None
    ) -> None:
        """Execute a decided card's requests, record the outcomes, update card and thread.

        `mine` are those whose claim this worker holds, by default all; `after` names, for each, the
        requests for the same customer that have to be executed before it.
        """
        held = frozenset(request.id for request in card.requests) if mine is None else mine
        with (
            structlog.contextvars.bound_contextvars(**about(card.first)),
            self._tasks.busy_with(card.id),
        ):
            try:
                history = await self._execute_and_record(card, held, after or {})
                if history.card.is_finished:
                    await self._conclude(history, held)
                # else another instance holds the rest, and publishes the whole
            except LostClaim:
                log.warning("claim lost: another instance has reclaimed this")
                self._redrawing.redraw_over_late_drawing(card.id)
            except LedgerUnavailable as error:
                log.error("ledger unavailable, the sweep will retry", why=str(error))  # noqa: TRY400  # expected, no traceback
                self._redrawing.redraw_over_late_drawing(card.id)

    async def _conclude(self, history: CardHistory, mine: Collection[str]) -> None:
        """Mark what was undone, look again at what is due for it, and publish."""
        undone = {
            await self._mark_undone(request)
            for request in history.card.requests
            if request.id in mine and request.outcome is Outcome.RESTORED
        }
        for card_id in filter(None, undone):
            self._redrawing.redraw(card_id)
        due_at = self.lease(datetime.now(UTC))
        looked = await asyncio.gather(
            *(
                self._rechecker.recheck_if_due(each, due_at)
                for each in history.histories
                if each.request.id in mine
            )
        )
        seen = {each.history.request.id: each.history for each in looked}
        history = CardHistory(tuple(seen.get(h.request.id, h) for h in history.histories))
        shown = [request.last_posted_event for request in history.card.requests]
        rechecked = [each for each in looked if each.was_due]
        if not rechecked or drawing.lacks_reply(history, shown):
            await self._publisher.publish(history, mine)
            return
        for each in rechecked:
            await self._leases.change(each.history.request, publish_attempts=0)
        next_at = {each.history.request.id: each.next_at for each in looked if each.next_at}
        await self._leases.release(history.card, shown, mine, next_at=next_at)

    def conclude_soon(self, card_id: str, mine: Collection[str]) -> None:
        """Publish outcomes that somebody has just recorded, in a background task."""
        self._tasks.spawn(self._conclude_soon(card_id, mine))

    async def _conclude_soon(self, card_id: str, mine: Collection[str]) -> None:
        try:
            card = await self._ledger.get_card(card_id)
        except LedgerUnavailable as error:
            log.warning("result left to the sweep", request_id=card_id, why=str(error))
            return
        if card is not None:
            await self.finish(card, mine)

    async def _mark_undone(self, relatch: Request) -> str | None:
        """Mark the request that a relatch undid; returns its card, None if it is marked already."""
        undone = await self._ledger.get(relatch.undoes) if relatch.undoes else None
        if undone is None or undone.undone_by is not None:
            return None
        now = datetime.now(UTC)
        actor = relatch.decider.user_id if relatch.decider else ""
        event = NewEvent(now, EventType.UNDONE, actor, {"by_request": relatch.id})

        def mark(current: Request) -> Request | None:
            if current.undone_by is not None:
                return None
            due_at = self.lease(now)
            return replace(current, undone_by=relatch.id, due_at=due_at, publish_attempts=0)

        return undone.card_id if await self._ledger.append(undone, event, mark) else None

    async def _start_if_decided(self, card_id: str, verdict: Verdict, click: NewEvent) -> None:
        result = await retried(
            lambda: self._ledger.decided(card_id, verdict, click),
            LedgerUnavailable,
            attempts=None,
            timeout_s=self._timing.lease_s,
            wait_max=1.0,
        )
        # unless another worker has taken it over: then its lease is a later one
        if result and result.taken and result.request.due_at == self.lease(click.at):
            self._metrics.verdicts.labels(result.request.kind, verdict).inc()
            await self.finish(result.card, after=result.after)

    async def _execute_and_record(
        self, card: Card, mine: Collection[str], after: After
    ) -> CardHistory:
        to_do = [
            request for request in card.requests if request.id in mine and request.is_to_be_executed
        ]
        if to_do:
            held = [request for request in card.requests if request.id in mine]
            async with self._progress.shown_while_working(card), self._leases_kept(held):
                results = await asyncio.gather(
                    *(self._work.execute(request, after.get(request.id, ())) for request in to_do),
                    return_exceptions=True,
                )
            recorded = [each for each in results if isinstance(each, RequestHistory)]
            failures = [each for each in results if isinstance(each, BaseException)]
            for failure in failures:
                # a request that another worker has claimed does not concern the others
                if not (isinstance(failure, LostClaim) and recorded):
                    raise failure
            if len(recorded) == len(card.requests) == 1:
                return CardHistory(tuple(recorded))
        return await self._ledger.card_history(card.id)

    @asynccontextmanager
    async def _leases_kept(self, held: Sequence[Request]) -> AsyncIterator[None]:
        """Renew the leases of work that takes long: it may wait for others, or for its turn."""

        async def keep() -> None:
            while True:
                with suppress(LedgerUnavailable):
                    await self._leases.renew(held, self.lease(datetime.now(UTC)))
                await asyncio.sleep(self._timing.lease_s / 3)

        async with meanwhile(keep) as begin:
            timer = asyncio.get_running_loop().call_later(self._timing.lease_s / 3, begin)
            try:
                yield
            finally:
                timer.cancel()
