"""Executes a confirmed request: reads the customer, compares it with the card, calls Fusebill.

What people saw on the card is what may be cleared, and a call whose answer was lost may have worked
or not. So the customer is read and compared before every call, retries and reclaimed work
included, and an outcome is reported only if Fusebill showed it:

    ids as on the card ──────> call; ids gone in its answer or when read back ──> CLEARED
    no ids ──────────────────> ALREADY_CLEAR, or CLEARED if an earlier call may have cleared them
    other ids ───────────────> CHANGED, no (further) call
    refused (4xx) ───────────> REFUSED, nothing was changed
    no conclusive answer ────> read again, call again if the ids are as on the card; else UNKNOWN

A relatch works the other way round: it calls only if the customer has no ids.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic

import stamina

from bot.domain.models import Customer, HubSpotIds, Kind, Outcome, Request
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    FusebillError,
    FusebillRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
)

ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """The outcome, and the `details` for its event in the ledger."""

    outcome: Outcome
    details: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """The state of one run: whether a call may have changed something, and the last error."""

    request: Request
    called: bool
    deadline: float
    last_error: FusebillError = field(default_factory=FusebillError)


class Execution:
    """Executes confirmed requests.

    `budget_s` is the limit for all attempts together; it must stay well under a worker's lease.
    `wait_s` is the first wait between attempts; it doubles, with jitter, unless Fusebill's rate
    limit says when to retry.
    """

    def __init__(
        self, fusebill: FusebillClient, *, budget_s: float = 24.0, wait_s: float = 0.3
    ) -> None:
        self._fusebill = fusebill
        self._budget_s = budget_s
        self._wait_s = wait_s

    async def execute(self, request: Request) -> ExecutionResult:
        """Execute a request; every FusebillError becomes an outcome."""
        started = monotonic()
        progress = _Progress(request, called=request.claim > 1, deadline=started + self._budget_s)
        try:
            async with asyncio.timeout(self._budget_s):
                result = await self._execute_with_retries(progress)
        except FusebillError as error:
            result = _failed(error, progress)
        except TimeoutError:
            last, why = progress.last_error, "Fusebill did not answer in time"
            result = _failed(OutcomeUnknown(last.status, last.texts, why), progress)
        seconds = round(monotonic() - started, 3)
        return ExecutionResult(result.outcome, {"seconds": seconds, **result.details})

    async def look(self, request: Request) -> dict[str, object]:
        """Read the customer once: `found` has its ids now, `unread` why that failed. No retries."""
        try:
            async with asyncio.timeout(self._budget_s):
                customer = await self._fusebill.get_customer(request.customer.customer_id)
        except (FusebillError, TimeoutError) as error:
            return {"unread": str(error) or type(error).__name__}
        return {"found": asdict(customer.ids)}

    async def _execute_with_retries(self, progress: _Progress) -> ExecutionResult:
        def should_retry(error: Exception) -> bool | float:
            if isinstance(error, FusebillError):
                progress.last_error = error
            if isinstance(error, RateLimited):
                return error.wait_s(progress.deadline - monotonic())
            return isinstance(error, NotReached | OutcomeUnknown)

        async for attempt in stamina.retry_context(
            on=should_retry,
            attempts=ATTEMPTS,
            timeout=self._budget_s,
            wait_initial=self._wait_s,
            wait_max=3.0,
            wait_jitter=self._wait_s,
        ):
            with attempt:
                return await self._attempt(progress)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, progress: _Progress) -> ExecutionResult:
        request = progress.request
        before = await self._fusebill.get_customer(request.customer.customer_id)
        found = compare(before.ids, request, called=progress.called)
        if found:
            return found
        called_before, progress.called = progress.called, True
        try:
            answer = await self._call(request)
        except (FusebillRefused, NotReached):
            progress.called = called_before
            raise
        if answer is not None and answer.ids == _wanted(request):
            return _done(request, "answer")
        return await self._read_back(request)

    async def _call(self, request: Request) -> Customer | None:
        if request.kind is Kind.RELATCH:
            return await self._fusebill.latch_customer(
                request.customer.customer_id, request.customer.ids
            )
        return await self._fusebill.unlatch_customer(request.customer.customer_id)

    async def _read_back(self, request: Request) -> ExecutionResult:
        """Fusebill answered with a success that did not show the customer's ids."""
        after = await self._fusebill.get_customer(request.customer.customer_id)
        if after.ids == _wanted(request):
            return _done(request, "read_back")
        if after.ids == _starting(request):
            why = "Fusebill answered that it was done, but the customer has not changed."
            return ExecutionResult(Outcome.REFUSED, {"why": why, "status": 200})
        return _changed(after.ids, called=True)


def compare(ids: HubSpotIds, request: Request, *, called: bool) -> ExecutionResult | None:
    """The outcome that a customer's ids show; None if the request can still be executed.

    `called` says whether a call of the bot may have changed the ids already.
    """
    if ids == _starting(request):
        return None
    if ids == _wanted(request) and called:
        return _done(request, "read_back")
    if not ids:
        return ExecutionResult(Outcome.ALREADY_CLEAR)
    return _changed(ids, called=called)


def _starting(request: Request) -> HubSpotIds:
    return HubSpotIds() if request.kind is Kind.RELATCH else request.customer.ids


def _wanted(request: Request) -> HubSpotIds:
    return request.customer.ids if request.kind is Kind.RELATCH else HubSpotIds()


def _done(request: Request, how: str) -> ExecutionResult:
    outcome = Outcome.RESTORED if request.kind is Kind.RELATCH else Outcome.CLEARED
    details: dict[str, object] = {**asdict(request.customer.ids), "how": how}
    return ExecutionResult(outcome, details | ({"status": 200} if how == "answer" else {}))


def _changed(ids: HubSpotIds, *, called: bool) -> ExecutionResult:
    return ExecutionResult(
        Outcome.CHANGED, {"found": asdict(ids)} | ({"called": True} if called else {})
    )


def _failed(error: FusebillError, progress: _Progress) -> ExecutionResult:
    """The outcome after the last attempt; UNKNOWN if a call may have changed something."""
    details: dict[str, object] = {"texts": list(error.texts), "status": error.status}
    if progress.called:
        why = f"{_reason(error)} An earlier call may have taken effect, or may still do so."
        return ExecutionResult(Outcome.UNKNOWN, details | {"why": why})
    return ExecutionResult(
        Outcome.REFUSED, details | {"why": f"{_reason(error)} Nothing was changed."}
    )


def _reason(error: FusebillError) -> str:
    match error:
        case RateLimited(retry_at=datetime() as at):
            return f"Fusebill accepts no more calls until {at:%H:%M:%S} UTC."
        case RateLimited():
            return "Fusebill accepts no more calls right now."
        case FusebillRefused():
            return "Fusebill refused."
        case NotReached():
            return "Fusebill could not be reached."
        case _:
            return f"Fusebill gave no conclusive answer ({error.why or f'HTTP {error.status}'})."
