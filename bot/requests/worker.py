"""What follows a verdict: the deed, the ledger, then card and thread; and what a crash left."""

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
from bot.settings import Timing
from bot.slack.client import SlackError

log = structlog.get_logger(__name__)

MAX_CLAIMS = 5
WRITING_DOWN_S = 600.0


class Worker:
    """Brings decided requests to their end; safe to be killed at any point, and run again."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        execution: Execution,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._execution = execution
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing
        self._at_work: Counter[str] = Counter()

    def lease(self, now: datetime) -> datetime:
        """When a worker that starts now must be taken for dead."""
        return now + timedelta(seconds=self._timing.lease_s)

    def start(self, request: Request) -> None:
        """Settle a request whose verdict was just taken, in a task of its own."""
        self._tasks.spawn(self.finish(request))

    async def finish(self, request: Request) -> None:
        """Do what the verdict asks for, write it down, then draw card and thread."""
        with (
            structlog.contextvars.bound_contextvars(**_about(request)),
            self._working_on(request),
        ):
            try:
                history = await self._conclude(request)
                if history.request.outcome is Outcome.RESTORED:
                    await self._mark_undone(history.request)
                await self._publisher.publish(history)
            except LostClaim:
                log.warning("claim lost: another instance has taken this over")
            except LedgerUnavailable as error:
                log.error("ledger unavailable, the sweep will take this up", why=str(error))  # noqa: TRY400  # expected weather, no traceback

    async def sweep(self) -> None:
        """Look for what is overdue: cards that nobody answered, and work whose worker is gone."""
        for request in await self._ledger.overdue(datetime.now(UTC)):
            if self._at_work[request.id]:
                # a slow Slack or ledger, not a dead worker: another would only add to the queue
                continue
            # a slow ledger must not eat up the lease of those that come last
            now = datetime.now(UTC)
            await (self._expire if request.verdict is None else self._reclaim)(request, now)

    def update_thread_soon(self, request_id: str) -> None:
        """Show in the thread what it lacks of an undecided request; its end shows what remains."""
        self._tasks.spawn(self._publisher.update_thread(request_id))

    def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Take the buttons off a card that is not the request's own."""
        self._tasks.spawn(self._publisher.retire_duplicate(request, message_ts))

    def redraw(self, history: RequestHistory) -> None:
        """Draw a settled request's card and thread again, after something was added to it."""
        self._tasks.spawn(self._redraw(history))

    async def _redraw(self, history: RequestHistory) -> None:
        try:
            with (
                structlog.contextvars.bound_contextvars(**_about(history.request)),
                self._working_on(history.request),
            ):
                await self._publisher.publish(history)
        except (LostClaim, LedgerUnavailable) as error:
            log.warning("left to the sweep", request_id=history.request.id, why=str(error))

    async def _mark_undone(self, relatch: Request) -> None:
        """Tell the request that was undone; done once, however often a crash brings it back."""
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
            log.warning("abandoned work adopted", request_id=request.id)
        self.start(reclaimed.request)

    @contextmanager
    def _working_on(self, request: Request) -> Iterator[None]:
        self._at_work[request.id] += 1
        try:
            yield
        finally:
            self._at_work[request.id] -= 1
            self._at_work += Counter()  # drops what has come to nothing

    async def _conclude(self, request: Request) -> RequestHistory:
        """The deed, if it is still to be done, and its outcome in the ledger."""
        if request.outcome or not (request.verdict and VERDICTS[request.verdict].executes):
            return await self._ledger.request_history(request.id)
        finished = asyncio.Event()
        progress = asyncio.create_task(self._show_working(request, finished))
        try:
            result = await self._execute(request)
            history = await self._write_down(request, result)
        except asyncio.CancelledError:
            progress.cancel()
            raise
        finally:
            finished.set()
            # the working card must not arrive after the result
            await asyncio.gather(progress, return_exceptions=True)
        self._metrics.outcomes.labels(request.kind, result.outcome).inc()
        if request.decided_at:
            took = datetime.now(UTC) - request.decided_at
            self._metrics.result_seconds.labels(request.kind).observe(took.total_seconds())
        log.info("settled", outcome=result.outcome, **_loggable(result))
        return history

    async def _execute(self, request: Request) -> ExecutionResult:
        if request.claim > MAX_CLAIMS:
            why = f"The work was interrupted {MAX_CLAIMS} times and is not tried again."
            return ExecutionResult(Outcome.UNKNOWN, {"why": why})
        return await self._execution.execute(request)

    async def _write_down(self, request: Request, result: ExecutionResult) -> RequestHistory:
        """Write the outcome, for as long as it takes a database to come back."""
        async for attempt in stamina.retry_context(
            on=LedgerUnavailable, attempts=None, timeout=WRITING_DOWN_S, wait_max=5.0
        ):
            with attempt:
                now = datetime.now(UTC)
                if attempt.num > 1 and (written := await self._written(request)):
                    return written
                return await self._ledger.record(
                    request,
                    NewEvent(now, EventType(result.outcome), "", result.details),
                    outcome=result.outcome,
                    settled_at=now,
                    due_at=self.lease(now),
                )
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _written(self, request: Request) -> RequestHistory | None:
        """The trail, where an earlier try was written down and only the word of it was lost."""
        history = await self._ledger.request_history(request.id)
        ours = history.request.claim == request.claim and history.request.outcome is not None
        return history if ours else None

    async def _show_working(self, request: Request, finished: asyncio.Event) -> None:
        """Say that it takes longer, where it does."""
        try:
            await asyncio.wait_for(finished.wait(), self._timing.working_after_s)
        except TimeoutError:
            try:
                await self._publisher.show_working(request)
            except SlackError as error:
                log.warning("working card not shown", why=error.code)


def _about(request: Request) -> dict[str, object]:
    """What each log line about a request names."""
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
