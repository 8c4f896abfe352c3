"""The client towards Fusebill (Stax Bill).

What a call may raise is drawn as a tree in `bot.fusebill.responses`. No call is ever repeated here:
whoever called knows whether repeating is safe.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, asynccontextmanager, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import httpx
from pydantic import SecretStr

from bot.fusebill.errors import FusebillError, NotReached, OutcomeUnknown
from bot.fusebill.responses import (
    Answer,
    Found,
    RateLimit,
    customer_of,
    customers_of,
    has_more,
    rate_limit_of,
    tells_ids,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from bot.domain.models import Customer, HubSpotIds

Field = Literal["Reference", "CompanyName", "PrimaryEmail"]

CALL_S = 8.0  # one whole call: a body that trickles in would renew httpx's own time-outs for ever
SLOT_S = 10.0  # waiting for other calls of this process, with nothing sent
TIMEOUT = httpx.Timeout(connect=3.0, read=6.0, write=3.0, pool=3.0)
MAX_BODY = 1_000_000  # bytes
PAGE_SIZE = "100"
MAX_PAGES = 5

_QUERY_SYNTAX = re.compile(r"[:;*]+")
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class FusebillClient:
    """Fusebill's calls that this bot makes, at most `concurrency` of them at once.

    `http` is kept for the process's life by whoever made it; a whole `httpx.AsyncClient` around it
    would look for cookies, proxies and redirects, none of which are wanted here.
    `base_url` is such as `https://secure.fusebill.com/v1`. The API key is sent as it is after
    `Basic `; it is in no error, no `repr` and no log. `observe` is told of each HTTP call: the
    operation, the status (None where no answer came), seconds, and the rate limit that it told.
    A whole call may take `call_s`, waiting for a free slot before it `slot_s`.
    """

    def __init__(  # what every process sets, then what a test shortens
        self,
        http: httpx.AsyncBaseTransport,
        base_url: str,
        api_key: SecretStr | str,
        *,
        concurrency: int = 64,
        observe: Callable[[str, int | None, float, RateLimit | None], None] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        call_s: float = CALL_S,
        slot_s: float = SLOT_S,
    ) -> None:
        key = api_key if isinstance(api_key, str) else api_key.get_secret_value()
        if not (key and key.isascii() and key.isprintable()):
            raise ValueError("the Fusebill API key is empty or no HTTP header can hold it")
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = SecretStr(key)
        self._slots = asyncio.Semaphore(concurrency)
        self._observe = observe
        self._extensions = {"timeout": timeout.as_dict()}
        self._call_s = call_s
        self._slot_s = slot_s

    async def get_customer(self, customer_id: int) -> Customer:
        """Read a customer, with the HubSpot ids as they are now.

        Raises: CustomerNotFound and any other FusebillError; nothing is changed by a read.
        Source: developer.staxbill.com/reference/resources
        """
        answer = await self._call("get_customer", "GET", f"/customers/{customer_id}")
        with self._without_key():
            customer = customer_of(answer, customer_id)
        if customer is None:
            raise OutcomeUnknown(answer.status, (), "the answer cannot be read: it is empty")
        if not tells_ids(answer):
            # silence about the ids must never be shown to anyone as "cleared"
            why = "the answer cannot be read: it lacks the HubSpot ids"
            raise OutcomeUnknown(answer.status, (), why)
        return customer

    async def unlatch_customer(self, customer_id: int) -> Customer | None:
        """Remove a customer's mapping to its HubSpot contact and company.

        Returns the customer as Fusebill then reports it; None where a success came without one,
        or without word of both ids: read it back.
        Raises: FusebillRefused (4xx) and NotReached: nothing was changed; OutcomeUnknown
        (time-out, lost reply, 5xx, a success that cannot be read): it may have been.
        Source: developer.staxbill.com/reference/unlatch-customer-1
        """
        path = f"/HubSpot/UnlatchCustomer/{customer_id}"
        answer = await self._call("unlatch_customer", "POST", path)
        with self._without_key():
            customer = customer_of(answer, customer_id)
        return customer if tells_ids(answer) else None

    async def latch_customer(self, customer_id: int, ids: HubSpotIds) -> Customer | None:
        """Latch a customer to exactly `ids`; a None among them removes that mapping.

        Returns the customer, or None for a success that shows none: the vendor prints no sample
        of this answer, so read the customer back.
        Raises: FusebillRefused (409 where an id belongs to another customer) and NotReached:
        nothing was changed; OutcomeUnknown: it may have been.
        Source: developer.staxbill.com/reference/latch-customer-1
        """
        order = {
            "fusebillId": customer_id,
            "hubSpotId": ids.vid,
            "hubSpotCompanyId": ids.company_id,
        }
        answer = await self._call("latch_customer", "POST", "/HubSpot/latchCustomer", json=order)
        try:
            with self._without_key():
                customer = customer_of(answer, customer_id)
        except OutcomeUnknown as unknown:
            if unknown.status is None or not httpx.codes.is_success(unknown.status):
                raise
            return None
        return customer if tells_ids(answer) else None

    async def find_customers(
        self, field: Field, value: str, *, contains: bool = False, limit: int = 5
    ) -> Found:
        """Find up to `limit` customers whose `field` is, or with `contains` holds, `value`.

        Upper and lower case are the same. The vendor tells no way to quote the query's syntax
        (`:`, `;`, `*`), so a `*` is sent in place of it, and what comes is held against the
        literal value here, on up to 5 pages of 100.
        Raises: FusebillError. Source: developer.staxbill.com/reference/list-customers
        """
        wanted = value.strip().casefold()
        pattern = _QUERY_SYNTAX.sub("*", f"*{value.strip()}*" if contains else value.strip())
        found: list[Customer] = []
        if not pattern.strip("* "):
            return Found(found)
        for page in range(MAX_PAGES):
            asked = {"query": f"{field}:{pattern}", "pageSize": PAGE_SIZE, "pageNumber": str(page)}
            answer = await self._call("list_customers", "GET", "/customers/", params=asked)
            with self._without_key():
                customers = customers_of(answer)
            found += (each for each in customers if _matches(each, field, wanted, contains))
            if len(found) >= limit or not has_more(answer, page):
                return Found(found[:limit])
        return Found(found, complete=False)

    async def _call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        json: dict[str, int | None] | None = None,
        params: dict[str, str] | None = None,
    ) -> Answer:
        answer: Answer | None = None
        async with self._slot():
            started = perf_counter()
            try:
                async with asyncio.timeout(self._call_s):
                    answer = await self._exchange(method, path, json, params)
            except TimeoutError:
                raise OutcomeUnknown(why=f"no whole answer within {self._call_s:g} s") from None
            finally:
                if self._observe is not None:
                    limit = rate_limit_of(answer) if answer else None
                    status = answer.status if answer else None
                    self._observe(operation, status, perf_counter() - started, limit)
        return answer

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._slot_s):
                await self._slots.acquire()
        except TimeoutError:
            raise NotReached(why="too many calls are waiting for Fusebill") from None
        try:
            yield
        finally:
            self._slots.release()

    async def _exchange(
        self,
        method: str,
        path: str,
        json: dict[str, int | None] | None,
        params: dict[str, str] | None,
    ) -> Answer:
        request = httpx.Request(
            method,
            self._base_url + path,
            params=params,
            json=json,
            headers={
                "User-Agent": "unlatch-bot",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # compressed, a chunk could outgrow any bound
                "Content-Type": "application/json",
                **({} if json is not None else {"Content-Length": "0"}),
                "Authorization": f"Basic {self._api_key.get_secret_value()}",
            },
            extensions=self._extensions,
        )
        # `from None`: httpx's own exceptions lead to the request, and with it to the key.
        try:
            response = await self._http.handle_async_request(request)
            async with aclosing(response):
                return Answer(response.status_code, await _read(response), response.headers)
        except _NOTHING_SENT as reason:
            raise NotReached(why=f"no connection to Fusebill ({type(reason).__name__})") from None
        except httpx.TimeoutException:
            raise OutcomeUnknown(why="no answer in time") from None
        except httpx.HTTPError as reason:
            raise OutcomeUnknown(why=f"the answer was lost ({type(reason).__name__})") from None

    @contextmanager
    def _without_key(self) -> Iterator[None]:
        try:
            yield
        except FusebillError as error:
            key = self._api_key.get_secret_value()
            error.texts = tuple(text.replace(key, "[API key]") for text in error.texts)
            raise


def _matches(customer: Customer, field: Field, wanted: str, contains: bool) -> bool:  # noqa: FBT001  # private
    texts = {
        "Reference": customer.reference,
        "CompanyName": customer.company_name,
        "PrimaryEmail": customer.email,
    }
    text = texts[field].strip().casefold()
    return wanted in text if contains else wanted == text


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY:
                break
    except httpx.HTTPError:
        # The status has come and decides; half a success is then one that cannot be read.
        pass
    return bytes(body[:MAX_BODY])
