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
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import stamina
import structlog

from bot.domain.clock import is_due_for_reminder
from bot.domain.meanings import VERDICTS
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
from bot.fusebill.pace import Pace
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.gate import After, waits_of
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.outbox import Outbox
from bot.ledger.store import Ledger
from bot.messages import drawing
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.card_sender import CardSender
from bot.requests.execution import Execution, ExecutionResult
from bot.requests.publisher import Publisher
from bot.requests.rechecking import Rechecker
from bot.requests.reminders import Reminders
from bot.settings import Timing
from bot.slack.client import SlackError
from bot.slack.rate_limiter import meanwhile

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


class Worker:
    """Finishes decided requests; can be killed at any point and run again."""

    def __init__(  # noqa: PLR0913, PLR0917  # composition alone calls it
        self,
        ledger: Ledger,
        leases: Leases,
        outbox: Outbox,
        publisher: Publisher,
        sender: CardSender,
        execution: Execution,
        pace: Pace,
        rechecker: Rechecker,
        reminders: Reminders,
        tasks: BackgroundTasks,
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._outbox = outbox
        self._publisher = publisher
        self._sender = sender
        self._execution = execution
        self._pace = pace
        self._rechecker = rechecker
        self._reminders = reminders
        self._tasks = tasks
        self._metrics = metrics
        self._timing = timing
        self._started_at = datetime.now(UTC)
        self._in_progress: Counter[str] = Counter()
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_CUSTOMERS)

    def lease(self, now: datetime) -> datetime:
        """When the lease of a worker that starts now ends."""
        return now + timedelta(seconds=self._timing.lease_s)

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
            structlog.contextvars.bound_contextvars(**_about(card.first)),
            self._in_progress_while(card),
        ):
            try:
                history = await self._execute_and_record(card, held, after or {})
                if history.card.is_finished:
                    await self._conclude(history, held)
                # else another instance holds the rest, and publishes the whole
            except LostClaim:
                log.warning("claim lost: another instance has reclaimed this")
            except LedgerUnavailable as error:
                log.error("ledger unavailable, the sweep will retry", why=str(error))  # noqa: TRY400  # expected, no traceback

    async def _conclude(self, history: CardHistory, mine: Collection[str]) -> None:
        """Mark what was undone, look again at what is due for it, and publish."""
        undone = {
            await self._mark_undone(request)
            for request in history.card.requests
            if request.id in mine and request.outcome is Outcome.RESTORED
        }
        for card_id in filter(None, undone):
            self.redraw(card_id)
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

    async def sweep(self) -> None:
        """Remind of cards and expire them, and reclaim requests whose worker is gone.

        What was cleared is reclaimed too when its recheck is due.
        """
        now = datetime.now(UTC)
        cards: dict[str, list[Request]] = {}
        for request in await self._leases.overdue(now, self.lease(now) - now):
            cards.setdefault(request.card_id, []).append(request)
        for card_id, requests in cards.items():
            request = requests[0]
            if self._in_progress[card_id]:
                # its worker here is slow, not dead; a second one would only add to the queue
                continue
            if not request.kind.is_known:
                # a newer version of the bot knows what to do
                continue
            if request.verdict is not None:
                await self._reclaim(requests)
            elif request.message_ts is None:
                await self._resume_posting(request)
            elif is_due_for_reminder(request, now):
                self._reminders.start(request)
            elif request.asked_at < self._started_at:
                # a decision may be missing: no bot ran, or the ledger is an older copy
                self._tasks.spawn(self._look_and_expire(request))
            else:
                await self._expire(request)

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
            hurried = await self._outbox.hurry(request.card_id, datetime.now(UTC), lease)
            if hurried and response_url:
                history = await self._ledger.card_history(request.card_id)
                await self._publisher.replace_pressed(history, response_url)
        except LedgerUnavailable as error:
            log.warning("card not brought up to date", why=str(error))

    async def _resume_posting(self, request: Request) -> None:
        if self._sender.is_sending(request.card_id):
            return
        now = datetime.now(UTC)
        reclaimed = await self._leases.reclaim([request], now, self.lease(now))
        if reclaimed:
            log.warning("request without a card taken up", request_id=request.id)
            self._tasks.spawn(self._sender.resume(reclaimed.history))

    async def stop(self, card_id: str, pressed: NewEvent) -> bool:
        """Stop a card's work: what is not begun is left alone. False if nothing is left to stop."""
        history = await self._ledger.stop(card_id, pressed)
        if history is not None:
            self._tasks.spawn(self._show_stopping(history))
        return history is not None

    async def _show_stopping(self, history: CardHistory) -> None:
        try:
            await self._publisher.show_working(history)
        except SlackError as error:
            log.warning("card does not show yet that it is being stopped", why=error.code)
        try:
            card = await self._ledger.get_card(history.card.id)
        except LedgerUnavailable as error:
            log.warning("stopped card not looked at again", why=str(error))
            return
        if card and card.is_finished:
            # the work ended meanwhile, and Slack may have got the result first
            self.redraw(card.id)

    def update_thread_soon(self, card_id: str) -> None:
        """Post an undecided card's missing events to its thread, in a background task."""
        self._tasks.spawn(self._publisher.update_thread(card_id))

    def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Remove the buttons from a duplicate card, in a background task."""
        self._tasks.spawn(self._publisher.retire_duplicate(request, message_ts))

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

    def redraw(self, card_id: str) -> None:
        """Update card and thread after an event was added, in a background task."""
        self._tasks.spawn(self._redraw(card_id))

    async def _redraw(self, card_id: str) -> None:
        try:
            history = await self._ledger.card_history(card_id)
            first = history.card.first
            with (
                structlog.contextvars.bound_contextvars(**_about(first)),
                self._in_progress_while(history.card),
            ):
                mine = [request.id for request in history.card.requests]
                await self._publisher.publish(history, mine)
        except (LostClaim, LedgerUnavailable) as error:
            log.warning("redraw left to the sweep", request_id=card_id, why=str(error))

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

    async def _look_and_expire(self, request: Request) -> None:
        """Expire a card from before this process started, and say what its customers are like."""
        card = await self._ledger.get_card(request.card_id)
        if card is None:
            return
        with self._in_progress_while(card):
            found = await asyncio.gather(*map(self._look, card.requests))
            late = datetime.now(UTC) - request.expires_at
            away: dict[str, object] = {}
            if late > self.lease(request.expires_at) - request.expires_at:
                away = {"away": True}
            seen = {r.id: each | away for r, each in zip(card.requests, found, strict=True)}
            try:
                await self._expire(request, seen)
            except LedgerUnavailable as error:
                log.warning("expiry left to the sweep", request_id=request.id, why=str(error))

    async def _look(self, request: Request) -> dict[str, object]:
        async with self._turn(request):
            return await self._execution.look(request)

    async def _expire(
        self, request: Request, seen: Mapping[str, dict[str, object]] | None = None
    ) -> None:
        now = datetime.now(UTC)
        result = await self._ledger.decide(
            request.card_id,
            Verdict.EXPIRED,
            NewEvent(now, EventType.EXPIRED, "", {}),
            decider=None,
            due_at=self.lease(now),
            seen=seen,
        )
        if result.taken:
            self._metrics.verdicts.labels(request.kind, Verdict.EXPIRED).inc()
            self.start(result.card)

    async def _reclaim(self, requests: Sequence[Request]) -> None:
        # not the sweep's time: a slow ledger would shorten the leases of its last requests
        now = datetime.now(UTC)
        reclaimed = await self._leases.reclaim(requests, now, self.lease(now))
        if reclaimed is None:
            return
        history, mine = reclaimed.history, reclaimed.mine
        abandoned = sum(_is_to_do(r) for r in history.card.requests if r.id in mine)
        if abandoned:
            self._metrics.reclaimed.inc(abandoned)
            log.warning("abandoned work reclaimed", request_id=history.card.id, requests=abandoned)
        self._tasks.spawn(self.finish(history.card, mine, waits_of(history.histories)))

    async def _start_if_decided(self, card_id: str, verdict: Verdict, click: NewEvent) -> None:
        async for attempt in stamina.retry_context(
            on=LedgerUnavailable, attempts=None, timeout=self._timing.lease_s, wait_max=1.0
        ):
            with attempt:
                result = await self._ledger.decided(card_id, verdict, click)
        # unless another worker has taken it over: then its lease is a later one
        if result and result.taken and result.request.due_at == self.lease(click.at):
            self._metrics.verdicts.labels(result.request.kind, verdict).inc()
            await self.finish(result.card, after=result.after)

    async def _wait_for(self, others: Sequence[str]) -> None:
        """One thing at a time for a customer: wait until these requests have an outcome."""
        pause_s = FIRST_LOOK_S
        while others and await self._ledger.unfinished(others):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._timing.lease_s / 3)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """A turn for one of many customers; a card of one never waits for them."""
        if request.card_size == 1:
            yield
            return
        async with self._turns, self._pace.call(CALLS_A_CUSTOMER):
            yield

    @contextmanager
    def _in_progress_while(self, card: Card) -> Iterator[None]:
        self._in_progress[card.id] += 1
        try:
            yield
        finally:
            self._in_progress[card.id] -= 1
            self._in_progress += Counter()  # drops the zeros

    async def _execute_and_record(
        self, card: Card, mine: Collection[str], after: After
    ) -> CardHistory:
        to_do = [request for request in card.requests if request.id in mine and _is_to_do(request)]
        if to_do:
            held = [request for request in card.requests if request.id in mine]
            async with self._shown_in_progress(card), self._leases_kept(held):
                results = await asyncio.gather(
                    *(self._execute_one(request, after.get(request.id, ())) for request in to_do),
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

    async def _execute_one(self, request: Request, others: Sequence[str]) -> RequestHistory:
        with structlog.contextvars.bound_contextvars(**_about(request)):
            await self._wait_for(others)
            refused: list[ExecutionResult] = []
            history = None
            while history is None:
                async with self._turn(request):
                    result = await self._take_turn(request)
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

    async def _take_turn(self, request: Request) -> ExecutionResult:
        if request.card_size > 1 and await self._ledger.is_stopping(request.card_id):
            return await self._execution.stop(request)
        return await self._execute(request)

    def _can_wait(self, request: Request, result: ExecutionResult) -> bool:
        """Whether one of many customers has another turn, once Fusebill takes calls again."""
        return request.card_size > 1 and self._pace.wait_until(result.retry_at)

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

    @asynccontextmanager
    async def _shown_in_progress(self, card: Card) -> AsyncIterator[None]:
        """Show on the card that the work is in progress, if it takes long, and how far it is."""
        finished, showing = asyncio.Event(), list[asyncio.Task[None]]()

        def begin() -> None:
            showing.append(asyncio.create_task(self._show_working(card, finished)))

        timer = asyncio.get_running_loop().call_later(self._timing.working_after_s, begin)
        try:
            yield
        except asyncio.CancelledError:
            for task in showing:
                task.cancel()
            raise
        finally:
            timer.cancel()
            finished.set()
            # the "in progress" card must not arrive after the result
            await asyncio.gather(*showing, return_exceptions=True)

    async def _execute(self, request: Request) -> ExecutionResult:
        if request.claim > MAX_CLAIMS:
            why = f"The bot was interrupted {MAX_CLAIMS} times and does not try again."
            return ExecutionResult(Outcome.UNKNOWN, {"why": why})
        return await self._execution.execute(request)

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
                due_at=self.lease(datetime.now(UTC)),
            ),
            LedgerUnavailable,
            attempts=None,
            timeout_s=RECORD_TIMEOUT_S,
            wait_max=5.0,
        )

    async def _show_working(self, card: Card, finished: asyncio.Event) -> None:
        first = card.first
        while not finished.is_set():
            try:
                # a process that slept must not draw over the result of the one that took over
                with suppress(LedgerUnavailable):
                    await self._leases.change(first, due_at=self.lease(datetime.now(UTC)))
                await self._publisher.show_working(await self._progress(card))
            except SlackError as error:
                log.warning("working card not shown", why=error.code)
            except LostClaim as error:
                log.warning("working card not shown", why=str(error))
            if first.card_size == 1:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), self._timing.progress_every_s)

    async def _progress(self, card: Card) -> CardHistory:
        """The card with the outcomes so far; without the ledger, as it was when it was decided."""
        if card.first.card_size > 1:
            with suppress(LedgerUnavailable):
                return await self._ledger.card_history(card.id)
        return CardHistory(tuple(RequestHistory(request, ()) for request in card.requests))


def _is_to_do(request: Request) -> bool:
    """Whether a request was confirmed and has no outcome yet."""
    executes = request.verdict is not None and VERDICTS[request.verdict].executes
    return executes and request.outcome is None


def _with_calls_of(earlier: Sequence[ExecutionResult], last: ExecutionResult) -> ExecutionResult:
    """The last result, with the evidence of each call that was refused before."""
    results = [result.details.get("calls") for result in (*earlier, last)]
    calls = [call for found in results if isinstance(found, list) for call in found]
    return replace(last, details=last.details | ({"calls": calls} if calls else {}))


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
