"""Runs the ledger's steps, and the jobs that they set.

One place knows what a transaction may do to its caller: it fails, it takes too long, or nobody
knows whether its commit took effect. A step is then run once more, since each looks before it
changes anything. A step can leave jobs held by this process: they start here as soon as the step
has committed, so no caller starts anything. Whatever is lost on the way (a killed process, a lost
commit, a hold that ended) is found by the next look at what is due, in any process.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from bot.ledger import due_jobs, jobs, people
from bot.ledger.database.engine import Database, LedgerUnavailable
from bot.ledger.jobs import Job, Kind, LostHold, Transaction, seconds
from bot.ops import logs
from bot.ops.tasks import BackgroundTasks, retried
from bot.settings import Timing

T = TypeVar("T")
P = ParamSpec("P")
Step = Callable[Concatenate[Transaction, P], T]
Handler = Callable[[Job], Awaitable[None]]

log = structlog.get_logger(__name__)

MAX_RETRY_DELAY_S = 0.5
"""A step of a click that fails faster than this is run once more: both fit into Slack's 3 s."""
UNIQUE_VIOLATION = "23505"
"""The SQLSTATE of a row that is there already."""
PLACES: Mapping[Kind, int] = {
    Kind.POST: 3,
    Kind.REMIND: 1,
    Kind.EXPIRE: 3,
    Kind.WORK: 8,
    Kind.SHOW: 8,
    Kind.RECHECK: 3,
    Kind.OVERTAKE: 3,
}
"""How many jobs of each kind a process takes at once, beside those that its own steps began."""
AFTER_A_BUG = timedelta(minutes=1)
"""A job that failed for a reason that nobody expected is tried again after this."""


