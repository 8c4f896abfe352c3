"""A cleared customer is read once more: HubSpot's sync can latch it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.kept import KeptCard
from tests.support.ledger import broken, set_back
from tests.support.names import AGAIN as AGAIN_BUTTON, BIKES, CHANNEL, CONFIRM, UNDO
from tests.support.reading import operations, without_times
from tests.support.stage import Stage, Trap, stage
from tests.support.world import QUICK, OpenWorld, World

SOON = replace(PACE, hold_s=10.0, recheck_pause_s=0.2, pause_s=0.1)
AGAIN = "The bot read the customer again: latched to "
HEAD = "⚠️ Latched again: "
HOUR = timedelta(hours=1)
CHECKS = (EventType.RECHECKED, EventType.LATCHED_AGAIN, EventType.CUSTOMER_GONE)


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    """A world whose rechecks are an hour away, unless a test makes them due."""
    timing = replace(QUICK, recheck_pause_s=0.1)
    async with open_world(timing=timing, unlatch_recheck_after_s=3600) as opened:
        yield opened


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(database_url, tmp_path) as opened:
        yield opened


def latch(place: World | Stage, vid: int | None = 101, company_id: int | None = 202) -> None:
    """Latch the customer as HubSpot's sync does: without a call of the bot."""
    place.fusebill.customers[BIKES].update(hubSpotId=vid, hubSpotCompanyId=company_id)


def checks(card: KeptCard) -> list[EventType]:
    return [event_type for event_type in card.story if event_type in CHECKS]


async def checked(world: World, card: PostedMessage, after: timedelta = HOUR) -> list[EventType]:
    """Let the hour pass, or its rest; returns what the recheck left."""
    await world.pass_time(after)
    kept = await world.kept_when(card, lambda kept: "recheck" not in kept.jobs)
    await world.settled()
    return checks(kept)


async def test_a_customer_that_is_still_clear_is_read_once_after_an_hour_and_disturbs_nobody(
    world: World,
) -> None:
    card = await world.confirmed()
    kept = await world.kept(card)
    [recheck] = kept.due
    assert recheck.kind == "recheck"
    assert kept.first.settled_at is not None
    assert recheck.at - kept.first.settled_at == HOUR
    # a refusal draws the card again, which neither moves nor repeats the check
    await world.press("U0GUEST", card, UNDO)
    assert (await world.kept(card)).due == kept.due
    said, read = len(world.slack.calls), len(operations(world))
    assert await checked(world, card) == [EventType.RECHECKED]
    assert len(world.slack.calls) == said
    assert operations(world)[read:] == ["get_customer"]
    await world.press("U0GUEST", card, UNDO)
    after = await world.kept(card)
    assert (after.due, after.tries, checks(after)) == ((), 0, [EventType.RECHECKED])


async def test_zero_turns_it_off(open_world: OpenWorld) -> None:
    async with open_world(unlatch_recheck_after_s=0) as world:
        assert (await world.kept(await world.confirmed())).is_settled


async def test_a_customer_latched_again_rings_requester_and_decider_and_can_be_asked_about_again(
    world: World,
) -> None:
    card = await world.confirmed()
    latch(world)
    assert await checked(world, card) == [EventType.LATCHED_AGAIN]
    reply = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
    assert without_times(world.card(reply)).splitlines() == [
        f"{AGAIN}contact 101 and company 202 · AT",
        "<@U0ALICE> <@U0BOB>",
    ]
    assert reply.text.startswith("⚠️ Latched again: Stolen Bikes (2554529)\n")
    lines = without_times(world.card(card)).splitlines()
    assert lines[0] == "⚠️ Latched again: Stolen Bikes (2554529)"
    assert lines[1].endswith(", AT. Find out who did that before you ask again.")
    assert lines[-1] == "[Ask again]"
    await world.press("U0BOB", card, AGAIN_BUTTON)
    shown = without_times(world.card(world.slack.workspace.messages(CHANNEL)[-1]))
    assert "Asked by <@U0BOB>, AT: moved" in shown
    assert "⚠️ Unlatched AT, latched again after 1 hour: see its card" in shown


async def test_a_card_that_is_latched_again_still_says_that_its_undo_waits(world: World) -> None:
    card = await world.confirmed()
    await world.pass_time(HOUR * 0.9)
    await world.follow_up(card, UNDO)
    latch(world)
    assert await checked(world, card, HOUR * 0.1) == [EventType.LATCHED_AGAIN]
    assert HEAD in world.card(card)
    assert "⏳ A decision about this waits in the thread." in world.card(card)


async def test_what_an_undo_or_a_later_request_restored_is_not_taken_for_the_sync(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SOON, unlatch_recheck_after_s=2) as world:
        first = await world.confirmed()
        latch(world, 901, 902)
        second = await world.confirmed()
        undo = await world.follow_up(second, UNDO)
        release = asyncio.Event()

        async def hold(operation: str) -> None:
            if operation == "latch_customer":
                await release.wait()

        # Fusebill has latched the customer, and the bot does not know it yet
        world.fusebill.after = hold
        await world.slack.click("U0BOB", undo.ts, CONFIRM)
        await world.slack.workspace.until(lambda: world.fusebill.customers[BIKES]["hubSpotId"])
        reads = len(operations(world))
        await world.slack.workspace.until(lambda: len(operations(world)) > reads, 10.0)
        assert checks(await world.kept(first)) == checks(await world.kept(second)) == []
        release.set()
        for card in (first, second):
            kept = await world.kept_when(card, lambda kept: kept.is_settled)
            await world.settled()
            assert checks(kept) == []
            assert AGAIN not in world.thread(card)


