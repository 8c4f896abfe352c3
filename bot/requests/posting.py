"""New requests: the card in Slack, then its row in the ledger; and words for one person alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
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
from bot.messages.cards import confirmation_card
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.slack.client import Slack, SlackBusy, SlackError, SlackUnavailable, is_retryable
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)

POSTS = 5
EPHEMERALS = 3
EPHEMERAL_TIMEOUT_S = 8.0
MAX_PAUSE_S = 30.0
EXPLAINS_AFTER_S = 3.0
FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody asked: a channel, and the address that only they hear from."""

    channel_id: str
    response_url: str


class CardPoster:
    """Posts cards and writes their requests down. `bot_user_id` is whom people have to invite."""

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        links: Links,
        metrics: Metrics,
        *,
        bot_user_id: str,
        expires_after_s: int,
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._links = links
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
        """A request that nobody has seen yet; one that `follows` another goes into its thread."""
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
            # a relatch that follows a relatch is another try to undo the same
            undoes=(follows.undoes or follows.id) if follows and kind is Kind.RELATCH else None,
        )

    async def post(self, request: Request, place: Place) -> bool:
        """The card, then its row; says whether both are there.

        A card without a row can't be confirmed, and says so.
        """
        try:
            posted = await self._post_card(request, place)
        except SlackError as error:
            log.warning("card not posted", why=error.code, channel_id=request.channel_id)
            await self.send_ephemeral(place, ephemerals.cannot_post(error.code, self._bot_user_id))
            return False
        details: dict[str, object] = {"reason": request.reason, **asdict(request.customer.ids)}
        if not await self._written(posted, EventType.REQUESTED, details):
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
        """Keep it in the ledger, as a request that never had a card, and tell the person why.

        `customer_id` is 0 where it was about no customer; `reason` is what the person typed.
        """
        asked = self.request(person, place, Customer(customer_id), reason)
        details: dict[str, object] = {"why": decision.why, "reason": reason}
        await self._written(replace(asked, due_at=None), EventType.ASK_DENIED, details)
        await self.send_ephemeral(place, ephemerals.denied(decision.why, decision.channels))

    async def send_ephemeral(self, place: Place, message: Message) -> None:
        """Tell the person; where even that fails there is only the log."""
        try:
            async for attempt in stamina.retry_context(
                on=_should_retry_ephemeral,
                attempts=EPHEMERALS,
                timeout=EPHEMERAL_TIMEOUT_S,
                wait_initial=0.3,
            ):
                with attempt:
                    await self._slack.send_ephemeral(place.response_url, message)
        except SlackError as error:
            log.warning("ephemeral not delivered", why=error.code)

    async def _written(
        self, request: Request, event_type: EventType, details: dict[str, object]
    ) -> bool:
        # said in the first event too, where the chain of hashes holds it
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
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected weather
            return False
        return True

    async def _post_card(self, request: Request, place: Place) -> Request:
        """The request as its card shows it, which may have had to wait for its turn."""
        shown = request

        def drawn() -> Message:
            nonlocal shown
            shown = self._from_now_on(request)
            return confirmation_card(shown, self._links)

        async def explain() -> None:
            await asyncio.sleep(EXPLAINS_AFTER_S)
            await self.send_ephemeral(place, ephemerals.on_wait())

        async with meanwhile(explain) as on_wait:
            async for attempt in stamina.retry_context(
                on=_should_retry_post, attempts=POSTS, timeout=None, wait_initial=0.5
            ):
                with attempt:
                    message_ts = await self._slack.post(
                        request.channel_id, drawn, request.thread_ts, on_wait=on_wait
                    )
        return replace(shown, message_ts=message_ts, thread_ts=request.thread_ts or message_ts)

    def _from_now_on(self, request: Request) -> Request:
        """Where a card had to wait, its life begins when it is posted."""
        now = datetime.now(UTC)
        if now - request.asked_at < timedelta(seconds=FRESH_S):
            return request
        expires_at = now + self._expires_after
        return replace(request, expires_at=expires_at, due_at=expires_at)


def _should_retry_post(error: Exception) -> bool | float:
    # whose turn did not come in all that time will not be luckier now
    return is_retryable(error) and not isinstance(error, SlackBusy) and _pause(error)


def _should_retry_ephemeral(error: Exception) -> bool | float:
    return is_retryable(error) and _pause(error)


def _pause(error: SlackUnavailable) -> bool | float:
    return min(error.retry_after_s, MAX_PAUSE_S) if error.retry_after_s else True
