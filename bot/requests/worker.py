"""Executes decided requests, records their outcome, and has card and thread updated.

A click that was acknowledged must reach its end even if the process is killed at any point. So
each step is in the ledger before the next one starts, each worker holds a lease (`due_at`), and the
sweep of any instance reclaims a request whose lease has run out. Running a request again is safe:
the execution compares the customer with the card before each call. A worker that lost its claim
can't write any more (LostClaim).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import stamina
import structlog

from bot.domain.meanings import VERDICTS
from bot.domain.models import EventType, NewEvent, Outcome, Request, RequestHistory, Verdict
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.store import Ledger, LostClaim
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.execution import Execution, ExecutionResult
from bot.requests.publisher import Publisher
from bot.requests.rechecking import Rechecker
from bot.requests.reminders import Reminders
from bot.settings import Timing
from bot.slack.client import SlackError

log = structlog.get_logger(__name__)

MAX_CLAIMS = 5
RECORD_TIMEOUT_S = 600.0


class Worker:
    """Finishes decided requests; can be killed at any point and run again."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        execution: Execution,
        rechecker: Rechecker,
        reminders: Reminders,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._execution = execution
        self._rechecker = rechecker
        self._reminders = reminders
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing
        self._in_progress: Counter[str] = Counter()

    def lease(self, now: datetime) -> datetime:
        """When the lease of a worker that starts now ends."""
        return now + timedelta(seconds=self._timing.lease_s)

    def start(self, request: Request) -> None:
        """Finish a decided request in a background task."""
        self._tasks.spawn(self.finish(request))

    async def finish(self, request: Request) -> None:
        """Execute a decided request, record its outcome, then update card and thread."""
        with (
            structlog.contextvars.bound_contextvars(**_about(request)),
            self._in_progress_while(request),
        ):
            try:
                history = await self._execute_and_record(request)
                if history.request.outcome is Outcome.RESTORED:
                    await self._mark_undone(history.request)
                checked = await self._rechecker.recheck_if_due(
                    history, self.lease(datetime.now(UTC))
                )
                if checked is not None:
                    await self._publisher.publish(checked)
            except LostClaim:
                log.warning("claim lost: another instance has reclaimed this")
            except LedgerUnavailable as error:
                log.error("ledger unavailable, the sweep will retry", why=str(error))  # noqa: TRY400  # expected, no traceback

    async def sweep(self) -> None:
        """Remind of cards and expire them, and reclaim requests whose worker is gone.

        What was cleared is reclaimed too when its recheck is due.
        """
        for request in await self._ledger.overdue(datetime.now(UTC)):
            if self._in_progress[request.id]:
                # its worker here is slow, not dead; a second one would only add to the queue
                continue
            if request.verdict is None and request.expires_at > datetime.now(UTC):
                self._reminders.start(request)
                continue
            # not before the loop: a slow ledger would shorten the leases of the last requests
            now = datetime.now(UTC)
            await (self._expire if request.verdict is None else self._reclaim)(request, now)

    def update_thread_soon(self, request_id: str) -> None:
        """Post an undecided request's missing events to its thread, in a background task."""
        self._tasks.spawn(self._publisher.update_thread(request_id))

    def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Remove the buttons from a duplicate card, in a background task."""
        self._tasks.spawn(self._publisher.retire_duplicate(request, message_ts))

    def redraw(self, history: RequestHistory) -> None:
        """Update card and thread after an event was added, in a background task."""
        self._tasks.spawn(self._redraw(history))

    async def _redraw(self, history: RequestHistory) -> None:
        try:
            with (
                structlog.contextvars.bound_contextvars(**_about(history.request)),
                self._in_progress_while(history.request),
            ):
                await self._publisher.publish(history)
        except (LostClaim, LedgerUnavailable) as error:
            log.warning("redraw left to the sweep", request_id=history.request.id, why=str(error))

    async def _mark_undone(self, relatch: Request) -> None:
        """Mark the request that a relatch undid; does nothing if it is marked already."""
        undone = await self._ledger.get(relatch.undoes) if relatch.undoes else None
        if undone is None or undone.undone_by is not None:
            return
        now = datetime.now(UTC)
        actor = relatch.decider.user_id if relatch.decider else ""
        history = await self._ledger.record(
            undone,
            NewEvent(now, EventType.UNDONE, actor, {"by_request": relatch.id}),
            fenced=False,
            undone_by=relatch.id,
            due_at=self.lease(now),
            publish_attempts=0,
        )
        self.redraw(history)

    async def _expire(self, request: Request, now: datetime) -> None:
        result = await self._ledger.decide(
            request.id,
            Verdict.EXPIRED,
            NewEvent(now, EventType.EXPIRED, "", {}),
            decider=None,
            due_at=self.lease(now),
        )
        if result.taken:
            self._metrics.verdicts.labels(request.kind, Verdict.EXPIRED).inc()
            self.start(result.request)

    async def _reclaim(self, request: Request, now: datetime) -> None:
        reclaimed = await self._ledger.reclaim(request, now, self.lease(now))
        if reclaimed is None:
            return
        if reclaimed.request.outcome is None and reclaimed.request.verdict is Verdict.CONFIRMED:
            self._metrics.reclaimed.inc()
            log.warning("abandoned work reclaimed", request_id=request.id)
        self.start(reclaimed.request)

    @contextmanager
    def _in_progress_while(self, request: Request) -> Iterator[None]:
        self._in_progress[request.id] += 1
        try:
            yield
        finally:
            self._in_progress[request.id] -= 1
            self._in_progress += Counter()  # drops the zeros

    async def _execute_and_record(self, request: Request) -> RequestHistory:
        if request.outcome or not (request.verdict and VERDICTS[request.verdict].executes):
            return await self._ledger.request_history(request.id)
        finished = asyncio.Event()
        progress = asyncio.create_task(self._show_working(request, finished))
        try:
            result = await self._execute(request)
            history = await self._record(request, result)
        except asyncio.CancelledError:
            progress.cancel()
            raise
        finally:
            finished.set()
            # the "in progress" card must not arrive after the result
            await asyncio.gather(progress, return_exceptions=True)
        self._metrics.outcomes.labels(request.kind, result.outcome).inc()
        if request.decided_at:
            took = datetime.now(UTC) - request.decided_at
            self._metrics.result_seconds.labels(request.kind).observe(took.total_seconds())
        log.info("executed", outcome=result.outcome, **_loggable(result))
        return history

    async def _execute(self, request: Request) -> ExecutionResult:
        if request.claim > MAX_CLAIMS:
            why = f"The bot was interrupted {MAX_CLAIMS} times and does not try again."
            return ExecutionResult(Outcome.UNKNOWN, {"why": why})
        return await self._execution.execute(request)

    async def _record(self, request: Request, result: ExecutionResult) -> RequestHistory:
        """Keeps trying: the outcome is known only here until it is in the ledger."""
        async for attempt in stamina.retry_context(
            on=LedgerUnavailable, attempts=None, timeout=RECORD_TIMEOUT_S, wait_max=5.0
        ):
            with attempt:
                now = datetime.now(UTC)
                if attempt.num > 1 and (recorded := await self._recorded(request)):
                    return recorded
                return await self._ledger.record(
                    request,
                    NewEvent(now, EventType(result.outcome), "", result.details),
                    outcome=result.outcome,
                    settled_at=now,
                    due_at=self.lease(now),
                )
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _recorded(self, request: Request) -> RequestHistory | None:
        """The history, if an earlier attempt committed but its confirmation was lost."""
        history = await self._ledger.request_history(request.id)
        ours = history.request.claim == request.claim and history.request.outcome is not None
        return history if ours else None

    async def _show_working(self, request: Request, finished: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(finished.wait(), self._timing.working_after_s)
        except TimeoutError:
            try:
                await self._publisher.show_working(request)
            except SlackError as error:
                log.warning("working card not shown", why=error.code)


def _about(request: Request) -> dict[str, object]:
    """The fields that every log line about a request has."""
    return {
        "request_id": request.id,
        "customer_id": request.customer.customer_id,
        "channel_id": request.channel_id,
        "message_ts": request.message_ts,
        "requester": request.requester.user_id,
        "decider": request.decider and request.decider.user_id,
    }


def _loggable(result: ExecutionResult) -> dict[str, object]:
    known = ("status", "seconds", "why", "how", "found", "vid", "company_id")
    return {name: result.details[name] for name in known if name in result.details}
