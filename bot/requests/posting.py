"""Creates requests: writes the row, then has the card posted. Also sends ephemeral messages."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import stamina
import structlog

from bot.domain.models import Customer, EventType, Kind, NewEvent, Person, Request
from bot.domain.policy import Decision
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.messages.block_kit import Message
from bot.ops.metrics import Metrics
from bot.requests.card_sender import INTERRUPTED, CardSender, pause_of
from bot.slack.client import Slack, SlackError, is_retryable

log = structlog.get_logger(__name__)

MAX_EPHEMERAL_ATTEMPTS = 3
EPHEMERAL_TIMEOUT_S = 8.0
WAIT_NOTICE_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody typed or clicked: the channel, and the `response_url` to answer only them."""

    channel_id: str
    response_url: str


class CardPoster:
    """Records requests and has their cards posted. `bot_user_id` is the user that people invite."""

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        sender: CardSender,
        metrics: Metrics,
        *,
        bot_user_id: str,
        expires_after_s: int,
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._sender = sender
        self._metrics = metrics
        self._bot_user_id = bot_user_id
        self._expires_after = timedelta(seconds=expires_after_s)

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
            due_at=now + self._expires_after,
            # a relatch that follows a relatch is another attempt to undo the same request
            undoes=(follows.undoes or follows.id) if follows and kind is Kind.RELATCH else None,
        )

    async def post(self, request: Request, place: Place) -> bool:
        """Write the request's row, then post its card; returns whether both succeeded.

        Otherwise the person is told, and the request ends: nobody can confirm what has no card.
        """
        request = replace(request, due_at=self._sender.lease(request.asked_at))
        details: dict[str, object] = {"reason": request.reason, **asdict(request.customer.ids)}
        failure = await self._record(request, EventType.REQUESTED, details, place.response_url)
        if failure:
            not_recorded = ephemerals.not_recorded(request, uncertain=failure.uncertain)
            await self.send_ephemeral(place, not_recorded)
            return False

        async def notify() -> None:
            await asyncio.sleep(WAIT_NOTICE_AFTER_S)
            await self.send_ephemeral(place, ephemerals.on_wait())

        try:
            posted = await self._sender.send(request, notify)
        except SlackError as error:
            log.warning("card not posted", why=error.code, channel_id=request.channel_id)
            await self._sender.end(request, f"Slack did not take it: {error.code}")
            await self.send_ephemeral(place, ephemerals.cannot_post(error.code, self._bot_user_id))
            return False
        except asyncio.CancelledError:
            # the person is told that no card will come
            await self._sender.end(request, INTERRUPTED)
            raise
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
        self,
        request: Request,
        event_type: EventType,
        details: dict[str, object],
        response_url: str | None = None,
    ) -> LedgerUnavailable | None:
        """Write the request's row; returns the failure if that did not succeed."""
        # repeated in the first event, so that the hash chain covers it
        about: dict[str, object] = {
            "kind": request.kind,
            "customer_id": request.customer.customer_id,
            "channel_id": request.channel_id,
        }
        actor = request.requester.user_id
        first = NewEvent(request.asked_at, event_type, actor, about | details)
        try:
            await self._ledger.add(request, first, response_url)
        except LedgerUnavailable as error:
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected
            return error
        return None


def _should_retry_ephemeral(error: Exception) -> bool | float:
    return is_retryable(error) and pause_of(error)
