"""The Fusebill (Stax Bill) client: reads, finds, unlatches and latches customers.

`bot.fusebill.errors` draws the tree of what a call may raise. The client never retries: only the
caller knows whether that is safe.
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

from bot.domain.typed_text import APOSTROPHES, folded
from bot.fusebill.errors import FusebillError, NotReached, OutcomeUnknown
from bot.fusebill.responses import (
    Answer,
    Found,
    RateLimit,
    customer_of,
    customers_of,
    has_both_ids,
    has_more,
    rate_limit_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from bot.domain.models import Customer, HubSpotIds

Field = Literal["Reference", "CompanyName", "PrimaryEmail"]

CALL_TIMEOUT_S = 8.0  # for a whole call: each byte of a slow body restarts httpx's own time-outs
SLOT_TIMEOUT_S = 10.0  # for a free slot, before anything is sent
TIMEOUT = httpx.Timeout(connect=3.0, read=6.0, write=3.0, pool=3.0)
MAX_BODY = 1_000_000  # bytes
PAGE_SIZE = "100"
MAX_PAGES = 5

_INEXACT = re.compile(rf"(?:[:;*{APOSTROPHES}]|\s)+")
"""The query's syntax, and what may be stored in another form than it is typed."""
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class FusebillClient:
    """Makes the bot's Fusebill calls, at most `concurrency` of them at once.

    The caller opens and closes `http`. It is a bare transport, since `httpx.AsyncClient` would also
    handle cookies, proxies and redirects, which are not wanted here.
    `base_url` is for example `https://secure.fusebill.com/v1`. The API key is sent unchanged after
    `Basic `; no error, `repr` or log shows it. `observe` gets each HTTP call's operation, status
    (None without an answer), seconds and rate limit (None without an answer).
    A call may take `call_s` seconds, after waiting up to `slot_s` seconds for a free slot.
    """

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        base_url: str,
        api_key: SecretStr | str,
        *,
        concurrency: int = 64,
        observe: Callable[[str, int | None, float, RateLimit | None], None] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        call_s: float = CALL_TIMEOUT_S,
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
        self._extensions = {"timeout": timeout.as_dict()}
        self._call_s = call_s
        self._slot_s = slot_s

    async def get_customer(self, customer_id: int) -> Customer:
        """Read a customer with its current HubSpot ids.

        Raises: CustomerNotFound or any other FusebillError; a read changes nothing.
        Source: developer.staxbill.com/reference/resources
        """
        answer = await self._call("get_customer", "GET", f"/customers/{customer_id}")
        with self._without_key():
            customer = customer_of(answer, customer_id)
        if customer is None:
            raise OutcomeUnknown(answer.status, (), "the answer cannot be read: it is empty")
        if not has_both_ids(answer):
            # an answer without the ids must never be shown as "cleared"
            why = "the answer cannot be read: it lacks the HubSpot ids"
            raise OutcomeUnknown(answer.status, (), why)
        return customer

    async def unlatch_customer(self, customer_id: int) -> Customer | None:
        """Remove a customer's mapping to its HubSpot contact and company.

        Returns the customer that Fusebill answers with; None for a success without a customer or
        without both ids: then read the customer again.
        Raises: FusebillRefused (4xx) and NotReached: nothing was changed; OutcomeUnknown
        (time-out, lost reply, 5xx, unreadable success): it may have been changed.
        Source: developer.staxbill.com/reference/unlatch-customer-1
        """
        path = f"/HubSpot/UnlatchCustomer/{customer_id}"
        answer = await self._call("unlatch_customer", "POST", path)
        with self._without_key():
            customer = customer_of(answer, customer_id)
        return customer if has_both_ids(answer) else None

    async def latch_customer(self, customer_id: int, ids: HubSpotIds) -> Customer | None:
        """Map a customer to exactly `ids`; an id that is None removes that mapping.

        Returns the customer, or None for any success without a readable one: the vendor shows no
        sample of this answer, so read the customer again then.
        Raises: FusebillRefused (409 if an id belongs to another customer) and NotReached:
        nothing was changed; OutcomeUnknown: it may have been changed.
        Source: developer.staxbill.com/reference/latch-customer-1
        """
        body = {
            "fusebillId": customer_id,
            "hubSpotId": ids.vid,
            "hubSpotCompanyId": ids.company_id,
        }
        answer = await self._call("latch_customer", "POST", "/HubSpot/latchCustomer", json=body)
        try:
            with self._without_key():
                customer = customer_of(answer, customer_id)
        except OutcomeUnknown as unknown:
            if unknown.status is None or not httpx.codes.is_success(unknown.status):
                raise
            return None
        return customer if has_both_ids(answer) else None

    async def find_customers(
        self, field: Field, value: str, *, contains: bool = False, limit: int = 5
    ) -> Found:
        """Find up to `limit` customers whose `field` equals (with `contains`: contains) `value`.

        Case, kinds of apostrophes and runs of blanks are ignored. The vendor documents no way to
        quote the query's syntax (`:`, `;`, `*`), so the client sends `*` in the place of all these
        and compares the results with the value itself, on up to 5 pages of 100.
        Raises: FusebillError. Source: developer.staxbill.com/reference/list-customers
        """
        wanted = folded(value)
        pattern = _INEXACT.sub("*", f"*{value.strip()}*" if contains else value.strip())
        found: list[Customer] = []
        if not pattern.strip("* "):
            return Found(found)
        for page in range(MAX_PAGES):
            query = {"query": f"{field}:{pattern}", "pageSize": PAGE_SIZE, "pageNumber": str(page)}
            answer = await self._call("list_customers", "GET", "/customers/", params=query)
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
                raise OutcomeUnknown(why=f"no complete answer within {self._call_s:g} s") from None
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
                "Accept-Encoding": "identity",  # a compressed chunk could exceed any limit
                "Content-Type": "application/json",
                **({} if json is not None else {"Content-Length": "0"}),
                "Authorization": f"Basic {self._api_key.get_secret_value()}",
            },
            extensions=self._extensions,
        )
        # `from None`: httpx's exceptions hold the request, which holds the key
        try:
            response = await self._http.handle_async_request(request)
            async with aclosing(response):
                return Answer(response.status_code, await _read(response), response.headers)
        except _NOTHING_SENT as error:
            raise NotReached(why=f"no connection to Fusebill ({type(error).__name__})") from None
        except httpx.TimeoutException:
            raise OutcomeUnknown(why="no answer in time") from None
        except httpx.HTTPError as error:
            raise OutcomeUnknown(why=f"the answer was lost ({type(error).__name__})") from None

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
    text = folded(texts[field])
    return wanted in text if contains else wanted == text


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY:
                break
    except httpx.HTTPError:
        # the status decides; a success with half a body is then unreadable
        pass
    return bytes(body[:MAX_BODY])
