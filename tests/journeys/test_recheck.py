"""A cleared customer is read once more: HubSpot's sync can latch it again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.kept import KeptCard
from tests.support.ledger import broken
from tests.support.names import AGAIN as AGAIN_BUTTON, BIKES, CHANNEL, CONFIRM, UNDO
from tests.support.reading import operations, without_times
from tests.support.stage import Stage, Trap, stage
from tests.support.world import OpenWorld, World

SOON = replace(PACE, hold_s=10.0, recheck_pause_s=0.2, pause_s=0.1)
AGAIN = "The bot read the customer again: latched to "
HEAD = "⚠️ Latched again: "
CHECKS = (EventType.RECHECKED, EventType.LATCHED_AGAIN)


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(database_url, tmp_path) as opened:
        yield opened


def latch(place: World | Stage, vid: int | None = 101, company_id: int | None = 202) -> None:
    """Latch the customer as HubSpot's sync does: without a call of the bot."""
    place.fusebill.customers[BIKES].update(hubSpotId=vid, hubSpotCompanyId=company_id)


def checks(card: KeptCard) -> list[EventType]:
    return [event_type for event_type in card.story if event_type in CHECKS]


async def checked(world: World, card: PostedMessage) -> list[EventType]:
    """Wait for the recheck; returns its events."""
    kept = await world.kept_when(card, checks)
    await world.settled()
    return checks(kept)


async def cleared(world: World) -> PostedMessage:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    return card


async def confirm(staged: Stage) -> PostedMessage:
    """A card that is cleared, on a stage."""
    card = await staged.ask()
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "✅ Unlatched" in staged.thread(card))
    return card


