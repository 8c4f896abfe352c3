"""Slack's limit of about a message a second in a channel: calls queue, and none is dropped."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import pytest

from bot.domain.models import EventType
from bot.sandbox.fusebill.simulator import sample_customers
from bot.sandbox.slack.simulator import text_of
from bot.settings import Timing
from bot.slack.errors import MAX_RETRY_AFTER_S, SlackBusy, SlackRefused
from bot.slack.rate_limiter import RateLimiter
from tests.support.faults import TIMING, calls, confirm, posted_once_in_order, shown
from tests.support.kept import Due
from tests.support.ledger import what_is_due
from tests.support.names import BIKES, CHANNEL, CONFIRM, CUSTOMERS
from tests.support.world import OpenWorld, World, add_customers

POST = "chat.postMessage"


def answers(world: World, method: str = POST) -> Counter[int]:
    return Counter(call.status for call in world.slack.calls if call.method == method)


async def burst(world: World) -> None:
    """Ask for four customers at once."""
    add_customers(world.fusebill)
    four = CUSTOMERS[3:7]
    await asyncio.gather(*(world.slack.command("U0ALICE", f"{each} moved") for each in four))


async def test_a_burst_of_commands_gets_its_cards_about_a_second_apart(world: World) -> None:
    world.slack.limits.limit(POST)
    began = monotonic()
    await burst(world)
    await world.settled()
    assert 3 <= monotonic() - began < 7
    assert len(world.slack.workspace.messages(CHANNEL)) == 4
    # all but the first may be refused before the limiter knows of the limit; none after
    assert answers(world)[200] == 4
    assert answers(world)[429] <= 3


async def test_only_people_who_wait_for_a_card_are_told_that_it_will_come(
    world: World,
) -> None:
    world.slack.limits.limit(POST)
    await world.slack.command("U0BOB", f"{BIKES}")
    await world.settled()
    await burst(world)
    await world.settled()
    texts = world.ephemerals("U0ALICE")
    assert 1 <= len(texts) <= 3
    assert all("Slack is limiting how fast the bot can post" in text for text in texts)
    assert len(world.slack.workspace.messages(CHANNEL)) == 5
    assert world.slack.workspace.ephemerals("U0BOB") == []


async def test_who_waits_is_told_though_slack_does_not_take_the_word_at_once(world: World) -> None:
    world.slack.faults.fail(POST, status=429, retry_after=600)
    world.slack.faults.fail("response_url", status=503, times=2)
    reply = await world.reply_to(str(BIKES))
    assert "there is no need to ask again" in reply
    assert answers(world, "response_url") == {503: 2, 200: 1}


async def test_a_card_expires_counted_from_its_posting(open_world: OpenWorld) -> None:
    async with open_world(unlatch_expires_after_s=2) as world:
        world.slack.faults.fail(POST, status=429, retry_after=2)
        card = await world.ask()
        kept = await world.kept(card)
        expires_at = kept.first.expires_at
        assert (expires_at - kept.first.asked_at).total_seconds() >= 3.9
        assert kept.due == (Due(kept.id, "expire", expires_at),)
        assert f"{int(expires_at.timestamp())}" in str(card.blocks)
        await world.press("U0BOB", card, CONFIRM)
        assert calls(world) == 1


async def test_a_wait_of_over_ten_minutes_is_told_at_once_and_waited_for(world: World) -> None:
    world.slack.faults.fail(POST, status=429, retry_after=int(MAX_RETRY_AFTER_S) + 1)
    reply = await world.reply_to(str(BIKES))
    assert "It will appear as soon as Slack does" in reply
    assert [due.kind for due in what_is_due(world.database_url)] == ["post"]
    assert answers(world) == {429: 1}


async def test_a_limited_channel_does_not_delay_another(world: World) -> None:
    world.slack.faults.fail(POST, status=429, retry_after=3)
    began = monotonic()
    await world.slack.command("U0ALICE", str(BIKES))
    await world.slack.command("U0ALICE", str(BIKES), channel_id="C0PUBLIC")
    await world.slack.workspace.until(lambda: bool(world.slack.workspace.messages("C0PUBLIC")))
    assert monotonic() - began < 2
    await world.settled()
    assert len(world.slack.workspace.messages(CHANNEL)) == 1


async def test_a_stopping_bot_tells_those_who_wait_that_no_card_will_come(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=Timing(drains_for_s=0.1)) as world:
        world.slack.faults.fail(POST, status=429, retry_after=30)
        assert "will appear" in await world.reply_to(str(BIKES))
        slack = world.slack
    assert "did not get to this" in text_of(slack.workspace.ephemerals("U0ALICE")[-1].blocks)


async def test_the_threads_of_a_burst_of_clicks_are_posted_a_second_apart(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=Timing()) as world:
        sample = sample_customers()[BIKES]
        ids = range(4_000_000, 4_000_004)
        for number in ids:
            vids = {"hubSpotId": number, "hubSpotCompanyId": number}
            world.fusebill.customers[number] = {**sample, "id": number, **vids}
        cards = [await world.ask(str(number)) for number in ids]
        world.slack.limits.limit(POST)
        began = monotonic()
        await asyncio.gather(*(confirm(world, card) for card in cards))
        await world.settled()
        assert monotonic() - began < 7
        assert all("✅ Unlatched" in world.card(card) for card in cards)
        assert all(posted_once_in_order(world.thread(card)) for card in cards)
        assert [kept.tries for kept in await world.cards()] == [0] * 4
        assert answers(world)[429] <= 3


async def test_card_updates_wait_for_their_limit_too(open_world: OpenWorld) -> None:
    async with open_world(timing=TIMING) as world:
        cards = [await world.ask(f"{BIKES} try {number}") for number in range(3)]
        world.slack.limits.limit("chat.update")
        await asyncio.gather(*(confirm(world, card) for card in cards))
        await world.settled()
        assert [(kept.due, kept.tries) for kept in await world.cards()] == [((), 0)] * 3
        assert not any("[Unlatch Stolen Bikes]" in world.card(card) for card in cards)


async def test_a_worker_that_waits_for_slack_renews_its_lease(open_world: OpenWorld) -> None:
    async with open_world(timing=replace(TIMING, hold_s=0.6)) as world:
        card = await world.ask()
        world.slack.faults.fail(POST, status=429, retry_after=3)
        await confirm(world, card)
        held_until = set()
        async with asyncio.timeout(10):
            while not world.slack.workspace.thread(CHANNEL, card.ts):
                held_until |= {due.at for due in (await world.kept(card)).due}
                await asyncio.sleep(0.05)
        await shown(world, card, "✅ Unlatched")
        assert len(held_until) > 4
        kept = await world.kept(card)
        assert (kept.tries, kept.due) == (0, ())
        assert EventType.RECLAIMED not in kept.story


@pytest.mark.parametrize("method", ["chat.update", POST])
async def test_an_absurd_retry_after_is_capped(
    open_world: OpenWorld, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world(timing=TIMING) as world:
        card = await world.ask()
        world.slack.faults.fail(method, status=429, retry_after=10**12)
        await confirm(world, card)
        await world.settled()
        [due] = (await world.kept(card)).due
        assert 590 < (due.at - datetime.now(UTC)).total_seconds() <= MAX_RETRY_AFTER_S
        assert "Traceback" not in capsys.readouterr().out


class Door:
    """Refuses the first `closed_for` calls, then records who passes and how many at once."""

    def __init__(self, closed_for: int) -> None:
        self.closed_for = closed_for
        self.inside = self.max_inside = 0
        self.refused = asyncio.Event()
        self.passed: list[int] = []

    async def take(self, number: int) -> int:
        self.inside += 1
        self.max_inside = max(self.max_inside, self.inside)
        await asyncio.sleep(0.01)
        self.inside -= 1
        if self.closed_for:
            self.closed_for -= 1
            self.refused.set()
            raise SlackBusy("ratelimited", 0.1)
        self.passed.append(number)
        return number


KEY = (POST, CHANNEL)


async def test_without_a_limit_calls_run_concurrently() -> None:
    limiter, door = RateLimiter(), Door(closed_for=0)
    began = monotonic()
    await asyncio.gather(*(limiter.run(KEY, partial(door.take, n)) for n in range(50)))
    assert (door.max_inside, len(limiter)) == (50, 0)
    assert monotonic() - began < 0.5


async def test_the_queue_is_first_come_first_served_one_at_a_time() -> None:
    limiter, door = RateLimiter(), Door(closed_for=1)
    first = asyncio.create_task(limiter.run(KEY, partial(door.take, 0)))
    await door.refused.wait()
    rest = [asyncio.create_task(limiter.run(KEY, partial(door.take, n))) for n in range(1, 4)]
    assert await asyncio.gather(first, *rest) == [0, 1, 2, 3]
    assert (door.passed, door.max_inside) == ([0, 1, 2, 3], 1)


async def test_a_call_that_is_cancelled_or_fails_lets_the_next_one_run() -> None:
    limiter, door = RateLimiter(), Door(closed_for=1)

    async def refused() -> int:
        raise SlackRefused("is_archived")

    first = asyncio.create_task(limiter.run(KEY, partial(door.take, 0)))
    await door.refused.wait()
    cancelled = asyncio.create_task(limiter.run(KEY, partial(door.take, 1)))
    failing = asyncio.create_task(limiter.run(KEY, refused))
    last = asyncio.create_task(limiter.run(KEY, partial(door.take, 3)))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    results = await asyncio.gather(first, cancelled, failing, last, return_exceptions=True)
    assert [type(result) for result in results] == [int, asyncio.CancelledError, SlackRefused, int]
    assert door.passed == [0, 3]


async def test_a_call_whose_turn_does_not_come_in_time_gets_a_retry_after() -> None:
    limiter, door = RateLimiter(), Door(closed_for=100)
    began = monotonic()
    with pytest.raises(SlackBusy) as busy:
        await limiter.run(KEY, partial(door.take, 0), max_wait_s=0.05)
    assert monotonic() - began < 0.1
    assert 0 < (busy.value.retry_after_s or 0) <= 0.1


async def test_idle_queues_are_removed() -> None:
    limiter = RateLimiter()
    for number in range(200):
        with pytest.raises(SlackBusy):
            await limiter.run((POST, f"C{number}"), partial(Door(1).take, 0), max_wait_s=0)
    assert len(limiter) < 60
