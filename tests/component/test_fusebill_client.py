"""The Fusebill client over the wire: against the simulated Fusebill and against raw bytes."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import ssl
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from pydantic import SecretStr

from bot.domain.models import Customer, HubSpotIds
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import (
    CustomerNotFound,
    Forbidden,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    NotUnderstood,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WrongAddress,
)
from bot.fusebill.pace import RateLimit
from bot.fusebill.responses import Accepted, Found
from bot.fusebill.transport import AiohttpTransport
from bot.sandbox.fusebill.customers import sample_customers
from bot.sandbox.fusebill.misbehaviour import HOSTILE, LATE_OR_LOST
from bot.sandbox.fusebill.simulator import KINDS, SimulatedFusebill
from bot.settings import Timing
from tests.support.names import BIKES

KEY = "MDpzYW5kYm94"

Observed = tuple[str, int | None, float, RateLimit | None]

Form = Literal["NFC", "NFD"]


@pytest.fixture
async def server() -> AsyncIterator[SimulatedFusebill]:
    async with SimulatedFusebill(api_key=KEY) as simulated:
        yield simulated


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncBaseTransport]:
    async with AiohttpTransport() as opened:
        yield opened


@pytest.fixture
def client(server: SimulatedFusebill, http: httpx.AsyncBaseTransport) -> FusebillClient:
    return FusebillClient(http, server.url, SecretStr(KEY))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that speaks raw bytes; yields its host and port."""
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listener:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def raw_server(
    raw: bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request with `raw` and close; yields the base URL and the received requests."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(raw)
        await writer.drain()
        writer.close()

    async with listening(serve, tls) as address:
        yield f"http{'s' if tls else ''}://{address}/v1", received


@asynccontextmanager
async def endless_server(chunk: bytes, *, pause_s: float) -> AsyncIterator[str]:
    """Answer 200 and send `chunk` until the client disconnects; yields the base URL."""
    disconnected = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_s)
        writer.close()
        disconnected.set()

    async with listening(serve) as address:
        yield f"http://{address}/v1"
        await disconnected.wait()


def http_answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def with_ids(vid: object, company_id: object) -> bytes:
    row: dict[str, object] = sample_customers()[BIKES]
    return json.dumps(row | {"hubSpotId": vid, "hubSpotCompanyId": company_id}).encode()


BODY = with_ids(101, 202)
LATCHED = HubSpotIds(101, 202)


async def failure(call: Awaitable[object]) -> FusebillError:
    with pytest.raises(FusebillError) as caught:
        await call
    return caught.value


# Requests


async def test_a_request_is_as_the_vendor_documents(http: httpx.AsyncBaseTransport) -> None:
    async with raw_server(http_answer("200 OK", BODY)) as (url, received):
        client = FusebillClient(http, url + "/", KEY)
        await client.unlatch_customer(BIKES)
        await client.get_customer(BIKES)
    lines = [f"POST /v1/HubSpot/UnlatchCustomer/{BIKES} HTTP/1.1", f"GET /v1/customers/{BIKES}"]
    for request, line in zip(received, lines, strict=True):
        first, *headers = request.decode().rstrip().split("\r\n")
        assert first.startswith(line)
        for header in (
            "Content-Type: application/json",
            "Content-Length: 0",
            f"Authorization: Basic {KEY}",
        ):
            assert headers.count(header) == 1


