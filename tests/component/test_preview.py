"""Many customers are read side by side, within Fusebill's limits, and each is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from bot.requests.preview import MAX_AT_ONCE, Preview

from bot.domain.models import LeftOut
from bot.fusebill.errors import FusebillError, KeyRefused, NotReached, RateLimited, Unavailable
from bot.sandbox.fusebill.customers import sample_customers
from tests.support.names import BIKES
from tests.support.workshop import Parts, workshop

PLAIN = sample_customers()[BIKES]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Parts]:
    async with workshop(tmp_path) as opened:
        yield opened


@pytest.fixture
def preview(shop: Parts) -> Preview:
    return shop.preview


def add_customers(shop: Parts, count: int) -> list[int]:
    """Add latched customers; returns their ids."""
    ids = [5_000_000 + number for number in range(count)]
    for number, each in enumerate(ids):
        latched = {"hubSpotId": 10_000 + number, "hubSpotCompanyId": 20_000 + number}
        shop.fusebill.customers[each] = PLAIN | {"id": each} | latched
    return ids


def slow(shop: Parts, seconds: float) -> list[int]:
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


async def test_customers_are_read_in_the_order_asked_for(shop: Parts, preview: Preview) -> None:
    ids = add_customers(shop, 20)[::-1]
    previewed = await preview.read(ids, shop.place())
    assert [each.customer_id for each in previewed.customers] == ids
    assert (previewed.left_out, previewed.error, shop.ephemerals()) == ((), None, [])
    assert len(shop.fusebill.calls) == 20


async def test_reading_fifty_takes_a_fraction_of_reading_them_one_by_one(
    shop: Parts, preview: Preview
) -> None:
    ids = add_customers(shop, 50)
    seen = slow(shop, 0.05)
    started = monotonic()
    for each in ids[:10]:
        await shop.lookup.read(each, shop.place())
    one_by_one_s = (monotonic() - started) * 5
    started = monotonic()
    assert len((await preview.read(ids, shop.place())).customers) == 50
    # 50 legs in 8 rows, and one alone
    assert monotonic() - started < one_by_one_s * 0.4
    assert max(seen) == MAX_AT_ONCE


async def test_two_previews_at_once_share_the_eight(shop: Parts, preview: Preview) -> None:
    ids = add_customers(shop, 24)
    seen = slow(shop, 0.02)
    await asyncio.gather(preview.read(ids[:12], shop.place()), preview.read(ids[12:], shop.place()))
    assert max(seen) == MAX_AT_ONCE


async def test_who_is_left_out_is_named_with_why(shop: Parts, preview: Preview) -> None:
    shop.fusebill.misbehave("conflict", customer_id=3100033)
    previewed = await preview.read([424242, BIKES, 3100017, 3100033], shop.place())
    assert [each.customer_id for each in previewed.customers] == [BIKES]
    refusal = "The customer can not be changed while it is being synchronised."
    assert previewed.left_out == (
        LeftOut(424242, "not known in Fusebill"),
        LeftOut(3100017, "not latched to anything", "Harbour Light Coffee"),
        LeftOut(3100033, f"could not be read: {refusal}"),
    )


@pytest.mark.parametrize("kind", ["bad_gateway", "lost_before", "html"])
async def test_a_read_is_retried_after_a_temporary_failure(
    shop: Parts, preview: Preview, kind: str
) -> None:
    shop.fusebill.misbehave(kind, customer_id=BIKES)
    assert len((await preview.read([BIKES, 3100025], shop.place())).customers) == 2


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
    shop: Parts, preview: Preview, kind: str, error: type[FusebillError], tries: int
) -> None:
    ids = add_customers(shop, 50)
    shop.fusebill.misbehave(kind, times=None, reset_s=7200)
    previewed = await preview.read(ids, shop.place())
    assert isinstance(previewed.error, error)
    assert (previewed.customers, previewed.left_out) == ((), ())
    assert len(shop.fusebill.calls) <= 2 * MAX_AT_ONCE * tries


async def test_an_outage_midway_leaves_out_the_rest_with_why(shop: Parts, preview: Preview) -> None:
    ids = add_customers(shop, 40)
    shop.fusebill.misbehave("unauthorized", times=None, skips=20)
    previewed = await preview.read(ids, shop.place())
    assert (len(previewed.customers), len(previewed.left_out)) == (20, 20)
    why = "could not be read: Fusebill did not accept the bot's API key."
    assert {each.why for each in previewed.left_out} == {why}
    assert len(shop.fusebill.calls) <= 20 + 2 * MAX_AT_ONCE


async def test_a_few_failures_do_not_stop_the_others(shop: Parts, preview: Preview) -> None:
    ids = add_customers(shop, 30)
    for each in ids[:5]:
        shop.fusebill.misbehave("unauthorized", customer_id=each)
    assert len((await preview.read(ids, shop.place())).customers) == 25


async def test_a_short_refusal_for_too_many_calls_is_waited_for(
    shop: Parts, preview: Preview
) -> None:
    ids = add_customers(shop, 12)
    shop.fusebill.misbehave("silent_429", skips=4)
    assert len((await preview.read(ids, shop.place())).customers) == 12
    refused = next(call.at for call in shop.fusebill.calls if call.fault == "silent_429")
    later = [call.at for call in shop.fusebill.calls if call.at > refused + 0.2]
    assert min(later) > refused + 0.9


async def test_reading_never_meets_the_limit_of_a_minute(tmp_path: Path) -> None:
    async with workshop(tmp_path) as shop:
        ids = add_customers(shop, 30)
        shop.fusebill.calls_per_minute, shop.fusebill.minute_s = 20, 2.0
        previewed = await shop.preview.read(ids, shop.place())
        assert len(previewed.customers) == 30
        assert {call.status for call in shop.fusebill.calls} == {200}


async def test_whoever_waits_is_told_how_far_it_is_at_most_three_times(
    shop: Parts, preview: Preview
) -> None:
    ids = add_customers(shop, 24)
    slow(shop, 1.0)
    await preview.read(ids, shop.place())
    told = shop.ephemerals()
    assert told
    assert len(told) <= 3
    assert told[0].startswith("⏳ Still reading from Fusebill: ")
    assert told[0].endswith(" of 24 customers …")
    assert len(set(told)) == len(told)


async def test_one_id_is_read_as_for_one_person(shop: Parts, preview: Preview) -> None:
    shop.fusebill.misbehave("slow", seconds=1.7)
    await preview.read_all([BIKES], shop.place())
    assert shop.ephemerals() == ["⏳ Still reading customer 2554529 from Fusebill …"]


async def test_a_fusebill_that_cannot_be_reached_is_one_error(
    shop: Parts, preview: Preview
) -> None:
    ids = add_customers(shop, 10)
    await shop.fusebill.__aexit__()
    previewed = await preview.read(ids, shop.place())
    assert isinstance(previewed.error, NotReached)
