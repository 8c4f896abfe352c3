"""What a card's time brings: its reminder, its end, and a later look at cleared customers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from bot.domain.models import Card, EventType, Request, Verdict
from bot.domain.policy import is_worth_a_reminder, recheck_at
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import CustomerNotFound, FusebillError
from bot.ledger import decide_steps, jobs, rows, work_steps
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.database.statements import clock
from bot.ledger.jobs import Job, seconds
from bot.ledger.work_steps import Looked
from bot.messages.thread import reminder
from bot.ops.metrics import Metrics
from bot.ops.tasks import pauses
from bot.requests.runner import Runner
from bot.requests.work import Work
from bot.settings import Timing
from bot.slack.client import Slack
from bot.slack.errors import SlackError, is_retryable

log = structlog.get_logger(__name__)

MAX_REMINDER_PAUSE_S = 30.0
MAX_RECHECK_PAUSE = timedelta(hours=1)
TOGETHER = timedelta(minutes=2)
"""How much later one of a card's customers may be looked at, so that all are at once."""


@dataclass(eq=False, slots=True)
class Deadlines:
    """Does the jobs that remind of a card, and that end it without a person's decision.

    `notify` are the users and user groups to mention; none turns reminders off.
    """

    _runner: Runner
    _slack: Slack
    _work: Work
    _notify: Sequence[str]
    _metrics: Metrics
    _timing: Timing
    _started: float = field(default_factory=seconds)

    async def expire(self, job: Job) -> None:
        """End a card that nobody decided."""
        card = await self._runner.run(work_steps.as_it_is, job)
        if card is None or not card.first.is_open:
            await self._runner.run(jobs.end, job)
            return
        now, expires_at = job.now(), card.first.expires_at
        if now < expires_at:
            # this machine's clock was set back
            await self._runner.run(jobs.put_off, job, expires_at - now)
            return
        seen: Mapping[str, Mapping[str, object]] = {}
        if card.first.asked_at < now - timedelta(seconds=seconds() - self._started):
            # a decision may be missing: no bot ran, or the ledger is an older copy
            found = await asyncio.gather(*map(self._work.look, card.requests))
            away: dict[str, object] = {"away": True} if now - expires_at > self._timing.hold else {}
            seen = {r.id: {**each, **away} for r, each in zip(card.requests, found, strict=True)}
        decided = await self._runner.run(decide_steps.decided, card.id, Verdict.EXPIRED, seen=seen)
        if decided.mismatch:
            log.error("card not expired", why=decided.mismatch, card_id=card.id)
            await self._runner.run(jobs.put_off, job, timedelta(hours=1))
        elif decided.taken:
            self._metrics.verdicts.labels(card.first.kind, Verdict.EXPIRED).inc()

    async def overtake(self, job: Job) -> None:
        """Close the cards that wait for customers that this one has changed.

        Each in a step of its own: however many they are, the work does not wait for them.
        """
        is_done = False
        while not is_done:
            for card_id in await self._runner.run(work_steps.overtook, job):
                closed = await self._runner.run(decide_steps.overtaken, card_id)
                if closed:
                    self._metrics.verdicts.labels(closed.first.kind, Verdict.OVERTAKEN).inc()
            is_done = await self._runner.run(jobs.end_unless_set_again, job)

    async def remind(self, job: Job) -> None:
        """Remind the people to notify of a card that still waits, once.

        The reminder is in the ledger before it is posted, so that no other process posts it too and
        a crash can't repeat it. While Slack is away it is tried again, as long as it makes sense.
        """
        card = await self._runner.run(work_steps.reminded, job, notifies=bool(self._notify))
        if card is None:
            return
        for pause_s in pauses(self._timing.pause_s, MAX_REMINDER_PAUSE_S):
            if not await self._is_worth_it(card):
                return
            try:
                # without waiting for a turn: by then the card may be decided
                await self._slack.post(
                    card.first.channel_id,
                    reminder(card, self._notify),
                    card.first.thread_ts,
                    card.first.message_ts,
                    max_wait_s=0.0,
                )
            except SlackError as error:
                log.warning("reminder not posted", request_id=card.id, why=error.code)
                if not is_retryable(error):
                    return
                await asyncio.sleep(max(pause_s, error.retry_after_s or 0.0))
            else:
                log.info("reminded", request_id=card.id)
                return

    async def _is_worth_it(self, card: Card) -> bool:
        def look(connection: Connection) -> bool:
            current = rows.read(connection, card.id)
            return current is not None and is_worth_a_reminder(current.first, clock(connection))

        try:
            return await self._runner.read(look)
        except LedgerUnavailable:
            # nobody knows whether it was decided meanwhile
            return False


@dataclass(eq=False, slots=True)
class Recheck:
    """Reads changed customers once more: HubSpot's sync can latch them again.

    `after_s` seconds after they were cleared or moved; 0 turns it off.
    """

    _runner: Runner
    _fusebill: FusebillClient
    _after_s: int
    _timing: Timing

    async def handle(self, job: Job) -> None:
        """Read the customers of a card that are due, and record what they are like."""
        card = await self._runner.run(work_steps.as_it_is, job)
        now = job.now()
        times = {r.id: recheck_at(r, self._after_s, now) for r in card.requests} if card else {}
        waiting = {request_id: at for request_id, at in times.items() if at}
        if card is None or not waiting:
            await self._runner.run(jobs.end, job)
            return
        first = min(waiting.values())
        together = max(each for each in waiting.values() if each - first <= TOGETHER)
        if together > now:
            await self._runner.run(jobs.put_off, job, together - now)
            return
        due = [request for request in card.requests if request.id in waiting]
        looked = await asyncio.gather(*(self._look(each, waiting[each.id], now) for each in due))
        found = {request.id: each for request, each in zip(due, looked, strict=True)}
        await self._runner.run(work_steps.rechecked, job, found)

    async def _look(self, request: Request, at: datetime, now: datetime) -> Looked:
        # as long again as it is late already, so that an outage is not answered with a storm
        pause = timedelta(seconds=self._timing.recheck_pause_s)
        again_at = now + min(max(now - at, pause), MAX_RECHECK_PAUSE)
        if at > now:
            return Looked(None, again_at=at)
        try:
            customer = await self._fusebill.get_customer(request.customer.customer_id)
        except CustomerNotFound as error:
            log.info("rechecked", gone=True)
            return Looked(EventType.CUSTOMER_GONE, {"texts": list(error.texts)}, again_at)
        except FusebillError as error:
            log.warning("recheck postponed", why=str(error))
            return Looked(None, again_at=again_at)
        is_changed = customer.ids != request.ids_after
        log.info("rechecked", latched_again=is_changed)
        if is_changed:
            details: dict[str, object] = {"found": asdict(customer.ids)}
            return Looked(EventType.LATCHED_AGAIN, details, again_at)
        return Looked(EventType.RECHECKED, again_at=again_at)
