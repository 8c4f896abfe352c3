"""Does what a card was confirmed for: the work of each of its customers, and what follows later.

A click that was acknowledged must reach its end even if the process is killed at any point. So the
work is a job, and each step is in the ledger before the next one starts: that a call is about to be
made before it is made, its outcome before anybody is told. Whoever takes over what another process
began reads first and calls only if the ids are still as on the card.

A customer of a card of many takes its turn: few at a time in a process, and none while Fusebill has
no calls left for this minute. What other cards do for a customer is waited for. What several
customers have to write at the same time is written in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import takewhile

import structlog
from sqlalchemy import Connection

from bot.domain.meanings import is_done
from bot.domain.models import Card, HubSpotIds, Outcome, Request
from bot.domain.outcomes import Result
from bot.domain.policy import sent_since
from bot.fusebill.pace import Pace
from bot.ledger import jobs, rows, same_customer, work_steps
from bot.ledger.jobs import Job, Transaction, seconds
from bot.ops import logs
from bot.ops.metrics import Metrics
from bot.ops.tasks import Batches, pauses
from bot.requests.execution import Execution, NotToBeCalled
from bot.requests.runner import Runner
from bot.requests.show import about
from bot.settings import Timing

log = structlog.get_logger(__name__)

FIRST_LOOK_S = 0.1
MAX_INTERRUPTIONS = 5
MAX_CONCURRENT_CUSTOMERS = 8
"""Of cards of many customers, in this process."""
CALLS_A_CUSTOMER = 3
"""It is read, changed, and perhaps read again."""
MAX_UNANSWERED = 3
"""After so many calls in a row that may still run, no more of a card's customers are begun."""
MAX_REFUSALS = 3
"""So often one of many customers waits for its next turn after "too many calls"."""
RECORD_TIMEOUT_S = 600.0
LOGGED = ("status", "calls", "seconds", "why", "how", "found", "vid", "company_id")
"""What is logged of an outcome's details."""
NOT_VOUCHED_FOR = timedelta(hours=1)
"""A card that is not what its events say is looked at again after this."""


_FIRST_NOT_DONE = Result(
    Outcome.REFUSED,
    {"why": "The other customer of this card was not changed. Nothing was changed here."},
)
"""What comes of the second half of a pair."""


class _FusebillIsSilent(Exception):
    """So many calls for a card's customers got no answer that no other is begun."""


@dataclass(slots=True)
class _CardWork:
    """The work on one card in this process: its job, and what its customers write together.

    `called` are the requests that this process may have called, and `unanswered` counts the calls
    in a row that may still run, as the card counted them before.
    """

    job: Job
    card: Card
    begin: Batches[str, frozenset[str]]
    record: Batches[tuple[str, Result], Card]
    unanswered: int
    called: set[str] = field(default_factory=set)

    def require_answers(self, request: Request) -> None:
        """Check that Fusebill answers, before a call is begun. Raises: _FusebillIsSilent."""
        is_begun = request.is_begun or request.id in self.called
        if not is_begun and self.unanswered >= MAX_UNANSWERED:
            raise _FusebillIsSilent