@dataclass(eq=False, slots=True)
class Runner:
    """Runs steps and jobs in one process, which takes nothing more once it is `stopping`."""

    _database: Database
    _tasks: BackgroundTasks
    _timing: Timing
    _stopping: asyncio.Event
    _holder: str = field(default_factory=lambda: uuid4().hex)
    _handlers: dict[Kind, Handler] = field(default_factory=dict)
    _running: dict[int, Job] = field(default_factory=dict)
    _taken: Counter[str] = field(default_factory=Counter)
    _look_again: asyncio.Event = field(default_factory=asyncio.Event)
    _failed_cards: set[str] = field(default_factory=set)
    _names: dict[str, str] = field(default_factory=dict)
    _hold: timedelta = field(init=False)

    def __post_init__(self) -> None:
        """Each step needs it."""
        self._hold = self._timing.hold

    def handle(self, handlers: Mapping[Kind, Handler]) -> None:
        """Say who does the jobs of each kind."""
        self._handlers.update(handlers)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads; if its answer is lost, once more.

        Raises: LedgerUnavailable.
        """
        try:
            return await self._run(lambda tx: work(tx.connection), urgent=False)
        except LedgerUnavailable as error:
            # whatever failed, it changed nothing
            raise LedgerUnavailable(str(error)) from error.__cause__

    async def run(self, step: Step[P, T], *args: P.args, **values: P.kwargs) -> T:
        """Run a step, once more if nobody knows whether it took effect; start what it left held.

        Raises: LedgerUnavailable; what the step raises, such as LostHold or NoSuchCard.
        """
        return await self._run(lambda tx: step(tx, *args, **values), urgent=False)

    async def run_urgently(self, step: Step[P, T], *args: P.args, **values: P.kwargs) -> T:
        """Run a step that somebody's click waits for; after any quick failure once more."""
        return await self._run(lambda tx: step(tx, *args, **values), urgent=True)

    async def run_patiently(
        self, timeout_s: float, step: Step[P, T], *args: P.args, **values: P.kwargs
    ) -> T:
        """Run a step, and after a failure again and again, for so many seconds."""
        tries = count()
        return await retried(
            lambda: self._run(
                lambda tx: step(tx, *args, **values), urgent=False, again=next(tries) > 0
            ),
            LedgerUnavailable,
            attempts=None,
            timeout_s=timeout_s,
            wait_max=2.0,
        )

    async def read_patiently(self, timeout_s: float, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads, and after a failure again, for so many seconds."""
        return await retried(
            lambda: self.read(work),
            LedgerUnavailable,
            attempts=None,
            timeout_s=timeout_s,
            wait_max=1.0,
        )

    def running(self, card_id: str, kind: Kind) -> Job | None:
        """A card's job of a kind, if this process is at it."""
        found = (job for job in self._running.values() if job.card_id == card_id)
        return next((job for job in found if job.kind == kind), None)

    async def _run(
        self, step: Callable[[Transaction], T], *, urgent: bool, again: bool = False
    ) -> T:
        def work(connection: Connection) -> tuple[T, Transaction]:
            holder, hold, names = self._holder, self._hold, self._names
            transaction = Transaction(connection, holder, hold, again=again, names=names)
            result = step(transaction)
            transaction.finish()
            return result, transaction

        began, first = monotonic(), None
        while True:
            try:
                result, transaction = await self._database.run(work, urgent=urgent)
                break
            except LedgerUnavailable as error:
                uncertain = error.uncertain or (first is not None and first.uncertain)
                quick = urgent and monotonic() - began <= MAX_RETRY_DELAY_S
                if first is None and (uncertain or quick or _is_conflict(error)):
                    first, again = error, again or uncertain
                    continue
                raise LedgerUnavailable(str(error), uncertain=uncertain) from error.__cause__
        self._names |= transaction.new_names
        for job in transaction.held:
            if running := self._running.get(job.id):
                running.set_again(job)
            else:
                self._start(job)
        return result

    def _start(self, job: Job, *, taken: bool = False) -> None:
        self._running[job.id] = job
        self._taken[job.kind] += taken
        self._tasks.spawn(self._do(job, taken=taken))

    async def _do(self, job: Job, *, taken: bool) -> None:
        with logs.fields(card_id=job.card_id):
            try:
                await self._handlers[Kind(job.kind)](job)
            except LostHold as error:
                log.warning("hold lost: another process does this", job=str(error))
            except LedgerUnavailable as error:
                log.error("ledger unavailable, the job will be taken again", why=str(error))  # noqa: TRY400  # expected, no traceback
            except Exception:
                if job.card_id not in self._failed_cards:
                    log.exception("job failed; audit --verify finds changed rows", kind=job.kind)
                self._failed_cards.add(job.card_id)
                with suppress(LedgerUnavailable, LostHold):
                    await self.run(jobs.put_off, job, AFTER_A_BUG)
            finally:
                job.done.set()
                del self._running[job.id]
                self._taken[job.kind] -= taken
                if taken:
                    # more may be due than there were places
                    self._look_again.set()

    async def keep(self) -> None:
        """Take what is due and renew what is held until the bot stops; then only renew.

        What is kept no longer is forgotten at the start, and seldom after that.
        """
        renewed_at, forgot_at = monotonic(), -math.inf
        caught_up = False
        while True:
            try:
                if not (caught_up or self._stopping.is_set()):
                    await self.run(due_jobs.show_all_again)
                    caught_up = True
                if monotonic() - renewed_at >= self._timing.hold_s / 3:
                    renewed_at = monotonic()
                    await self._renew()
                await self._take_due()
                # last: it reads whole tables, and nothing waits for it
                if monotonic() - forgot_at >= self._timing.forget_every_s:
                    forgot_at = monotonic()
                    await self._forget_old()
            except LedgerUnavailable as error:
                log.warning("look at what is due postponed", why=str(error))
            except Exception:
                log.exception("look at what is due failed")
            pause_s = min(self._timing.sweep_every_s, self._timing.hold_s / 3)
            # not `wait_for`, which loses a cancellation that comes with the event (Python 3.11)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look_again.wait()
                # a failing database must not be asked without a pause
                await asyncio.sleep(min(pause_s, 0.05))
            self._look_again.clear()

    async def _forget_old(self) -> None:
        if not self._stopping.is_set():
            await self.run(people.forget_old)

    async def _take_due(self) -> None:
        if self._stopping.is_set():
            return
        free = {kind: PLACES[kind] - self._taken[kind] for kind in self._handlers}
        free = {kind: places for kind, places in free.items() if places > 0}
        for job in await self.run(self._take, free):
            # a step that was slow may have started it meanwhile; the hold that it has is over then
            if job.id not in self._running:
                self._start(job, taken=True)

    def _take(self, transaction: Transaction, free: Mapping[Kind, int]) -> list[Job]:
        running = set(self._running)
        taken = (due_jobs.take(transaction, kind, n, running) for kind, n in free.items())
        return [job for of_kind in taken for job in of_kind]

    async def _renew(self) -> None:
        running = list(self._running.values())
        if not running:
            return
        began = seconds()
        held = await self.run(due_jobs.renew, running)
        for job in running:
            if job.id in held:
                job.deadline = max(job.deadline, began + self._timing.hold_s)


def _is_conflict(error: LedgerUnavailable) -> bool:
    """Whether the same act was written by another transaction at the same time."""
    cause = error.__cause__
    if not isinstance(cause, IntegrityError):
        return False
    return getattr(cause.orig, "sqlstate", None) == UNIQUE_VIOLATION or "UNIQUE" in str(cause.orig)
