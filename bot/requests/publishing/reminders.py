"""Reminds the people to notify of a card that still waits, once, at two thirds of its life.

The reminder is in the ledger before it is posted, so that no other instance posts it too and a
crash can't repeat it. While Slack is unavailable it is tried again, as long as it makes sense.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from bot.domain.clock import is_worth_a_reminder
from bot.domain.models import Request
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.due_requests import DueRequests
from bot.ledger.store import Ledger
from bot.messages.threads import reminder
from bot.ops.background import BackgroundTasks
from bot.settings import Timing
from bot.slack.client import Slack, SlackError, is_retryable

log = structlog.get_logger(__name__)

MAX_PAUSE_S = 30.0


class Reminders:
    """Posts reminders; `notify` are the users and user groups to mention, none turns it off."""

    def __init__(
        self,
        ledger: Ledger,
        due_requests: DueRequests,
        slack: Slack,
        tasks: BackgroundTasks,
        notify: Sequence[str],
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._due_requests = due_requests
        self._slack = slack
        self._tasks = tasks
        self._notify = notify
        self._timing = timing

    def start(self, request: Request) -> None:
        """Remind of a card that is due before its expiry, in a background task."""
        self._tasks.spawn(self._remind(request))

    async def _remind(self, request: Request) -> None:
        try:
            claimed = await self._due_requests.claim_reminder(
                request, datetime.now(UTC), notifies=bool(self._notify)
            )
        except LedgerUnavailable as error:
            log.warning("reminder left to the sweep", request_id=request.id, why=str(error))
            return
        if claimed is not None:
            await self._post(claimed)

    async def _post(self, request: Request) -> None:
        pause_s = self._timing.pause_s
        while await self._is_worth_it(request):
            try:
                # without waiting for a turn: by then the card may be decided
                await self._slack.post(
                    request.channel_id,
                    reminder(request, self._notify),
                    request.thread_ts,
                    max_wait_s=0.0,
                )
            except SlackError as error:
                log.warning("reminder not posted", request_id=request.id, why=error.code)
                if not is_retryable(error):
                    return
                await asyncio.sleep(max(pause_s, error.retry_after_s or 0.0))
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
            else:
                log.info("reminded", request_id=request.id)
                return

    async def _is_worth_it(self, request: Request) -> bool:
        try:
            current = await self._ledger.get(request.id)
        except LedgerUnavailable:
            # nobody knows whether it was decided meanwhile
            return False
        return current is not None and is_worth_a_reminder(current, datetime.now(UTC))
