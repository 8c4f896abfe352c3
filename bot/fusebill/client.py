"""The Fusebill (Stax Bill) client: reads, finds, unlatches and latches customers.

`bot.fusebill.errors` draws the tree of what a call may raise. The client never retries: only the
caller knows whether that is safe.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import httpx
from pydantic import SecretStr

from bot.domain.typed_text import APOSTROPHES, folded
from bot.fusebill.errors import FusebillError, NotReached, OutcomeUnknown
from bot.fusebill.responses import (
    Accepted,
    Answer,
    Found,
    RateLimit,
    accepted_of,
    customer_of,
    customers_of,
    has_more,
    rate_limit_of,
)
from bot.fusebill.transport import CERTIFICATE, PROXY

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
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_LASTING = (CERTIFICATE, PROXY)


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
            return customer_of(answer, customer_id)

    async def unlatch_customer(self, customer_id: int) -> Accepted:
        """Remove a customer's mapping to its HubSpot contact and company.

        Returns any success (2xx), with the customer if the answer shows it.
        Raises: FusebillRefused: refused; NotReached: nothing was sent; OutcomeUnknown (time-out,
        lost reply, 5xx): it may have been changed.
        Source: developer.staxbill.com/reference/unlatch-customer-1
        """
        path = f"/HubSpot/UnlatchCustomer/{customer_id}"
        answer = await self._call("unlatch_customer", "POST", path)
        return self._accepted(answer, customer_id)

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
        answer = await self._call("latch_customer", "POST", "/HubSpot/latchCustomer", json=body)
        return self._accepted(answer, customer_id)

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
            raise NotReached("too many calls waiting") from None
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
                body, complete = await _read(response)
                status, headers = response.status_code, response.headers
                return Answer(status, body, headers, complete=complete)
        except _NOTHING_SENT as error:
            why = str(error) or "no connection"
            detail = str(error.__cause__ or type(error).__name__)
            raise NotReached(why, detail, may_pass=why not in _LASTING) from None
        except httpx.TimeoutException:
            raise OutcomeUnknown(why="no answer in time") from None
        except httpx.HTTPError as error:
            lost = f"{type(error).__name__}: {error}"
            raise OutcomeUnknown(why="the answer was lost", detail=lost) from None

    def _accepted(self, answer: Answer, customer_id: int) -> Accepted:
        with self._without_key():
            accepted = accepted_of(answer, customer_id)
        return replace(accepted, texts=self._masked(accepted.texts))

    @contextmanager
    def _without_key(self) -> Iterator[None]:
        try:
            yield
        except FusebillError as error:
            error.texts = self._masked(error.texts)
            (error.why,) = self._masked((error.why,))
            raise

    def _masked(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        key = self._api_key.get_secret_value()
        return tuple(text.replace(key, "[API key]") for text in texts)


def _matches(customer: Customer, field: Field, wanted: str, contains: bool) -> bool:  # noqa: FBT001  # private
    texts = {
        "Reference": customer.reference,
        "CompanyName": customer.company_name,
        "PrimaryEmail": customer.email,
    }
    text = folded(texts[field])
    return wanted in text if contains else wanted == text


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """The body, and whether it is complete."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY:
                return bytes(body[:MAX_BODY]), False
    except httpx.HTTPError:
        # the status decides; a success with half a body is then unreadable
        return bytes(body), False
    return bytes(body), True
