"""Updates cards and threads in Slack from the ledger, and retries for as long as Slack needs.

The ledger is an outbox: `last_posted_event` says which events the thread shows, so a publisher
posts only the rest, and a failed one is retried from there at the request's `due_at`. Several tasks
can publish the same request at once (a result, a refusal, an undo). So each process keeps locks and
the newest event drawn for each request: an older card never replaces a newer one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from bot.domain.models import CardHistory, EventType, NewEvent, Request, RequestHistory
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.store import Ledger
from bot.messages import drawing
from bot.messages.block_kit import Message
from bot.messages.cards import other_card
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.publishing.pauses import pause_after
from bot.requests.publishing.private_messages import PrivateMessages
from bot.requests.publishing.thread_replies import Thread, ThreadReplies
from bot.settings import Timing
from bot.slack.client import Slack, SlackBlocked, SlackError, SlackRefused, SlackUnavailable
from bot.slack.rate_limiter import MAX_WAIT_S, meanwhile

log = structlog.get_logger(__name__)

MAX_PUBLISH_ATTEMPTS = 206
"""About a week of attempts, with the pauses of `pause_after`."""
MAX_RECENT = 1000
TOGETHER = timedelta(minutes=2)
"""How much later one of a card's customers may be looked at, so that all are at once."""
PATIENT_ATTEMPTS = 6
"""After so many attempts, about a minute, the people who wait are told the result privately."""


@dataclass(slots=True, weakref_slot=True)
class _Drawing:
    """How many events this process has drawn on a card, and what it has shown in its thread."""

    card: int = 0
    card_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    thread: Thread = field(default_factory=Thread)


