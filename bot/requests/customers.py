"""Reads customers from Fusebill, one or many side by side, to ask about them; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import structlog

from bot.domain.commands import Doubt, Find, Place
from bot.domain.models import Customer, LeftOut
from bot.fusebill.client import Field, FusebillClient
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.fusebill.pace import MINUTE, Pace
from bot.fusebill.responses import Found
from bot.messages import answers
from bot.messages.block_kit import cut
from bot.messages.fusebill_errors import reason
from bot.messages.phrases import display_name
from bot.ops.tasks import beside, retried
from bot.requests.people import PrivateMessages

log = structlog.get_logger(__name__)

READ_TIMEOUT_S = 12.0
PROGRESS_AFTER_S = 1.5
PROGRESS_EVERY_S = 3.0
MAX_PROGRESS_MESSAGES = 2
"""A response_url takes five messages; lines that were left out of a form's text, the answer, and
that a card is on its way, need three."""
MAX_AT_ONCE = 8
MAX_FAILURES = 8
"""So many in a row are no trouble with single customers: the others are not tried."""
ReadEach = dict[int, Customer | FusebillError]
"""Each customer that was asked for, in that order, or why it could not be read."""
MAX_HITS = 5
WHY_LENGTH = 120
_FIELDS: tuple[Field, ...] = ("CompanyName", "Reference", "PrimaryEmail")
_NAMES: tuple[Field, ...] = ("FirstName", "LastName")
Call = Callable[[], Coroutine[None, None, Found]]


@dataclass(slots=True)
class _Reading:
    """What is read so far; `failures` counts those since a customer was last read."""

    total: int
    found: ReadEach = field(default_factory=dict)
    failures: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    why_over: FusebillError = field(default_factory=FusebillError)

    def add(self, customer_id: int, result: Customer | FusebillError) -> None:
        self.found[customer_id] = result
        if not isinstance(result, FusebillError) or is_about_customer(result):
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= MAX_FAILURES or isinstance(result, RateLimited):
            self.why_over = result
            # some may be waiting for minutes until Fusebill takes calls again
            for task in self.tasks:
                task.cancel()


@dataclass(eq=False, slots=True)
class Customers:
    """Reads at most eight of many at once in a process, and keeps to Fusebill's limits."""

    _fusebill: FusebillClient
    _private: PrivateMessages
    _pace: Pace
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))

    async def read(self, customer_ids: Sequence[int], place: Place) -> ReadEach:
        """Read customers; tell the person how far it is if it takes long."""
        reading = _Reading(len(customer_ids))
        telling = partial(self._tell_progress, reading, customer_ids, place)
        async with beside(telling, PROGRESS_AFTER_S), asyncio.TaskGroup() as tasks:
            for customer_id in customer_ids:
                reading.tasks.append(tasks.create_task(self._read(customer_id, reading)))
        return {each: reading.found.get(each) or reading.why_over for each in customer_ids}

    async def _read(self, customer_id: int, reading: _Reading) -> None:
        """Read a customer, and again after a failure that may pass.

        One of many waits for its turn, and for Fusebill's next minute; a single one never waits for
        others, and not for long.
        """
        alone = reading.total == 1

        async def read() -> Customer:
            async with nullcontext() if alone else self._pace.call():
                return await self._fusebill.get_customer(customer_id)

        def should_retry(error: Exception) -> bool | float:
            if isinstance(error, RateLimited | Unavailable):
                return error.wait_s(READ_TIMEOUT_S if alone else MINUTE.total_seconds())
            if isinstance(error, NotReached):
                return error.may_pass
            return isinstance(error, OutcomeUnknown)

        timeout_s = READ_TIMEOUT_S if alone else None
        try:
            async with nullcontext() if alone else self._slots:
                found = await retried(
                    read, should_retry, attempts=3, timeout_s=timeout_s, wait_initial=0.3
                )
            reading.add(customer_id, found)
        except FusebillError as error:
            log.info("customer not read", customer_id=customer_id, why=str(error))
            reading.add(customer_id, error)

    async def _tell_progress(
        self, reading: _Reading, customer_ids: Sequence[int], place: Place
    ) -> None:
        one = reading.total == 1
        shown, sent = -1, 0
        while sent < (1 if one else MAX_PROGRESS_MESSAGES):
            if (done := len(reading.found)) != shown:
                how_far = answers.reading_many(done, reading.total)
                said = answers.looking_up(customer_ids[0]) if one else how_far
                await self._private.send(place, said)
                shown, sent = done, sent + 1
            await asyncio.sleep(PROGRESS_EVERY_S)


