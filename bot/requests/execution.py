"""Executes a confirmed request: reads the customer, compares it with the card, calls Fusebill.

A request changes a customer's ids from X to Y: an unlatch from those on the card to none, an undo
from none to those, a move from some to others. What people saw on the card is what may be changed,
and a call whose answer was lost may have worked or not. So the customer is read and compared before
every call, retries and work that was taken over included, and an outcome is reported only if
Fusebill showed it:

    ids are X ───────────────> call; ids are Y in its answer or when read back ──> done
    ids are Y ───────────────> done if an earlier call may have changed them; else not the bot's
    ids of one beside it differ > CHANGED, no (further) call
    other ids ───────────────> CHANGED, no (further) call
    accepted (2xx) ──────────> read back until the ids are Y; else UNKNOWN
    refused (4xx) ───────────> read back: ids are X ──> REFUSED, nothing was changed
    it may still run ────────> never called again; read until the ids are Y; else UNKNOWN
    no conclusive answer ────> read again, call again if the ids are X; else UNKNOWN

What Fusebill answered to each call that may have changed something is kept in the `details` as
`calls`; `running_s` is how long before the outcome the one was sent that may still run. Before each
call, `before_call` is awaited: whoever executes must still hold the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from time import monotonic

from bot.domain.models import Customer, HubSpotIds, Outcome, Request
from bot.domain.outcomes import Result, changed, compare, done, is_on_the_way
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    FusebillError,
    FusebillRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.fusebill.responses import Accepted, evidence
from bot.messages.fusebill_errors import reason
from bot.ops.tasks import retried
from bot.settings import Timing

ATTEMPTS = 6
LOOKS = 5  # after a success that did not show the change, beyond a first one at once

BeforeCall = Callable[[], Awaitable[None]]


class NotToBeCalled(Exception):
    """Somebody stopped the request: it is not called, or not once more."""


@dataclass(slots=True)
class _Progress:
    """The state of one run.

    `sent`: a call of the bot may be the reason for what a read shows. `in_doubt`: a call may have
    taken effect, or may still do so, and Fusebill did not say. `calls` is the evidence, one entry
    for each call that may have changed something, and `refusal` the last of them that was refused.
    `running` says why the last of them, sent at `sent_at`, may still run. `beside` are the
    customers that must have certain ids, too, before a call: the other one of a pair.
    """

    request: Request
    sent: bool
    in_doubt: bool
    deadline: float
    before_call: BeforeCall
    beside: Mapping[int, HubSpotIds]
    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    calls: list[dict[str, object]] = field(default_factory=list)
    sent_at: float = 0.0
    refusal: FusebillRefused | None = None
    running: OutcomeUnknown | None = None
    last_error: FusebillError = field(default_factory=FusebillError)

    @asynccontextmanager
    async def beside_the_limit(self) -> AsyncIterator[None]:
        """Do what takes its own time: ask the ledger, make a call, look for what came of it."""
        started, ends_at = monotonic(), self.limit.when()
        self.limit.reschedule(None)
        try:
            yield
        finally:
            took_s = monotonic() - started
            self.deadline += took_s
            self.limit.reschedule(ends_at and ends_at + took_s)


@dataclass(eq=False, slots=True)
class Execution:
    """Executes confirmed requests; each wait doubles unless Fusebill says when to retry."""

    _fusebill: FusebillClient
    _timing: Timing

    async def execute(
        self,
        request: Request,
        before_call: BeforeCall,
        *,
        may_have_called: bool,
        beside: Mapping[int, HubSpotIds],
    ) -> Result:
        """Execute a request; every FusebillError becomes an outcome.

        `may_have_called`: the call may have been made before. `beside` are the ids that other
        customers must have before a call. What `before_call` raises is raised, but for
        NotToBeCalled after a call.
        """
        started = monotonic()
        deadline = started + self._timing.execution_s
        called = may_have_called
        progress = _Progress(request, called, called, deadline, before_call, beside)
        try:
            async with asyncio.timeout(self._timing.execution_s) as progress.limit:
                result = await self._execute_with_retries(progress)
        except FusebillError as error:
            result = _failed(error, progress)
        except TimeoutError:
            last = progress.last_error
            late = OutcomeUnknown(last.status, last.texts, "the time was up")
            result = _failed(late, progress, last)
        now = monotonic()
        kept: dict[str, object] = {"seconds": round(now - started, 3)}
        if progress.calls:
            kept["calls"] = progress.calls
        if progress.running:
            kept["running_s"] = round(now - progress.sent_at, 3)
        return replace(result, details=kept | result.details)

    async def look(self, request: Request) -> dict[str, object]:
        """Read the customer once: `found` has its ids now, `unread` why that failed. No retries."""
        try:
            async with asyncio.timeout(self._timing.execution_s):
                customer = await self._fusebill.get_customer(request.customer.customer_id)
        except (FusebillError, TimeoutError) as error:
            return {"unread": str(error) or type(error).__name__}
        return {"found": asdict(customer.ids)}

    async def _execute_with_retries(self, progress: _Progress) -> Result:
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
                timeout_s=None,
                wait_initial=self._timing.retry_s,
                wait_max=3.0,
                wait_jitter=self._timing.retry_s,
            )
        except FusebillRefused as error:
            if error is not progress.refusal:
                raise
            return await self._after_refusal(error, progress)
        except NotToBeCalled:
            if not (progress.sent or progress.calls):
                raise
            return await self._after_stop(progress)

    async def _attempt(self, progress: _Progress) -> Result:
        request = progress.request
        before = await self._fusebill.get_customer(request.customer.customer_id)
        found = compare(before.ids, request, called=progress.sent)
        if progress.beside and not found:
            found = await self._beside(progress)
        if found:
            return found
        async with progress.beside_the_limit():
            await progress.before_call()
            try:
                accepted = await self._call(progress)
            except OutcomeUnknown as error:
                if not error.may_still_run:
                    raise
                progress.running = error
                return await self._read_back(progress, reason(error), self._long_looks(progress))
        if accepted.customer is not None and accepted.customer.ids == request.ids_after:
            return done(request, "answer", accepted.status)
        answered = f"The call was answered with HTTP {accepted.status}"
        why = f"{answered}, but the change does not show yet."
        pauses = (0.0, *(self._timing.look_s * 2**look for look in range(LOOKS)))
        return await self._read_back(progress, why, pauses)

    async def _beside(self, progress: _Progress) -> Result | None:
        """The outcome if another customer is not as it must be; None if all are."""
        for customer_id, ids in progress.beside.items():
            found = (await self._fusebill.get_customer(customer_id)).ids
            if found != ids:
                result = changed(found, called=progress.sent)
                return replace(result, details=result.details | {"customer_id": customer_id})
        return None

    async def _call(self, progress: _Progress) -> Accepted:
        """Make the call that changes the customer, and keep what came of it as evidence."""
        in_doubt, sent = progress.in_doubt, progress.sent
        progress.in_doubt = progress.sent = True
        request = progress.request
        customer_id, ids = request.customer.customer_id, request.ids_after
        operation = "latch_customer" if ids else "unlatch_customer"
        entry: dict[str, object] = {"operation": operation, "status": None}
        progress.calls.append(entry)
        progress.sent_at = monotonic()
        try:
            accepted = await (
                self._fusebill.latch_customer(customer_id, ids)
                if ids
                else self._fusebill.unlatch_customer(customer_id)
            )
        except FusebillError as error:
            entry |= evidence(error)
            if isinstance(error, FusebillRefused):
                progress.refusal, progress.in_doubt = error, in_doubt
            elif isinstance(error, NotReached):
                progress.in_doubt, progress.sent = in_doubt, sent
            raise
        else:
            entry |= evidence(accepted)
            return accepted
        finally:
            entry["seconds"] = round(monotonic() - progress.sent_at, 3)

    def _long_looks(self, progress: _Progress) -> Iterator[float]:
        """The pauses before the looks for what may still run: as long as that can be."""
        ends_at = progress.deadline = monotonic() + self._timing.looks_for_s
        pause_s = 0.0
        while (left_s := ends_at - monotonic()) > 0:
            yield min(pause_s, left_s)
            pause_s = max(2 * pause_s, self._timing.look_s)

    async def _read_back(self, progress: _Progress, why: str, pauses: Iterable[float]) -> Result:
        """Look for a change that may come late; `why` is what is told if it does not show."""
        request = progress.request
        seen: HubSpotIds | None = None
        for pause_s in pauses:
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
            if seen == request.ids_after:
                return done(request, "read_back")
            if not is_on_the_way(seen, request):
                break
        if seen is None:
            return _failed(progress.running or progress.last_error, progress)
        return compare(seen, request, called=True) or Result(Outcome.UNKNOWN, {"why": why})

    async def _look(self, request: Request) -> Customer:
        return await retried(
            lambda: self._fusebill.get_customer(request.customer.customer_id),
            lambda error: isinstance(error, NotReached | OutcomeUnknown),
            attempts=3,
            timeout_s=self._timing.execution_s,
            wait_initial=self._timing.retry_s,
            wait_jitter=0,
        )

    async def _after_refusal(self, refusal: FusebillRefused, progress: _Progress) -> Result:
        """Look whether the customer is as it was: a "no" may come too late."""
        request = progress.request
        try:
            after = await self._look(request)
        except FusebillError as error:
            # only Fusebill's own word is enough by itself
            progress.in_doubt = progress.in_doubt or not refusal.own_form
            raise refusal from error
        if found := compare(after.ids, request, called=True):
            return found
        raise refusal

    async def _after_stop(self, progress: _Progress) -> Result:
        """What a request came to that was stopped after a call."""
        if not progress.in_doubt:
            return _failed(progress.last_error, progress)
        customer = await self._look(progress.request)
        found = compare(customer.ids, progress.request, called=True)
        why = "It was stopped after a call had begun, and the change does not show yet."
        return found or Result(Outcome.UNKNOWN, {"why": why})


def _failed(
    error: FusebillError, progress: _Progress, cause: FusebillError | None = None
) -> Result:
    """The outcome after the last attempt; UNKNOWN if a call may have changed something.

    `cause` is what kept the bot trying until the time was up, if that is the error.
    """
    details: dict[str, object] = {"texts": list(error.texts), "status": error.status}
    if progress.in_doubt:
        why = reason(error)
        if error is not progress.running:
            why += " An earlier call may have taken effect, or may still do so."
        return Result(Outcome.UNKNOWN, details | {"why": why})
    details |= {
        "why": f"{reason(error)} Nothing was changed.",
        "may_pass": (cause or error).may_pass,
    }
    if error.retry_at:
        details["retry_at"] = error.retry_at.isoformat()
    retry_at = error.retry_at if isinstance(error, RateLimited) else None
    return Result(Outcome.REFUSED, details, retry_at)
