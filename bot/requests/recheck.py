"""Reads cleared customers once more later: HubSpot's sync can latch them again, unseen."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime, timedelta

import structlog

from bot.domain.clock import recheck_at
from bot.domain.models import EventType, Request
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import CustomerNotFound, FusebillError
from bot.ledger import work_steps
from bot.ledger.jobs import Job
from bot.ledger.work_steps import Looked
from bot.requests.runner import Runner
from bot.settings import Timing

log = structlog.get_logger(__name__)

MAX_PAUSE = timedelta(hours=1)
TOGETHER = timedelta(minutes=2)
"""How much later one of a card's customers may be looked at, so that all are at once."""


class Recheck:
    """Reads cleared customers once more: HubSpot's sync can latch them again.

    `after_s` seconds after they were cleared; 0 turns it off.
    """

    def __init__(
        self, runner: Runner, fusebill: FusebillClient, after_s: int, timing: Timing
    ) -> None:
        self._runner = runner
        self._fusebill = fusebill
        self._after_s = after_s
        self._timing = timing

    async def handle(self, job: Job) -> None:
        """Read the customers of a card that are due, and record what they are like."""
        card = await self._runner.run(work_steps.as_it_is, job)
        now = job.now()
        times = {r.id: recheck_at(r, self._after_s, now) for r in card.requests} if card else {}
        waiting = {request_id: at for request_id, at in times.items() if at}
        if card is None or not waiting:
            await self._runner.run(work_steps.done_with, job)
            return
        first = min(waiting.values())
        together = max(each for each in waiting.values() if each - first <= TOGETHER)
        if together > now:
            await self._runner.run(work_steps.later, job, together - now)
            return
        due = [request for request in card.requests if request.id in waiting]
        looked = await asyncio.gather(*(self._look(each, waiting[each.id], now) for each in due))
        found = {request.id: each for request, each in zip(due, looked, strict=True)}
        await self._runner.run(work_steps.rechecked, job, found)

    async def _look(self, request: Request, at: datetime, now: datetime) -> Looked:
        # as long again as it is late already, so that an outage is not answered with a storm
        pause = timedelta(seconds=self._timing.recheck_pause_s)
        again_at = now + min(max(now - at, pause), MAX_PAUSE)
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
        log.info("rechecked", latched_again=bool(customer.ids))
        if customer.ids:
            details: dict[str, object] = {"found": asdict(customer.ids)}
            return Looked(EventType.LATCHED_AGAIN, details, again_at)
        return Looked(EventType.RECHECKED, again_at=again_at)
