"""Posts the card of a request that is in the ledger, and takes up what a dead process left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.clock import reminder_at
from bot.domain.models import Card, CardHistory, Request
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.gate import with_message
from bot.ledger.outbox import Outbox
from bot.messages import drawing, ephemerals
from bot.messages.block_kit import Message
from bot.messages.phrases import Links
from bot.ops.retries import retried
from bot.requests.publishing.pauses import pause_after
from bot.requests.publishing.private_messages import PrivateMessages
from bot.requests.publishing.publisher import Publisher
from bot.settings import Timing
from bot.slack.client import Slack, SlackBusy, SlackError, SlackUnavailable, is_retryable
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)

MAX_POST_ATTEMPTS = 5
MAX_PAUSE_S = 30.0
NOTE_TIMEOUT_S = 20.0
POSTED_AT_ONCE_S = 1.0
INTERRUPTED = "the bot was interrupted before the card was posted"


class CardSender:
    """Posts cards, and notes in the ledger that they were posted."""

    def __init__(
        self,
        outbox: Outbox,
        slack: Slack,
        publisher: Publisher,
        private: PrivateMessages,
        links: Links,
        timing: Timing,
        notify: Sequence[str] = (),
        *,
        expires_after_s: int,
    ) -> None:
        self._outbox = outbox
        self._slack = slack
        self._publisher = publisher
        self._private = private
        self._links = links
        self._timing = timing
        self._notify = notify
        self._expires_after = timedelta(seconds=expires_after_s)
        self._sending: set[str] = set()

    def is_sending(self, request_id: str) -> bool:
        """Whether this process is posting the card."""
        return request_id in self._sending

    async def send(
        self, history: CardHistory, on_wait: Callable[[], Coroutine[None, None, None]]
    ) -> Card:
        """Post a card; returns it as it is then. `on_wait` runs if Slack makes it wait.

        Raises: SlackError, after a few attempts; there is no card then.
        """
        card = history.card
        self._sending.add(card.id)
        keeping = asyncio.create_task(self._keep_lease(card.first))
        try:
            message_ts, expires_at = await self._post(history, on_wait)
        finally:
            keeping.cancel()
            self._sending.discard(card.id)
        return await self._note(card, message_ts, expires_at)

    async def resume(self, history: CardHistory) -> None:
        """Post a card whose process died; end it if that is too late."""
        request = history.card.first
        if request.expires_at <= datetime.now(UTC):
            # in this order: the end erases what is needed to tell
            await self._tell_requester(request)
            await self.end(request, INTERRUPTED)
            return
        try:
            await self.send(history, _no_notice)
        except SlackError as error:
            log.warning("card not posted", why=error.code, request_id=request.id)
            if is_retryable(error):
                pause_s = pause_after(request.publish_attempts, self._timing.pause_s)
                again_at = datetime.now(UTC) + timedelta(seconds=pause_s)
                with suppress(LedgerUnavailable):
                    await self._outbox.renew(request, again_at)
                return
            await self._tell_requester(request)
            await self.end(request, f"Slack did not take it: {error.code}")

    async def end(self, request: Request, why: str) -> None:
        """End a request that has no card; if the ledger fails, the sweep does it."""
        try:
            await self._outbox.end(request.id, why, datetime.now(UTC))
        except LedgerUnavailable as error:
            log.warning("request without a card left to the sweep", why=str(error))

    async def _post(
        self, history: CardHistory, notify: Callable[[], Coroutine[None, None, None]]
    ) -> tuple[str, datetime]:
        """Returns the card's `ts` and the expiry that it shows, counted from its posting."""
        first = history.first.request
        expires_at = first.expires_at

        def message() -> Message:
            nonlocal expires_at
            now = datetime.now(UTC)
            if now - first.asked_at >= timedelta(seconds=POSTED_AT_ONCE_S):
                expires_at = now + self._expires_after
            expiring = replace(history.first, request=replace(first, expires_at=expires_at))
            shown = CardHistory((expiring, *history.histories[1:]))
            return drawing.confirmation(shown, self._links, self._notify)

        async with meanwhile(notify) as on_wait:
            place = (first.channel_id, message, first.thread_ts)
            message_ts = await retried(
                lambda: self._slack.post(*place, on_wait=on_wait),
                _should_retry,
                attempts=MAX_POST_ATTEMPTS,
                timeout_s=None,
                wait_initial=0.5,
            )
        return message_ts, expires_at

    def _first_due(self, request: Request, expires_at: datetime) -> datetime:
        """A card's reminder comes first, if there is one."""
        return reminder_at(request.asked_at, expires_at) if self._notify else expires_at

    async def _note(self, card: Card, message_ts: str, expires_at: datetime) -> Card:
        """Note the card's `ts`; failing that, a click does, or the sweep posts another card."""
        due_at = self._first_due(card.first, expires_at)
        now = with_message(card, message_ts)
        try:
            now = await retried(
                lambda: self._outbox.posted(
                    card.id, message_ts, expires_at, due_at, datetime.now(UTC)
                ),
                LedgerUnavailable,
                attempts=None,
                timeout_s=NOTE_TIMEOUT_S,
                wait_max=2.0,
            )
        except LedgerUnavailable as error:
            log.error("card not noted in the ledger", why=str(error), message_ts=message_ts)  # noqa: TRY400  # expected
        if now.first.message_ts != message_ts:
            await self._publisher.retire_duplicate(now.first, message_ts)
        return now

    async def _keep_lease(self, request: Request) -> None:
        while True:
            await asyncio.sleep(self._timing.lease_s / 3)
            with suppress(LedgerUnavailable):
                await self._outbox.renew(request, datetime.now(UTC) + self._timing.lease)

    async def _tell_requester(self, request: Request) -> None:
        await self._private.send(request, ephemerals.never_posted(request))


async def _no_notice() -> None:
    """Whoever typed the command was told by the process that died, or will see the card."""


def _should_retry(error: Exception) -> bool | float:
    # SlackBusy already waited as long as it may
    return is_retryable(error) and not isinstance(error, SlackBusy) and pause_of(error)


def pause_of(error: SlackUnavailable) -> bool | float:
    """How long stamina waits: as long as Slack asked, up to 30 s, or True for its own pauses."""
    return min(error.retry_after_s, MAX_PAUSE_S) if error.retry_after_s else True
