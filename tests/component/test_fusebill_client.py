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
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from bot.sandbox.fusebill.misbehaviour import LATE_OR_LOST
from bot.sandbox.fusebill.simulator import KINDS, SimulatedFusebill
from bot.settings import Timing
from tests.support.names import BIKES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

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


@asynccontextmanager
async def raw_server(raw: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request with `raw` and close; yields the base URL and the received requests."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(raw)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", received


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

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        await disconnected.wait()


def http_answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def error_from(http: httpx.AsyncBaseTransport, raw: bytes) -> FusebillError:
    async with raw_server(raw) as (url, _):
        with pytest.raises(FusebillError) as caught:
            await FusebillClient(http, url, KEY).unlatch_customer(BIKES)
    return caught.value


# Requests


async def test_an_unlatch_request_is_as_the_vendor_documents(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    await client.unlatch_customer(BIKES)
    (call,) = server.calls
    assert (call.method, call.operation, call.customer_id) == ("POST", "unlatch_customer", BIKES)
    assert call.headers["content-type"] == "application/json"
    assert call.headers["content-length"] == "0"
    assert call.headers["authorization"] == f"Basic {KEY}"
    assert call.body == b""
    assert call.query == ""


async def test_the_request_line_and_headers_on_the_wire(
    http: httpx.AsyncBaseTransport,
) -> None:
    async with raw_server(http_answer("204 No Content")) as (url, received):
        await FusebillClient(http, url + "/", KEY).unlatch_customer(BIKES)
    line, *headers = received[0].decode().rstrip().split("\r\n")
    assert line == f"POST /v1/HubSpot/UnlatchCustomer/{BIKES} HTTP/1.1"
    for header in (
        "Content-Type: application/json",
        "Content-Length: 0",
        f"Authorization: Basic {KEY}",
    ):
        assert headers.count(header) == 1


async def test_a_read_sends_the_same_headers(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    await client.get_customer(BIKES)
    (call,) = server.calls
    assert call.method == "GET"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["content-length"] == "0"
    assert call.headers["authorization"] == f"Basic {KEY}"


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
    assert customer.ids == HubSpotIds(101, 202)


async def test_string_ids_are_read(client: FusebillClient, server: SimulatedFusebill) -> None:
    server.misbehave("string_ids")
    assert (await client.get_customer(BIKES)).ids == HubSpotIds(101, 202)


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
    ],
)
async def test_any_success_accepts_a_change_even_if_it_shows_no_customer(
    client: FusebillClient, server: SimulatedFusebill, kind: str, status: int, why: str
) -> None:
    server.misbehave(kind, times=2)
    changes = client.unlatch_customer(BIKES), client.latch_customer(BIKES, HubSpotIds(7, 8))
    for change in changes:
        accepted = await change
        assert (accepted.status, accepted.customer) == (status, None)
        assert accepted.why == f"the answer cannot be read: {why}"


@pytest.mark.parametrize(
    "kind", ["empty", "no_content", "null", "array", "html", "invalid_json", "truncated"]
)
async def test_a_read_without_a_customer_is_an_unknown_outcome(
    client: FusebillClient, server: SimulatedFusebill, kind: str
) -> None:
    server.misbehave(kind)
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        await client.get_customer(BIKES)


async def test_a_success_without_both_ids_shows_no_customer(
    http: httpx.AsyncBaseTransport,
) -> None:
    async with raw_server(http_answer("200 OK", b'{"id": 2554529}')) as (url, _):
        client = FusebillClient(http, url, KEY)
        assert (await client.unlatch_customer(BIKES)).customer is None
        assert (await client.latch_customer(BIKES, HubSpotIds(1, 2))).customer is None


async def test_an_answer_about_another_customer_is_rejected(
    http: httpx.AsyncBaseTransport,
) -> None:
    other = json.dumps({"id": 1, "hubSpotId": None, "hubSpotCompanyId": None}).encode()
    async with raw_server(http_answer("200 OK", other)) as (url, _):
        client = FusebillClient(http, url, KEY)
        with pytest.raises(NotUnderstood, match="another customer"):
            await client.get_customer(BIKES)
        assert (await client.unlatch_customer(BIKES)).customer is None


# Refusals: nothing was changed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("not_found", (CustomerNotFound, 404, (f"Customer with id {BIKES} not found.",))),
        ("lying_status", (CustomerNotFound, 404, (f"Customer with id {BIKES} not found.",))),
        ("malformed", (FusebillRefused, 400, ("The request is malformed.",))),
        ("message", (FusebillRefused, 400, ("The request is invalid.",))),
        ("key_refused", (KeyRefused, 400, ("Authorization key is not in the correct format.",))),
        ("unauthorized", (KeyRefused, 401, ("Authorization has been denied for this request.",))),
        ("long_error", (FusebillRefused, 409, ("x" * 9_000,))),
        (
            "many_errors",
            (FusebillRefused, 409, tuple(f"Rule {n} is violated." for n in range(1, 41))),
        ),
        ("rate_limited", (RateLimited, 429, ("The limit of calls per minute is exceeded.",))),
    ],
)
async def test_a_refusal_has_its_type_its_status_and_fusebills_texts(
    client: FusebillClient,
    server: SimulatedFusebill,
    kind: str,
    expected: tuple[type[FusebillRefused], int, tuple[str, ...]],
) -> None:
    server.misbehave(kind, times=2)
    for call in (client.unlatch_customer, client.get_customer):
        with pytest.raises(FusebillRefused) as caught:
            await call(BIKES)
        error = caught.value
        assert (type(error), error.status, error.texts) == expected
    assert server.customers[BIKES]["hubSpotId"] == 101


