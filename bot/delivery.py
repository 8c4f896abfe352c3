"""Cards and threads brought up to date with the ledger, for as long as Slack needs to take them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from bot.blocks import Message
from bot.database import LedgerUnavailable
from bot.ledger import Ledger, LostClaim
from bot.messages import decided_card, trail_reply, working_card
from bot.metrics import Metrics
from bot.models import EventType, Happening, Request, Trail
from bot.settings import Timing
from bot.slack import Slack, SlackError, SlackRefused, SlackUnavailable
from bot.wording import Links

log = structlog.get_logger(__name__)

MOST_DELIVERIES = 100
LONGEST_PAUSE_S = 60.0
EVENTS_A_REPLY = 10


class Delivery:
    """Draws what the ledger says; `Timing.pause_s` is the first pause after Slack took nothing."""

    def __init__(
        self, ledger: Ledger, slack: Slack, links: Links, metrics: Metrics, timing: Timing
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._links = links
        self._metrics = metrics
        self._timing = timing
        self._threads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def show_working(self, request: Request) -> None:
        """Show that it takes longer. Raises: SlackError."""
        await self._update(request, working_card(request, self._links))

    async def mirror(self, request_id: str) -> None:
        """Show in the thread what it lacks of an undecided request; its end shows what remains."""
        try:
            # what several people were told at the same moment is said once
            async with self._threads.setdefault(request_id, asyncio.Lock()):
                trail = await self._ledger.trail(request_id)
                if trail.request.verdict is None:
                    shown = await self._reply(trail)
                    await self._ledger.change(trail.request, mirrored_through=shown)
        except (SlackError, LedgerUnavailable, LostClaim) as error:
            log.warning("thread not brought up to date yet", why=str(error))

    async def deliver(self, trail: Trail) -> None:
        """Draw card and thread side by side; what Slack won't take now is tried again later."""
        request = trail.request
        if request.deliveries > MOST_DELIVERIES:
            await self._give_up(request, 0, ["interrupted too often"])
            return
        card = decided_card(request, trail.events, self._links)
        updated, replied = await asyncio.gather(
            self._update(request, card), self._reply(trail), return_exceptions=True
        )
        shown = replied if isinstance(replied, int) else 0
        failures = [r for r in (updated, replied) if isinstance(r, BaseException)]
        for failure in failures:
            if not isinstance(failure, SlackError):
                raise failure
        passing = [f for f in failures if isinstance(f, SlackUnavailable)]
        if passing and request.deliveries < MOST_DELIVERIES:
            await self._put_off(request, shown, passing)
        elif failures:
            codes = sorted({f.code for f in failures if isinstance(f, SlackError)})
            await self._give_up(request, shown, codes)
        else:
            await self._ledger.leave(request, shown)

    async def _put_off(
        self, request: Request, shown: int, failures: list[SlackUnavailable]
    ) -> None:
        pause_s = min(self._timing.pause_s * 2.0**request.deliveries, LONGEST_PAUSE_S)
        pause_s = max([pause_s, *(f.retry_after_s or 0.0 for f in failures)])
        log.warning("slack unavailable", why=failures[0].code, again_in_s=pause_s)
        due_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        await self._ledger.leave(request, shown, due_at=due_at)

    async def _give_up(self, request: Request, shown: int, codes: Sequence[str]) -> None:
        self._metrics.undelivered.inc()
        log.error("slack will never take this", why=", ".join(codes))
        details: dict[str, object] = {"why": f"Slack did not take it: {', '.join(codes)}"}
        failed = Happening(datetime.now(UTC), EventType.DELIVERY_FAILED, "", details)
        await self._ledger.leave(request, shown, failure=failed)

    async def _update(self, request: Request, card: Message) -> None:
        if request.message_ts is None:
            raise SlackRefused("never_posted")
        await self._slack.update(request.channel_id, request.message_ts, card)

    async def _reply(self, trail: Trail) -> int:
        """Post what the thread lacks; returns the number of the last event that it shows."""
        request = trail.request
        shown = request.mirrored_through
        while shown < len(trail.events):
            events = trail.events[shown : shown + EVENTS_A_REPLY]
            reply = trail_reply(events, request, self._links)
            await self._slack.post(request.channel_id, reply, thread_ts=request.thread_ts)
            shown += len(events)
            if shown < len(trail.events):
                # at once: where Slack takes only so much at a time, the next try goes on from here
                await self._ledger.change(request, mirrored_through=shown)
        return shown
