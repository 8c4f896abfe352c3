"""Customers are read one or many side by side, within Fusebill's limits; each has its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest

from bot.domain.models import Customer
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.requests.customers import MAX_AT_ONCE
from bot.sandbox.fusebill.customers import sample_customers
from tests.support.names import BIKES
from tests.support.workshop import Workshop, workshop

PLAIN = sample_customers()[BIKES]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


def operations(shop: Workshop) -> list[str]:
    return [call.operation for call in shop.fusebill.calls]


async def read(shop: Workshop, *customer_ids: int) -> list[Customer]:
    """Those customers that could be read."""
    return [
        each for each in (await shop.read(*customer_ids)).values() if isinstance(each, Customer)
    ]


async def fails_with(shop: Workshop, error: type[FusebillError], *customer_ids: int) -> bool:
    """Whether none of these customers can be read, each for this reason."""
    found = await shop.read(*customer_ids)
    return all(isinstance(each, error) for each in found.values())


def add_customers(shop: Workshop, count: int) -> list[int]:
    """Add latched customers; returns their ids."""
    ids = [5_000_000 + number for number in range(count)]
    for number, each in enumerate(ids):
        latched = {"hubSpotId": 10_000 + number, "hubSpotCompanyId": 20_000 + number}
        shop.fusebill.customers[each] = PLAIN | {"id": each} | latched
    return ids


def slow(shop: Workshop, seconds: float) -> list[int]:
    """Let each call take a while; returns how many were under way, at each call."""
    running: list[int] = [0]
    seen: list[int] = []

    async def before(_operation: str) -> None:
        running[0] += 1
        seen.append(running[0])
        await asyncio.sleep(seconds)
        running[0] -= 1

    shop.fusebill.before = before
    return seen


async def test_a_quick_read_is_one_call_without_a_message(shop: Workshop) -> None:
    [customer] = await read(shop, BIKES)
    assert (customer.company_name, operations(shop)) == ("Stolen Bikes", ["get_customer"])
    assert shop.told() == []


@pytest.mark.parametrize(
    ("kind", "times", "result", "calls"),
    [
        *((kind, 1, Customer, 2) for kind in ("bad_gateway", "lost_before", "html", "empty")),
        ("server_error", None, OutcomeUnknown, 3),
        ("not_found", None, CustomerNotFound, 1),
        ("key_refused", None, KeyRefused, 1),
        ("conflict", None, FusebillRefused, 1),
        # for a minute
        ("rate_limited", None, RateLimited, 1),
    ],
)
async def test_a_read_is_tried_up_to_three_times_unless_fusebill_refuses(
    shop: Workshop, kind: str, times: int | None, result: type[object], calls: int
) -> None:
    shop.fusebill.misbehave(kind, times=times)
    assert isinstance((await shop.read(BIKES))[BIKES], result)
    assert len(operations(shop)) == calls


async def test_a_read_waits_for_a_short_rate_limit(shop: Workshop) -> None:
    shop.fusebill.misbehave("rate_limited", reset_s=1)
    began = time.monotonic()
    assert [each.customer_id for each in await read(shop, BIKES)] == [BIKES]
    assert time.monotonic() - began < 5


async def test_a_slow_read_sends_one_progress_message(shop: Workshop) -> None:
    shop.fusebill.misbehave("slow", seconds=1.7)
    assert [each.customer_id for each in await read(shop, BIKES)] == [BIKES]
    assert shop.told() == ["⏳ Still reading customer 2554529 from Fusebill …"]


async def test_customers_are_read_in_the_order_asked_for(shop: Workshop) -> None:
    ids = add_customers(shop, 20)[::-1]
    assert [each.customer_id for each in await read(shop, *ids)] == ids
    assert (len(shop.fusebill.calls), shop.told()) == (20, [])


async def test_reading_fifty_takes_a_fraction_of_reading_them_one_by_one(shop: Workshop) -> None:
    ids = add_customers(shop, 50)
    seen = slow(shop, 0.05)
    started = monotonic()
    for each in ids[:10]:
        await shop.read(each)
    one_by_one_s = (monotonic() - started) * 5
    started = monotonic()
    assert len(await read(shop, *ids)) == 50
    # 50 legs in 8 rows, and one alone
    assert monotonic() - started < one_by_one_s * 0.4
    assert max(seen) == MAX_AT_ONCE


async def test_two_cards_that_are_read_at_once_share_the_eight(shop: Workshop) -> None:
    ids = add_customers(shop, 24)
    seen = slow(shop, 0.02)
    await asyncio.gather(shop.read(*ids[:12]), shop.read(*ids[12:]))
    assert max(seen) == MAX_AT_ONCE


async def test_each_customer_has_its_own_answer(shop: Workshop) -> None:
    shop.fusebill.misbehave("conflict", customer_id=3100033)
    found = await shop.read(424242, BIKES, 3100017, 3100033)
    assert list(found) == [424242, BIKES, 3100017, 3100033]
    unknown, bikes, unlatched, refused = found.values()
    assert isinstance(unknown, CustomerNotFound)
    assert isinstance(bikes, Customer)
    assert bikes.ids
    assert isinstance(unlatched, Customer)
    assert not unlatched.ids
    assert isinstance(refused, FusebillRefused)
    assert refused.texts == ("The customer can not be changed while it is being synchronised.",)


async def test_one_of_many_is_read_again_after_a_temporary_failure(shop: Workshop) -> None:
    shop.fusebill.misbehave("lost_before", customer_id=BIKES)
    assert len(await read(shop, BIKES, 3100025)) == 2


@pytest.mark.parametrize(
    ("kind", "error", "tries"),
    [
        ("key_refused", KeyRefused, 1),
        ("unauthorized", KeyRefused, 1),
        ("unavailable", Unavailable, 3),
        ("rate_limited", RateLimited, 1),
    ],
)
async def test_what_stops_all_customers_is_one_error_and_is_not_tried_fifty_times(
    shop: Workshop, kind: str, error: type[FusebillError], tries: int
) -> None:
    ids = add_customers(shop, 50)
    shop.fusebill.misbehave(kind, times=None, reset_s=7200)
    assert await fails_with(shop, error, *ids)
    assert len(shop.fusebill.calls) <= 2 * MAX_AT_ONCE * tries


async def test_an_outage_midway_leaves_out_the_rest_with_why(shop: Workshop) -> None:
    ids = add_customers(shop, 40)
    shop.fusebill.misbehave("unauthorized", times=None, skips=20)
    found = list((await shop.read(*ids)).values())
    assert sum(isinstance(each, Customer) for each in found) == 20
    assert sum(isinstance(each, KeyRefused) for each in found) == 20
    assert len(shop.fusebill.calls) <= 20 + 2 * MAX_AT_ONCE


async def test_a_few_failures_do_not_stop_the_others(shop: Workshop) -> None:
    ids = add_customers(shop, 30)
    for each in ids[:5]:
        shop.fusebill.misbehave("unauthorized", customer_id=each)
    assert len(await read(shop, *ids)) == 25


async def test_a_short_refusal_for_too_many_calls_is_waited_for(shop: Workshop) -> None:
    ids = add_customers(shop, 12)
    shop.fusebill.misbehave("silent_429", skips=4)
    assert len(await read(shop, *ids)) == 12
    refused = next(call.at for call in shop.fusebill.calls if call.fault == "silent_429")
    later = [call.at for call in shop.fusebill.calls if call.at > refused + 0.2]
    assert min(later) > refused + 0.9


async def test_reading_never_meets_the_limit_of_a_minute(shop: Workshop) -> None:
    ids = add_customers(shop, 30)
    shop.fusebill.calls_per_minute, shop.fusebill.minute_s = 20, 2.0
    assert len(await read(shop, *ids)) == 30
    assert {call.status for call in shop.fusebill.calls} == {200}


async def test_whoever_waits_is_told_how_far_it_is_at_most_three_times(shop: Workshop) -> None:
    ids = add_customers(shop, 24)
    slow(shop, 1.0)
    await shop.read(*ids)
    told = shop.told()
    assert told
    assert len(told) <= 3
    assert told[0].startswith("⏳ Still reading from Fusebill: ")
    assert told[0].endswith(" of 24 customers …")
    assert len(set(told)) == len(told)


async def test_a_fusebill_that_cannot_be_reached_is_one_error(shop: Workshop) -> None:
    ids = add_customers(shop, 10)
    await shop.fusebill.__aexit__()
    assert await fails_with(shop, NotReached, *ids)