def is_about_customer(error: FusebillError) -> bool:
    """Whether an error says something about one customer, and nothing about Fusebill itself."""
    return isinstance(error, CustomerNotFound) or type(error) is FusebillRefused


@dataclass(eq=False, slots=True)
class Search:
    """Reads from Fusebill; each call waits until the minute has calls to spare.

    Every method raises FusebillError if any of its calls fails.
    """

    _fusebill: FusebillClient
    _pace: Pace
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))

    async def find(self, find: Find) -> Found:
        """Customers of these ids, and those with the text in a field; one page for each field.

        At most five customers; not `complete` if there may be others.
        """
        by_id = [self._by_id(each) for each in find.customer_ids]
        return _merged(await self._all([*by_id, *self._by_text(find.text)]))

    async def named_by(self, doubts: Sequence[Doubt]) -> list[Found]:
        """The customers whom each of these texts may name, by their reference and by their id."""
        calls = [self._by_doubt(doubt) for doubt in doubts]
        results = iter(await self._all([call for each in calls for call in each]))
        return [_merged([next(results) for _ in each]) for each in calls]

    def _by_doubt(self, doubt: Doubt) -> list[Call]:
        by_id = [] if doubt.customer_id is None else [self._by_id(doubt.customer_id)]
        by_reference = [] if doubt.is_address else [self._by_field("Reference", doubt.typed)]
        return [*by_reference, *by_id]

    def _by_text(self, text: str) -> list[Call]:
        several = " " in text
        fields = _FIELDS if several else (*_FIELDS, *_NAMES)
        by_field = [self._by_field(field, text, contains=True) for field in fields]
        people = [lambda: self._fusebill.find_people(text, limit=MAX_HITS + 1)] if several else []
        return [*by_field, *people]

    def _by_field(self, field: Field, text: str, *, contains: bool = False) -> Call:
        return lambda: self._fusebill.find_customers(
            field, text, contains=contains, limit=MAX_HITS + 1
        )

    def _by_id(self, customer_id: int) -> Call:
        async def read() -> Found:
            try:
                return Found([await self._fusebill.get_customer(customer_id)])
            except FusebillError as error:
                if is_about_customer(error):
                    return Found([])
                raise

        return read

    async def _all(self, calls: Sequence[Call]) -> list[Found]:
        """What these calls find, in order. Raises: the first FusebillError, and calls no more."""
        try:
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(self._paced(call)) for call in calls]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [each.result() for each in found]

    async def _paced(self, call: Call) -> Found:
        async with self._slots, self._pace.call():
            return await call()


def _merged(results: Iterable[Found]) -> Found:
    results = list(results)
    hits: dict[int, Customer] = {each.customer_id: each for r in results for each in r.customers}
    complete = len(hits) <= MAX_HITS and all(each.complete for each in results)
    return Found(list(hits.values())[:MAX_HITS], complete)


def common_error(results: Sequence[Customer | FusebillError]) -> FusebillError | None:
    """Why none of the customers could be read; None if any was, or if each has its own reason."""
    errors = [each for each in results if isinstance(each, FusebillError)]
    if len(errors) < len(results) or any(map(is_about_customer, errors)):
        return None
    return errors[0]


def left_out_of(customer_id: int, result: Customer | FusebillError) -> LeftOut:
    """Why a customer that was asked for is not on the card."""
    match result:
        case Customer():
            return LeftOut(customer_id, "not latched to anything", display_name(result))
        case CustomerNotFound():
            return LeftOut(customer_id, "not known in Fusebill")
        case _:
            own_words = type(result) is FusebillRefused and result.texts
            why = result.texts[0] if own_words else reason(result)
            return LeftOut(customer_id, f"could not be read: {cut(why, WHY_LENGTH)}")
