"""Reads customers and past requests, and shows them only to the person who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.commands import Ask
from bot.domain.models import Customer, Request, Verdict
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.due_requests import DueRequests
from bot.ledger.outbox import Outbox
from bot.ledger.store import Ledger
from bot.messages import ephemerals, lists
from bot.messages.phrases import Links
from bot.ops.retries import retried
from bot.requests.posting import CardPoster, Place
from bot.slack.client import Slack, SlackError
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)

PROGRESS_AFTER_S = 1.5
READ_TIMEOUT_S = 12.0
MAX_HITS = 5


class Lookup:
    """Reads from Fusebill and the ledger; changes nothing. `advisers` are whom to ask."""

    def __init__(
        self,
        fusebill: FusebillClient,
        ledger: Ledger,
        outbox: Outbox,
        lease: timedelta,
        due_requests: DueRequests,
        slack: Slack,
        poster: CardPoster,
        links: Links,
        advisers: Sequence[str],
    ) -> None:
        self._fusebill = fusebill
        self._ledger = ledger
        self._outbox = outbox
        self._lease = lease
        self._due_requests = due_requests
        self._slack = slack
        self._poster = poster
        self._links = links
        self._advisers = advisers

    async def read(self, customer_id: int, place: Place) -> Customer:
        """Read a customer; tell the person if it takes long. Raises: FusebillError."""

        async def notify() -> None:
            await self._poster.send_ephemeral(place, ephemerals.looking_up(customer_id))

        async with meanwhile(notify) as start:
            timer = asyncio.get_running_loop().call_later(PROGRESS_AFTER_S, start)
            try:
                return await self.fetch(customer_id)
            finally:
                timer.cancel()

    async def fetch(
        self,
        customer_id: int,
        *,
        turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        timeout_s: float | None = READ_TIMEOUT_S,
    ) -> Customer:
        """Read a customer, and again after a failure that may pass. Raises: FusebillError.

        Each call is made within `turn()`, which may let it wait.
        """

        async def read() -> Customer:
            async with turn():
                return await self._fusebill.get_customer(customer_id)

        return await retried(
            read, _should_retry_read, attempts=3, timeout_s=timeout_s, wait_initial=0.3
        )

    async def explain(self, ask: Ask, place: Place, error: FusebillError) -> None:
        """Say why a customer could not be read; search for an unknown id as a reference."""
        log.info("customer not read", customer_id=ask.customer_id, why=str(error))
        hits: Sequence[Customer] = ()
        if isinstance(error, CustomerNotFound):
            try:
                found = await self._fusebill.find_customers("Reference", ask.typed, limit=MAX_HITS)
                hits = found.customers
            except FusebillError as search_error:
                log.info("reference not looked up", why=str(search_error))
        if hits:
            await self._poster.send_ephemeral(place, lists.did_you_mean(ask, hits, self._links))
        else:
            await self._poster.send_ephemeral(place, ephemerals.not_read(ask.customer_id, error))

    async def find(self, text: str, place: Place) -> None:
        """Show customers whose company name, reference or email contains a text."""
        searches = [
            self._fusebill.find_customers(field, text, contains=True, limit=MAX_HITS + 1)
            for field in ("CompanyName", "Reference", "PrimaryEmail")
        ]
        try:
            results = await asyncio.gather(*searches)
        except FusebillError as error:
            await self._poster.send_ephemeral(place, ephemerals.search_failed(text, error))
            return
        hits = {customer.customer_id: customer for r in results for customer in r.customers}
        shown = list(hits.values())[:MAX_HITS]
        more = len(hits) > MAX_HITS or not all(r.complete for r in results)
        await self._poster.send_ephemeral(place, lists.found(text, shown, self._links, more=more))

    async def history(self, customer_id: int | None, place: Place) -> None:
        """Show the last ten requests, each with a link to its card; redraw cards that are stale."""
        try:
            requests = await self._ledger.recent_requests(customer_id)
            if any(request.last_posted_event < request.events for request in requests):
                # a card's first request is due for all of it
                shown = [request.card_id for request in requests]
                await self._outbox.hurry_stale(datetime.now(UTC), self._lease, shown)
            declined = [each.id for each in requests if each.verdict is Verdict.DECLINED]
            reasons = await self._due_requests.decline_reasons(declined)
        except LedgerUnavailable:
            await self._poster.send_ephemeral(place, ephemerals.ledger_down(pressed=False))
            return
        permalinks = await asyncio.gather(*map(self.permalink, requests))
        past = list(zip(requests, permalinks, strict=True))
        message = lists.history(customer_id, past, self._advisers, reasons)
        await self._poster.send_ephemeral(place, message)

    async def permalink(self, request: Request) -> str | None:
        """The URL of a request's card; None if Slack can't say."""
        try:
            return await self._slack.permalink(request.channel_id, request.message_ts or "")
        except SlackError:
            return None


def _should_retry_read(error: Exception) -> bool | float:
    if isinstance(error, RateLimited | Unavailable):
        return error.wait_s(READ_TIMEOUT_S)
    if isinstance(error, NotReached):
        return error.may_pass
    return isinstance(error, OutcomeUnknown)
