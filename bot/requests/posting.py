"""Creates requests: posts the card, then writes its row. Also sends ephemeral messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import stamina
import structlog

from bot.domain.clock import reminder_at
from bot.domain.models import Customer, EventType, Kind, NewEvent, Person, Request
from bot.domain.policy import Decision
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.messages.block_kit import Message
from bot.messages.cards import confirmation_card
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.slack.client import Slack, SlackBusy, SlackError, SlackUnavailable, is_retryable
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)

MAX_POST_ATTEMPTS = 5
MAX_EPHEMERAL_ATTEMPTS = 3
EPHEMERAL_TIMEOUT_S = 8.0
MAX_PAUSE_S = 30.0
WAIT_NOTICE_AFTER_S = 3.0
POSTED_AT_ONCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody typed or clicked: the channel, and the `response_url` to answer only them."""

    channel_id: str
    response_url: str


class CardPoster:
    """Posts cards and records their requests. `bot_user_id` is the user that people invite.

    `notify` are the users and user groups that each new card mentions.
    """

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        links: Links,
        metrics: Metrics,
        *,
        bot_user_id: str,
        expires_after_s: int,
        notify: Sequence[str] = (),
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._links = links
        self._metrics = metrics
        self._bot_user_id = bot_user_id
        self._expires_after = timedelta(seconds=expires_after_s)
        self._notify = notify

    def request(
        self,
        person: Person,
        place: Place,
        customer: Customer,
        reason: str,
        *,
        kind: Kind = Kind.UNLATCH,
        follows: Request | None = None,
    ) -> Request:
        """Build a request, not posted yet; one that `follows` another goes into its thread."""
        now = datetime.now(UTC)
        return Request(
            id=uuid4().hex,
            kind=kind,
            customer=customer,
            channel_id=follows.channel_id if follows else place.channel_id,
            message_ts=None,
            thread_ts=follows.thread_ts if follows else None,
            requester=person,
            reason=reason,
            asked_at=now,
            expires_at=now + self._expires_after,
            due_at=self._first_due(now, now + self._expires_after),
            # a relatch that follows a relatch is another attempt to undo the same request
            undoes=(follows.undoes or follows.id) if follows and kind is Kind.RELATCH else None,
        )

    async def post(self, request: Request, place: Place) -> bool:
        """Post the card, then write its row; returns whether both succeeded.

        If the row can't be written, the card is replaced by one that can't be confirmed.
        """
        try:
            posted = await self._post_card(request, place)
        except SlackError as error:
            log.warning("card not posted", why=error.code, channel_id=request.channel_id)
            await self.send_ephemeral(place, ephemerals.cannot_post(error.code, self._bot_user_id))
            return False
        details: dict[str, object] = {"reason": request.reason, **asdict(request.customer.ids)}
        if not await self._record(posted, EventType.REQUESTED, details):
            with suppress(SlackError):
                card = ephemerals.not_recorded(posted)
                await self._slack.update(request.channel_id, posted.message_ts or "", card)
            return False
        self._metrics.requests.labels(request.kind).inc()
        log.info(
            "asked",
            request_id=request.id,
            kind=request.kind,
            customer_id=request.customer.customer_id,
            user_id=request.requester.user_id,
            channel_id=request.channel_id,
            message_ts=posted.message_ts,
        )
        return True

    async def deny(
        self, person: Person, place: Place, customer_id: int, reason: str, decision: Decision
    ) -> None:
        """Record a refusal as a request without a card, and tell the person why.

        `customer_id` is 0 if the command named no customer; `reason` is what the person typed.
        """
        denied = self.request(person, place, Customer(customer_id), reason)
        details: dict[str, object] = {"why": decision.why, "reason": reason}
        await self._record(replace(denied, due_at=None), EventType.ASK_DENIED, details)
        await self.send_ephemeral(place, ephemerals.denied(decision.why, decision.channels))

    async def send_ephemeral(self, place: Place, message: Message) -> None:
        """Send a message that only the person sees; a failure is logged, not raised."""
        try:
            async for attempt in stamina.retry_context(
                on=_should_retry_ephemeral,
                attempts=MAX_EPHEMERAL_ATTEMPTS,
                timeout=EPHEMERAL_TIMEOUT_S,
                wait_initial=0.3,
            ):
                with attempt:
                    await self._slack.send_ephemeral(place.response_url, message)
        except SlackError as error:
            log.warning("ephemeral not delivered", why=error.code)

    async def _record(
        self, request: Request, event_type: EventType, details: dict[str, object]
    ) -> bool:
        # repeated in the first event, so that the hash chain covers it
        about: dict[str, object] = {
            "kind": request.kind,
            "customer_id": request.customer.customer_id,
            "channel_id": request.channel_id,
        }
        actor = request.requester.user_id
        first = NewEvent(request.asked_at, event_type, actor, about | details)
        try:
            await self._ledger.add(request, first)
        except LedgerUnavailable as error:
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected
            return False
        return True

    async def _post_card(self, request: Request, place: Place) -> Request:
        """Returns the request as its card shows it: expiry starts when the card is posted."""
        shown = request

        def card() -> Message:
            nonlocal shown
            shown = self._with_expiry_from_now(request)
            return confirmation_card(shown, self._links, self._notify)

        async def notify() -> None:
            await asyncio.sleep(WAIT_NOTICE_AFTER_S)
            await self.send_ephemeral(place, ephemerals.on_wait())

        async with meanwhile(notify) as on_wait:
            async for attempt in stamina.retry_context(
                on=_should_retry_post, attempts=MAX_POST_ATTEMPTS, timeout=None, wait_initial=0.5
            ):
                with attempt:
                    message_ts = await self._slack.post(
                        request.channel_id, card, request.thread_ts, on_wait=on_wait
                    )
        return replace(shown, message_ts=message_ts, thread_ts=request.thread_ts or message_ts)

    def _with_expiry_from_now(self, request: Request) -> Request:
        now = datetime.now(UTC)
        if now - request.asked_at < timedelta(seconds=POSTED_AT_ONCE_S):
            return request
        expires_at = now + self._expires_after
        due_at = self._first_due(request.asked_at, expires_at)
        return replace(request, expires_at=expires_at, due_at=due_at)

    def _first_due(self, asked_at: datetime, expires_at: datetime) -> datetime:
        """A card's reminder comes first, if there is one."""
        return reminder_at(asked_at, expires_at) if self._notify else expires_at


def _should_retry_post(error: Exception) -> bool | float:
    # SlackBusy already waited as long as it may
    return is_retryable(error) and not isinstance(error, SlackBusy) and _pause(error)


def _should_retry_ephemeral(error: Exception) -> bool | float:
    return is_retryable(error) and _pause(error)


def _pause(error: SlackUnavailable) -> bool | float:
    return min(error.retry_after_s, MAX_PAUSE_S) if error.retry_after_s else True
