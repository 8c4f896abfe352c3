"""Executes a confirmed request: reads the customer, compares it with the card, calls Fusebill.

What people saw on the card is what may be cleared, and a call whose answer was lost may have worked
or not. So the customer is read and compared before every call, retries and reclaimed work
included, and an outcome is reported only if Fusebill showed it:

    ids as on the card ──────> call; ids gone in its answer or when read back ──> CLEARED
    no ids ──────────────────> ALREADY_CLEAR, or CLEARED if an earlier call may have cleared them
    other ids ───────────────> CHANGED, no (further) call
    accepted (2xx) ──────────> read back until the ids are gone; else UNKNOWN
    refused (4xx) ───────────> read back: ids as on the card ──> REFUSED, nothing was changed
    no conclusive answer ────> read again, call again if the ids are as on the card; else UNKNOWN

A relatch works the other way round: it calls only if the customer has no ids. What Fusebill
answered to each call that may have changed something is kept in the `details` as `calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from time import monotonic

from bot.domain.models import Customer, HubSpotIds, Kind, Outcome, Request
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    FusebillError,
    FusebillRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.fusebill.responses import Accepted
from bot.messages.fusebill_errors import may_pass, reason
from bot.ops.retries import retried
from bot.requests.work.results import (
    ExecutionResult,
    changed,
    compare,
    done,
    evidence,
    on_the_way,
    starting,
    wanted,
)

ATTEMPTS = 6
LOOKS = 5  # after a success that did not show the change, beyond a first one at once


Announce = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class _Progress:
    """The state of one run.

    `sent`: a call of the bot may be the reason for what a read shows. `in_doubt`: a call may have
    taken effect, or may still do so, and Fusebill did not say. `calls` is the evidence, one entry
    for each call that may have changed something, and `refusal` the last of them that was refused.
    `announce` is awaited before the first.
    """

    request: Request
    sent: bool
    in_doubt: bool
    deadline: float
    announce: Announce | None = None
    calls: list[dict[str, object]] = field(default_factory=list)
    refusal: FusebillRefused | None = None
    last_error: FusebillError = field(default_factory=FusebillError)


class Execution:
    """Executes confirmed requests.

    `budget_s` is the limit for all attempts together; it must stay well under a worker's lease.
    `wait_s` is the first wait between attempts; it doubles, with jitter, unless Fusebill says when
    to retry. `look_s` is the first wait before an accepted change is looked for again; it doubles.
    """

    def __init__(
        self,
        fusebill: FusebillClient,
        *,
        budget_s: float = 24.0,
        wait_s: float = 0.3,
        look_s: float = 0.5,
    ) -> None:
        self._fusebill = fusebill
        self._budget_s = budget_s
        self._wait_s = wait_s
        self._look_s = look_s

    async def execute(
        self, request: Request, *, may_have_called: bool, announce: Announce | None = None
    ) -> ExecutionResult:
        """Execute a request; every FusebillError becomes an outcome.

        `may_have_called`: a worker that held the request before may have made the call. `announce`
        is awaited before this one makes its first, and what it raises is raised.
        """
        started = monotonic()
        deadline = started + self._budget_s
        progress = _Progress(request, may_have_called, may_have_called, deadline, announce)
        try:
            async with asyncio.timeout(self._budget_s):
                result = await self._execute_with_retries(progress)
        except FusebillError as error:
            result = _failed(error, progress)
        except TimeoutError:
            last = progress.last_error
            late = OutcomeUnknown(last.status, last.texts, "the time was up")
            result = _failed(late, progress, last)
        seconds = round(monotonic() - started, 3)
        calls: dict[str, object] = {"calls": progress.calls} if progress.calls else {}
        details = {"seconds": seconds, **calls, **result.details}
        return replace(result, details=details)

    async def look(self, request: Request) -> dict[str, object]:
        """Read the customer once: `found` has its ids now, `unread` why that failed. No retries."""
        try:
            async with asyncio.timeout(self._budget_s):
                customer = await self._fusebill.get_customer(request.customer.customer_id)
        except (FusebillError, TimeoutError) as error:
            return {"unread": str(error) or type(error).__name__}
        return {"found": asdict(customer.ids)}

    async def stop(self, request: Request, *, may_have_called: bool) -> ExecutionResult:
        """What a request that was stopped came to: nothing, if nobody can have begun it."""
        if not may_have_called:
            return ExecutionResult(Outcome.STOPPED)
        # whoever held it before may have made the call
        try:
            async with asyncio.timeout(self._budget_s):
                customer = await self._look(request)
        except (FusebillError, TimeoutError) as error:
            why = f"It was stopped, and the customer could not be read: {error}"
            return ExecutionResult(Outcome.UNKNOWN, {"why": why})
        found = compare(customer.ids, request, called=True)
        return found or ExecutionResult(Outcome.STOPPED, {"found": asdict(customer.ids)})

    async def _execute_with_retries(self, progress: _Progress) -> ExecutionResult:
        def should_retry(error: Exception) -> bool | float:
            if isinstance(error, FusebillError):
                progress.last_error = error
            if isinstance(error, RateLimited | Unavailable):
                return error.wait_s(progress.deadline - monotonic())
            return isinstance(error, NotReached | OutcomeUnknown)

        try:
            return await retried(
                lambda: self._attempt(progress),
                should_retry,
                attempts=ATTEMPTS,
                timeout_s=self._budget_s,
                wait_initial=self._wait_s,
                wait_max=3.0,
                wait_jitter=self._wait_s,
            )
        except FusebillRefused as error:
            if error is not progress.refusal:
                raise
            return await self._after_refusal(error, progress)

    async def _attempt(self, progress: _Progress) -> ExecutionResult:
        request = progress.request
        before = await self._fusebill.get_customer(request.customer.customer_id)
        found = compare(before.ids, request, called=progress.sent)
        if found:
            return found
        if progress.announce and not progress.calls:
            await progress.announce()
        accepted = await self._call(progress)
        if accepted.customer is not None and accepted.customer.ids == wanted(request):
            return done(request, "answer", accepted.status)
        return await self._read_back(accepted, progress)

    async def _call(self, progress: _Progress) -> Accepted:
        """Make the call that changes the customer, and keep what came of it as evidence."""
        in_doubt, sent = progress.in_doubt, progress.sent
        progress.in_doubt = progress.sent = True
        relatch = progress.request.kind is Kind.RELATCH
        operation = "latch_customer" if relatch else "unlatch_customer"
        entry: dict[str, object] = {"operation": operation, "status": None}
        progress.calls.append(entry)
        started = monotonic()
        try:
            accepted = await self._send(progress.request)
        except FusebillError as error:
            entry |= evidence(error)
            if isinstance(error, FusebillRefused):
                progress.refusal, progress.in_doubt = error, in_doubt
            elif isinstance(error, NotReached):
                progress.in_doubt, progress.sent = in_doubt, sent
            raise
        except asyncio.CancelledError:
            entry["why"] = "the time was up"
            raise
        else:
            entry |= evidence(accepted)
            return accepted
        finally:
            entry["seconds"] = round(monotonic() - started, 3)

    async def _send(self, request: Request) -> Accepted:
        customer = request.customer
        if request.kind is Kind.RELATCH:
            return await self._fusebill.latch_customer(customer.customer_id, customer.ids)
        return await self._fusebill.unlatch_customer(customer.customer_id)

    async def _read_back(self, accepted: Accepted, progress: _Progress) -> ExecutionResult:
        """Look for a change that Fusebill accepted, longer and longer apart: it may come late."""
        request = progress.request
        seen: HubSpotIds | None = None
        for pause_s in (0.0, *(self._look_s * 2**look for look in range(LOOKS))):
            await asyncio.sleep(pause_s)
            try:
                seen = (await self._fusebill.get_customer(request.customer.customer_id)).ids
            except FusebillError as error:
                progress.last_error = error
                wait_s = error.wait_s(progress.deadline - monotonic())
                if wait_s is False:
                    break
                await asyncio.sleep(0 if wait_s is True else wait_s)
                continue
            if seen == wanted(request):
                return done(request, "read_back")
            if not on_the_way(seen, request):
                break
        if seen is None:
            return _failed(progress.last_error, progress)
        if seen != starting(request):
            return changed(seen, called=True)
        why = (
            f"The call was answered with HTTP {accepted.status}, but the change does not show yet."
        )
        return ExecutionResult(Outcome.UNKNOWN, {"why": why})

    async def _look(self, request: Request) -> Customer:
        return await retried(
            lambda: self._fusebill.get_customer(request.customer.customer_id),
            lambda error: isinstance(error, NotReached | OutcomeUnknown),
            attempts=3,
            timeout_s=self._budget_s,
            wait_initial=self._wait_s,
            wait_jitter=0,
        )

    async def _after_refusal(
        self, refusal: FusebillRefused, progress: _Progress
    ) -> ExecutionResult:
        """Look whether the customer is as it was: a "no" may come too late."""
        request = progress.request
        try:
            after = await self._look(request)
        except FusebillError as error:
            # only Fusebill's own word is enough by itself
            progress.in_doubt = progress.in_doubt or not refusal.own_form
            raise refusal from error
        if after.ids == wanted(request):
            return done(request, "read_back")
        if after.ids != starting(request):
            return changed(after.ids, called=True)
        raise refusal


def _failed(
    error: FusebillError, progress: _Progress, cause: FusebillError | None = None
) -> ExecutionResult:
    """The outcome after the last attempt; UNKNOWN if a call may have changed something.

    `cause` is what kept the bot trying until the time was up, if that is the error.
    """
    details: dict[str, object] = {"texts": list(error.texts), "status": error.status}
    if progress.in_doubt:
        why = f"{reason(error)} An earlier call may have taken effect, or may still do so."
        return ExecutionResult(Outcome.UNKNOWN, details | {"why": why})
    details |= {
        "why": f"{reason(error)} Nothing was changed.",
        "may_pass": may_pass(cause or error),
    }
    retry_at = error.retry_at if isinstance(error, RateLimited) else None
    return ExecutionResult(Outcome.REFUSED, details, retry_at)
