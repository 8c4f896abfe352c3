"""The deed: read the customer, compare it with the card, call Fusebill, look at the answer.

    latched as on the card ───> call ──> gone in the answer, or on reading back ──> CLEARED
    nothing latched any more ─> ALREADY_CLEAR, or CLEARED where an earlier call may have done it
    latched to something else > CHANGED, nothing (more) is called
    refused (4xx) ────────────> REFUSED, nothing was changed
    no answer that tells ─────> read again, repeat only what the card still shows; else UNKNOWN

A relatch is the same the other way round: it acts only on a customer that is latched to nothing.
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
    """What came of it, as the ledger keeps it: `details` go into the event."""

    outcome: Outcome
    details: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """What one run has come to; `called` as soon as a call may have changed something.

    `last` is what the last attempt that was worth another one brought.
    """

    request: Request
    called: bool
    ends: float
    last: FusebillError = field(default_factory=FusebillError)


class Execution:
    """Does what a confirmed request asks for, and says only what was seen.

    `budget_s` bounds it, retries and all; it is well under a worker's lease. `wait_s` is the first
    wait before another attempt; it doubles, with jitter, unless Fusebill said when to come back.
    """

    def __init__(
        self, fusebill: FusebillClient, *, budget_s: float = 24.0, wait_s: float = 0.3
    ) -> None:
        self._fusebill = fusebill
        self._budget_s = budget_s
        self._wait_s = wait_s

    async def execute(self, request: Request) -> ExecutionResult:
        """Act on a confirmed request; raises nothing of Fusebill's."""
        began = monotonic()
        progress = _Progress(request, called=request.claim > 1, ends=began + self._budget_s)
        try:
            async with asyncio.timeout(self._budget_s):
                result = await self._persist(progress)
        except FusebillError as error:
            result = _failed(error, progress)
        except TimeoutError:
            last, why = progress.last, "Fusebill did not answer in time"
            result = _failed(OutcomeUnknown(last.status, last.texts, why), progress)
        seconds = round(monotonic() - began, 3)
        return ExecutionResult(result.outcome, {"seconds": seconds, **result.details})

    async def _persist(self, progress: _Progress) -> ExecutionResult:
        """Try until something is known; before each call the card is compared again."""

        def again(error: Exception) -> bool | float:
            if isinstance(error, FusebillError):
                progress.last = error
            if isinstance(error, RateLimited):
                return error.wait_s(progress.ends - monotonic())
            return isinstance(error, NotReached | OutcomeUnknown)

        async for attempt in stamina.retry_context(
            on=again,
            attempts=ATTEMPTS,
            timeout=self._budget_s,
            wait_initial=self._wait_s,
            wait_max=3.0,
            wait_jitter=self._wait_s,
        ):
            with attempt:
                return await self._once(progress)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, progress: _Progress) -> ExecutionResult:
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
        return await self._look_again(request)

    async def _call(self, request: Request) -> Customer | None:
        if request.kind is Kind.RELATCH:
            return await self._fusebill.latch_customer(
                request.customer.customer_id, request.customer.ids
            )
        return await self._fusebill.unlatch_customer(request.customer.customer_id)

    async def _look_again(self, request: Request) -> ExecutionResult:
        """A success whose answer did not show it: what does the customer show?"""
        after = await self._fusebill.get_customer(request.customer.customer_id)
        if after.ids == _wanted(request):
            return _done(request, "read_back")
        if after.ids == _starting(request):
            why = "Fusebill answered that it was done, but the customer shows that it was not."
            return ExecutionResult(Outcome.REFUSED, {"why": why, "status": 200})
        return _changed(after.ids, called=True)


def compare(ids: HubSpotIds, request: Request, *, called: bool) -> ExecutionResult | None:
    """What a customer's ids tell; None where it is still as the card showed it.

    `called` says whether the bot may have changed them already.
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
    """The end of all attempts: honest about whether anything may have been changed."""
    details: dict[str, object] = {"texts": list(error.texts), "status": error.status}
    if progress.called:
        why = f"{_reason(error)} An earlier call may have been done, or may still be."
        return ExecutionResult(Outcome.UNKNOWN, details | {"why": why})
    return ExecutionResult(
        Outcome.REFUSED, details | {"why": f"{_reason(error)} Nothing was changed."}
    )


def _reason(error: FusebillError) -> str:
    match error:
        case RateLimited(retry_at=datetime() as at):
            return f"Fusebill takes no more calls until {at:%H:%M:%S} UTC."
        case RateLimited():
            return "Fusebill takes no more calls just now."
        case FusebillRefused():
            return "Fusebill refused."
        case NotReached():
            return "Fusebill could not be reached."
        case _:
            return f"Fusebill gave no answer that tells ({error.why or f'HTTP {error.status}'})."
