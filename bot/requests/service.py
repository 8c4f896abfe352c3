"""Handles each command and click: checks the policy, then asks, stops, undoes or looks up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import TypeVar

import structlog

from bot.domain.commands import Ask, AskMany, Find, History
from bot.domain.models import Card, EventType, NewEvent, Person
from bot.domain.policy import Policy
from bot.fusebill.errors import FusebillError
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.store import Ledger
from bot.messages import click_answers, ephemerals
from bot.messages.block_kit import Message
from bot.messages.many import ephemerals as many_ephemerals
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.deciding import Answer
from bot.requests.follow_ups import FollowUps
from bot.requests.lookup import Lookup
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster, Place
from bot.requests.preview import Preview
from bot.requests.publishing.redrawing import Redrawing

STOP_TIMEOUT_S = 8.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class RequestService:
    """One method for each command and button, except for verdicts.

    What a person did wrong is answered, not raised.
    """

    def __init__(
        self,
        ledger: Ledger,
        lookup: Lookup,
        preview: Preview,
        poster: CardPoster,
        redrawing: Redrawing,
        follow_ups: FollowUps,
        policy: Policy,
        permissions: Permissions,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._lookup = lookup
        self._preview = preview
        self._poster = poster
        self._redrawing = redrawing
        self._policy = policy
        self._permissions = permissions
        self._links = links
        self._metrics = metrics
        self._follow_ups = follow_ups

    async def ask(self, person: Person, place: Place, ask: Ask, once: str | None = None) -> None:
        """Read the customer and post the card that asks for confirmation.

        While the card of the same `once` waits for a decision, there is no second one.
        """
        started = perf_counter()
        card_id = await self._poster.new_card_id(place, once)
        if card_id is None:
            return
        person = self._policy.with_home_team(person)
        if not await self._permissions.may_ask(
            person, place, ask.reason, ask.customer_id, ask.reason
        ):
            return
        try:
            customer = await self._lookup.read(ask.customer_id, place)
        except FusebillError as error:
            await self._lookup.explain(ask, place, error)
            return
        if not customer.ids:
            await self._poster.send_ephemeral(place, ephemerals.not_latched(customer, self._links))
            return
        card = self._poster.card(person, place, [customer], ask.reason, card_id=card_id)
        if await self._poster.post(card, place):
            self._metrics.card_seconds.observe(perf_counter() - started)

    async def ask_many(
        self, person: Person, place: Place, ask: AskMany, once: str | None = None
    ) -> None:
        """Read the customers and post one card for all that are latched.

        While the card of the same `once` waits for a decision, there is no second one.
        """
        started = perf_counter()
        card_id = await self._poster.new_card_id(place, once)
        if card_id is None:
            return
        person = self._policy.with_home_team(person)
        typed = f"{', '.join(map(str, ask.customer_ids))} {ask.reason}".rstrip()
        if not await self._permissions.may_ask(
            person, place, ask.reason, ask.customer_ids[0], typed
        ):
            return
        previewed = await self._preview.read(ask.customer_ids, place)
        customers, left_out = previewed.customers, previewed.left_out
        if previewed.error:
            not_read = ephemerals.not_read(ask.customer_ids[0], previewed.error)
            await self._poster.send_ephemeral(place, not_read)
            return
        if not customers:
            nobody = many_ephemerals.none_to_unlatch(left_out, self._links)
            await self._poster.send_ephemeral(place, nobody)
            return
        card = self._poster.card(person, place, customers, ask.reason, card_id=card_id)
        if await self._poster.post(card, place, left_out):
            self._metrics.card_seconds.observe(perf_counter() - started)
            if len(customers) == 1:
                others = many_ephemerals.others_left_out(left_out, self._links)
                await self._poster.send_ephemeral(place, others)

    async def find(self, person: Person, place: Place, find: Find) -> None:
        """Show the customers that match a text."""
        if await self._permissions.may_read(person, place, f"/unlatch find {find.text}"):
            await self._lookup.find(find.text, place)

    async def history(self, person: Person, place: Place, history: History) -> None:
        """Show the last requests, of one customer or of all."""
        if await self._permissions.may_read(
            person, place, "/unlatch history", history.customer_id or 0
        ):
            await self._lookup.history(history.customer_id, place)

    async def undo(self, card_id: str, person: Person, place: Place) -> None:
        """Handle **Undo…** on a card that cleared something."""
        person = self._policy.with_home_team(person)
        if (card := await self._followed_card(card_id, person, place)) is not None:
            await self._follow_ups.undo(card, person, place)

    async def check_again(self, card_id: str, person: Person, place: Place) -> None:
        """Handle **Check again** on a card with an unknown outcome."""
        person = self._policy.with_home_team(person)
        if (card := await self._followed_card(card_id, person, place)) is not None:
            await self._follow_ups.check_again(card, person, place)

    async def stop(self, card_id: str, person: Person, place: Place) -> None:
        """Handle **Stop** on a card whose work is in progress, by its requester or a confirmer."""
        try:
            await self._stop(card_id, person, place)
        except LedgerUnavailable as error:
            log.error("stop not recorded", why=str(error))  # noqa: TRY400  # expected
            not_stopped = click_answers.not_stopped(uncertain=error.uncertain)
            await self._poster.send_ephemeral(place, not_stopped)

    async def _stop(self, card_id: str, person: Person, place: Place) -> None:
        card = await _patiently(lambda: self._ledger.get_card(card_id))
        if card is None:
            await self._poster.send_ephemeral(place, click_answers.no_such_request())
            return
        if not await self._permissions.may_stop(card, person, place):
            return
        pressed = NewEvent(datetime.now(UTC), EventType.STOP_REQUESTED, person.user_id, {})
        history = await _patiently(lambda: self._ledger.stop(card_id, pressed))
        if history is not None:
            self._redrawing.show_stopping(history)
            return
        self._redrawing.catch_up(card.first, place.response_url)
        await self._poster.send_ephemeral(place, click_answers.nothing_to_stop())

    async def send_ephemeral(self, place: Place, answer: Answer) -> None:
        """Send a message that only one person sees."""
        message = answer if isinstance(answer, Message) else await answer()
        await self._poster.send_ephemeral(place, message)

    async def _followed_card(self, card_id: str, person: Person, place: Place) -> Card | None:
        card = await self._ledger.get_card(card_id)
        if card is None:
            await self._poster.send_ephemeral(place, click_answers.no_such_request())
            return None
        return card if await self._permissions.may_follow_up(card, person, place) else None


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Try for a while: the work goes on as soon as the ledger does, and must be stopped first."""
    return await retried(
        call, LedgerUnavailable, attempts=None, timeout_s=STOP_TIMEOUT_S, wait_max=0.5
    )