@pytest.mark.parametrize("kind", ["server_error", "iis_404"])
async def test_a_read_that_fails_is_repeated_until_fusebill_answers(
    world: World, kind: str
) -> None:
    card = await world.confirmed()
    latch(world)
    world.fusebill.misbehave(kind, operation="get_customer", times=2)
    assert await checked(world, card) == [EventType.LATCHED_AGAIN]
    assert operations(world)[-3:] == ["get_customer"] * 3
    assert world.thread(card).count(AGAIN) == 1


async def test_a_reply_that_slack_does_not_take_is_posted_later(world: World) -> None:
    card = await world.confirmed()
    latch(world)
    world.slack.faults.down = True
    assert await checked(world, card) == [EventType.LATCHED_AGAIN]
    world.slack.faults.down = False
    await world.slack.workspace.until(lambda: HEAD in world.card(card))
    await world.slack.workspace.until(lambda: AGAIN in world.thread(card))
    await world.settled()
    assert world.thread(card).count(AGAIN) == 1


async def test_customers_of_one_card_that_are_latched_again_or_gone_ring_people_once(
    world: World,
) -> None:
    customers = (BIKES, 3100025, 3100033)
    card = await world.confirmed(f"{', '.join(map(str, customers))} moved")
    latch(world)
    world.fusebill.customers[3100025].update(hubSpotId=5151)
    del world.fusebill.customers[3100033]
    await checked(world, card)
    await world.slack.workspace.until(lambda: world.card(card).count("⚠️ latched again") == 2)
    await world.settled()
    thread = world.thread(card)
    assert thread.count(HEAD) == 2
    assert thread.count("<@U0ALICE> <@U0BOB>") == 1
    [gone] = [each for each in thread.splitlines() if "🔎 Gone from Fusebill: " in each]
    assert "(3100033)" in gone
    assert (await world.kept(card)).is_settled


async def test_a_recheck_of_one_of_many_is_shown_though_slack_was_away(world: World) -> None:
    card = await world.ask(f"{BIKES}, 3100025 moved")
    world.fusebill.misbehave("conflict", operation="unlatch_customer", customer_id=BIKES)
    await world.press("U0BOB", card, CONFIRM)
    assert "1 unlatched · ❌ 1 not done" in world.card(card)
    world.fusebill.customers[3100025].update(hubSpotId=5151)
    world.slack.faults.fail("chat.update", status=503)
    world.slack.faults.fail("chat.postMessage", status=503)
    await checked(world, card)
    await world.slack.workspace.until(
        lambda: HEAD in world.card(card) and HEAD in world.thread(card)
    )


async def test_a_customer_that_fusebill_has_no_more_is_told_once_and_read_no_more(
    world: World,
) -> None:
    card = await world.confirmed()
    del world.fusebill.customers[BIKES]
    assert await checked(world, card) == [EventType.CUSTOMER_GONE]
    assert "The bot read the customer again: Fusebill no longer has it" in world.thread(card)
    assert (await world.kept(card)).is_settled


async def confirm(staged: Stage) -> PostedMessage:
    """A card that is cleared, on a stage."""
    card = await staged.ask()
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "✅ Unlatched" in staged.thread(card))
    return card


@pytest.mark.parametrize(
    "point",
    [
        ("after", "get_customer"),
        ("before", "chat.postMessage"),
    ],
    ids=" ".join,
)
async def test_a_bot_killed_as_it_looks_is_followed_by_the_next(
    staged: Stage, point: tuple[str, str]
) -> None:
    await staged.start(unlatch_recheck_after_s=3600)
    card = await confirm(staged)
    latch(staged)
    trap = Trap(staged, point)
    trap.arm()
    set_back(staged.database_url, -HOUR)
    await staged.until(trap.sprung.is_set)
    await staged.start(unlatch_recheck_after_s=3600)
    [kept] = await staged.settled()
    assert checks(kept) == [EventType.LATCHED_AGAIN]
    assert AGAIN in staged.thread(card)
    assert HEAD in staged.card(card)
    assert broken(staged.database_url) == []


async def test_two_instances_look_once(postgresql_url: str, tmp_path: Path) -> None:
    async with stage(postgresql_url, tmp_path) as staged:
        for _ in range(2):
            await staged.start(timing=SOON, unlatch_recheck_after_s=3600)
        card = await confirm(staged)
        latch(staged)
        set_back(postgresql_url, -HOUR)
        [kept] = await staged.settled()
        assert checks(kept) == [EventType.LATCHED_AGAIN]
        await staged.until(lambda: AGAIN in staged.thread(card))
        assert staged.thread(card).count(AGAIN) == 1
