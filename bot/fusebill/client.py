"""The Fusebill (Stax Bill) client: reads, finds, unlatches and latches customers.

`bot.fusebill.errors` draws the tree of what a call may raise. The client never retries: only the
caller knows whether that is safe.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Literal, TypeVar
from urllib.parse import urlencode

from pydantic import SecretStr

from bot.domain.models import Customer, HubSpotIds
from bot.domain.plain_text import APOSTROPHES, folded
from bot.fusebill.errors import FusebillError, NotReached, OutcomeUnknown
from bot.fusebill.pace import RateLimit, rate_limit_of
from bot.fusebill.responses import (
    Accepted,
    Answer,
    Found,
    accepted_of,
    customer_of,
    customers_of,
    has_more,
)
from bot.fusebill.transport import Transport

T = TypeVar("T")
Body = dict[str, int | None]
Field = Literal["Reference", "CompanyName", "PrimaryEmail", "FirstName", "LastName"]

READ_TIMEOUT_S = 8.0
WRITE_TIMEOUT_S = 30.0  # HubSpot is called behind it, and a write that was given up may still run
SLOT_TIMEOUT_S = 10.0  # for a free slot, before anything is sent
PAGE_SIZE = "100"
HEADERS = {
    "User-Agent": "unlatch-bot",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a compressed chunk could exceed any limit
    "Content-Type": "application/json",
}

_INEXACT = re.compile(rf"(?:[:;*{APOSTROPHES}]|\s)+")
"""The query's syntax, and what may be stored in another form than it is typed."""


