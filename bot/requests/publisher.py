"""Updates cards and threads in Slack from the ledger, and retries for as long as Slack needs.

The ledger is an outbox: `last_posted_event` says which events the thread shows, so a publisher
posts only the rest, and a failed one is retried from there at the request's `due_at`. Several tasks
can publish the same request at once (a result, a refusal, an undo). So each process keeps locks and
the newest event drawn for each request: an older card never replaces a newer one. Who posts in a
thread claims it first in the ledger, so that no instance posts what another has just posted.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from bot.domain.meanings import EVENTS
from bot.domain.models import EventType, NewEvent, Request, RequestHistory
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.outbox import Outbox, ResponseUrl
from bot.ledger.store import Ledger, LostClaim
from bot.messages.block_kit import Message
from bot.messages.cards import decided_card, other_card, working_card
from bot.messages.ephemerals import outcome_without_card
from bot.messages.phrases import Links
from bot.messages.threads import thread_reply
from bot.ops.metrics import Metrics
from bot.settings import Timing
from bot.slack.client import Slack, SlackBlocked, SlackError, SlackRefused, SlackUnavailable
from bot.slack.rate_limiter import MAX_WAIT_S, meanwhile

log = structlog.get_logger(__name__)

QUICK_PAUSE_S = 60.0
MAX_PAUSE_S = 3600.0
MAX_PUBLISH_ATTEMPTS = 206
"""About a week of attempts, with the pauses of `pause_after`."""
EVENTS_A_REPLY = 10
THREAD_TAKEN_S = 0.2
MAX_RECENT = 1000
PATIENT_ATTEMPTS = 6
"""After so many attempts, about a minute, the people who wait are told the result privately."""


@dataclass(slots=True, weakref_slot=True)
class _Drawing:
    """The last event that this process has drawn on a request's card and in its thread."""

    card: int = 0
    thread: int = 0
    card_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    thread_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def pause_after(attempts: int, first_s: float) -> float:
    """The pause in seconds after so many failed attempts: doubled up to a minute, then 10 % longer.

    So an outage of an hour is over for a card a few minutes after it is over for Slack, and a
    channel that the bot was removed from costs a call an hour.
    """
    doublings = max(math.ceil(math.log2(QUICK_PAUSE_S / first_s)), 0)
    if attempts < doublings:
        return first_s * 2.0**attempts
    return min(QUICK_PAUSE_S * 1.1 ** min(attempts - doublings, 100), MAX_PAUSE_S)


