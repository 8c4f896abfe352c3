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
from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeVar

import httpx
from pydantic import SecretStr

from bot.domain.plain_text import APOSTROPHES, folded
from bot.fusebill.errors import NotReached, OutcomeUnknown
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
from bot.fusebill.transport import CERTIFICATE, PROXY

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.domain.models import Customer, HubSpotIds

T = TypeVar("T")
Body = dict[str, int | None]
Field = Literal["Reference", "CompanyName", "PrimaryEmail", "FirstName", "LastName"]

READ_TIMEOUT_S = 8.0
WRITE_TIMEOUT_S = 30.0  # HubSpot is called behind it, and a write that was given up may still run
SLOT_TIMEOUT_S = 10.0  # for a free slot, before anything is sent
LOST_AT_ONCE_S = 1.0  # a connection that is lost later may have left the call running
CONNECTING = httpx.Timeout(None, connect=3.0, pool=3.0).as_dict()
"""The rest is up to the limits of a whole call: each byte of a slow body restarts httpx's own."""
MAX_BODY = 1_000_000  # bytes
PAGE_SIZE = "100"

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
    A read may take `read_s` seconds and a write `write_s`, each with its connection and its whole
    answer, after waiting up to `slot_s` seconds for a free slot.
    """

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
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
        self._base_url = httpx.URL(base_url)
        self._base_path = self._base_url.raw_path.decode().rstrip("/")
        self._headers = httpx.Headers(
            {
                "Host": self._base_url.netloc.decode(),
                "User-Agent": "unlatch-bot",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a compressed chunk could exceed any limit
                "Content-Type": "application/json",
                "Content-Length": "0",
                "Authorization": f"Basic {key}",
            }
        )
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
        return await self._call(
            "unlatch_customer", "POST", path, lambda answer: accepted_of(answer, customer_id)
        )

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
        path = "/HubSpot/latchCustomer"
        return await self._call(
            "latch_customer", "POST", path, lambda answer: accepted_of(answer, customer_id), body
        )

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
        params = httpx.QueryParams({"query": query, "pageSize": PAGE_SIZE, "pageNumber": "0"})

        def read(answer: Answer) -> Found:
            found = [each for each in customers_of(answer) if matches(each)]
            return Found(found[:limit], complete=not has_more(answer, 0))

        return await self._call("list_customers", "GET", f"/customers/?{params}", read)

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
        await self._take_slot()
        started = perf_counter()
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._exchange(self._request(method, path, body))
        except TimeoutError:
            why = f"no complete answer within {limit_s:g} s"
            raise OutcomeUnknown(why=why, may_still_run=writes) from None
        finally:
            self._slots.release()
            if self._observe is not None:
                limit = rate_limit_of(answer.headers) if answer else None
                status = answer.status if answer else None
                self._observe(operation, status, perf_counter() - started, limit)
        return read(answer)

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once: a free slot needs no timer
            return
        try:
            async with asyncio.timeout(self._slot_s):
                await self._slots.acquire()
        except TimeoutError:
            raise NotReached(why="too many calls waiting") from None

    def _request(self, method: str, path: str, body: Body | None) -> httpx.Request:
        """Build a request whose extension `target` is the path: httpx parses no URL for each.

        Source: www.python-httpx.org/advanced/extensions/#target
        """
        content, headers = b"", self._headers
        if body is not None:
            content = json.dumps(body).encode()
            headers = headers.copy()
            headers["Content-Length"] = str(len(content))
        return httpx.Request(
            method,
            self._base_url,
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions={"timeout": CONNECTING, "target": (self._base_path + path).encode()},
        )

    async def _exchange(self, request: httpx.Request) -> Answer:
        began, writes = perf_counter(), request.method != "GET"
        # `from None`: httpx's exceptions hold the request, which holds the key
        try:
            response = await self._http.handle_async_request(request)
            async with aclosing(response):
                headers = _headers(response)
                body, complete = await _read(response, encoded="content-encoding" in headers)
                secret = self._api_key.get_secret_value()
                return Answer(response.status_code, body, headers, complete=complete, secret=secret)
        except _NOTHING_SENT as error:
            why = str(error) or "no connection"
            detail = str(error.__cause__ or type(error).__name__)
            raise NotReached(why=why, detail=detail, lasting=why in _LASTING) from None
        except httpx.TimeoutException:
            raise OutcomeUnknown(why="no answer in time", may_still_run=writes) from None
        except httpx.HTTPError as error:
            lost = f"{type(error).__name__}: {error}"
            may_still_run = writes and perf_counter() - began > LOST_AT_ONCE_S
            why = "the answer was lost"
            raise OutcomeUnknown(why=why, detail=lost, may_still_run=may_still_run) from None


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


def _headers(response: httpx.Response) -> dict[str, str]:
    """The headers; httpx's own go through all of them for each that is looked up."""
    raw = response.headers.raw
    return {
        name.decode(errors="replace").lower(): value.decode(errors="replace") for name, value in raw
    }


async def _read(response: httpx.Response, *, encoded: bool) -> tuple[bytes, bool]:
    """The body, and whether it is complete."""
    stream: object = response.stream
    if encoded or not isinstance(stream, httpx.AsyncByteStream):
        # the server encoded them all the same
        stream = response.aiter_bytes()
    body = bytearray()
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > MAX_BODY:
                return bytes(body[:MAX_BODY]), False
    except httpx.HTTPError:
        # the status decides; a success with half a body is then unreadable
        return bytes(body), False
    return bytes(body), True