class FusebillClient:
    """Makes the bot's Fusebill calls, at most `concurrency` of them at once.

    `base_url` is for example `https://secure.fusebill.com/v1`. The API key is sent unchanged after
    `Basic `; no error, `repr` or log shows it. `observe` gets each HTTP call's operation, status
    (None without an answer), seconds and rate limit (None without an answer).
    A read may take `read_s` seconds and a write `write_s`, each with its connection and its whole
    answer, after waiting up to `slot_s` seconds for a free slot.
    """

    def __init__(
        self,
        http: Transport,
        base_url: str,
        api_key: SecretStr | str,
        *,
        concurrency: int = 64,
        observe: Callable[[str, int | None, float, RateLimit | None], None] | None = None,
        read_s: float = READ_TIMEOUT_S,
        write_s: float = WRITE_TIMEOUT_S,
        slot_s: float = SLOT_TIMEOUT_S,
    ) -> None:
        key = api_key if isinstance(api_key, str) else api_key.get_secret_value()
        if not (key and key.isascii() and key.isprintable()):
            raise ValueError("the Fusebill API key is empty or no HTTP header can hold it")
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = SecretStr(key)
        self._slots = asyncio.Semaphore(concurrency)
        self._observe = observe
        self._read_s = read_s
        self._write_s = write_s
        self._slot_s = slot_s

    async def get_customer(self, customer_id: int) -> Customer:
        """Read a customer with its current HubSpot ids.

        Raises: CustomerNotFound or any other FusebillError; a read changes nothing.
        Source: developer.staxbill.com/reference/resources
        """
        path = f"/customers/{customer_id}"
        return await self._call("get_customer", "GET", path, lambda a: customer_of(a, customer_id))

    async def unlatch_customer(self, customer_id: int) -> Accepted:
        """Remove a customer's mapping to its HubSpot contact and company.

        Returns any success (2xx), with the customer if the answer shows it.
        Raises: FusebillRefused: refused; NotReached: nothing was sent; OutcomeUnknown (time-out,
        lost reply, 5xx): it may have been changed.
        Source: developer.staxbill.com/reference/unlatch-customer-1
        """
        path = f"/HubSpot/UnlatchCustomer/{customer_id}"
        return await self._change("unlatch_customer", path, customer_id)

    async def latch_customer(self, customer_id: int, ids: HubSpotIds) -> Accepted:
        """Map a customer to exactly `ids`; an id that is None removes that mapping.

        Returns and raises: as `unlatch_customer`; a refusal is 409 if an id belongs to another
        customer.
        Source: developer.staxbill.com/reference/latch-customer-1
        """
        body = {
            "fusebillId": customer_id,
            "hubSpotId": ids.vid,
            "hubSpotCompanyId": ids.company_id,
        }
        return await self._change("latch_customer", "/HubSpot/latchCustomer", customer_id, body)

    async def find_customers(
        self, field: Field, value: str, *, contains: bool = False, limit: int = 5
    ) -> Found:
        """Find up to `limit` customers whose `field` is `value`.

        With `contains` it holds the words of `value`, in this order. Case, kinds of apostrophes and
        runs of blanks are ignored, and an accent is the same as a part of its letter or typed after
        it. The vendor documents no way to quote the query's syntax (`:`, `;`, `*`), so the client
        sends `*` in the place of all these, and compares one page of 100 results with the value.
        Raises: FusebillError. Source: developer.staxbill.com/reference/list-customers
        """
        wanted, pattern = folded(value), _pattern(value)
        if not pattern:
            return Found([])
        query = f"{field}:{_anywhere(pattern)}" if contains else f"{field}:{pattern}"

        def matches(customer: Customer) -> bool:
            text = folded(_text(customer, field))
            return _holds(text, wanted) if contains else text == wanted

        return await self._list(query, matches, limit)

    async def find_people(self, name: str, *, limit: int = 5) -> Found:
        """Find customers by a first and a last name, both or parts of them; else `find_customers`.

        Returns none for a single word, which may be either. Raises: FusebillError.
        """
        first, *others = name.split() or [""]
        patterns = [_pattern(first), _pattern(others[-1]) if others else ""]
        if not all(patterns):
            return Found([])
        query = "FirstName:{};LastName:{}".format(*map(_anywhere, patterns))
        return await self._list(query, lambda each: _holds(folded(each.name), folded(name)), limit)

    async def _list(self, query: str, matches: Callable[[Customer], bool], limit: int) -> Found:
        params = urlencode({"query": query, "pageSize": PAGE_SIZE, "pageNumber": "0"})

        def read(answer: Answer) -> Found:
            found = [each for each in customers_of(answer) if matches(each)]
            return Found(found[:limit], complete=not has_more(answer, 0))

        return await self._call("list_customers", "GET", f"/customers/?{params}", read)

    async def _change(
        self, operation: str, path: str, customer_id: int, body: Body | None = None
    ) -> Accepted:
        accepted = await self._call(
            operation, "POST", path, lambda answer: accepted_of(answer, customer_id), body
        )
        return replace(accepted, texts=self._masked(accepted.texts))

    async def _call(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[Answer], T],
        body: Body | None = None,
    ) -> T:
        """Make a call and read its answer. Raises: FusebillError, which never shows the key."""
        answer: Answer | None = None
        writes = method != "GET"
        limit_s = self._write_s if writes else self._read_s
        content = b"" if body is None else json.dumps(body).encode()
        headers = HEADERS | {
            "Content-Length": str(len(content)),
            "Authorization": f"Basic {self._api_key.get_secret_value()}",
        }
        await self._take_slot()
        started = perf_counter()
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._http.send(method, self._base_url + path, headers, content)
        except TimeoutError:
            why = f"no complete answer within {limit_s:g} s"
            raise OutcomeUnknown(why=why, may_still_run=writes) from None
        finally:
            self._slots.release()
            if self._observe is not None:
                limit = rate_limit_of(answer.headers) if answer else None
                status = answer.status if answer else None
                self._observe(operation, status, perf_counter() - started, limit)
        try:
            return read(answer)
        except FusebillError as error:
            error.texts = self._masked(error.texts)
            (error.why,) = self._masked((error.why,))
            raise

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once: a free slot needs no timer
            return
        try:
            async with asyncio.timeout(self._slot_s):
                await self._slots.acquire()
        except TimeoutError:
            raise NotReached("too many calls waiting") from None

    def _masked(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        key = self._api_key.get_secret_value()
        return tuple(text.replace(key, "[API key]") for text in texts)


def _pattern(value: str) -> str:
    """A value for a query, without the query's syntax; empty if there is nothing to search for."""
    literal = _INEXACT.sub("*", unicodedata.normalize("NFC", value.strip()))
    # Fusebill may hold é as one character or as two; a name of nothing but such is sent as it is
    either = re.sub(r"\*+", "*", "".join("*" if _has_accent(each) else each for each in literal))
    return next((each for each in (either, literal) if each.strip("*")), "")


def _anywhere(pattern: str) -> str:
    return f"*{pattern.strip('*')}*"


def _has_accent(character: str) -> bool:
    marks = unicodedata.normalize("NFD", character)[1:]
    return bool(marks) and all(map(unicodedata.combining, marks))


def _holds(text: str, wanted: str) -> bool:
    """Whether a text holds these words in this order, each perhaps within a longer one."""
    return re.search(".*".join(map(re.escape, wanted.split())), text) is not None


def _text(customer: Customer, field: Field) -> str:
    """What a field holds; a first and a last name are kept as one."""
    match field:
        case "Reference":
            return customer.reference
        case "CompanyName":
            return customer.company_name
        case "PrimaryEmail":
            return customer.email
        case _:
            return customer.name