class Publisher:
    """Draws cards and threads as the ledger has them.

    After a failure it pauses for `pause_after`, or as long as Slack asks. `next_at` says when a
    request must be looked at again though Slack shows all of it.
    """

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        slack: Slack,
        links: Links,
        metrics: Metrics,
        timing: Timing,
        next_at: Callable[[RequestHistory], datetime | None] = lambda _history: None,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._slack = slack
        self._links = links
        self._metrics = metrics
        self._timing = timing
        self._next_at = next_at
        self._drawings: WeakValueDictionary[str, _Drawing] = WeakValueDictionary()
        # keeps them alive: a task may still hold an old history of the request
        self._recent: deque[_Drawing] = deque(maxlen=MAX_RECENT)

    async def show_working(self, request: Request) -> None:
        """Show on the card that the work is in progress. Raises: SlackError."""
        # without waiting for a turn: by then the result would be ready
        await self._update(request, working_card(request, self._links), max_wait_s=0.0)

    async def update_thread(self, request_id: str) -> None:
        """Post an undecided request's missing events to its thread.

        Once it is decided, `publish` posts them.
        """
        drawing = self._drawing(request_id)
        try:
            # the lock comes first: simultaneous refusals must not be posted twice
            async with drawing.thread_lock:
                history = await self._ledger.request_history(request_id)
                if history.request.verdict is None:
                    shown = await self._reply(history, drawing)
                    await self._ledger.change(history.request, last_posted_event=shown)
        except (SlackError, LedgerUnavailable, LostClaim) as error:
            log.warning("thread not updated yet", why=str(error))

    async def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Remove the buttons from a duplicate card, and link to the request's own card.

        Slack can post a card and lose its answer. The bot then posts it again, and the ledger
        knows only the last one.
        """
        if message_ts == request.message_ts:
            return
        url = None
        with suppress(SlackError):
            url = await self._slack.permalink(request.channel_id, request.message_ts or "")
        try:
            await self._slack.update(request.channel_id, message_ts, other_card(request, url))
        except SlackError as error:
            log.warning("duplicate card not retired", why=error.code, message_ts=message_ts)

    async def replace_pressed(self, history: RequestHistory, response_url: str) -> None:
        """Show the result on a stale card through the `response_url` of a press on it."""
        card = decided_card(history.request, history.events, self._links)
        try:
            await self._slack.replace_original(response_url, card)
        except SlackError as error:
            log.warning("pressed card not replaced", why=error.code)

    async def publish(self, history: RequestHistory) -> None:
        """Update card and thread concurrently; what Slack doesn't take now is retried later."""
        request = history.request
        if request.publish_attempts > MAX_PUBLISH_ATTEMPTS:
            await self._give_up(history, 0, ["interrupted too often"])
            return
        drawing = self._drawing(request.id)

        async def keep_lease() -> None:
            while True:
                await asyncio.sleep(self._timing.lease_s / 3)
                await self._renew_lease(request)

        async with meanwhile(keep_lease) as on_wait:
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
        retryable = [f for f in failures if isinstance(f, SlackUnavailable)]
        if any(_may_last(f, request) for f in failures):
            gone = len(retryable) < len(failures)
            text = outcome_without_card(request, history.events, self._links, gone=gone)
            await self.tell_people(request, text)
        if not failures and drawing.card > request.events:
            log.debug("a newer card was drawn meanwhile", request_id=request.id)
        elif retryable and request.publish_attempts < MAX_PUBLISH_ATTEMPTS:
            await self._retry_later(request, shown, retryable)
        elif failures:
            codes = sorted({f.code for f in failures if isinstance(f, SlackError)})
            await self._give_up(history, shown, codes, final=not retryable)
        else:
            await self._ledger.release(request, shown, next_at=self._next_at(history))

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
        if drawing.card_lock.locked():
            on_wait()
        async with drawing.card_lock:
            if drawing.card <= request.events:
                card = decided_card(request, history.events, self._links)
                await self._update(request, card, on_wait=on_wait)
                drawing.card = request.events

    async def _draw_thread(
        self, history: RequestHistory, drawing: _Drawing, on_wait: Callable[[], None]
    ) -> int:
        if drawing.thread_lock.locked():
            on_wait()
        async with drawing.thread_lock:
            return await self._reply(history, drawing, on_wait)

    async def _renew_lease(self, request: Request) -> None:
        """A worker that waits for Slack is alive, so nobody should reclaim its request."""
        due_at = datetime.now(UTC) + timedelta(seconds=self._timing.lease_s)
        with suppress(LedgerUnavailable, LostClaim):
            await self._ledger.change(request, due_at=due_at)

    async def _retry_later(
        self, request: Request, shown: int, failures: list[SlackUnavailable]
    ) -> None:
        pause_s = pause_after(request.publish_attempts, self._timing.pause_s)
        pause_s = max([pause_s, *(f.retry_after_s or 0.0 for f in failures)])
        log.warning("slack unavailable", why=failures[0].code, again_in_s=pause_s)
        due_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        await self._ledger.release(request, shown, due_at=due_at)

    async def tell_people(self, request: Request, text: Message) -> None:
        """Tell the requester and the decider through their response URLs, once, while they work."""
        try:
            urls = await self._outbox.response_urls(request.id, datetime.now(UTC))
            told, used = set[str](), list[ResponseUrl]()
            for url in urls:
                try:
                    if url.user_id not in told:
                        await self._slack.send_ephemeral(url.url, text)
                        told.add(url.user_id)
                    used.append(url)
                except SlackUnavailable as error:
                    log.warning("result not sent to a person yet", why=error.code)
                except SlackError as error:
                    used.append(url)
                    log.warning("result not sent to a person", why=error.code)
            if used:
                await self._outbox.forget(used)
        except LedgerUnavailable as error:
            log.warning("result not sent to people yet", why=str(error))

    async def _give_up(
        self, history: RequestHistory, shown: int, codes: Sequence[str], *, final: bool = False
    ) -> None:
        """Stop trying; unless that is `final`, a press or a restart tries again."""
        self._metrics.undelivered.inc()
        log.error("gave up updating slack", why=", ".join(codes))
        details: dict[str, object] = {"why": f"Slack did not take it: {', '.join(codes)}"}
        last = history.events[-1]
        if (last.type, last.details) == (EventType.DELIVERY_FAILED, details):
            # tried again on somebody's press: no news
            posted = last.number if final else shown
            next_at = self._next_at(history)
            await self._ledger.release(history.request, posted, next_at=next_at)
            return
        failed = NewEvent(datetime.now(UTC), EventType.DELIVERY_FAILED, "", details)
        next_at = self._next_at(history)
        await self._ledger.release(
            history.request, shown, next_at=next_at, failure=failed, final=final
        )

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
        """Post the events that the thread lacks; returns the number of the last one posted."""
        request, shown = history.request, max(history.request.last_posted_event, drawing.thread)
        quiet = all(EVENTS[event.type].quiet for event in history.events[shown:])
        # without a thread they would go into the channel
        if quiet or request.thread_ts is None:
            return shown
        while shown < len(history.events):
            shown = max(shown, await self._take_thread(request, on_wait))
            events = history.events[shown : shown + EVENTS_A_REPLY]
            try:
                if events:
                    reply = thread_reply(events, request, self._links)
                    place = (request.channel_id, reply, request.thread_ts)
                    await self._slack.post(*place, on_wait=on_wait)
                    drawing.thread = shown = shown + len(events)
            finally:
                # saved after each reply, so that a retry continues from here
                await self._ledger.leave_thread(request, shown)
        return shown

    async def _take_thread(self, request: Request, on_wait: Callable[[], None]) -> int:
        """Wait until no other instance posts in the thread; returns what it shows then."""
        lease = timedelta(seconds=self._timing.lease_s)
        while True:
            shown = await self._ledger.take_thread(request, datetime.now(UTC), lease)
            if shown is not None:
                return shown
            on_wait()
            await asyncio.sleep(THREAD_TAKEN_S)


def _may_last(failure: BaseException, request: Request) -> bool:
    """Whether a failure may outlast the half hour in which people can be told privately."""
    refused = isinstance(failure, SlackRefused | SlackBlocked)
    return refused or request.publish_attempts >= PATIENT_ATTEMPTS
