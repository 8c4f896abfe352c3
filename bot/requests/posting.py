"""Creates cards: writes their rows, then has them posted. Also sends ephemeral messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import NAMESPACE_URL, uuid4, uuid5

import structlog

from bot.domain.models import (
    Card,
    CardHistory,
    Customer,
    Event,
    EventType,
    Kind,
    LeftOut,
    NewEvent,
    Person,
    Request,
    RequestHistory,
)
from bot.domain.policy import Decision
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.store import AlreadyAsked, Ledger
from bot.messages import click_answers, ephemerals
from bot.messages.block_kit import Message
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.publishing.card_sender import INTERRUPTED, CardSender, pause_of
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
    """Records requests and has their cards posted.

    `bot_user_id` is the user that people invite; `lease` is how long a card's posting may go
    without news before the sweep takes it up.
    """

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        sender: CardSender,
        metrics: Metrics,
        *,
        bot_user_id: str,
        lease: timedelta,
        expires_after_s: int,
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._sender = sender
        self._metrics = metrics
        self._bot_user_id = bot_user_id
        self._lease = lease
        self._expires_after = timedelta(seconds=expires_after_s)

    def card(
        self,
        person: Person,
        place: Place,
        customers: Sequence[Customer],
        reason: str,
        *,
        kind: Kind = Kind.UNLATCH,
        follows: Sequence[Request] = (),
        card_id: str | None = None,
    ) -> Card:
        """Build a card that asks about these customers, not posted yet.

        A card that `follows` requests, one for each customer, goes into the thread of the first.
        Without a `card_id`, it gets a new one.
        """
        now = datetime.now(UTC)
        card_id = card_id or uuid4().hex
        before = follows[0] if follows else None
        requests = [
            Request(
                id=uuid4().hex if position > 1 else card_id,
                kind=kind,
                customer=customer,
                channel_id=before.channel_id if before else place.channel_id,
                message_ts=None,
                thread_ts=before.thread_ts if before else None,
                requester=person,
                reason=reason,
                asked_at=now,
                expires_at=now + self._expires_after,
                due_at=now + self._expires_after if position == 1 else None,
                card_id=card_id,
                position=position,
                card_size=len(customers),
            )
            for position, customer in enumerate(customers, 1)
        ]
        if kind is Kind.RELATCH:
            # a relatch that follows a relatch is another attempt to undo the same request
            requests = [
                replace(request, undoes=undone.undoes or undone.id)
                for request, undone in zip(requests, follows, strict=True)
            ]
        return Card(tuple(requests))

    async def new_card_id(self, place: Place, once: str | None) -> str | None:
        """The id for a new card; the same for the same `once`, until that card has ended.

        None if it still waits for a decision; then the person is told. Raises: LedgerUnavailable.
        """
        if once is None:
            return uuid4().hex
        for number in count():
            card_id = uuid5(NAMESPACE_URL, f"{once} {number}").hex
            card = await self._ledger.get_card(card_id)
            if card is None:
                return card_id
            if card.first.verdict is None and card.first.due_at is not None:
                await self._say_asked_already(card_id, place)
                return None
        raise AssertionError("unreachable: the count is endless")

    async def _say_asked_already(self, card_id: str, place: Place) -> None:
        log.info("asked already", request_id=card_id)
        await self.send_ephemeral(place, click_answers.asked_already())

    async def post(self, card: Card, place: Place, left_out: Sequence[LeftOut] = ()) -> bool:
        """Write a card's rows, then have it posted; returns whether both succeeded.

        `left_out` are customers that were asked for and are not on the card. If it can't be posted,
        the person is told, and the card ends: nobody can confirm what has no card.
        """
        # until then the sweep leaves the new request to whoever posts its card
        due_at = card.first.asked_at + self._lease
        card = Card((replace(card.first, due_at=due_at), *card.requests[1:]))
        details: list[dict[str, object]] = [
            {"reason": request.reason, **asdict(request.customer.ids)} for request in card.requests
        ]
        if left_out:
            details[0]["left_out"] = [asdict(each) for each in left_out]
        events = _first_events(card, EventType.REQUESTED, details)
        try:
            failure = await self._record(card, events, place.response_url)
        except AlreadyAsked:
            await self._say_asked_already(card.id, place)
            return False
        if failure:
            not_recorded = ephemerals.not_recorded(card.first, uncertain=failure.uncertain)
            await self.send_ephemeral(place, not_recorded)
            return False

        async def notify() -> None:
            await asyncio.sleep(WAIT_NOTICE_AFTER_S)
            await self.send_ephemeral(place, ephemerals.on_wait())

        try:
            posted = await self._sender.send(_asked(card, events), notify)
        except SlackError as error:
            log.warning("card not posted", why=error.code, channel_id=card.first.channel_id)
            await self._sender.end(card.first, f"Slack did not take it: {error.code}")
            await self.send_ephemeral(place, ephemerals.cannot_post(error.code, self._bot_user_id))
            return False
        except asyncio.CancelledError:
            # the person is told that no card will come
            await self._sender.end(card.first, INTERRUPTED)
            raise
        self._metrics.requests.labels(card.first.kind).inc()
        for request in posted.requests:
            log.info(
                "asked",
                request_id=request.id,
                kind=request.kind,
                customer_id=request.customer.customer_id,
                user_id=request.requester.user_id,
                channel_id=request.channel_id,
                message_ts=request.message_ts,
            )
        return True

    async def deny(
        self, person: Person, place: Place, customer_id: int, reason: str, decision: Decision
    ) -> None:
        """Record a refusal as a request without a card, and tell the person why.

        `customer_id` is 0 if the command named no customer; `reason` is what the person typed.
        """
        denied = self.card(person, place, [Customer(customer_id)], reason).first
        details: dict[str, object] = {"why": decision.why, "reason": reason}
        card = Card((replace(denied, due_at=None),))
        await self._record(card, _first_events(card, EventType.ASK_DENIED, [details]))
        await self.send_ephemeral(place, ephemerals.denied(decision.why, decision.channels))

    async def send_ephemeral(self, place: Place, message: Message) -> None:
        """Send a message that only the person sees; a failure is logged, not raised."""
        if not place.response_url:
            log.warning("ephemeral not delivered", why="Slack sent no response_url")
            return
        try:
            await retried(
                lambda: self._slack.send_ephemeral(place.response_url, message),
                _should_retry_ephemeral,
                attempts=MAX_EPHEMERAL_ATTEMPTS,
                timeout_s=EPHEMERAL_TIMEOUT_S,
                wait_initial=0.3,
            )
        except SlackError as error:
            log.warning("ephemeral not delivered", why=error.code)

    async def _record(
        self, card: Card, events: Sequence[NewEvent], response_url: str | None = None
    ) -> LedgerUnavailable | None:
        """Write a card's rows; returns the failure if that did not succeed.

        Raises: AlreadyAsked; FollowUpOpen; Overtaken.
        """
        try:
            await self._ledger.add_card(card, events, response_url)
        except LedgerUnavailable as error:
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected
            return error
        return None


def _should_retry_ephemeral(error: Exception) -> bool | float:
    return is_retryable(error) and pause_of(error)


def _first_events(
    card: Card, event_type: EventType, details: Sequence[dict[str, object]]
) -> list[NewEvent]:
    """The first event of each request, with the columns that its hash must cover."""
    return [
        NewEvent(
            request.asked_at,
            event_type,
            request.requester.user_id,
            {
                "kind": request.kind,
                "customer_id": request.customer.customer_id,
                "channel_id": request.channel_id,
                **about,
            },
        )
        for request, about in zip(card.requests, details, strict=True)
    ]


def _asked(card: Card, events: Sequence[NewEvent]) -> CardHistory:
    """The card as the ledger has it now, without the hashes."""
    return CardHistory(
        tuple(
            RequestHistory(
                request, (Event(request.id, 1, new.at, new.type, new.actor, new.details),)
            )
            for request, new in zip(card.requests, events, strict=True)
        )
    )