@dataclass(eq=False, slots=True)
class Work:
    """Executes decided cards and records their outcomes."""

    _runner: Runner
    _execution: Execution
    _pace: Pace
    _metrics: Metrics
    _timing: Timing
    _recheck_after: timedelta
    _turns: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT_CUSTOMERS)
    )

    async def handle(self, job: Job) -> None:
        """Execute a decided card's requests and record their outcomes; can be run again."""
        card = job.take_card()
        if card is None:
            # nobody knows what was written to the database since the decision
            if why := await self._runner.run(_mismatch, job.card_id):
                log.error("card not executed", why=why, card_id=job.card_id)
                await self._runner.run(jobs.put_off, job, NOT_VOUCHED_FOR)
                return
            card = await self._taken(job)
        if card is None:
            await self._runner.run(jobs.end, job)
            return
        to_do = [request for request in card.requests if request.is_to_be_executed]
        if not to_do:
            await self._runner.run(jobs.end, job)
            return
        begin, record = Batches(partial(self._begin, job)), Batches(partial(self._record, job))
        work = _CardWork(job, card, begin, record, _unanswered(card))
        finishing = (
            [self._finish_in_order(work)]
            if card.is_pair
            else [self._finish(work, request) for request in to_do]
        )
        for failure in await asyncio.gather(*finishing, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def _taken(self, job: Job) -> Card | None:
        """The card of work that another process left, or that an uncertain commit did."""
        if job.previous is None:
            return await self._runner.run(work_steps.as_it_is, job)
        older_version = job.previous == work_steps.OLDER_VERSION
        card = await self._runner.run(work_steps.resumed, job, older_version=older_version)
        abandoned = sum(request.is_to_be_executed for request in card.requests)
        if abandoned:
            self._metrics.reclaimed.inc(abandoned)
            log.warning("abandoned work reclaimed", request_id=card.id, requests=abandoned)
        return card

    async def _finish_in_order(self, work: _CardWork) -> None:
        """Execute the halves of a pair one after the other; the second only once the first is done.

        Both are waited for first: what may still run could change the one while the other is.
        """
        await self._wait_for(work.job, [i for r in work.card.requests for i in r.waits_for])
        for position, request in enumerate(work.card.requests):
            if not request.is_to_be_executed:
                continue
            if all(map(is_done, work.card.requests[:position])):
                await self._finish(work, request)
            else:
                await work.record.add((request.id, _FIRST_NOT_DONE))

    async def _finish(self, work: _CardWork, request: Request) -> None:
        """Execute one request and record its outcome."""
        with logs.fields(**about(Card((request,)))):
            if request.waits_for:
                await self._wait_for(work.job, request.waits_for)
            result = await self._executed(work, request)
            if result is None:
                return
            work.card = await work.record.add((request.id, result))
            self._metrics.outcomes.labels(request.kind, result.outcome).inc()
            if request.decided_at:
                took_s = (work.job.now() - request.decided_at).total_seconds()
                self._metrics.result_seconds.labels(request.kind).observe(took_s)
            known = {name: result.details[name] for name in LOGGED if name in result.details}
            log.info("executed", outcome=result.outcome, **known)

    async def _executed(self, work: _CardWork, request: Request) -> Result | None:
        """Execute a request, in another turn if Fusebill takes no more calls for a while.

        None if somebody stopped it before it was begun: then it has its outcome.
        """
        refused: list[Result] = []
        while True:
            async with self._turn(request):
                result = await self._take_turn(work, request)
            if result is None:
                # stopped after calls that Fusebill refused: that is what came of it
                result = refused.pop() if refused else None
            elif (
                # one of many has another turn, once Fusebill takes calls again
                request.card_size > 1
                and len(refused) < MAX_REFUSALS
                and self._pace.wait_until(result.retry_at)
            ):
                refused.append(result)
                continue
            return _with_calls_of(refused, result) if result and refused else result

    async def _take_turn(self, work: _CardWork, request: Request) -> Result | None:
        if work.job.attempts >= MAX_INTERRUPTIONS:
            return _given_up(request)

        async def before_call() -> None:
            work.require_answers(request)
            if request.id not in await work.begin.add(request.id):
                raise NotToBeCalled(request.id)
            work.called.add(request.id)
            work.job.require_held()

        try:
            work.require_answers(request)
            result = await self._execution.execute(
                request,
                before_call,
                may_have_called=request.is_begun,
                beside=_beside(work.card, request) if work.card.is_pair else {},
            )
        except NotToBeCalled:
            return None
        except _FusebillIsSilent:
            return Result(Outcome.NOT_BEGUN, {"may_pass": True})
        # of the calls in a row that may still run; one that ended begins anew
        if "calls" in result.details:
            work.unanswered = work.unanswered + 1 if "running_s" in result.details else 0
        return result

    async def _begin(self, job: Job, request_ids: Sequence[str]) -> frozenset[str]:
        """Write down that these are about to be called, as the one who holds the work."""
        began = seconds()
        may_call = await self._runner.run_patiently(
            self._timing.hold_s / 2, work_steps.begun, job, request_ids
        )
        job.deadline = began + self._timing.hold_s
        return may_call

    async def _record(self, job: Job, results: Sequence[tuple[str, Result]]) -> Card:
        """Keeps trying: an outcome is known only here until it is in the ledger."""
        return await self._runner.run_patiently(
            RECORD_TIMEOUT_S, work_steps.recorded, job, dict(results), self._recheck_after
        )

    async def _wait_for(self, job: Job, others: Sequence[str]) -> None:
        """One thing at a time for a customer: wait until no call for these requests can run."""

        def awaited(connection: Connection) -> bool:
            since = sent_since(job.now(), self._timing.hold)
            return same_customer.are_awaited(connection, others, since)

        for pause_s in pauses(FIRST_LOOK_S, self._timing.hold_s / 3):
            if not await self._runner.read_patiently(self._timing.hold_s / 2, awaited):
                return
            await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """A turn for one of many customers; a card of one never waits for them."""
        if request.card_size == 1:
            yield
            return
        async with self._turns, self._pace.call(CALLS_A_CUSTOMER):
            yield

    async def look(self, request: Request) -> Mapping[str, object]:
        """What a request's customer is like now, read in its turn: see `Execution.look`."""
        async with self._turn(request):
            return await self._execution.look(request)


def _mismatch(tx: Transaction, card_id: str) -> str:
    """What of a card does not match its events; empty if all does, or there is no such card."""
    with suppress(rows.NoSuchCard):
        return rows.lock(tx, card_id).mismatch
    return ""


def _unanswered(card: Card) -> int:
    """How many calls in a row may still run, up to the last one whose outcome is known."""
    ended = [event for event in card.events if "calls" in event.details]
    return len([*takewhile(lambda event: "running_s" in event.details, reversed(ended))])


def _beside(card: Card, request: Request) -> dict[int, HubSpotIds]:
    """What else must be as the card shows it before a request of a pair is called."""
    return {
        each.customer.customer_id: each.ids_after if is_done(each) else each.ids_before
        for each in card.requests
        if each.id != request.id
    }


def _given_up(request: Request) -> Result:
    """What came of work that each process was interrupted at."""
    why = f"The bot was interrupted {MAX_INTERRUPTIONS} times and does not try again."
    if request.is_begun:
        return Result(Outcome.UNKNOWN, {"why": why})
    details: dict[str, object] = {"why": f"{why} No call was begun.", "may_pass": True}
    return Result(Outcome.REFUSED, details)


def _with_calls_of(earlier: Sequence[Result], last: Result) -> Result:
    """The last result, with the evidence of each call that was refused before."""
    results = [result.details.get("calls") for result in (*earlier, last)]
    calls = [call for found in results if isinstance(found, list) for call in found]
    return replace(last, details=last.details | ({"calls": calls} if calls else {}))
