"""Cards and threads brought up to date with the ledger, for as long as Slack needs to take them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from bot.domain.models import EventType, NewEvent, Request, RequestHistory
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.store import Ledger, LostClaim
from bot.messages.block_kit import Message
from bot.messages.cards import decided_card, other_card, thread_reply, working_card
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.settings import Timing
from bot.slack.client import Slack, SlackError, SlackRefused, SlackUnavailable
from bot.slack.rate_limiter import MAX_WAIT_S, meanwhile

log = structlog.get_logger(__name__)

MAX_PUBLISH_ATTEMPTS = 100
MAX_PAUSE_S = 60.0
EVENTS_A_REPLY = 10
REMEMBERED = 1000


@dataclass(slots=True, weakref_slot=True)
class _Drawing:
    """What this process has shown of a request, and whose turn it is to show more.

    `card` and `thread` are the last events that they tell of, as far as this process knows.
    """

    card: int = 0
    thread: int = 0
    card_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    thread_turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Publisher:
    """Draws what the ledger says; `Timing.pause_s` is the first pause after Slack took nothing.

    Several may have something to draw of one request at a time: none draws over what is newer, and
    none says again what another has just said.
    """

    def __init__(
        self, ledger: Ledger, slack: Slack, links: Links, metrics: Metrics, timing: Timing
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._links = links
        self._metrics = metrics
        self._timing = timing
        self._drawings: WeakValueDictionary[str, _Drawing] = WeakValueDictionary()
        # holds them for a while: somebody may come with a trail that he read long ago
        self._recent: deque[_Drawing] = deque(maxlen=REMEMBERED)

    async def show_working(self, request: Request) -> None:
        """Show that it takes longer. Raises: SlackError."""
        # whoever has to wait for this has something better to show by then
        await self._update(request, working_card(request, self._links), max_wait_s=0.0)

    async def update_thread(self, request_id: str) -> None:
        """Show in the thread what it lacks of an undecided request; its end shows what remains."""
        drawing = self._drawing(request_id)
        try:
            # what several people were told at the same moment is said once
            async with drawing.thread_turn:
                history = await self._ledger.request_history(request_id)
                if history.request.verdict is None:
                    shown = await self._reply(history, drawing)
                    await self._ledger.change(history.request, last_posted_event=shown)
        except (SlackError, LedgerUnavailable, LostClaim) as error:
            log.warning("thread not brought up to date yet", why=str(error))

    async def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Take the buttons off a card that is not the request's own, and say which one is.

        Slack can post a card and lose its word of it: then it is posted again, and the ledger
        knows the last one alone.
        """
        if message_ts == request.message_ts:
            return
        url = None
        with suppress(SlackError):
            url = await self._slack.permalink(request.channel_id, request.message_ts or "")
        try:
            await self._slack.update(request.channel_id, message_ts, other_card(request, url))
        except SlackError as error:
            log.warning("second card not taken back", why=error.code, message_ts=message_ts)

    async def publish(self, history: RequestHistory) -> None:
        """Draw card and thread side by side; what Slack won't take now is tried again later."""
        request = history.request
        if request.publish_attempts > MAX_PUBLISH_ATTEMPTS:
            await self._give_up(request, 0, ["interrupted too often"])
            return
        drawing = self._drawing(request.id)

        async def keep_the_claim() -> None:
            while True:
                await asyncio.sleep(self._timing.lease_s / 3)
                await self._say_still_here(request)

        async with meanwhile(keep_the_claim) as on_wait:
            updated, replied = await asyncio.gather(
                self._draw_card(history, drawing, on_wait),
                self._draw_thread(history, drawing, on_wait),
                return_exceptions=True,
            )
        shown = replied if isinstance(replied, int) else 0
        failures = [r for r in (updated, replied) if isinstance(r, BaseException)]
        for failure in failures:
            if not isinstance(failure, SlackError):
                raise failure
        passing = [f for f in failures if isinstance(f, SlackUnavailable)]
        if not failures and drawing.card > request.events:
            log.debug("somebody newer has drawn this", request_id=request.id)
        elif passing and request.publish_attempts < MAX_PUBLISH_ATTEMPTS:
            await self._put_off(request, shown, passing)
        elif failures:
            codes = sorted({f.code for f in failures if isinstance(f, SlackError)})
            await self._give_up(request, shown, codes)
        else:
            await self._ledger.release(request, shown)

    def _drawing(self, request_id: str) -> _Drawing:
        drawing = self._drawings.get(request_id)
        if drawing is None:
            drawing = self._drawings[request_id] = _Drawing()
            self._recent.append(drawing)
        return drawing

    async def _draw_card(
        self, history: RequestHistory, drawing: _Drawing, on_wait: Callable[[], None]
    ) -> None:
        request = history.request
        if drawing.card_turn.locked():
            on_wait()
        async with drawing.card_turn:
            if drawing.card <= request.events:
                card = decided_card(request, history.events, self._links)
                await self._update(request, card, on_wait=on_wait)
                drawing.card = request.events

    async def _draw_thread(
        self, history: RequestHistory, drawing: _Drawing, on_wait: Callable[[], None]
    ) -> int:
        if drawing.thread_turn.locked():
            on_wait()
        async with drawing.thread_turn:
            return await self._reply(history, drawing, on_wait)

    async def _say_still_here(self, request: Request) -> None:
        """Who waits for Slack's turn is no dead worker, which another would have to replace."""
        due_at = datetime.now(UTC) + timedelta(seconds=self._timing.lease_s)
        with suppress(LedgerUnavailable, LostClaim):
            await self._ledger.change(request, due_at=due_at)

    async def _put_off(
        self, request: Request, shown: int, failures: list[SlackUnavailable]
    ) -> None:
        pause_s = min(self._timing.pause_s * 2.0**request.publish_attempts, MAX_PAUSE_S)
        pause_s = max([pause_s, *(f.retry_after_s or 0.0 for f in failures)])
        log.warning("slack unavailable", why=failures[0].code, again_in_s=pause_s)
        due_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        await self._ledger.release(request, shown, due_at=due_at)

    async def _give_up(self, request: Request, shown: int, codes: Sequence[str]) -> None:
        self._metrics.undelivered.inc()
        log.error("slack will never take this", why=", ".join(codes))
        details: dict[str, object] = {"why": f"Slack did not take it: {', '.join(codes)}"}
        failed = NewEvent(datetime.now(UTC), EventType.DELIVERY_FAILED, "", details)
        await self._ledger.release(request, shown, failure=failed)

    async def _update(
        self,
        request: Request,
        card: Message,
        *,
        max_wait_s: float = MAX_WAIT_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        if request.message_ts is None:
            raise SlackRefused("never_posted")
        place = (request.channel_id, request.message_ts)
        await self._slack.update(*place, card, max_wait_s=max_wait_s, on_wait=on_wait)

    async def _reply(
        self, history: RequestHistory, drawing: _Drawing, on_wait: Callable[[], None] = lambda: None
    ) -> int:
        """Post what the thread lacks; returns the number of the last event that it shows."""
        request, shown = history.request, max(history.request.last_posted_event, drawing.thread)
        while shown < len(history.events):
            events = history.events[shown : shown + EVENTS_A_REPLY]
            reply = thread_reply(events, request, self._links)
            place = (request.channel_id, reply, request.thread_ts)
            await self._slack.post(*place, on_wait=on_wait)
            drawing.thread = shown = shown + len(events)
            if shown < len(history.events):
                # at once: where Slack takes only so much at a time, the next try goes on from here
                await self._ledger.change(request, last_posted_event=shown)
        return shown
