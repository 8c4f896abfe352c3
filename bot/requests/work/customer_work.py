"""Executes the customers of decided cards, one after another or several at a time.

A customer of a card of many takes its turn: few at a time in a process, and none while Fusebill has
no calls left for this minute. What other cards do for a customer is waited for. The outcome of a
call is known only here until it is recorded, so recording is tried for a long time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TypeVar

import structlog

from bot.domain.models import EventType, NewEvent, Outcome, Request, RequestHistory
from bot.fusebill.pace import Pace
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.store import Ledger
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.publishing.log_fields import about
from bot.requests.work.execution import Announce, Execution
from bot.requests.work.results import ExecutionResult
from bot.settings import Timing

T = TypeVar("T")
log = structlog.get_logger(__name__)

FIRST_LOOK_S = 0.1
MAX_CLAIMS = 5
MAX_CONCURRENT_CUSTOMERS = 8
"""Of cards of many customers, in this process."""
CALLS_A_CUSTOMER = 3
"""It is read, changed, and perhaps read again."""
MAX_REFUSALS = 3
"""So often one of many customers waits for its next turn after "too many calls"."""
RECORD_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Start:
    """Whether an earlier worker may have called, and what to await before the first call."""

    may_have_called: bool
    announce: Announce | None = None


class CustomerWork:
    """Executes one customer's request and records what came of it."""

    def __init__(
        self,
        ledger: Ledger,
        execution: Execution,
        pace: Pace,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._execution = execution
        self._pace = pace
        self._metrics = metrics
        self._timing = timing
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_CUSTOMERS)

    async def execute(self, request: Request, others: Sequence[str]) -> RequestHistory:
        """Execute a request after `others` have an outcome; returns it with its own.

        Raises: LostClaim; LedgerUnavailable.
        """
        with structlog.contextvars.bound_contextvars(**about(request)):
            await self._wait_for(others)
            start = await self._start(request, others)
            refused: list[ExecutionResult] = []
            history = None
            while history is None:
                async with self._turn(request):
                    result = await self._take_turn(request, start)
                    if len(refused) < MAX_REFUSALS and self._can_wait(request, result):
                        refused.append(result)
                        continue
                    result = _with_calls_of(refused, result)
                    history = await self._record(request, result)
            self._metrics.outcomes.labels(request.kind, result.outcome).inc()
            if request.decided_at:
                took = datetime.now(UTC) - request.decided_at
                self._metrics.result_seconds.labels(request.kind).observe(took.total_seconds())
            log.info("executed", outcome=result.outcome, **_loggable(result))
            return history

    async def look(self, request: Request) -> dict[str, object]:
        """What a request's customer is like now, read in its turn: see `Execution.look`."""
        async with self._turn(request):
            return await self._execution.look(request)

    async def _start(self, request: Request, others: Sequence[str]) -> _Start:
        """What is known of a request's calls before its work starts.

        A request that waited for `others` finds the ids gone because of them, or because of a call
        of its own that an interrupted worker made. So it writes down that it is about to call.
        """
        if not others:
            return _Start(may_have_called=request.claim > 1)
        begun = NewEvent(datetime.now(UTC), EventType.BEGUN, "", {})
        history = await self._patiently(lambda: self._ledger.request_history(request.id))
        return _Start(
            may_have_called=any(event.type is EventType.BEGUN for event in history.events),
            announce=partial(self._ledger.record, request, begun, again=True),
        )

    async def _take_turn(self, request: Request, start: _Start) -> ExecutionResult:
        if request.card_size > 1 and await self._patiently(
            lambda: self._ledger.is_stopping(request.card_id)
        ):
            return await self._execution.stop(request, may_have_called=start.may_have_called)
        return await self._execute(request, start)

    def _can_wait(self, request: Request, result: ExecutionResult) -> bool:
        """Whether one of many customers has another turn, once Fusebill takes calls again."""
        return request.card_size > 1 and self._pace.wait_until(result.retry_at)

    async def _wait_for(self, others: Sequence[str]) -> None:
        """One thing at a time for a customer: wait until these requests have an outcome."""
        pause_s = FIRST_LOOK_S
        if not others:
            return
        while await self._patiently(lambda: self._ledger.unfinished(others)):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._timing.lease_s / 3)

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Ask the ledger for as long as this worker surely holds its lease.

        If it gave up at once, the rest of the card would wait until another worker takes it over.
        """
        return await retried(
            read, LedgerUnavailable, attempts=None, timeout_s=self._timing.lease_s / 2, wait_max=1.0
        )

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """A turn for one of many customers; a card of one never waits for them."""
        if request.card_size == 1:
            yield
            return
        async with self._turns, self._pace.call(CALLS_A_CUSTOMER):
            yield

    async def _execute(self, request: Request, start: _Start) -> ExecutionResult:
        if request.claim > MAX_CLAIMS:
            why = f"The bot was interrupted {MAX_CLAIMS} times and does not try again."
            return ExecutionResult(Outcome.UNKNOWN, {"why": why})
        return await self._execution.execute(
            request, may_have_called=start.may_have_called, announce=start.announce
        )

    async def _record(self, request: Request, result: ExecutionResult) -> RequestHistory:
        """Keeps trying: the outcome is known only here until it is in the ledger."""
        now = datetime.now(UTC)
        event = NewEvent(now, EventType(result.outcome), "", result.details)
        earlier = count()
        return await retried(
            lambda: self._ledger.record(
                request,
                event,
                again=next(earlier) > 0,
                outcome=result.outcome,
                settled_at=now,
                due_at=datetime.now(UTC) + self._timing.lease,
            ),
            LedgerUnavailable,
            attempts=None,
            timeout_s=RECORD_TIMEOUT_S,
            wait_max=5.0,
        )


def _with_calls_of(earlier: Sequence[ExecutionResult], last: ExecutionResult) -> ExecutionResult:
    """The last result, with the evidence of each call that was refused before."""
    results = [result.details.get("calls") for result in (*earlier, last)]
    calls = [call for found in results if isinstance(found, list) for call in found]
    return replace(last, details=last.details | ({"calls": calls} if calls else {}))


def _loggable(result: ExecutionResult) -> dict[str, object]:
    known = ("status", "calls", "seconds", "why", "how", "found", "vid", "company_id")
    return {name: result.details[name] for name in known if name in result.details}
