"""Check again: Fusebill gave no conclusive answer, so somebody checks the customer."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Timing
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, STOP, UNDO
from tests.support.reading import without_times
from tests.support.world import OpenWorld, World

# a call is given up at once, and whatever comes next for its customer waits for two seconds
BRIEF = Timing(
    hold_s=1.0, execution_s=0.3, fusebill_write_s=0.3, looks_for_s=0.2, sweep_every_s=0.1
)


async def unknown(world: World, kind: str = "hang") -> PostedMessage:
    """A confirmed card whose outcome Fusebill never reported."""
    card = await world.ask()
    world.fusebill.misbehave(kind, operation="unlatch_customer", times=None)
    await world.press("U0BOB", card, CONFIRM)
    world.fusebill.behave()
    assert world.card(card).startswith("❓ Outcome unknown: Stolen Bikes (2554529)")
    return card


def replies(world: World, card: PostedMessage) -> list[PostedMessage]:
    return world.slack.workspace.thread(CHANNEL, card.ts)


def unlatches(world: World) -> int:
    return sum(call.operation == "unlatch_customer" for call in world.fusebill.calls)


@pytest.mark.parametrize("kind", ["hang", "lost_before"])
async def test_an_unknown_outcome_is_shown_with_check_again(
    open_world: OpenWorld, kind: str
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world, kind)
        lines = world.card(card).splitlines()
        assert lines[1].startswith("The bot doesn't know whether this was done.")
        assert lines[2].startswith("Fusebill gave no conclusive answer")
        runs = "The call may still be under way."
        done = "An earlier call may have taken effect, or may still do so."
        assert lines[2].endswith(runs if kind == "hang" else done)
        assert lines[-1] == "[Check again]"


async def test_a_customer_still_latched_as_shown_gets_a_new_card_in_the_thread(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        await world.press("U0BOB", card, CHECK)
        new = replies(world, card)[-1]
        lines = without_times(world.card(new)).splitlines()
        assert lines[0] == "Unlatch Stolen Bikes (2554529)?"
        assert "Asked by <@U0BOB>, AT: moved" in lines
        assert lines[-2:] == ["[Unlatch Stolen Bikes] [Cancel]", "Expires AT"]
        assert unlatches(world) == called
        assert len(world.slack.workspace.messages(CHANNEL)) == 1
        await world.press("U0ALICE", new, CONFIRM)
        assert "✅ Unlatched" in world.card(new)
        assert world.fusebill.customers[BIKES]["hubSpotId"] is None


async def test_if_the_ids_are_gone_the_card_says_unlatched(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await world.press("U0ALICE", card, CHECK)
        assert world.card(card).splitlines()[:2] == [
            "✅ Unlatched: Stolen Bikes (2554529)",
            "Cleared contact 101 and company 202.",
        ]
        checked = "<@U0ALICE> checked again: ✅ Unlatched · AT · read back"
        assert without_times(world.thread(card)).endswith(checked)
        assert "[Check again]" not in world.card(card)
        assert "[Undo…]" in world.card(card)
        assert unlatches(world) == called
        kept = await world.kept(card)
        assert (kept.first.outcome, kept.is_settled) == (Outcome.CLEARED, True)
        assert kept.story[-2:] == [EventType.UNKNOWN, EventType.CLEARED]
        assert kept.events[-1].actor == "U0ALICE"
        await world.slack.forge_click("U0ALICE", card.ts, CHECK, kept.first.id)
        await world.settled()
        assert "The outcome is already known: see the card." in world.last_ephemeral("U0ALICE")


async def test_other_ids_are_shown_and_left_alone(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        world.fusebill.customers[BIKES].update(hubSpotId=777)
        await world.press("U0BOB", card, CHECK)
        assert world.card(card).startswith("⚠️ Other ids than confirmed: Stolen Bikes")
        assert "\nNow latched to contact" in world.card(card)
        assert world.card(card).count("[") == world.card(card).count("[Ask again]") == 1
        assert unlatches(world) == called


async def test_a_failed_read_is_reported_and_the_card_stays(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        shown, before = world.card(card), len(replies(world, card))
        world.fusebill.misbehave("conflict", operation="get_customer", times=None)
        await world.press("U0BOB", card, CHECK)
        told = "Fusebill refused to show customer 2554529. Nothing was done about customer 2554529."
        assert told in world.last_ephemeral("U0BOB")
        assert "Nothing was changed" not in world.last_ephemeral("U0BOB")
        assert (world.card(card), len(replies(world, card))) == (shown, before)


async def test_a_guessed_value_does_nothing(world: World) -> None:
    for action_id in (CHECK, UNDO, STOP):
        for value in ("", "2554529", "0" * 32, "' OR 1=1 --"):
            await world.slack.forge_click("U0ALICE", "1700000000.000100", action_id, value)
            await world.settled()
            told = world.last_ephemeral("U0ALICE")
            assert "The bot has no record of this request, so nothing was done" in told
    assert len(world.ephemerals("U0ALICE")) == 12
    assert world.fusebill.calls == []


async def test_a_result_found_by_many_at_once_is_posted_and_counted_once(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await asyncio.gather(*(world.slack.click("U0BOB", card.ts, CHECK) for _ in range(3)))
        await world.settled()
        assert world.thread(card).count("✅ Unlatched") == 1
        counted = 'unlatch_outcomes_total{kind="unlatch",outcome="cleared"} 1.0'
        assert counted in world.bot.metrics.render().decode()
