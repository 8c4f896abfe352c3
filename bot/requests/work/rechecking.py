"""Reads a cleared customer once more: HubSpot's sync can latch it again, and nobody would know."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.clock import recheck_at
from bot.domain.models import EventType, NewEvent, RequestHistory
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError
from bot.ledger.due_requests import DueRequests
from bot.settings import Timing

log = structlog.get_logger(__name__)

MAX_PAUSE = timedelta(hours=1)
MAX_CONCURRENT_READS = 4


@dataclass(frozen=True, slots=True)
class Looked:
    """A request after its recheck, if that `was_due`, and when the sweep must look at it again."""

    history: RequestHistory
    next_at: datetime | None
    was_due: bool = True


class Rechecker:
    """Looks at a request that is due for its recheck, `after_s` seconds after it was cleared.

    0 turns it off.
    """

    def __init__(
        self,
        due_requests: DueRequests,
        fusebill: FusebillClient,
        after_s: int,
        timing: Timing,
    ) -> None:
        self._due_requests = due_requests
        self._fusebill = fusebill
        self._after_s = after_s
        # after an outage many are due at once, and people's own requests must not wait for them
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_READS)
        self._pause = timedelta(seconds=timing.recheck_pause_s)

    def next_at(self, history: RequestHistory) -> datetime | None:
        """When the sweep must look at a request for its recheck, None if never."""
        now = datetime.now(UTC)
        at = recheck_at(history, self._after_s, now)
        return now + self._pause if at and at <= now else at

    async def recheck_if_due(self, history: RequestHistory, due_at: datetime) -> Looked:
        """Read the customer if it is time, as the worker that holds the request until `due_at`.

        Raises: LostClaim, LedgerUnavailable.
        """
        now = datetime.now(UTC)
        at = recheck_at(history, self._after_s, now)
        if at is None or at > now:
            return Looked(history, at, was_due=False)
        # as long again as it is late already, so that an outage is not answered with a storm
        again_at = now + min(max(now - at, self._pause), MAX_PAUSE)
        try:
            async with self._turns:
                customer = await self._fusebill.get_customer(history.request.customer.customer_id)
        except FusebillError as error:
            log.warning("recheck postponed", why=str(error))
            return Looked(history, again_at)
        kind = EventType.LATCHED_AGAIN if customer.ids else EventType.RECHECKED
        details: dict[str, object] = {"found": asdict(customer.ids)} if customer.ids else {}
        event = NewEvent(datetime.now(UTC), kind, "", details)
        recheck = await self._due_requests.record_recheck(history.request, event, due_at)
        if recheck.history is None:
            # a later request changed the customer, or is about to: what it shows is no surprise
            return Looked(history, again_at if recheck.is_running else None)
        log.info("rechecked", latched_again=bool(customer.ids))
        return Looked(recheck.history, None)
