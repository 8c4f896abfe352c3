"""Journeys out of the unknown: Fusebill never said, so somebody looks again."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Timing
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM
from tests.support.reading import without_times
from tests.support.world import OpenWorld, World

BRIEF = Timing(execution_s=0.3, sweep_every_s=0.1)


async def unknown(world: World, kind: str = "hang") -> PostedMessage:
    """A confirmed card of which Fusebill never told what came."""
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


@pytest.mark.parametrize("kind", ["hang", "lost_before", "server_error", "unavailable"])
async def test_where_fusebill_never_tells_the_card_says_so_and_offers_a_look(
    open_world: OpenWorld, kind: str
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world, kind)
        lines = world.card(card).splitlines()
        assert lines[1].strip() == "We don't know yet whether this was done."
        assert lines[2].startswith("Fusebill gave no answer that tells")
        assert lines[2].endswith("An earlier call may have been done, or may still be.")
        assert lines[-1] == "[Check again]"


async def test_still_latched_as_shown_is_offered_anew_in_the_same_thread(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        await world.press("U0BOB", card, CHECK)
        anew = replies(world, card)[-1]
        lines = without_times(world.card(anew)).splitlines()
        assert lines[0] == "Unlatch Stolen Bikes (2554529)?"
        assert lines[-4:] == [
            "Asked by: <@U0BOB>, AT",
            "Why: moved",
            "Expires: AT",
            "[Unlatch customer] [Cancel]",
        ]
        assert unlatches(world) == called
        assert world.slack.workspace.messages(CHANNEL) == [
            world.slack.workspace.message(CHANNEL, card.ts)
        ]


async def test_the_new_card_unlatches_and_the_one_thread_tells_it(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        await world.press("U0BOB", card, CHECK)
        anew = replies(world, card)[-1]
        await world.press("U0ALICE", anew, CONFIRM)
        assert "✅ Unlatched" in world.card(anew)
        assert "✅ Unlatched · Fusebill answered HTTP 200" in world.thread(card)
        assert world.fusebill.customers[BIKES]["hubSpotId"] is None


async def test_the_new_card_is_held_against_the_rules(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF, unlatch_two_person=True) as world:
        card = await unknown(world)
        await world.press("U0BOB", card, CHECK)
        await world.press("U0BOB", replies(world, card)[-1], CONFIRM)
        assert "two people are needed" in world.last_ephemeral("U0BOB")
        assert world.fusebill.customers[BIKES]["hubSpotId"] == 101


async def test_gone_by_now_the_card_says_that_it_was_unlatched(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await world.press("U0ALICE", card, CHECK)
        assert world.card(card).splitlines()[:3] == [
            "✅ Unlatched: Stolen Bikes (2554529)",
            "Cleared: contact 101, company 202",
            "Fusebill's reply did not show it; reading the customer again did.",
        ]
        assert "[Check again]" not in world.card(card)
        assert "[Undo…]" in world.card(card)
        assert unlatches(world) == called


async def test_what_was_found_is_in_ledger_and_thread_with_who_looked(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await world.press("U0ALICE", card, CHECK)
        (request,) = await world.bot.ledger.recent_requests(BIKES)
        history = await world.bot.ledger.request_history(request.id)
        assert (request.outcome, request.due_at) == (Outcome.CLEARED, None)
        assert [e.type for e in history.events][-2:] == [EventType.UNKNOWN, EventType.CLEARED]
        assert history.events[-1].actor == "U0ALICE"
        assert world.thread(card).count("✅ Unlatched") == 1


@pytest.mark.parametrize("found", [{"hubSpotId": 777}, {"hubSpotCompanyId": None}], ids=str)
async def test_other_ids_by_now_are_left_alone_and_shown(
    open_world: OpenWorld, found: dict[str, int | None]
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        called = unlatches(world)
        world.fusebill.customers[BIKES].update(found)
        await world.press("U0BOB", card, CHECK)
        assert world.card(card).startswith("⚠️ Other ids than confirmed: Stolen Bikes")
        assert "On the card: contact 101, company 202\nNow: contact" in world.card(card)
        assert "[" not in world.card(card)
        assert unlatches(world) == called


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("conflict", "Fusebill refused to show customer 2554529."),
        ("unauthorized", "Fusebill did not take the bot's API key."),
        ("not_found", "Fusebill knows no customer 2554529."),
    ],
)
async def test_a_read_that_fails_is_told_and_the_card_stays(
    open_world: OpenWorld, kind: str, told: str
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        shown, before = world.card(card), len(replies(world, card))
        world.fusebill.misbehave(kind, operation="get_customer", times=None)
        await world.press("U0BOB", card, CHECK)
        assert told in world.last_ephemeral("U0BOB")
        assert (world.card(card), len(replies(world, card))) == (shown, before)


async def test_a_guest_may_not_look_and_ledger_and_thread_keep_it(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        reads = len(world.fusebill.calls)
        await world.press("U0GUEST", card, CHECK)
        why = "People of another organisation may not ask for an unlatch here."
        assert world.last_ephemeral("U0GUEST") == f"🔒 {why}"
        assert world.thread(card).endswith(f"<@U0GUEST> was refused: “{why}”")
        assert len(world.fusebill.calls) == reads
        assert "[Check again]" in world.card(card)


async def test_what_is_known_by_now_needs_no_second_look(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        (request,) = await world.bot.ledger.recent_requests(BIKES)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await world.press("U0BOB", card, CHECK)
        await world.slack.forge_click("U0ALICE", card.ts, CHECK, request.id)
        await world.settled()
        assert "What came of this is known by now: see the card." in world.last_ephemeral("U0ALICE")


@pytest.mark.parametrize("action_id", [CHECK, "unlatch_undo"])
@pytest.mark.parametrize("value", ["", "2554529", "0" * 32, "' OR 1=1 --"])
async def test_a_guessed_value_is_told_to_ask(world: World, action_id: str, value: str) -> None:
    await world.slack.forge_click("U0ALICE", "1700000000.000100", action_id, value)
    await world.settled()
    assert "I don't know this request, so nothing was done" in world.last_ephemeral("U0ALICE")
    assert world.fusebill.calls == []


async def test_check_again_pressed_by_many_at_once_offers_one_card(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        before = len(replies(world, card))
        presses = [world.slack.click(who, card.ts, CHECK) for who in ("U0BOB", "U0ALICE", "U0BOB")]
        await asyncio.gather(*presses)
        await world.settled()
        assert len(replies(world, card)) == before + 1


async def test_what_many_find_out_at_once_is_told_and_counted_once(open_world: OpenWorld) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await asyncio.gather(*(world.slack.click("U0BOB", card.ts, CHECK) for _ in range(3)))
        await world.settled()
        assert world.thread(card).count("✅ Unlatched") == 1
        counted = 'unlatch_outcomes_total{kind="unlatch",outcome="cleared"} 1.0'
        assert counted in world.bot.metrics.render().decode()


async def test_of_two_new_cards_that_follow_one_the_second_confirms_nothing(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await unknown(world)
        await world.press("U0BOB", card, CHECK)
        first = replies(world, card)[-1]
        await world.press("U0BOB", first, "unlatch_cancel")
        await world.press("U0BOB", card, CHECK)
        second = replies(world, card)[-1]
        called = unlatches(world)
        other = await world.ask("2554529 by another card")
        await world.press("U0BOB", other, CONFIRM)
        await world.press("U0BOB", second, CONFIRM)
        assert unlatches(world) == called + 1
        assert "was confirmed since this was asked" in world.last_ephemeral("U0BOB")
