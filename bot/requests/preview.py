"""Reads many customers side by side, to ask about them on one card; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from bot.domain.models import Customer, LeftOut
from bot.fusebill.errors import CustomerNotFound, FusebillError, FusebillRefused, RateLimited
from bot.fusebill.pace import MINUTE, Pace
from bot.messages.block_kit import cut
from bot.messages.fusebill_errors import reason
from bot.messages.many.ephemerals import reading_many
from bot.messages.phrases import display_name
from bot.requests.lookup import PROGRESS_AFTER_S, Lookup
from bot.requests.posting import CardPoster, Place

log = structlog.get_logger(__name__)

MAX_AT_ONCE = 8
MAX_FAILURES = 8
"""So many in a row are no trouble with single customers: the others are not tried."""
MAX_REFUSALS = 3
WHY_LENGTH = 120
PROGRESS_EVERY_S = 3.0
MAX_PROGRESS_MESSAGES = 3
"""A response_url takes five messages; the answer, and that a card is on its way, need two."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """The customers to ask about, in the order asked for, and those that are left out.

    `error` is why none at all could be read, if it is nothing about single customers.
    """

    customers: tuple[Customer, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    error: FusebillError | None = None


@dataclass(slots=True)
class _Reading:
    """What is read so far; `failures` counts those since a customer was last read."""

    total: int
    found: dict[int, Customer | FusebillError] = field(default_factory=dict)
    failures: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    why_over: FusebillError = field(default_factory=FusebillError)

    def add(self, customer_id: int, result: Customer | FusebillError) -> None:
        self.found[customer_id] = result
        if not isinstance(result, FusebillError) or _is_about_customer(result):
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= MAX_FAILURES or isinstance(result, RateLimited):
            self.why_over = result
            # some may be waiting for minutes until Fusebill takes calls again
            for task in self.tasks:
                task.cancel()


class Preview:
    """Reads at most eight customers at once in a process, and keeps to Fusebill's limits."""

    def __init__(self, lookup: Lookup, poster: CardPoster, pace: Pace) -> None:
        self._lookup = lookup
        self._poster = poster
        self._pace = pace
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def read(self, customer_ids: Sequence[int], place: Place) -> Previewed:
        """Read customers; tell the person how far it is if it takes long."""
        found = await self.read_all(customer_ids, place)
        latched = [each for each in found.values() if isinstance(each, Customer) and each.ids]
        if not latched and (error := _common_error(list(found.values()))):
            return Previewed(error=error)
        on_card = {customer.customer_id for customer in latched}
        others = [(i, each) for i, each in found.items() if i not in on_card]
        return Previewed(tuple(latched), tuple(_left_out(*each) for each in others))

    async def read_all(
        self, customer_ids: Sequence[int], place: Place
    ) -> dict[int, Customer | FusebillError]:
        """Read customers; each is there, in the same order, or why it could not be read."""
        if len(customer_ids) == 1:
            try:
                return {customer_ids[0]: await self._lookup.read(customer_ids[0], place)}
            except FusebillError as error:
                return {customer_ids[0]: error}
        reading = _Reading(len(customer_ids))
        async with self._progress(reading, place), asyncio.TaskGroup() as tasks:
            for customer_id in customer_ids:
                reading.tasks.append(tasks.create_task(self._read(customer_id, reading)))
        return {
            customer_id: reading.found.get(customer_id) or reading.why_over
            for customer_id in customer_ids
        }

    async def _read(self, customer_id: int, reading: _Reading) -> None:
        async with self._slots:
            try:
                result: Customer | FusebillError = await self._fetch(customer_id)
            except FusebillError as error:
                log.info("customer not read", customer_id=customer_id, why=str(error))
                result = error
            reading.add(customer_id, result)

    async def _fetch(self, customer_id: int) -> Customer:
        """Read a customer within Fusebill's limits. Raises: FusebillError."""
        for refusals in range(1, MAX_REFUSALS + 1):
            try:
                return await self._lookup.fetch(customer_id, turn=self._pace.call, timeout_s=None)
            except RateLimited as error:
                # within a minute the pace waits as long as Fusebill says
                waits = error.retry_at and error.wait_s(MINUTE.total_seconds()) is not False
                if not waits or refusals == MAX_REFUSALS:
                    raise
        raise AssertionError("unreachable: the last call returns or raises")

    @asynccontextmanager
    async def _progress(self, reading: _Reading, place: Place) -> AsyncIterator[None]:
        async def notify() -> None:
            await asyncio.sleep(PROGRESS_AFTER_S)
            shown, sent = -1, 0
            while sent < MAX_PROGRESS_MESSAGES:
                if (done := len(reading.found)) != shown:
                    await self._poster.send_ephemeral(place, reading_many(done, reading.total))
                    shown, sent = done, sent + 1
                await asyncio.sleep(PROGRESS_EVERY_S)

        task = asyncio.create_task(notify())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _is_about_customer(error: FusebillError) -> bool:
    """Whether an error says something about one customer, and nothing about Fusebill itself."""
    return isinstance(error, CustomerNotFound) or type(error) is FusebillRefused


def _common_error(results: Sequence[Customer | FusebillError]) -> FusebillError | None:
    """Why none of the customers could be read; None if any was, or if each has its own reason."""
    errors = [each for each in results if isinstance(each, FusebillError)]
    if len(errors) < len(results) or any(map(_is_about_customer, errors)):
        return None
    return errors[0]


def _left_out(customer_id: int, result: Customer | FusebillError) -> LeftOut:
    match result:
        case Customer():
            return LeftOut(customer_id, "not latched to anything", display_name(result))
        case CustomerNotFound():
            return LeftOut(customer_id, "not known in Fusebill")
        case _:
            own_words = type(result) is FusebillRefused and result.texts
            why = result.texts[0] if own_words else reason(result)
            return LeftOut(customer_id, f"could not be read: {cut(why, WHY_LENGTH)}")
