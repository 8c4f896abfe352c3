"""Finds customers in Fusebill by what people typed, within the pace that confirmations need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence

from bot.domain.commands import Doubt, Find
from bot.domain.models import Customer
from bot.fusebill.client import Field, FusebillClient
from bot.fusebill.errors import FusebillError
from bot.fusebill.pace import Pace
from bot.fusebill.responses import Found
from bot.requests.customers import is_about_customer

MAX_HITS = 5
MAX_AT_ONCE = 8
_FIELDS: tuple[Field, ...] = ("CompanyName", "Reference", "PrimaryEmail")
_NAMES: tuple[Field, ...] = ("FirstName", "LastName")

Call = Callable[[], Coroutine[None, None, Found]]


class Search:
    """Reads from Fusebill; each call waits until the minute has calls to spare.

    Every method raises FusebillError if any of its calls fails.
    """

    def __init__(self, fusebill: FusebillClient, pace: Pace) -> None:
        self._fusebill = fusebill
        self._pace = pace
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

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
