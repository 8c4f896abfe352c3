"""Customers and past requests, shown to the one person who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import stamina
import structlog

from bot.domain.commands import Ask
from bot.domain.models import Customer, Request
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    NotReached,
    OutcomeUnknown,
    RateLimited,
)
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.store import Ledger
from bot.messages import ephemerals, lists
from bot.messages.phrases import Links
from bot.requests.posting import CardPoster, Place
from bot.slack.client import Slack, SlackError

log = structlog.get_logger(__name__)

SHOWS_PROGRESS_AFTER_S = 1.5
READS_FOR_S = 12.0
MAX_HITS = 5


class Lookup:
    """Reads from Fusebill and the ledger; changes nothing. `advisers` are whom to ask further."""

    def __init__(
        self,
        fusebill: FusebillClient,
        ledger: Ledger,
        slack: Slack,
        poster: CardPoster,
        links: Links,
        advisers: Sequence[str],
    ) -> None:
        self._fusebill = fusebill
        self._ledger = ledger
        self._slack = slack
        self._poster = poster
        self._links = links
        self._advisers = advisers

    async def read(self, customer_id: int, place: Place) -> Customer:
        """Read a customer, and say so where it takes long. Raises: FusebillError."""
        async with self._progress(place, customer_id):
            async for attempt in stamina.retry_context(
                on=_worth_another_read, attempts=3, timeout=READS_FOR_S, wait_initial=0.3
            ):
                with attempt:
                    return await self._fusebill.get_customer(customer_id)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def explain(self, ask: Ask, place: Place, error: FusebillError) -> None:
        """Say why a customer could not be read; an unknown id may have been a reference."""
        log.info("customer not read", customer_id=ask.customer_id, why=str(error))
        hits: Sequence[Customer] = ()
        if isinstance(error, CustomerNotFound):
            try:
                found = await self._fusebill.find_customers("Reference", ask.typed, limit=MAX_HITS)
                hits = found.customers
            except FusebillError as second:
                log.info("reference not looked up", why=str(second))
        if hits:
            await self._poster.send_ephemeral(place, lists.did_you_mean(ask, hits, self._links))
        else:
            await self._poster.send_ephemeral(place, ephemerals.not_read(ask.customer_id, error))

    async def find(self, wanted: str, place: Place) -> None:
        """Customers whose company name, reference or email holds a text."""
        searches = [
            self._fusebill.find_customers(field, wanted, contains=True, limit=MAX_HITS + 1)
            for field in ("CompanyName", "Reference", "PrimaryEmail")
        ]
        try:
            found = await asyncio.gather(*searches)
        except FusebillError as error:
            await self._poster.send_ephemeral(place, ephemerals.not_found_out(wanted, error))
            return
        hits = {each.customer_id: each for search in found for each in search.customers}
        shown = list(hits.values())[:MAX_HITS]
        more = len(hits) > MAX_HITS or not all(search.complete for search in found)
        await self._poster.send_ephemeral(place, lists.found(wanted, shown, self._links, more=more))

    async def history(self, customer_id: int | None, place: Place) -> None:
        """The last ten requests, each with a link to its card."""
        try:
            requests = await self._ledger.recent_requests(customer_id)
        except LedgerUnavailable:
            await self._poster.send_ephemeral(place, ephemerals.ledger_down())
            return
        addresses = await asyncio.gather(*map(self._address, requests))
        past = list(zip(requests, addresses, strict=True))
        message = lists.history(customer_id, past, self._advisers)
        await self._poster.send_ephemeral(place, message)

    async def _address(self, request: Request) -> str | None:
        try:
            return await self._slack.permalink(request.channel_id, request.message_ts or "")
        except SlackError:
            return None

    @asynccontextmanager
    async def _progress(self, place: Place, customer_id: int) -> AsyncIterator[None]:
        async def later() -> None:
            await asyncio.sleep(SHOWS_PROGRESS_AFTER_S)
            await self._poster.send_ephemeral(place, ephemerals.looking_up(customer_id))

        task = asyncio.create_task(later())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _worth_another_read(error: Exception) -> bool | float:
    if isinstance(error, RateLimited):
        return error.wait_s(READS_FOR_S)
    return isinstance(error, NotReached | OutcomeUnknown)