async def test_a_customer_that_is_still_clear_disturbs_nobody(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        said = len(world.slack.calls)
        assert await checked(world, card) == [EventType.RECHECKED]
        assert len(world.slack.calls) == said
        assert operations(world)[-1] == "get_customer"
        kept = await world.kept(card)
        assert (kept.due, kept.tries) == ((), 0)


async def test_a_customer_latched_again_rings_requester_and_decider_in_the_thread(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        latch(world)
        assert await checked(world, card) == [EventType.LATCHED_AGAIN]
        reply = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        assert without_times(world.card(reply)).splitlines() == [
            f"{AGAIN}contact 101 and company 202 · AT",
            "<@U0ALICE> <@U0BOB>",
        ]
        assert reply.text.startswith("⚠️ Latched again: Stolen Bikes (2554529)\n")


async def test_the_card_says_so_first_and_offers_to_ask_again_with_the_same_reason(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        latch(world)
        await checked(world, card)
        lines = without_times(world.card(card)).splitlines()
        assert lines[:2] == [
            "⚠️ Latched again: Stolen Bikes (2554529)",
            "Found latched to contact 101 and company 202, AT.",
        ]
        assert lines[-1] == "[Ask again]"
        await world.press("U0BOB", card, AGAIN_BUTTON)
        new = world.slack.workspace.messages(CHANNEL)[-1]
        shown = without_times(world.card(new))
        assert "Asked by <@U0BOB>, AT: moved" in shown
        assert re.search("⚠️ Unlatched AT, latched again after . seconds?: see its card", shown)


async def test_other_ids_than_the_cleared_ones_are_named(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        latch(world, 901, None)
        await checked(world, card)
        assert f"{AGAIN}contact 901 · AT" in without_times(world.thread(card))


async def test_it_is_read_once_only(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        await checked(world, card)
        read = len(operations(world))
        # a refusal draws the card again, which must not start another check
        await world.press("U0GUEST", card, UNDO)
        await asyncio.sleep(0.7)
        await world.settled()
        assert len(operations(world)) == read
        assert checks(await world.kept(card)) == [EventType.RECHECKED]


async def test_zero_turns_it_off(world: World) -> None:
    card = await cleared(world)
    assert (await world.kept(card)).is_settled


async def test_the_default_is_an_hour_after_it_was_cleared(open_world: OpenWorld) -> None:
    async with open_world(unlatch_recheck_after_s=3600) as world:
        card = await cleared(world)
        kept = await world.kept(card)
        [recheck] = kept.due
        assert recheck.kind == "recheck"
        assert kept.first.settled_at is not None
        assert (recheck.at - kept.first.settled_at).total_seconds() == 3600


async def test_a_card_that_is_drawn_again_keeps_its_recheck(open_world: OpenWorld) -> None:
    async with open_world(unlatch_recheck_after_s=3600) as world:
        card = await cleared(world)
        due = (await world.kept(card)).due
        await world.press("U0GUEST", card, UNDO)
        assert (await world.kept(card)).due == due
        assert [each.kind for each in due] == ["recheck"]


async def test_after_an_undo_nobody_is_told(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=2) as world:
        card = await cleared(world)
        await world.press("U0BOB", card, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        await world.press("U0BOB", undo, CONFIRM)
        await asyncio.sleep(2.3)
        await world.settled()
        kept = await world.kept(card)
        assert (checks(kept), kept.is_settled) == ([], True)
        assert AGAIN not in world.thread(card)


async def test_an_undo_under_way_is_not_taken_for_the_sync(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=2) as world:
        card = await cleared(world)
        await world.press("U0BOB", card, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        release = asyncio.Event()

        async def hold(operation: str) -> None:
            if operation == "latch_customer":
                await release.wait()

        # Fusebill has latched the customer, and the bot does not know it yet
        world.fusebill.after = hold
        await world.slack.click("U0BOB", undo.ts, CONFIRM)
        await world.slack.workspace.until(lambda: world.fusebill.customers[BIKES]["hubSpotId"])
        await asyncio.sleep(2.3)
        release.set()
        await world.settled()
        assert checks(await world.kept(card)) == []
        assert AGAIN not in world.thread(card)


async def test_what_a_later_request_restored_is_not_taken_for_the_sync(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=3) as world:
        first = await cleared(world)
        latch(world, 901, 902)
        second = await cleared(world)
        await world.press("U0BOB", second, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, second.ts)[-1]
        await world.press("U0BOB", undo, CONFIRM)
        await asyncio.sleep(3.3)
        await world.settled()
        assert world.fusebill.customers[BIKES]["hubSpotId"] == 901
        for card in (first, second):
            assert checks(await world.kept(card)) == []


async def test_a_read_that_fails_is_repeated_until_fusebill_answers(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        latch(world)
        world.fusebill.misbehave("server_error", operation="get_customer", times=2)
        assert await checked(world, card) == [EventType.LATCHED_AGAIN]
        assert operations(world)[-3:] == ["get_customer"] * 3
        assert world.thread(card).count(AGAIN) == 1


async def test_a_reply_that_slack_does_not_take_is_posted_later(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        latch(world)
        world.slack.faults.down = True
        assert await checked(world, card) == [EventType.LATCHED_AGAIN]
        world.slack.faults.down = False
        await world.slack.workspace.until(lambda: HEAD in world.card(card))
        await world.slack.workspace.until(lambda: AGAIN in world.thread(card))
        await world.settled()
        assert world.thread(card).count(AGAIN) == 1


async def test_a_bot_that_was_down_at_that_time_looks_when_it_is_back(staged: Stage) -> None:
    bot = await staged.start(timing=SOON, unlatch_recheck_after_s=2)
    card = await confirm(staged)
    await bot.kill()
    latch(staged)
    await asyncio.sleep(2.0)
    await staged.start(timing=SOON, unlatch_recheck_after_s=2)
    [kept] = await staged.settled()
    assert checks(kept) == [EventType.LATCHED_AGAIN]
    assert AGAIN in staged.thread(card)
    assert broken(staged.database_url) == []


@pytest.mark.parametrize(
    "point",
    [
        ("before", "get_customer"),
        ("after", "get_customer"),
        ("before", "chat.postMessage"),
        ("after", "chat.update"),
    ],
    ids=" ".join,
)
async def test_a_bot_killed_as_it_looks_is_followed_by_the_next(
    staged: Stage, point: tuple[str, str]
) -> None:
    await staged.start(unlatch_recheck_after_s=2)
    card = await confirm(staged)
    latch(staged)
    trap = Trap(staged, point)
    trap.arm()
    await staged.until(trap.sprung.is_set)
    await staged.start(unlatch_recheck_after_s=2)
    [kept] = await staged.settled()
    assert checks(kept) == [EventType.LATCHED_AGAIN]
    assert AGAIN in staged.thread(card)
    assert HEAD in staged.card(card)


async def test_two_instances_look_once(postgresql_url: str, tmp_path: Path) -> None:
    async with stage(postgresql_url, tmp_path) as staged:
        for _ in range(2):
            await staged.start(timing=SOON, unlatch_recheck_after_s=2)
        card = await confirm(staged)
        latch(staged)
        [kept] = await staged.settled()
        assert checks(kept) == [EventType.LATCHED_AGAIN]
        await staged.until(lambda: AGAIN in staged.thread(card))
        assert staged.thread(card).count(AGAIN) == 1


async def test_a_recheck_that_is_hours_away_draws_nothing_meanwhile(open_world: OpenWorld) -> None:
    async with open_world(unlatch_recheck_after_s=7200) as world:
        card = await world.ask()
        world.slack.faults.fail("chat.update", error="internal_error")
        await world.press("U0BOB", card, CONFIRM)
        await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(card))
        await world.settled()
        before = len(world.slack.calls)
        await asyncio.sleep(1.0)  # ten sweeps
        assert len(world.slack.calls) == before


async def test_customers_of_one_card_that_are_latched_again_ring_people_once(
    open_world: OpenWorld,
) -> None:
    customers = (BIKES, 3100025, 3100033)
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await world.ask(f"{', '.join(map(str, customers))} moved")
        for number, each in enumerate(customers):
            world.fusebill.misbehave(
                "slow", operation="unlatch_customer", customer_id=each, seconds=0.4 * number
            )
        await world.press("U0BOB", card, CONFIRM)
        for each in customers:
            world.fusebill.customers[each].update(hubSpotId=each, hubSpotCompanyId=None)
        await world.slack.workspace.until(lambda: world.card(card).count("⚠️ latched again") == 3)
        await world.settled()
        assert world.thread(card).count("⚠️ Latched again: ") == 3
        assert world.thread(card).count("<@U0ALICE> <@U0BOB>") == 1


async def test_a_recheck_of_one_of_many_is_shown_though_slack_was_away(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await world.ask(f"{BIKES}, 3100025 moved")
        world.fusebill.misbehave("conflict", operation="unlatch_customer", customer_id=BIKES)
        await world.press("U0BOB", card, CONFIRM)
        assert "1 unlatched · ❌ 1 not done" in world.card(card)
        world.fusebill.customers[3100025].update(hubSpotId=5151)
        world.slack.faults.fail("chat.update", status=503)
        world.slack.faults.fail("chat.postMessage", status=503)
        await world.slack.workspace.until(
            lambda: HEAD in world.card(card) and HEAD in world.thread(card)
        )


async def test_a_customer_that_fusebill_has_no_more_is_told_once_and_read_no_more(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        del world.fusebill.customers[BIKES]
        kept = await world.kept_when(card, lambda kept: EventType.CUSTOMER_GONE in kept.story)
        await world.settled()
        read = len(operations(world))
        assert "The bot read the customer again: Fusebill has it no more" in world.thread(card)
        await asyncio.sleep(1.0)
        assert len(operations(world)) == read
        assert (await world.kept(card)).is_settled
        assert kept.story.count(EventType.CUSTOMER_GONE) == 1


async def test_a_page_that_says_404_is_not_taken_for_a_customer_that_is_gone(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await cleared(world)
        world.fusebill.misbehave("iis_404", operation="get_customer", times=2)
        assert await checked(world, card) == [EventType.RECHECKED]


async def test_of_many_customers_the_one_that_is_gone_is_named(open_world: OpenWorld) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=1) as world:
        card = await world.ask(f"{BIKES}, 3100025 moved")
        await world.press("U0BOB", card, CONFIRM)
        del world.fusebill.customers[3100025]
        await world.kept_when(card, lambda kept: "customer_gone" in str(kept.events))
        await world.settled()
        [line] = [
            each for each in world.thread(card).splitlines() if "🔎 Gone from Fusebill: " in each
        ]
        assert "(3100025)" in line
        assert (await world.kept(card)).is_settled
