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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import stamina
import structlog

from bot.domain.clock import is_due_for_reminder
from bot.domain.meanings import VERDICTS
from bot.domain.models import EventType, NewEvent, Outcome, Request, RequestHistory, Verdict
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.gate import after as after_of
from bot.ledger.outbox import Outbox
from bot.ledger.store import Ledger, LostClaim
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.card_sender import CardSender
from bot.requests.execution import Execution, ExecutionResult
from bot.requests.publisher import Publisher
from bot.requests.rechecking import Rechecker
from bot.requests.reminders import Reminders
from bot.settings import Timing
from bot.slack.client import SlackError

log = structlog.get_logger(__name__)

FIRST_LOOK_S = 0.1
MAX_CLAIMS = 5
RECORD_TIMEOUT_S = 600.0


class Worker:
    """Finishes decided requests; can be killed at any point and run again."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        publisher: Publisher,
        sender: CardSender,
        execution: Execution,
        rechecker: Rechecker,
        reminders: Reminders,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._publisher = publisher
        self._sender = sender
        self._execution = execution
        self._rechecker = rechecker
        self._reminders = reminders
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing
        self._started_at = datetime.now(UTC)
        self._in_progress: Counter[str] = Counter()

    def lease(self, now: datetime) -> datetime:
        """When the lease of a worker that starts now ends."""
        return now + timedelta(seconds=self._timing.lease_s)

    def start(self, request: Request, after: Sequence[str] = ()) -> None:
        """Finish a decided request in a background task; see `finish`."""
        self._tasks.spawn(self.finish(request, after))

    def start_if_decided(self, request_id: str, verdict: Verdict, click: NewEvent) -> None:
        """Finish a request if this click decided it, though the answer of its commit was lost."""
        self._tasks.spawn(self._start_if_decided(request_id, verdict, click))

    async def finish(self, request: Request, after: Sequence[str] = ()) -> None:
        """Execute a decided request, record its outcome, then update card and thread.

        `after` are requests for the same customer that have to be executed before it.
        """
        with (
            structlog.contextvars.bound_contextvars(**_about(request)),
            self._in_progress_while(request),
        ):
            try:
                await self._wait_for(after, request)
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
        now = datetime.now(UTC)
        for request in await self._ledger.overdue(now, self.lease(now) - now):
            if self._in_progress[request.id]:
                # its worker here is slow, not dead; a second one would only add to the queue
                continue
            if not request.kind.is_known:
                # a newer version of the bot knows what to do
                continue
            if request.verdict is not None:
                await self._reclaim(request)
            elif request.message_ts is None:
                await self._resume_posting(request)
            elif is_due_for_reminder(request, now):
                self._reminders.start(request)
            elif request.asked_at < self._started_at:
                # a decision may be missing: no bot ran, or the ledger is an older copy
                self._tasks.spawn(self._look_and_expire(request))
            else:
                await self._expire(request, {})

    async def catch_up_stale(self) -> None:
        """Have everything drawn by the next sweep that an earlier process could not draw."""
        lease = timedelta(seconds=self._timing.lease_s)
        await self._outbox.hurry_stale(datetime.now(UTC), lease)

    def catch_up_soon(self, request: Request, response_url: str = "") -> None:
        """Bring a card and its thread up to date after a press that the card should not offer.

        With the `response_url` of a press, the card that was pressed shows the result at once, even
        if the bot is not in the channel.
        """
        self._tasks.spawn(self._catch_up(request, response_url))

    async def _catch_up(self, request: Request, response_url: str) -> None:
        lease = timedelta(seconds=self._timing.lease_s)
        try:
            if await self._outbox.hurry(request.id, datetime.now(UTC), lease) and response_url:
                history = await self._ledger.request_history(request.id)
                await self._publisher.replace_pressed(history, response_url)
        except LedgerUnavailable as error:
            log.warning("card not brought up to date", why=str(error))

    async def _resume_posting(self, request: Request) -> None:
        if self._sender.is_sending(request.id):
            return
        now = datetime.now(UTC)
        reclaimed = await self._ledger.reclaim(request, now, self.lease(now))
        if reclaimed:
            log.warning("request without a card taken up", request_id=request.id)
            self._tasks.spawn(self._sender.resume(reclaimed.request))

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
        event = NewEvent(now, EventType.UNDONE, actor, {"by_request": relatch.id})

        def mark(current: Request) -> Request | None:
            if current.undone_by is not None:
                return None
            due_at = self.lease(now)
            return replace(current, undone_by=relatch.id, due_at=due_at, publish_attempts=0)

        if history := await self._ledger.append(undone, event, mark):
            self.redraw(history)

    async def _look_and_expire(self, request: Request) -> None:
        """Expire a card from before this process started, and say what the customer is like."""
        with self._in_progress_while(request):
            seen = await self._execution.look(request)
            late = datetime.now(UTC) - request.expires_at
            if late > self.lease(request.expires_at) - request.expires_at:
                seen |= {"away": True}
            try:
                await self._expire(request, seen)
            except LedgerUnavailable as error:
                log.warning("expiry left to the sweep", request_id=request.id, why=str(error))

    async def _expire(self, request: Request, seen: dict[str, object]) -> None:
        now = datetime.now(UTC)
        result = await self._ledger.decide(
            request.id,
            Verdict.EXPIRED,
            NewEvent(now, EventType.EXPIRED, "", seen),
            decider=None,
            due_at=self.lease(now),
        )
        if result.taken:
            self._metrics.verdicts.labels(request.kind, Verdict.EXPIRED).inc()
            self.start(result.request)

    async def _reclaim(self, request: Request) -> None:
        # not the sweep's time: a slow ledger would shorten the leases of its last requests
        now = datetime.now(UTC)
        reclaimed = await self._ledger.reclaim(request, now, self.lease(now))
        if reclaimed is None:
            return
        if reclaimed.request.outcome is None and reclaimed.request.verdict is Verdict.CONFIRMED:
            self._metrics.reclaimed.inc()
            log.warning("abandoned work reclaimed", request_id=request.id)
        self.start(reclaimed.request, [i for event in reclaimed.events for i in after_of(event)])

    async def _start_if_decided(self, request_id: str, verdict: Verdict, click: NewEvent) -> None:
        async for attempt in stamina.retry_context(
            on=LedgerUnavailable, attempts=None, timeout=self._timing.lease_s, wait_max=1.0
        ):
            with attempt:
                result = await self._ledger.decided(request_id, verdict, click)
        if result and result.taken and result.request.claim == 1 and not result.request.outcome:
            self._metrics.verdicts.labels(result.request.kind, verdict).inc()
            await self.finish(result.request, result.after)

    async def _wait_for(self, after: Sequence[str], request: Request) -> None:
        """One thing at a time for a customer: wait until these requests have an outcome."""
        pause_s = FIRST_LOOK_S
        while after and not request.outcome and await self._ledger.unfinished(after):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._timing.lease_s / 3)
            await self._ledger.change(request, due_at=self.lease(datetime.now(UTC)))

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
        now = datetime.now(UTC)
        event = NewEvent(now, EventType(result.outcome), "", result.details)
        async for attempt in stamina.retry_context(
            on=LedgerUnavailable, attempts=None, timeout=RECORD_TIMEOUT_S, wait_max=5.0
        ):
            with attempt:
                return await self._ledger.record(
                    request,
                    event,
                    again=attempt.num > 1,
                    outcome=result.outcome,
                    settled_at=now,
                    due_at=self.lease(datetime.now(UTC)),
                )
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _show_working(self, request: Request, finished: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(finished.wait(), self._timing.working_after_s)
        except TimeoutError:
            try:
                # a process that slept must not draw over the result of the one that took over
                with suppress(LedgerUnavailable):
                    await self._ledger.change(request, due_at=self.lease(datetime.now(UTC)))
                await self._publisher.show_working(request)
            except SlackError as error:
                log.warning("working card not shown", why=error.code)
            except LostClaim as error:
                log.warning("working card not shown", why=str(error))


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
    known = ("status", "calls", "seconds", "why", "how", "found", "vid", "company_id")
    return {name: result.details[name] for name in known if name in result.details}