async def test_a_latch_request_always_sends_both_ids(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    await client.latch_customer(BIKES, HubSpotIds(vid=101))
    assert json.loads(server.calls[0].body) == {
        "fusebillId": BIKES,
        "hubSpotId": 101,
        "hubSpotCompanyId": None,
    }


# Results


async def test_a_customer_is_read_with_all_its_fields(client: FusebillClient) -> None:
    assert await client.get_customer(BIKES) == Customer(
        customer_id=BIKES,
        ids=HubSpotIds(101, 202),
        name="John Doe",
        company_name="Stolen Bikes",
        reference="1337",
        status="Active",
        account_status="Good",
        email="john.doe@stolenbikes.example",
    )


async def test_an_unlatched_customer_comes_back_with_no_ids(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    accepted = await client.unlatch_customer(BIKES)
    assert accepted == Accepted(200, await client.get_customer(BIKES))
    assert accepted.customer is not None
    assert not accepted.customer.ids
    assert server.customers[BIKES]["hubSpotId"] is None
    assert not (await client.get_customer(BIKES)).ids


@pytest.mark.parametrize(
    ("customer_id", "ids"),
    [
        (3100017, HubSpotIds()),
        (3100025, HubSpotIds(vid=5151)),
        (3100033, HubSpotIds(734001, 734002)),
        (3100066, HubSpotIds(434381295294, 434381295295)),
    ],
)
async def test_ids_may_be_absent_partial_or_beyond_32_bits(
    client: FusebillClient, customer_id: int, ids: HubSpotIds
) -> None:
    assert (await client.get_customer(customer_id)).ids == ids


async def test_a_latch_request_returns_the_latched_customer(client: FusebillClient) -> None:
    await client.unlatch_customer(BIKES)
    customer = (await client.latch_customer(BIKES, HubSpotIds(101, 202))).customer
    assert customer == await client.get_customer(BIKES)
    assert customer.ids == HubSpotIds(101, 202)


async def test_ids_of_another_customer_cannot_be_latched(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    with pytest.raises(FusebillRefused) as caught:
        await client.latch_customer(3100017, HubSpotIds(101, 999))
    assert caught.value.status == 409
    assert caught.value.texts == (f"hubSpotId 101 is already latched to customer {BIKES}.",)
    assert server.customers[3100017]["hubSpotCompanyId"] is None


async def test_a_success_that_did_not_clear_the_ids_returns_them(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("keeps_ids")
    customer = (await client.unlatch_customer(BIKES)).customer
    assert customer is not None
    assert customer.ids == LATCHED


@pytest.mark.parametrize(
    ("kind", "status", "why"),
    [
        ("empty", 200, "it is empty"),
        ("no_content", 204, "it is empty"),
        ("null", 200, "it is not a customer"),
        ("array", 200, "it is not a customer"),
        ("html", 200, "it is a web page"),
        ("invalid_json", 200, "it is not JSON"),
        ("truncated", 200, "it broke off"),
        ("without_ids", 200, "it lacks the HubSpot ids"),
        ("other", 200, "it shows another customer"),
    ],
)
async def test_a_success_that_shows_no_customer_accepts_a_change_and_tells_a_reader_nothing(
    client: FusebillClient, server: SimulatedFusebill, kind: str, status: int, why: str
) -> None:
    server.misbehave(kind, times=3)
    for change in (client.unlatch_customer(BIKES), client.latch_customer(BIKES, HubSpotIds(7, 8))):
        accepted = await change
        assert (accepted.status, accepted.customer) == (status, None)
        assert accepted.why == f"the answer cannot be read: {why}"
    with pytest.raises(OutcomeUnknown, match=why):
        await client.get_customer(BIKES)


# What went wrong


@pytest.mark.parametrize(
    ("kind", "error", "status", "texts"),
    [
        ("not_found", CustomerNotFound, 404, (f"Customer with id {BIKES} not found.",)),
        ("lying_status", CustomerNotFound, 404, (f"Customer with id {BIKES} not found.",)),
        ("malformed", FusebillRefused, 400, ("The request is malformed.",)),
        ("message", FusebillRefused, 400, ("The request is invalid.",)),
        ("key_refused", KeyRefused, 400, ("Authorization key is not in the correct format.",)),
        ("unauthorized", KeyRefused, 401, ("Authorization has been denied for this request.",)),
        ("long_error", FusebillRefused, 409, ("x" * 9_000,)),
        (
            "many_errors",
            FusebillRefused,
            409,
            tuple(f"Rule {n} is violated." for n in range(1, 41)),
        ),
        ("hostile_error", FusebillRefused, 409, (HOSTILE,)),
        ("rate_limited", RateLimited, 429, ("The limit of calls per minute is exceeded.",)),
        ("server_error", Unavailable, 500, ("An unexpected error has occurred.",)),
        ("bad_gateway", Unavailable, 502, ("502 gateway",)),
        ("unavailable", Unavailable, 503, ("The service is not available.",)),
    ],
)
async def test_an_error_has_its_type_its_status_and_fusebills_texts(
    client: FusebillClient,
    server: SimulatedFusebill,
    kind: str,
    error: type[FusebillError],
    status: int,
    texts: tuple[str, ...],
) -> None:
    server.misbehave(kind, times=2)
    for call in (client.unlatch_customer, client.get_customer):
        found = await failure(call(BIKES))
        assert (type(found), found.status, found.texts) == (error, status, texts)
        # only a refusal says that nothing was changed
        assert isinstance(found, OutcomeUnknown) is (status >= 500)
    assert server.customers[BIKES]["hubSpotId"] == 101


async def test_an_error_reads_as_its_status_and_its_words(client: FusebillClient) -> None:
    error = await failure(client.get_customer(123))
    assert str(error) == "HTTP 404: Customer with id 123 not found."


async def test_a_403_is_somebodys_door_and_not_the_key(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("bad_gateway", status=403)
    error = await failure(client.unlatch_customer(BIKES))
    assert (type(error), error.texts) == (Forbidden, ("403 gateway",))


async def test_a_wrong_key_is_refused_and_shown_nowhere(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client = FusebillClient(http, server.url, "MDp3cm9uZw==")
    with pytest.raises(KeyRefused) as caught:
        await client.get_customer(BIKES)
    shown = f"{caught.value!s} {caught.value!r} {vars(caught.value)} {client!r} {vars(client)}"
    assert "MDp3cm9uZw" not in shown + caplog.text


async def test_the_key_is_removed_from_fusebills_texts(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("malformed", text=f"The key {KEY} is odd.")
    with pytest.raises(FusebillRefused) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.texts == ("The key [API key] is odd.",)


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"])
async def test_an_invalid_key_is_refused_at_construction(
    http: httpx.AsyncBaseTransport, key: str
) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        FusebillClient(http, "http://127.0.0.1:9/v1", key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "details", "seconds"),
    [
        ("rate_limited", {"reset_s": 30, "reset_as": "iso"}, 30),
        ("rate_limited", {"reset_s": 30, "reset_as": "epoch"}, 30),
        ("rate_limited", {"reset_s": 30, "retry_after": 5}, 5),
        ("unavailable", {"retry_after": 30}, 30),
    ],
    ids=str,
)
async def test_an_error_says_when_to_retry(
    client: FusebillClient,
    server: SimulatedFusebill,
    kind: str,
    details: dict[str, Any],
    seconds: int,
) -> None:
    server.misbehave(kind, **details)
    error = await failure(client.unlatch_customer(BIKES))
    assert isinstance(error, RateLimited | Unavailable)
    assert error.retry_at is not None
    left = error.retry_at - datetime.now(UTC)
    assert timedelta(seconds=seconds - 2) < left <= timedelta(seconds=seconds)


# Outcome unknown: something may have been changed


@pytest.mark.parametrize(("kind", "done"), [("lost_before", False), ("lost_after", True)])
async def test_a_lost_reply_leaves_the_outcome_unknown(
    client: FusebillClient, server: SimulatedFusebill, kind: str, *, done: bool
) -> None:
    server.misbehave(kind)
    with pytest.raises(OutcomeUnknown, match="lost") as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.status is None
    assert (server.customers[BIKES]["hubSpotId"] is None) is done
    assert len(server.calls) == 1, "the client never retries"


async def test_a_timeout_leaves_the_outcome_unknown(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    server.misbehave("hang")
    impatient = FusebillClient(http, server.url, KEY, write_s=0.1)
    with pytest.raises(OutcomeUnknown, match=r"no complete answer within 0\.1 s") as caught:
        await impatient.unlatch_customer(BIKES)
    assert caught.value.status is None


async def test_a_write_is_waited_for_longer_than_a_read(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    client = FusebillClient(http, server.url, KEY, read_s=0.2, write_s=2.0)
    server.misbehave(**LATE_OR_LOST["takes 9 s"] | {"seconds": 0.5})
    accepted = await client.unlatch_customer(BIKES)
    assert accepted.customer == await client.get_customer(BIKES)
    server.misbehave("slow", operation="get_customer", seconds=0.5)
    with pytest.raises(OutcomeUnknown, match=r"no complete answer within 0\.2 s"):
        await client.get_customer(BIKES)
    server.misbehave("slow", operation="list_customers", seconds=0.5)
    with pytest.raises(OutcomeUnknown, match=r"no complete answer within 0\.2 s"):
        await client.find_customers("Reference", "1337")


def test_a_write_may_take_30_seconds_and_a_read_8() -> None:
    assert (Timing().fusebill_write_s, Timing().fusebill_read_s) == (30.0, 8.0)


# The call may still run


async def test_a_call_may_still_run_after_a_time_out_and_may_then_take_effect(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    client = FusebillClient(http, server.url, KEY, write_s=0.2)
    server.misbehave(**LATE_OR_LOST["outlives the client"] | {"seconds": 0.1})
    assert (await failure(client.unlatch_customer(BIKES))).may_still_run
    assert (await client.get_customer(BIKES)).ids
    await asyncio.sleep(0.3)
    assert not (await client.get_customer(BIKES)).ids


async def test_a_call_may_still_run_after_a_body_that_does_not_end(
    http: httpx.AsyncBaseTransport,
) -> None:
    async with endless_server(b" ", pause_s=0.02) as url, asyncio.timeout(3):
        error = await failure(FusebillClient(http, url, KEY, write_s=0.2).unlatch_customer(BIKES))
    assert isinstance(error, OutcomeUnknown)
    assert "no complete answer" in str(error)
    assert error.may_still_run


async def test_a_call_may_still_run_if_its_connection_was_lost_after_more_than_a_second(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave(**LATE_OR_LOST["lost after 2 s"] | {"seconds": 1.2})
    late = await failure(client.unlatch_customer(BIKES))
    server.misbehave(**LATE_OR_LOST["lost after 2 s"] | {"seconds": 0.2})
    soon = await failure(client.unlatch_customer(BIKES))
    assert (late.why, soon.why) == ("the answer was lost", "the answer was lost")
    assert (late.may_still_run, soon.may_still_run) == (True, False)


@pytest.mark.parametrize("answer", KINDS)
async def test_no_whole_answer_but_a_408_or_504_leaves_a_call_running(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport, answer: str
) -> None:
    client = FusebillClient(http, server.url, KEY, write_s=0.5)
    server.misbehave(answer, seconds=0.01)
    (ended,) = await asyncio.gather(client.unlatch_customer(BIKES), return_exceptions=True)
    server.hang_up()
    may_still_run = isinstance(ended, FusebillError) and ended.may_still_run
    assert may_still_run is (answer in ("hang", "timeout_408", "page_504"))


@pytest.mark.parametrize("answer", ["hang", "timeout_408", "page_504"])
async def test_a_read_never_runs_on_since_it_changes_nothing(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport, answer: str
) -> None:
    client = FusebillClient(http, server.url, KEY, read_s=0.5)
    server.misbehave(answer, seconds=0.01)
    assert not (await failure(client.get_customer(BIKES))).may_still_run
    server.hang_up()


async def test_nothing_runs_where_nothing_was_sent(
    http: httpx.AsyncBaseTransport, unused_tcp_port: int
) -> None:
    client = FusebillClient(http, f"http://127.0.0.1:{unused_tcp_port}/v1", KEY)
    assert not (await failure(client.unlatch_customer(BIKES))).may_still_run


async def test_an_endless_fast_body_is_cut_off(http: httpx.AsyncBaseTransport) -> None:
    async with endless_server(b"x" * 60_000, pause_s=0) as url, asyncio.timeout(3):
        accepted = await FusebillClient(http, url, KEY).unlatch_customer(BIKES)
    assert accepted == Accepted(200, None, "the answer cannot be read: it broke off")


async def test_a_redirect_is_not_followed(http: httpx.AsyncBaseTransport) -> None:
    raw = http_answer("302 Found", b"", "Location: http://127.0.0.1:9/elsewhere")
    error = await error_from(http, raw)
    assert isinstance(error, WrongAddress)
    assert (error.status, error.why) == (302, "it redirects to http://127.0.0.1:9/elsewhere")


async def error_from(http: httpx.AsyncBaseTransport, raw: bytes) -> FusebillError:
    async with raw_server(raw) as (url, _):
        return await failure(FusebillClient(http, url, KEY).unlatch_customer(BIKES))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", None),
        (b'HTTP/1.1 409 Conflict\r\nContent-Length: 99\r\n\r\n{"Err', 409),
        (http_answer("409 Conflict", b"no gzip", "Content-Encoding: gzip"), 409),
    ],
    ids=["not HTTP", "half a body", "no gzip"],
)
async def test_an_answer_that_is_not_whole_is_nobodys_word(
    http: httpx.AsyncBaseTransport, raw: bytes, status: int | None
) -> None:
    error = await error_from(http, raw)
    assert type(error) is OutcomeUnknown
    assert (error.status, error.texts, error.own_form) == (status, (), False)


async def test_a_body_over_one_megabyte_shows_no_customer(http: httpx.AsyncBaseTransport) -> None:
    body = json.dumps({"id": BIKES, "companyName": "x" * 2_000_000}).encode()
    async with raw_server(http_answer("200 OK", body)) as (url, _):
        with pytest.raises(OutcomeUnknown, match="broke off"):
            await FusebillClient(http, url, KEY).get_customer(BIKES)


@pytest.mark.parametrize(
    ("trouble", "kind", "status"),
    [("site is stopped", Forbidden, 403), ("back soon", NotUnderstood, 200)],
)
async def test_one_page_of_somebody_else_is_nobodys_word_and_passes(
    client: FusebillClient,
    server: SimulatedFusebill,
    trouble: str,
    kind: type[FusebillError],
    status: int,
) -> None:
    server.misbehave(**LATE_OR_LOST[trouble])
    before = await client.get_customer(BIKES)
    page = await failure(client.get_customer(BIKES))
    assert (type(page), page.status) == (kind, status)
    assert isinstance(page, OutcomeUnknown)
    assert page.may_pass
    assert page.texts == (f"{status} gateway",), "its words say what came"
    assert await client.get_customer(BIKES) == before


@pytest.mark.parametrize("answer", ["no_route", "iis_404", "empty_404", "half_404"])
async def test_only_fusebills_own_404_says_that_a_customer_is_gone(
    client: FusebillClient, server: SimulatedFusebill, answer: str
) -> None:
    server.misbehave(answer)
    other = await failure(client.get_customer(BIKES))
    assert not isinstance(other, CustomerNotFound)
    assert other.may_pass
    server.misbehave(**LATE_OR_LOST["deleted"])
    for call in (client.get_customer, client.unlatch_customer):
        gone = await failure(call(BIKES))
        assert (type(gone), gone.own_form) == (CustomerNotFound, True)
        assert not gone.may_pass


async def test_a_transport_of_httpx_can_make_the_calls(server: SimulatedFusebill) -> None:
    async with httpx.AsyncHTTPTransport() as http:
        client = FusebillClient(http, server.url, KEY)
        await client.unlatch_customer(BIKES)
        await client.latch_customer(BIKES, HubSpotIds(101, 202))
        assert (await client.get_customer(BIKES)).ids == HubSpotIds(101, 202)


@pytest.mark.parametrize("path", ["/a%20b", "/a%20b/"])
async def test_the_address_is_called_as_it_is_set(
    http: httpx.AsyncBaseTransport, path: str
) -> None:
    async with raw_server(http_answer("200 OK", BODY)) as (url, received):
        await FusebillClient(http, url + path, KEY).get_customer(BIKES)
    assert received[0].startswith(f"GET /v1/a%20b/customers/{BIKES} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    "answer",
    [
        http_answer("200 OK", BODY, f"X-Trace: {'t' * 9_000}"),
        http_answer("200 OK", BODY, f"X-Trace: {'t' * 60_000}"),
        http_answer("200 OK", gzip.compress(BODY), "Content-Encoding: gzip"),
        http_answer("200 OK", with_ids("101", "202")),
    ],
    ids=["a long header", "a header of 60 kB", "compressed all the same", "string ids"],
)
async def test_an_unusual_answer_is_read(http: httpx.AsyncBaseTransport, answer: bytes) -> None:
    async with raw_server(answer) as (url, _):
        assert (await FusebillClient(http, url, KEY).get_customer(BIKES)).ids == LATCHED


# Not reached: nothing was sent


async def test_a_refused_connection_is_not_reached(
    http: httpx.AsyncBaseTransport, unused_tcp_port: int
) -> None:
    client = FusebillClient(http, f"http://127.0.0.1:{unused_tcp_port}/v1", KEY)
    with pytest.raises(NotReached) as caught:
        await client.unlatch_customer(BIKES)
    assert (caught.value.status, caught.value.why) == (None, "connection refused")
    assert f"127.0.0.1:{unused_tcp_port}" in str(caught.value), "in full for the log"


async def test_a_host_without_tls_is_not_reached(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    client = FusebillClient(http, server.url.replace("http:", "https:"), KEY)
    with pytest.raises(NotReached, match="no secure connection"):
        await client.unlatch_customer(BIKES)
    assert server.calls == []


async def test_waiting_for_a_slot_times_out_and_sends_nothing(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    client = FusebillClient(http, server.url, KEY, concurrency=1, slot_s=0.05)
    server.misbehave("slow", seconds=0.4)
    first = asyncio.create_task(client.get_customer(BIKES))
    await asyncio.sleep(0.1)
    with pytest.raises(NotReached, match="waiting"):
        await client.unlatch_customer(BIKES)
    await first
    assert [call.operation for call in server.calls] == ["get_customer"]


async def test_concurrent_calls_are_limited(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    running, most = 0, 0

    async def before(_: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    server.before = before
    client = FusebillClient(http, server.url, KEY, concurrency=3)
    await asyncio.gather(*(client.get_customer(BIKES) for _ in range(20)))
    assert most == 3


# Searches


async def test_customers_are_found_by_reference(client: FusebillClient) -> None:
    found = await client.find_customers("Reference", "1337")
    assert [customer.customer_id for customer in found.customers] == [BIKES]
    assert await client.find_customers("Reference", "133") == Found([])


async def test_customers_are_found_by_part_of_a_name_ignoring_case(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    found = await client.find_customers("CompanyName", " bikes ", contains=True)
    assert [customer.customer_id for customer in found.customers] == [BIKES]
    assert httpx.QueryParams(server.calls[0].query)["query"] == "CompanyName:*bikes*"


async def test_customers_are_found_by_one_of_two_email_addresses(client: FusebillClient) -> None:
    found = await client.find_customers("PrimaryEmail", "office@tide", contains=True)
    assert [customer.customer_id for customer in found.customers] == [3100071]


async def test_a_search_returns_at_most_the_limit(client: FusebillClient) -> None:
    found = await client.find_customers("PrimaryEmail", "example", contains=True)
    assert len(found.customers) == 5
    found = await client.find_customers("PrimaryEmail", "e", contains=True, limit=2)
    assert len(found.customers) == 2


def crowd(server: SimulatedFusebill, size: int) -> None:
    """Add `size` customers that the query for “Ham: Eggs” also matches, then the wanted one."""
    row = sample_customers()[BIKES]
    names = [f"Ham and Eggs {number}" for number in range(size)] + ["Ham: Eggs"]
    server.customers = {
        number: {**row, "id": number, "companyName": name} for number, name in enumerate(names, 1)
    }


async def test_a_search_reads_one_page_and_says_whether_there_are_more(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    crowd(server, 99)
    found = await client.find_customers("CompanyName", "Ham: Eggs", contains=True)
    assert [customer.customer_id for customer in found.customers] == [100]
    assert found.complete
    crowd(server, 120)
    found = await client.find_customers("CompanyName", "Ham: Eggs", contains=True)
    assert found == Found([], complete=False)
    assert len(server.calls) == 2


def named(server: SimulatedFusebill, **names: str) -> None:
    """Leave only one customer in Fusebill: 7, with these names and no other."""
    none = dict.fromkeys(("companyName", "firstName", "lastName"), "")
    server.customers = {7: {**sample_customers()[BIKES], "id": 7, **none, **names}}


@pytest.mark.parametrize("kept", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["Café Zoë", "Йод"])
async def test_an_accent_is_found_however_it_is_typed_or_kept(
    server: SimulatedFusebill, client: FusebillClient, name: str, typed: Form, kept: Form
) -> None:
    named(server, companyName=unicodedata.normalize(kept, name))
    wanted = unicodedata.normalize(typed, name)
    found = await client.find_customers("CompanyName", wanted, contains=True)
    assert [customer.customer_id for customer in found.customers] == [7]


@pytest.mark.parametrize("name", ["Éé", "한국", "がぎ"])
async def test_a_name_of_nothing_but_accents_is_searched_for_as_it_is(
    server: SimulatedFusebill, client: FusebillClient, name: str
) -> None:
    named(server, companyName=unicodedata.normalize("NFC", name))
    found = await client.find_customers("CompanyName", name, contains=True)
    assert [customer.customer_id for customer in found.customers] == [7]


@pytest.mark.parametrize(
    ("typed", "holds"),
    [
        ("maple joinery", True),
        ("maple & joi", True),
        ("pine maple", False),
        ("maple maple", False),
    ],
)
async def test_words_are_found_in_the_order_in_which_they_are_typed(
    server: SimulatedFusebill,
    client: FusebillClient,
    typed: str,
    holds: bool,  # noqa: FBT001  # parametrized
) -> None:
    named(server, companyName="Maple & Pine Joinery")
    found = await client.find_customers("CompanyName", typed, contains=True)
    assert bool(found.customers) is holds


async def test_a_person_is_found_by_a_first_and_a_last_name_with_one_call(
    server: SimulatedFusebill, client: FusebillClient
) -> None:
    named(server, firstName="Mary Ann", lastName="Doe")
    for name in ("mary doe", "Ann Doe", "Mary Ann Doe"):
        found = await client.find_people(name)
        assert [customer.customer_id for customer in found.customers] == [7]
    assert httpx.QueryParams(server.calls[0].query)["query"] == "FirstName:*mary*;LastName:*doe*"
    assert (await client.find_people("Mary Roe")).customers == []
    assert len(server.calls) == 4


@pytest.mark.parametrize("name", ["", "Doe", "; :", "Doe *"])
async def test_a_person_is_not_searched_for_by_a_single_name(
    server: SimulatedFusebill, client: FusebillClient, name: str
) -> None:
    assert await client.find_people(name) == Found([])
    assert server.calls == []


@pytest.mark.parametrize("text", ["a*b", "a;Status:Active", "a:b", "*a", "a;", "::a**"])
async def test_a_search_text_is_never_taken_as_query_syntax(
    server: SimulatedFusebill, client: FusebillClient, text: str
) -> None:
    row: dict[str, Any] = {**sample_customers()[BIKES], "id": 7, "companyName": f"The {text} Inc"}
    decoy = {**row, "id": 8, "companyName": "The axxb StatusActive a Inc"}
    server.customers = {7: row, 8: decoy}
    found = await client.find_customers("CompanyName", text, contains=True)
    assert [customer.customer_id for customer in found.customers] == [7]
    query = httpx.QueryParams(server.calls[0].query)["query"]
    assert query.count(":") == 1
    assert ";" not in query


@pytest.mark.parametrize("text", ["", "  ", "*", ":;*", " * * "])
async def test_an_empty_search_calls_nothing(
    client: FusebillClient, server: SimulatedFusebill, text: str
) -> None:
    assert await client.find_customers("CompanyName", text, contains=True) == Found([])
    assert server.calls == []


@pytest.mark.parametrize("kind", ["message", "empty"])
async def test_a_search_answer_that_is_not_a_list_is_an_unknown_outcome(
    client: FusebillClient, server: SimulatedFusebill, kind: str
) -> None:
    server.misbehave(kind, status=200)
    with pytest.raises(NotUnderstood, match=r"not a list|it is empty"):
        await client.find_customers("Reference", "1337")


# Observation


async def test_every_call_is_observed_once_with_its_rate_limit(
    server: SimulatedFusebill, http: httpx.AsyncBaseTransport
) -> None:
    observed: list[Observed] = []
    client = FusebillClient(http, server.url, KEY, observe=lambda *call: observed.append(call))
    await client.get_customer(BIKES)
    server.misbehave("conflict")
    with pytest.raises(FusebillRefused):
        await client.unlatch_customer(BIKES)
    server.misbehave("lost_before")
    with pytest.raises(OutcomeUnknown):
        await client.latch_customer(BIKES, HubSpotIds())
    await client.find_customers("Reference", "x")
    assert [(operation, status) for operation, status, _, _ in observed] == [
        ("get_customer", 200),
        ("unlatch_customer", 409),
        ("latch_customer", None),
        ("list_customers", 200),
    ]
    assert all(0 < seconds < 5 for _, _, seconds, _ in observed)
    first, lost = observed[0][3], observed[2][3]
    assert lost is None
    assert first is not None
    assert (first.minute.remaining, first.day.remaining) == (999, 179_999)
    assert first.minute.reset_at is not None
    assert first.minute.reset_at > datetime.now(UTC) - timedelta(seconds=1)


# Connections


async def test_a_write_never_takes_a_connection_that_the_server_has_closed(
    http: httpx.AsyncBaseTransport,
) -> None:
    # nothing tells the client that the connection will not be kept
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    async with raw_server(kept) as (url, received):
        client = FusebillClient(http, url, KEY)
        for _ in range(20):
            await client.get_customer(BIKES)
            await client.unlatch_customer(BIKES)
            await client.unlatch_customer(BIKES)
    assert len(received) == 60
    assert sum(line.startswith(b"POST ") for line in received) == 40


@pytest.mark.parametrize("change", ["unlatch", "latch"])
async def test_after_a_lost_reply_a_write_has_a_connection_of_its_own(
    client: FusebillClient, server: SimulatedFusebill, change: str
) -> None:
    server.misbehave(**LATE_OR_LOST["closes 5 ms after an answer"])
    lost = 0
    for _ in range(10):
        await client.get_customer(BIKES)
        try:
            if change == "unlatch":
                await client.unlatch_customer(BIKES)
            else:
                await client.latch_customer(BIKES, HubSpotIds(101, 202))
        except OutcomeUnknown:
            lost += 1
    assert lost <= 1, "only the reply that was lost first"
    assert sum(call.executed for call in server.calls) >= 9


async def test_an_unknown_host_is_named_as_such(http: httpx.AsyncBaseTransport) -> None:
    client = FusebillClient(http, "https://no-such-host.invalid/v1", KEY)
    with pytest.raises(NotReached) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.why == "host not found"
    assert "no-such-host.invalid" in str(caught.value)


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """A server whose certificate nobody signed; yields its base URL and the certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)),
        *("-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"),
    )
    subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221  # a few milliseconds
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with raw_server(http_answer("200 OK", BODY), context) as (url, _):
        yield url, certificate


async def test_an_untrusted_certificate_is_named_and_no_try_can_help(
    http: httpx.AsyncBaseTransport, tmp_path: Path
) -> None:
    async with tls_server(tmp_path) as (url, _):
        with pytest.raises(NotReached) as caught:
            await FusebillClient(http, url, KEY).unlatch_customer(BIKES)
    assert (caught.value.why, caught.value.may_pass) == ("certificate not trusted", False)
    assert "self-signed certificate" in str(caught.value)


READ = """
import asyncio, sys
from bot.fusebill.client import FusebillClient
from bot.fusebill.transport import AiohttpTransport

async def read():
    async with AiohttpTransport() as http:
        print((await FusebillClient(http, sys.argv[1], "a2V5").get_customer(2554529)).ids)

asyncio.run(read())
"""


async def test_a_certificate_in_ssl_cert_file_is_trusted(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as (url, certificate):
        reading = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READ, url),
            env={**os.environ, "SSL_CERT_FILE": str(certificate), "PYTHONPATH": os.getcwd()},  # noqa: PTH109  # a string
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await reading.communicate()
    assert out.decode().strip() == "HubSpotIds(vid=101, company_id=202)", err


async def test_https_proxy_is_obeyed_and_its_refusal_named(
    http: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FusebillClient(http, "https://fusebill.example/v1", KEY)
    async with raw_server(http_answer("403 Forbidden")) as (url, received):
        monkeypatch.setenv("HTTPS_PROXY", url.removesuffix("/v1").replace("//", "//user:s3cr3t@"))
        with pytest.raises(NotReached) as caught:
            await client.unlatch_customer(BIKES)
    [request] = received
    assert request.startswith(b"CONNECT fusebill.example:443 HTTP/1.1\r\n")
    assert (caught.value.why, caught.value.may_pass) == ("proxy refused", False)
    assert "403" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_no_proxy_is_obeyed(
    http: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(http_answer("403 Forbidden")) as (url, received):
        monkeypatch.setenv("HTTPS_PROXY", url.removesuffix("/v1"))
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with pytest.raises(NotReached, match="host not found"):
            await FusebillClient(http, "https://fusebill.invalid/v1", KEY).get_customer(BIKES)
    assert received == []


async def test_this_machine_is_called_without_a_proxy(
    client: FusebillClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert (await client.get_customer(BIKES)).ids
