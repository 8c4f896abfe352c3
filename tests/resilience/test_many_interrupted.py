"""Cards of many customers when clicks, answers and kills come at a bad moment."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from time import monotonic

import pytest

from bot.domain.models import Outcome
from tests.resilience.test_many_crash import all_outcomes
from tests.support.bot_process import PACE
from tests.support.ledger import broken
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, CUSTOMERS, STOP, UNDO
from tests.support.reading import unlatched
from tests.support.stage import Stage
from tests.support.world import QUICK, OpenWorld, World, add_customers

JOINERY, DENTAL = 3100025, 3100033
THREE = f"{BIKES}, {JOINERY}, {DENTAL} moved portal"
SHORT_MINUTE_S = 2.0
"""What refusals say of their minute, which ends in 60 s, must not seem to be about this one."""


async def test_check_again_is_shown_though_slack_was_away_and_the_first_customer_was_known(
    world: World,
) -> None:
    card = await world.ask(THREE)
    for customer in (JOINERY, DENTAL):
        world.fusebill.misbehave(
            "keeps_ids", operation="unlatch_customer", times=None, customer_id=customer
        )
    await world.press("U0BOB", card, CONFIRM)
    assert "2 unknown" in world.card(card)
    for customer in (JOINERY, DENTAL):
        world.fusebill.customers[customer].update(hubSpotId=None, hubSpotCompanyId=None)
    world.slack.faults.fail("chat.update", status=503)
    world.slack.faults.fail("chat.postMessage", status=503)
    await world.press("U0BOB", card, CHECK)
    await world.slack.workspace.until(
        lambda: "3 unlatched" in world.card(card) and unlatched(world.thread(card)) >= 3
    )


async def test_an_undo_of_many_that_could_not_be_posted_does_not_block_the_next(
    world: World,
) -> None:
    card = await world.ask(THREE)
    await world.press("U0BOB", card, CONFIRM)
    world.slack.faults.fail("chat.postMessage", error="is_archived", times=None)
    await world.press("U0BOB", card, UNDO)
    assert "archived" in world.last_ephemeral("U0BOB")
    world.slack.faults.clear()
    await world.press("U0BOB", card, UNDO)
    assert "Latch 3 customers again?" in world.card(
        world.slack.workspace.thread(CHANNEL, card.ts)[-1]
    )


async def test_work_goes_on_after_a_refused_stop_and_a_kill(staged: Stage) -> None:
    first = await staged.start(
        timing=replace(PACE, hold_s=2.0), unlatch_confirmers=frozenset({"U0BOB"})
    )
    card = await staged.ask(*CUSTOMERS)
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.2)
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "[Stop]" in staged.card(card))
    await staged.slack.click("U0GUEST", card.ts, STOP)
    await staged.until(lambda: "was refused" in staged.thread(card))
    await asyncio.sleep(0.1)
    await first.kill()
    staged.fusebill.behave()
    await staged.start(unlatch_confirmers=frozenset({"U0BOB"}))
    await staged.until(lambda: "12 unlatched" in staged.card(card), 30.0)
    await staged.settled(30.0)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(CUSTOMERS)}
    assert broken(staged.database_url) == []


async def test_stop_as_the_last_customer_finishes_leaves_the_result_on_the_card(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.6)
    await world.slack.click("U0BOB", card.ts, CONFIRM)
    await world.slack.workspace.until(lambda: "[Stop]" in world.card(card))
    stopping = asyncio.Event()

    async def late(method: str) -> None:
        if method == "chat.update" and not stopping.is_set():
            stopping.set()
            # this drawing is on its way while the work ends
            await world.kept_when(card, lambda kept: all(r.outcome for r in kept.requests))

    world.slack.before = late
    await world.press("U0BOB", card, STOP)
    assert stopping.is_set()
    assert "3 unlatched" in world.card(card)
    assert "Stopping" not in world.card(card)


async def test_stop_on_a_stale_card_brings_it_up_to_date(world: World) -> None:
    card = await world.ask(THREE)
    world.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.6)
    await world.slack.click("U0BOB", card.ts, CONFIRM)
    await world.slack.workspace.until(lambda: "[Stop]" in world.card(card))
    world.slack.faults.fail("chat.update", error="not_in_channel", times=None, retry_after=100)
    await world.settled()
    assert "[Stop]" in world.card(card)
    world.slack.faults.clear()
    await world.press("U0BOB", card, STOP)
    await world.slack.workspace.until(lambda: "3 unlatched" in world.card(card))


async def test_many_wait_when_fusebill_says_when_to_try_again(world: World) -> None:
    add_customers(world.fusebill)
    card = await world.ask(f"{', '.join(map(str, CUSTOMERS))} moved portal")
    world.fusebill.minute_s = SHORT_MINUTE_S
    world.fusebill.misbehave("rate_limited", operation="unlatch_customer", times=8, retry_after=1)
    await world.press("U0BOB", card, CONFIRM)
    assert f"✅ {len(CUSTOMERS)} unlatched" in world.card(card)


UNDO_POINTS = [
    ("before", "latch_customer", 0),
    ("after", "latch_customer", 5),
    ("after", "latch_customer", 11),
    ("before", "chat.update", 0),
    ("after", "chat.postMessage", 0),
]


@pytest.mark.parametrize("point", UNDO_POINTS, ids=str)
async def test_an_undo_of_many_that_is_killed_latches_each_again_and_marks_all(
    staged: Stage, point: tuple[str, str, int]
) -> None:
    add_customers(staged.fusebill)
    for each in CUSTOMERS:
        # an id that belongs to another customer can't be latched
        staged.fusebill.customers[each].update(hubSpotId=each, hubSpotCompanyId=each + 1)
    await staged.start()
    card = await staged.ask(*CUSTOMERS)
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.settled(30.0)
    await staged.slack.click("U0BOB", card.ts, UNDO)
    await staged.until(lambda: "Latch 12 customers again?" in staged.thread(card))
    undo = staged.slack.workspace.thread(CHANNEL, card.ts)[-1]
    # the card that is undone is drawn again, too
    await staged.until(lambda: undo.ts in staged.log)
    await staged.settled(30.0)
    when, call, lets_through = point
    async with staged.dies_at((when, call), lets_through):
        await staged.slack.click("U0BOB", undo.ts, CONFIRM)
    await staged.start()
    await staged.settled(40.0)
    await staged.until(lambda: "12 restored" in staged.card(undo))
    await staged.until(lambda: staged.card(card).count("↩️ undone") == len(CUSTOMERS))
    assert "[Undo…]" not in staged.card(card)
    assert {staged.fusebill.customers[each]["hubSpotId"] - each for each in CUSTOMERS} == {0}
    assert broken(staged.database_url) == []


async def test_a_bot_that_is_told_to_stop_leaves_the_rest_of_a_card_to_the_next(
    staged: Stage,
) -> None:
    timing = replace(PACE, drains_for_s=0.5, hold_s=2.0)
    bot = await staged.start(timing=timing)
    card = await staged.ask(*CUSTOMERS)
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.7)
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: staged.calls("unlatch_customer") == len(CUSTOMERS) - 4)
    assert await bot.stop() == 0
    staged.fusebill.behave()
    await staged.start(timing=timing)
    await staged.settled(40.0)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(CUSTOMERS)}
    assert "12 unlatched" in staged.card(card)
    assert unlatched(staged.thread(card)) >= len(CUSTOMERS)
    assert broken(staged.database_url) == []


async def test_a_refused_stop_that_is_pressed_three_times_at_once_is_one_line(
    staged: Stage,
) -> None:
    await staged.start(timing=replace(PACE, hold_s=3.0), unlatch_confirmers=frozenset({"U0BOB"}))
    card = await staged.ask(*CUSTOMERS)
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.0)
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "[Stop]" in staged.card(card))
    await asyncio.gather(*(staged.slack.click("U0GUEST", card.ts, STOP) for _ in range(3)))
    await staged.settled(40.0)
    assert "12 unlatched" in staged.card(card)
    assert staged.thread(card).count("was refused") == 1
    assert broken(staged.database_url) == []


async def test_a_card_of_many_that_waits_for_another_can_be_stopped(staged: Stage) -> None:
    await staged.start(timing=replace(PACE, hold_s=3.0, working_after_s=0.1))
    one = await staged.ask(*CUSTOMERS)
    two = await staged.ask(*CUSTOMERS[::-1])
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.0)
    await staged.slack.click("U0BOB", one.ts, CONFIRM)
    await staged.slack.click("U0BOB", two.ts, CONFIRM)
    await staged.until(lambda: "[Stop]" in staged.card(two))
    await staged.slack.click("U0BOB", two.ts, STOP)
    await staged.settled(40.0)
    assert "✅ 12 unlatched" in staged.card(one)
    assert "🛑 12 stopped" in staged.card(two)
    assert staged.calls("unlatch_customer") == len(CUSTOMERS)
    assert broken(staged.database_url) == []


async def test_many_wait_for_fusebills_next_minute_and_keep_what_was_refused_before(
    open_world: OpenWorld,
) -> None:
    # the minute ends later than one customer may take
    async with open_world(timing=replace(QUICK, execution_s=1.0)) as world:
        card = await world.ask(THREE)
        world.fusebill.misbehave("rate_limited", operation="unlatch_customer", times=2, reset_s=3)
        await world.press("U0BOB", card, CONFIRM)
        assert "✅ 3 unlatched" in world.card(card)
        assert len(re.findall("HTTP 429.*, then HTTP 200", world.thread(card))) == 2


async def test_many_do_not_wait_for_a_limit_that_lasts_longer_than_a_minute(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.fusebill.minute_s = SHORT_MINUTE_S
    world.fusebill.misbehave("rate_limited", operation="unlatch_customer", times=1, reset_s=300)
    await world.press("U0BOB", card, CONFIRM)
    assert "✅ 2 unlatched · ❌ 1 not done" in world.card(card)
    assert "Fusebill accepts no more calls right now" in world.thread(card)


async def test_who_asks_about_many_soon_hears_that_fusebill_is_silent(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(QUICK, fusebill_read_s=0.5)) as world:
        world.fusebill.misbehave("hang", operation="get_customer", times=None)
        started = monotonic()
        await world.slack.command("U0ALICE", f"{', '.join(map(str, CUSTOMERS))} moved portal")
        await world.settled()
        assert "Fusebill gave no conclusive answer" in world.last_ephemeral("U0ALICE")
        # one by one, eight customers with three tries each would take 20 s
        assert monotonic() - started < 10.0
