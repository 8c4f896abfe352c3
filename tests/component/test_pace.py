"""Work on many customers keeps within Fusebill's limits, and leaves a reserve to single people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import CustomerNotFound, RateLimited
from bot.fusebill.pace import Pace, RateLimit, RateWindow
from bot.fusebill.transport import AiohttpTransport
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from tests.support.names import BIKES


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@asynccontextmanager
async def paced(server: SimulatedFusebill) -> AsyncIterator[tuple[FusebillClient, Pace]]:
    pace = Pace()

    def observe(_operation: str, _status: int | None, _s: float, limit: RateLimit | None) -> None:
        if limit:
            pace.observe(limit.minute)

    async with AiohttpTransport() as http:
        yield FusebillClient(http, server.url, server.api_key, observe=observe), pace


async def waits(pace: Pace, seconds: float = 0.05) -> bool:
    """Whether a call that wants to start now waits for longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds), pace.call():
            return False
    except TimeoutError:
        return True


@pytest.mark.parametrize("limit", [50, 10])
async def test_calls_for_many_never_meet_the_limit_of_a_minute(limit: int) -> None:
    async with (
        SimulatedFusebill(calls_per_minute=limit, minute_s=2.0) as server,
        paced(server) as (client, pace),
    ):
        slots = asyncio.Semaphore(8)

        async def read() -> None:
            async with slots, pace.call():
                await client.get_customer(BIKES)

        await asyncio.gather(*(read() for _ in range(limit * 2)))
        assert [call.status for call in server.calls] == [200] * limit * 2
        assert server.calls[-1].at - server.calls[0].at > 0.5


async def test_a_single_person_does_not_wait_for_the_reserve() -> None:
    async with SimulatedFusebill(calls_per_minute=50) as server, paced(server) as (client, pace):
        pace.observe(RateWindow(5, soon(30), 50))
        assert await waits(pace)
        assert (await client.get_customer(BIKES)).customer_id == BIKES


async def test_the_first_call_of_a_minute_goes_alone() -> None:
    pace = Pace()
    async with pace.call():
        assert await waits(pace)
        pace.observe(RateWindow(900, soon(30), 1000))
        assert not await waits(pace)


async def test_running_calls_count_as_if_their_answers_did_not() -> None:
    pace = Pace()
    pace.observe(RateWindow(5, soon(30), 10))
    async with pace.call():
        async with pace.call():
            assert await waits(pace)
        assert not await waits(pace)


async def test_answers_in_another_order_do_not_free_calls_again() -> None:
    pace, end = Pace(), soon(30)
    pace.observe(RateWindow(3, end, 10))
    pace.observe(RateWindow(9, end, 10))
    assert await waits(pace)


async def test_where_fusebill_says_nothing_nothing_waits() -> None:
    pace = Pace()
    pace.observe(RateWindow())
    async with pace.call():
        assert not await waits(pace)


@pytest.mark.parametrize("reset_s", [-3600, 3600], ids=["behind", "ahead"])
async def test_with_another_clock_than_fusebills_what_is_left_counts_all_the_same(
    reset_s: float,
) -> None:
    pace = Pace()
    pace.observe(RateWindow(3, soon(reset_s), 50))
    assert await waits(pace)
    pace = Pace()
    pace.observe(RateWindow(900, soon(reset_s), 1000))
    # nor does such a clock make calls go one by one
    async with pace.call():
        assert not await waits(pace)


async def test_a_refusal_holds_back_all_others_as_long_as_fusebill_says() -> None:
    pace = Pace()
    pace.observe(RateWindow(900, soon(30), 1000))
    with pytest.raises(RateLimited):
        async with pace.call():
            raise RateLimited(429, retry_at=soon(0.3))
    started = monotonic()
    async with pace.call():
        assert monotonic() - started > 0.2


async def test_a_refusal_for_the_day_holds_nobody_back() -> None:
    pace = Pace()
    pace.observe(RateWindow(900, soon(30), 1000))
    with pytest.raises(RateLimited):
        async with pace.call():
            raise RateLimited(429, retry_at=soon(7200))
    assert not await waits(pace)


async def test_a_failed_call_makes_room_for_the_next() -> None:
    pace = Pace()
    for _ in range(3):
        with pytest.raises(CustomerNotFound):
            async with pace.call():
                raise CustomerNotFound(404)
    assert not await waits(pace)