class Publisher:
    """Draws cards and threads as the ledger has them.

    After a failure it pauses for `pause_after`, or as long as Slack asks. `next_at` says when a
    request must be looked at again though Slack shows all of it.
    """

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        slack: Slack,
        threads: ThreadReplies,
        private: PrivateMessages,
        links: Links,
        metrics: Metrics,
        timing: Timing,
        next_at: Callable[[RequestHistory], datetime | None] = lambda _history: None,
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._slack = slack
        self._threads = threads
        self._private = private
        self._links = links
        self._metrics = metrics
        self._timing = timing
        self._next_at = next_at
        self._drawings: WeakValueDictionary[str, _Drawing] = WeakValueDictionary()
        # keeps them alive: a task may still hold an old history of the request
        self._recent: deque[_Drawing] = deque(maxlen=MAX_RECENT)

    async def show_working(self, history: CardHistory) -> None:
        """Show on the card that the work is in progress, and how far it is. Raises: SlackError."""
        # without waiting for a turn: by then the result would be ready
        card = drawing.working(history, self._links)
        await self._update(history.card.first, card, max_wait_s=0.0)

    async def update_thread(self, card_id: str) -> None:
        """Post an undecided card's missing events to its thread.

        Once it is decided, `publish` posts them.
        """
        drawn = self._drawing(card_id)
        try:
            # the lock comes first: simultaneous refusals must not be posted twice
            async with drawn.thread.lock:
                history = await self._ledger.card_history(card_id)
                if history.card.first.verdict is None:
                    shown = await self._threads.post(history, drawn.thread)
                    await self._leases.change(history.card.first, last_posted_event=shown[0])
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

    async def replace_pressed(self, history: CardHistory, response_url: str) -> None:
        """Show the result on a stale card through the `response_url` of a press on it."""
        try:
            card = drawing.decided(history, self._links)
            await self._slack.replace_original(response_url, card)
        except SlackError as error:
            log.warning("pressed card not replaced", why=error.code)

    async def publish(self, history: CardHistory, mine: Collection[str]) -> None:
        """Update card and thread concurrently; what Slack doesn't take now is retried later.

        `mine` are the requests of the card that this worker holds; they are released then.
        """
        card = history.card
        if card.first.publish_attempts > MAX_PUBLISH_ATTEMPTS:
            codes = ["interrupted too often"]
            await self._give_up(history, mine, [0] * len(card.requests), codes)
            return
        drawn = self._drawing(card.id)

        async def keep_lease() -> None:
            while True:
                await asyncio.sleep(self._timing.lease_s / 3)
                await self._renew_lease([r for r in card.requests if r.id in mine])

        async with meanwhile(keep_lease) as on_wait:
            updated, replied = await asyncio.gather(
                self._draw_card(history, drawn, on_wait),
                self._draw_thread(history, drawn, on_wait),
                return_exceptions=True,
            )
        shown = [0] * len(card.requests) if isinstance(replied, BaseException) else replied
        failures = [r for r in (updated, replied) if isinstance(r, BaseException)]
        for failure in failures:
            if not isinstance(failure, SlackError):
                raise failure
        retryable = [f for f in failures if isinstance(f, SlackUnavailable)]
        if any(_may_last(f, card.first) for f in failures):
            await self._tell_outcome(history, gone=len(retryable) < len(failures))
        if not failures and drawn.card > card.events:
            log.debug("a newer card was drawn meanwhile", request_id=card.id)
        elif retryable and card.first.publish_attempts < MAX_PUBLISH_ATTEMPTS:
            await self._retry_later(history, mine, shown, retryable)
        elif failures:
            codes = sorted({f.code for f in failures if isinstance(f, SlackError)})
            await self._give_up(history, mine, shown, codes, final=not retryable)
        else:
            await self._leases.release(card, shown, mine, next_at=self._next(history))

    async def _tell_outcome(self, history: CardHistory, *, gone: bool) -> None:
        text = drawing.outcome_without_card(history, self._links, gone=gone)
        await self._private.send(history.card.first, text)

    def _next(self, history: CardHistory) -> dict[str, datetime]:
        """When each request must be looked at again though Slack shows all of it.

        Those that are due shortly after one another are due together, and told as one.
        """
        times = {each.request.id: self._next_at(each) for each in history.histories}
        found = {request_id: at for request_id, at in times.items() if at}
        return {
            request_id: max(other for other in found.values() if other - at <= TOGETHER)
            for request_id, at in found.items()
        }

    def _drawing(self, card_id: str) -> _Drawing:
        drawn = self._drawings.get(card_id)
        if drawn is None:
            drawn = self._drawings[card_id] = _Drawing()
            self._recent.append(drawn)
        return drawn

    async def _draw_card(
        self, history: CardHistory, drawn: _Drawing, on_wait: Callable[[], None]
    ) -> None:
        card = history.card
        if drawn.card_lock.locked():
            on_wait()
        async with drawn.card_lock:
            if drawn.card <= card.events:
                message = drawing.decided(history, self._links)
                await self._update(card.first, message, on_wait=on_wait)
                drawn.card = card.events

    async def _draw_thread(
        self, history: CardHistory, drawn: _Drawing, on_wait: Callable[[], None]
    ) -> Sequence[int]:
        if drawn.thread.lock.locked():
            on_wait()
        async with drawn.thread.lock:
            return await self._threads.post(history, drawn.thread, on_wait)

    async def _renew_lease(self, mine: Sequence[Request]) -> None:
        """A worker that waits for Slack is alive, so nobody should reclaim its requests."""
        due_at = datetime.now(UTC) + self._timing.lease
        with suppress(LedgerUnavailable):
            await self._leases.renew(mine, due_at)

    async def _retry_later(
        self,
        history: CardHistory,
        mine: Collection[str],
        shown: Sequence[int],
        failures: list[SlackUnavailable],
    ) -> None:
        card = history.card
        pause_s = pause_after(card.first.publish_attempts, self._timing.pause_s)
        pause_s = max([pause_s, *(f.retry_after_s or 0.0 for f in failures)])
        log.warning("slack unavailable", why=failures[0].code, again_in_s=pause_s)
        due_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        next_at = self._next(history)
        await self._leases.release(card, shown, mine, due_at=due_at, next_at=next_at)

    async def _give_up(
        self,
        history: CardHistory,
        mine: Collection[str],
        shown: Sequence[int],
        codes: Sequence[str],
        *,
        final: bool = False,
    ) -> None:
        """Stop trying; unless that is `final`, a press or a restart tries again."""
        self._metrics.undelivered.inc()
        log.error("gave up updating slack", why=", ".join(codes))
        details: dict[str, object] = {"why": f"Slack did not take it: {', '.join(codes)}"}
        last = history.first.events[-1]
        next_at = self._next(history)
        if (last.type, last.details) == (EventType.DELIVERY_FAILED, details):
            # tried again on somebody's press: no news
            posted = [each.request.events for each in history.histories] if final else shown
            await self._leases.release(history.card, posted, mine, next_at=next_at)
            return
        failed = NewEvent(datetime.now(UTC), EventType.DELIVERY_FAILED, "", details)
        await self._leases.release(
            history.card, shown, mine, next_at=next_at, failure=failed, final=final
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


def _may_last(failure: BaseException, request: Request) -> bool:
    """Whether a failure may outlast the half hour in which people can be told privately."""
    refused = isinstance(failure, SlackRefused | SlackBlocked)
    return refused or request.publish_attempts >= PATIENT_ATTEMPTS