async def test_hostile_texts_are_not_escaped(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("hostile_error")
    with pytest.raises(FusebillRefused) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.texts[0].startswith("<!channel> <@U0ALICE> <https://evil.example|")


async def test_an_unknown_customer_is_not_found(client: FusebillClient) -> None:
    with pytest.raises(CustomerNotFound) as caught:
        await client.get_customer(123)
    assert caught.value.texts == ("Customer with id 123 not found.",)
    assert str(caught.value) == "HTTP 404: Customer with id 123 not found."


async def test_a_403_is_somebodys_door_and_not_the_key(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("bad_gateway", status=403)
    with pytest.raises(Forbidden) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.texts == ("403 gateway",)


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


@pytest.mark.parametrize("reset_as", ["iso", "epoch"])
async def test_a_rate_limit_says_when_to_retry(
    client: FusebillClient, server: SimulatedFusebill, reset_as: str
) -> None:
    server.misbehave("rate_limited", reset_s=30, reset_as=reset_as)
    with pytest.raises(RateLimited) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.retry_at is not None
    left = caught.value.retry_at - datetime.now(UTC)
    assert timedelta(seconds=28) < left <= timedelta(seconds=30)


async def test_retry_after_beats_the_rate_limit_headers(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("rate_limited", reset_s=30, retry_after=5)
    with pytest.raises(RateLimited) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.retry_at is not None
    assert caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=5)


# Outcome unknown: something may have been changed


@pytest.mark.parametrize(
    ("kind", "status", "texts"),
    [
        ("server_error", 500, ("An unexpected error has occurred.",)),
        ("bad_gateway", 502, ("502 gateway",)),
        ("unavailable", 503, ("The service is not available.",)),
    ],
)
async def test_a_5xx_leaves_the_outcome_unknown(
    client: FusebillClient,
    server: SimulatedFusebill,
    kind: str,
    status: int,
    texts: tuple[str, ...],
) -> None:
    server.misbehave(kind)
    with pytest.raises(OutcomeUnknown) as caught:
        await client.unlatch_customer(BIKES)
    assert (caught.value.status, caught.value.texts) == (status, texts)


async def test_a_500_whose_body_says_200_is_a_500(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("lying_status", status=500)
    with pytest.raises(OutcomeUnknown) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.status == 500


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


async def failure(call: Awaitable[object]) -> FusebillError:
    with pytest.raises(FusebillError) as caught:
        await call
    return caught.value


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
    async with endless_server(b" ", pause_s=0.02) as url:
        client = FusebillClient(http, url, KEY, write_s=0.2)
        assert (await failure(client.unlatch_customer(BIKES))).may_still_run


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


async def test_an_endless_slow_body_times_out(http: httpx.AsyncBaseTransport) -> None:
    async with endless_server(b" ", pause_s=0.02) as url, asyncio.timeout(3):
        with pytest.raises(OutcomeUnknown, match="no complete answer"):
            await FusebillClient(http, url, KEY, write_s=0.3).unlatch_customer(BIKES)


async def test_an_endless_fast_body_is_cut_off(http: httpx.AsyncBaseTransport) -> None:
    async with endless_server(b"x" * 60_000, pause_s=0) as url, asyncio.timeout(3):
        accepted = await FusebillClient(http, url, KEY).unlatch_customer(BIKES)
    assert accepted == Accepted(200, None, "the answer cannot be read: it broke off")


async def test_a_slow_answer_is_waited_for(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("slow", seconds=0.2)
    assert (await client.unlatch_customer(BIKES)).customer is not None


async def test_a_redirect_is_not_followed(http: httpx.AsyncBaseTransport) -> None:
    error = await error_from(
        http, http_answer("302 Found", b"", "Location: http://127.0.0.1:9/elsewhere")
    )
    assert isinstance(error, WrongAddress)
    assert (error.status, error.why) == (302, "it redirects to http://127.0.0.1:9/elsewhere")


async def test_an_answer_that_is_not_http_leaves_the_outcome_unknown(
    http: httpx.AsyncBaseTransport,
) -> None:
    error = await error_from(http, b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    assert isinstance(error, OutcomeUnknown)


async def test_a_body_over_one_megabyte_shows_no_customer(http: httpx.AsyncBaseTransport) -> None:
    body = json.dumps({"id": BIKES, "companyName": "x" * 2_000_000}).encode()
    async with raw_server(http_answer("200 OK", body)) as (url, _):
        with pytest.raises(OutcomeUnknown, match="broke off"):
            await FusebillClient(http, url, KEY).get_customer(BIKES)


async def test_a_refusal_whose_body_is_lost_is_nobodys_word(
    http: httpx.AsyncBaseTransport,
) -> None:
    error = await error_from(http, b'HTTP/1.1 409 Conflict\r\nContent-Length: 99\r\n\r\n{"Err')
    assert type(error) is OutcomeUnknown
    assert (error.status, error.texts, error.own_form) == (409, (), False)


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
    body = json.dumps(sample_customers()[BIKES]).encode()
    async with raw_server(http_answer("200 OK", body)) as (url, received):
        await FusebillClient(http, url + path, KEY).get_customer(BIKES)
    assert received[0].startswith(f"GET /v1/a%20b/customers/{BIKES} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("size", [9_000, 60_000])
async def test_a_header_of_up_to_64_kilobytes_is_taken(
    http: httpx.AsyncBaseTransport, size: int
) -> None:
    body = json.dumps(sample_customers()[BIKES]).encode()
    async with raw_server(http_answer("200 OK", body, f"X-Trace: {'t' * size}")) as (url, _):
        assert (await FusebillClient(http, url, KEY).get_customer(BIKES)).ids == HubSpotIds(
            101, 202
        )


async def test_an_outage_says_when_to_retry(
    client: FusebillClient, server: SimulatedFusebill
) -> None:
    server.misbehave("unavailable", retry_after=30)
    with pytest.raises(Unavailable) as caught:
        await client.unlatch_customer(BIKES)
    assert caught.value.retry_at is not None
    assert caught.value.retry_at - datetime.now(UTC) > timedelta(seconds=28)


async def test_a_refusal_with_a_broken_encoding_is_nobodys_word(
    http: httpx.AsyncBaseTransport,
) -> None:
    error = await error_from(
        http, http_answer("409 Conflict", b"no gzip", "Content-Encoding: gzip")
    )
    assert type(error) is OutcomeUnknown


async def test_an_answer_that_is_compressed_all_the_same_is_read(
    http: httpx.AsyncBaseTransport,
) -> None:
    body = gzip.compress(json.dumps(sample_customers()[BIKES]).encode())
    async with raw_server(http_answer("200 OK", body, "Content-Encoding: gzip")) as (url, _):
        customer = await FusebillClient(http, url, KEY).get_customer(BIKES)
    assert customer.ids == HubSpotIds(101, 202)


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
    received: list[bytes] = []
    body = json.dumps(sample_customers()[BIKES]).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
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
    answer = http_answer("200 OK", json.dumps(sample_customers()[BIKES]).encode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", certificate


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


@asynccontextmanager
async def proxy(status: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers `status`; yields its URL and the first lines of what it got."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", received


async def test_https_proxy_is_obeyed_and_its_refusal_named(
    http: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FusebillClient(http, "https://fusebill.example/v1", KEY)
    async with proxy("403 Forbidden") as (url, received):
        monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//user:s3cr3t@"))
        with pytest.raises(NotReached) as caught:
            await client.unlatch_customer(BIKES)
    assert received == [b"CONNECT fusebill.example:443 HTTP/1.1\r\n"]
    assert (caught.value.why, caught.value.may_pass) == ("proxy refused", False)
    assert "403" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_no_proxy_is_obeyed(
    http: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy("403 Forbidden") as (url, received):
        monkeypatch.setenv("HTTPS_PROXY", url)
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
