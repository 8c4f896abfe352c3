"""The simulated Fusebill, called without the bot's client."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from bot.sandbox.fusebill.customers import moved_customers
from bot.sandbox.fusebill.misbehaviour import LATE_OR_LOST
from bot.sandbox.fusebill.simulator import KINDS, SimulatedFusebill, sample_customers
from bot.sandbox.fusebill.wire import ANSWERS
from tests.support.names import BIKES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "MDpzYW5kYm94"
HEADERS = {"Authorization": f"Basic {KEY}", "Content-Type": "application/json"}
UNLATCH = f"/HubSpot/UnlatchCustomer/{BIKES}"
SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture
async def server() -> AsyncIterator[SimulatedFusebill]:
    async with SimulatedFusebill() as simulated:
        yield simulated


@pytest.fixture
async def http(server: SimulatedFusebill) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as opened:
        yield opened


async def test_customers_have_exactly_the_fields_of_the_vendors_sample() -> None:
    sample = json.loads((SAMPLES / "unlatched_customer.json").read_text())
    for customer_id, customer in (sample_customers() | moved_customers()).items():
        assert customer["id"] == customer_id
        assert customer.keys() == sample.keys()
        for name in ("customerReference", "customerAcquisition"):
            assert customer[name].keys() == sample[name].keys()


async def test_the_sandbox_has_a_batch_worth_trying_and_no_hubspot_id_twice() -> None:
    everyone = (sample_customers() | moved_customers()).values()
    ids = [(row["hubSpotId"], row["hubSpotCompanyId"]) for row in everyone]
    assert len([pair for pair in ids if any(pair)]) == 12
    assert {(bool(contact), bool(company)) for contact, company in ids} == {
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    }
    for given in zip(*ids, strict=True):
        present = [str(each) for each in given if each]
        assert len(present) == len(set(present))
    assert next(iter(everyone))["id"] == BIKES


async def test_it_restores_the_customers_that_it_was_built_with() -> None:
    server = SimulatedFusebill(customers=moved_customers())
    next(iter(server.customers.values())).update(hubSpotId=None)
    server.customers.popitem()
    server.reset()
    assert server.customers == moved_customers()


async def test_a_post_needs_a_json_type_and_a_length_and_unlatching_takes_no_body(
    server: SimulatedFusebill, http: httpx.AsyncClient
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    plain = await http.post(UNLATCH, headers={"Content-Type": "text/plain"})
    chunked = await http.post(UNLATCH, content=chunks())
    full = await http.post(UNLATCH, content=b"{}")
    assert [plain.status_code, chunked.status_code, full.status_code] == [415, 411, 400]
    assert server.customers[BIKES]["hubSpotId"] == 101


async def test_latching_removes_the_ids_that_are_left_out(
    server: SimulatedFusebill, http: httpx.AsyncClient
) -> None:
    order = {"fusebillId": BIKES, "hubSpotId": 9}
    answer = await http.post("/HubSpot/latchCustomer", json=order)
    assert answer.status_code == 200
    customer = server.customers[BIKES]
    assert (customer["hubSpotId"], customer["hubSpotCompanyId"]) == (9, None)
    assert server.calls[0].customer_id == BIKES


async def test_what_is_malformed_is_refused(http: httpx.AsyncClient) -> None:
    for body in (b"", b"[]", b"{}", b'{"fusebillId": "x"}'):
        assert (await http.post("/HubSpot/latchCustomer", content=body)).status_code == 400
    for query in ({"query": "HubSpotId:1"}, {"query": "x"}, {"pageSize": "0"}):
        assert (await http.get("/customers/", params=query)).status_code == 400
    assert (await http.post("/hubspot/unlatch/1")).status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Reference:1337", [BIKES]),
        ("Status:Hold", [3100071]),
        ("Status:Active;CompanyName:*w*;PrimaryEmail:*", [3100066]),
    ],
)
async def test_customers_are_listed_by_filter(
    http: httpx.AsyncClient, query: str, expected: list[int]
) -> None:
    answer = await http.get("/customers/", params={"query": query})
    assert [row["id"] for row in answer.json()] == expected
    assert answer.headers["X-Count"] == str(len(expected))
    assert answer.headers["X-NextPage"] == "-1"


async def test_lists_come_in_pages(http: httpx.AsyncClient) -> None:
    query = {"pageSize": "3", "pageNumber": "0"}
    pages = []
    while query["pageNumber"] != "-1":
        answer = await http.get("/customers", params=query)
        pages.append(len(answer.json()))
        query["pageNumber"] = answer.headers["X-NextPage"]
    assert pages == [3, 3, 2]
    assert answer.headers["X-MaxPageIndex"] == "2"


async def test_the_rate_limit_can_be_enforced() -> None:
    async with (
        SimulatedFusebill(calls_per_minute=2) as server,
        httpx.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as http,
    ):
        statuses = [(await http.get(f"/customers/{BIKES}")).status_code for _ in range(8)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


EXECUTED = {
    *("lost_after", "empty", "no_content", "null", "array"),
    *("truncated", "invalid_json", "slow", "string_ids"),
    *(kind for kind, answer in ANSWERS.items() if answer.executes),
}
ANSWERED_BADLY = {"hang", "lost_before", "lost_after", "truncated", *ANSWERS}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_faulty_call_is_executed_or_not(server: SimulatedFusebill, kind: str) -> None:
    server.misbehave(kind, seconds=1.0 if kind == "late" else 0.01)
    async with httpx.AsyncClient(
        base_url=server.url,
        headers=HEADERS,
        trust_env=False,
        timeout=0.5 if kind == "hang" else 10.0,
    ) as http:
        try:
            await http.post(UNLATCH)
        except httpx.HTTPError as error:
            assert kind in ANSWERED_BADLY, error  # noqa: PT017  # most kinds raise none
        assert server.misbehaviour is None
        executed = server.customers[BIKES]["hubSpotId"] is None
        assert executed is (kind in EXECUTED)
        server.customers = sample_customers()
        assert (await http.post(UNLATCH)).status_code == 200, "the fault should be over"


LATE_EFFECTS = {"takes 9 s", "outlives the client", "closes 5 ms after an answer"}
PAGES = {"site is stopped": 403, "back soon": 200}


@pytest.mark.parametrize("trouble", [each for each in LATE_OR_LOST if each not in PAGES])
async def test_a_call_that_ends_late_or_gets_lost_has_its_effect_or_not(
    server: SimulatedFusebill, trouble: str
) -> None:
    server.misbehave(**LATE_OR_LOST[trouble] | {"seconds": 0.3})
    async with httpx.AsyncClient(
        base_url=server.url, headers=HEADERS, trust_env=False, timeout=0.2
    ) as http:
        with suppress(httpx.HTTPError):
            await http.post(UNLATCH)
    if trouble != "closes 5 ms after an answer":
        assert server.customers[BIKES]["hubSpotId"] == 101, "not while the client is there"
    await asyncio.sleep(0.5)
    assert (server.customers[BIKES]["hubSpotId"] is None) is (trouble in LATE_EFFECTS)


@pytest.mark.parametrize("trouble", PAGES)
async def test_one_page_stands_in_the_place_of_the_second_read(
    server: SimulatedFusebill, http: httpx.AsyncClient, trouble: str
) -> None:
    server.misbehave(**LATE_OR_LOST[trouble])
    answers = [await http.get(f"/customers/{BIKES}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, PAGES[trouble], 200]
    pages = ["html" in answer.headers["Content-Type"] for answer in answers]
    assert pages == [False, True, False]


async def test_a_fault_waits_for_its_operation_and_lasts_for_its_number_of_calls(
    server: SimulatedFusebill, http: httpx.AsyncClient
) -> None:
    changes: list[str | None] = []
    server.on_change = lambda: changes.append(server.misbehaviour)
    server.misbehave("conflict", operation="unlatch_customer", times=2)
    statuses = [(await http.get(f"/customers/{BIKES}")).status_code]
    statuses += [(await http.post(UNLATCH)).status_code for _ in range(3)]
    assert statuses == [200, 409, 409, 200]
    assert (changes[0], changes[-1]) == ("conflict", None)
    server.misbehave("unavailable", times=None)
    assert [(await http.post(UNLATCH)).status_code for _ in range(3)] == [503] * 3
    server.behave()
    assert (await http.post(UNLATCH)).status_code == 200
    with pytest.raises(ValueError, match="no such misbehaviour"):
        server.misbehave("explode")


async def test_it_closes_at_once_though_a_call_hangs(http: httpx.AsyncClient) -> None:
    async with SimulatedFusebill() as other:
        other.misbehave("hang")
        hanging = asyncio.create_task(http.post(f"{other.url}{UNLATCH}"))
        async with asyncio.timeout(2):
            while not other.calls:  # noqa: ASYNC110  # the simulator has no event for arrivals
                await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        with pytest.raises(httpx.HTTPError):
            await hanging
