"""Undo: a cleared customer is latched again, with the same checks as the unlatch."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bot.domain.models import Outcome
from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Timing
from tests.support.kept import KeptRequest
from tests.support.names import BIKES, CANCEL, CHANNEL, CHECK, CONFIRM, UNDO
from tests.support.reading import without_times
from tests.support.stage import Stage, Trap, stage
from tests.support.world import QUARTER, OpenWorld, World


def ids(world: World | Stage) -> tuple[object, object]:
    """What the customer is latched to."""
    customer = world.fusebill.customers[BIKES]
    return customer["hubSpotId"], customer["hubSpotCompanyId"]


def operations(world: World) -> list[str]:
    return [call.operation for call in world.fusebill.calls]


def replies(world: World, card: PostedMessage) -> list[PostedMessage]:
    return world.slack.workspace.thread(CHANNEL, card.ts)


async def last_request(world: World) -> KeptRequest:
    """The newest request with a card."""
    return (await world.cards())[-1].first


async def test_an_undo_latches_both_ids_in_one_call_and_both_cards_and_their_thread_tell_it(
    world: World,
) -> None:
    card = await world.confirmed()
    pressed = await last_request(world)
    undo = await world.follow_up(card, UNDO)
    assert world.last_ephemeral("U0BOB") == "☝️ A decision is needed: its card is in the thread."
    told = str(world.slack.workspace.ephemerals("U0BOB")[-1].blocks)
    assert undo.ts.replace(".", "") in told
    assert without_times(world.card(undo)).splitlines() == [
        "Latch Stolen Bikes (2554529) again?",
        "Restores contact 101 and company 202.",
        "Asked by <@U0BOB>, AT: Undo: moved",
        "John Doe john.doe@stolenbikes.example Customer ID 1337",
        "[Latch Stolen Bikes again] [Cancel]",
        "Expires AT",
    ]
    assert ids(world) == (None, None)
    before = len(world.fusebill.calls)
    await world.press("U0ALICE", undo, CONFIRM)
    assert ids(world) == (101, 202)
    assert operations(world)[before:] == ["get_customer", "latch_customer"]
    assert json.loads(world.fusebill.calls[-1].body) == {
        "fusebillId": BIKES,
        "hubSpotId": 101,
        "hubSpotCompanyId": 202,
    }
    assert without_times(world.card(undo)).splitlines() == [
        "↩️ Restored: Stolen Bikes (2554529)",
        "Latched again to contact 101 and company 202.",
        "By <@U0ALICE> for <@U0BOB>, AT: Undo: moved",
    ]
    assert without_times(world.card(card)).splitlines() == [
        "↩️ Undone: Stolen Bikes (2554529)",
        "<@U0ALICE> gave back contact 101 and company 202, AT.",
        "Unlatched by <@U0BOB> for <@U0ALICE>, AT: moved",
    ]
    _unlatched, _undo, restored = (without_times(world.card(m)) for m in replies(world, card))
    assert restored.splitlines() == [
        "<@U0BOB> asked for an undo · AT",
        "<@U0ALICE> confirmed · AT",
        "↩️ Restored · AT · Fusebill: HTTP 200 · SOME s",
    ]
    # a second time there is nothing to undo
    await world.slack.forge_click("U0BOB", card.ts, UNDO, pressed.id)
    await world.settled()
    assert "nothing to undo on this card, so nothing was done" in world.last_ephemeral("U0BOB")
    assert operations(world).count("latch_customer") == 1


async def test_a_single_id_is_restored(world: World) -> None:
    world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId="6161")
    undo = await world.follow_up(await world.confirmed(), UNDO)
    await world.press("U0ALICE", undo, CONFIRM)
    assert ids(world) == (None, 6161)


@pytest.mark.parametrize("action_id", [CANCEL, CONFIRM])
async def test_a_card_that_cleared_nothing_offers_no_undo(world: World, action_id: str) -> None:
    card = await world.ask()
    world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    await world.press("U0BOB", card, action_id)
    assert "[Undo…]" not in world.card(card)
    await world.slack.forge_click("U0BOB", card.ts, UNDO, (await last_request(world)).id)
    await world.settled()
    assert "nothing to undo" in world.last_ephemeral("U0BOB")


@pytest.mark.parametrize("action_id", [CANCEL, CONFIRM])
async def test_the_card_says_that_a_decision_waits_in_its_thread_until_somebody_decides(
    world: World, action_id: str
) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    waits = "⏳ A decision about this waits in the thread."
    assert waits in world.card(card)
    assert "[Undo…]" not in world.card(card)
    await world.press("U0BOB", undo, action_id)
    assert waits not in world.card(card)
    assert ("[Undo…]" in world.card(card)) is (action_id == CANCEL)


async def test_a_cancelled_undo_changes_nothing_and_can_be_repeated(world: World) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    await world.press("U0BOB", undo, CANCEL)
    assert world.card(undo).startswith("🚫 Cancelled: Stolen Bikes")
    assert (ids(world), "[Undo…]" in world.card(card)) == ((None, None), True)
    await world.press("U0ALICE", await world.follow_up(card, UNDO), CONFIRM)
    assert ids(world) == (101, 202)


async def test_the_two_person_rule_applies_to_an_undo(open_world: OpenWorld) -> None:
    async with open_world(unlatch_two_person=True) as world:
        card = await world.confirmed()
        undo = await world.follow_up(card, UNDO, "U0BOB")
        await world.press("U0BOB", undo, CONFIRM)
        assert "The two-person rule" in world.last_ephemeral("U0BOB")
        assert ids(world) == (None, None)
        await world.press("U0ALICE", undo, CONFIRM)
        assert ids(world) == (101, 202)


async def test_a_refused_undo_is_in_the_ledger_and_the_thread(world: World) -> None:
    why = "People from other organisations may not ask for an unlatch here."
    card = await world.confirmed()
    await world.press("U0GUEST", card, UNDO)
    assert world.last_ephemeral("U0GUEST") == f"🔒 {why}"
    assert without_times(world.thread(card)).endswith(f"<@U0GUEST> was refused · AT: {why}")
    last = (await world.kept(card)).events[-1]
    assert (last.type, last.actor) == ("decision_denied", "U0GUEST")
    assert "[Undo…]" in world.card(card)


async def test_a_customer_that_is_latched_again_gets_no_undo_card(world: World) -> None:
    card = await world.confirmed()
    world.fusebill.customers[BIKES].update(hubSpotId=777)
    before = len(replies(world, card))
    await world.press("U0BOB", card, UNDO)
    assert without_times(world.last_ephemeral("U0BOB")).splitlines() == [
        "⚠️ This can't be undone: the customer is now latched to contact 777. Nothing was done.",
    ]
    assert len(replies(world, card)) == before


async def test_a_customer_latched_after_the_undo_card_is_left_alone(world: World) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    world.fusebill.customers[BIKES].update(hubSpotId=777)
    await world.press("U0ALICE", undo, CONFIRM)
    assert without_times(world.card(undo)).splitlines()[:3] == [
        "⚠️ Not done, the ids changed: Stolen Bikes (2554529)",
        "Now latched to contact 777.",
        "The bot changed nothing.",
    ]
    assert "latch_customer" not in operations(world)
    assert "[Undo…]" in world.card(card)


async def test_an_undo_whose_ids_somebody_latched_meanwhile_says_so_and_calls_nothing(
    world: World,
) -> None:
    undo = await world.follow_up(await world.confirmed(), UNDO)
    world.fusebill.customers[BIKES].update(hubSpotId=101, hubSpotCompanyId=202)
    await world.press("U0ALICE", undo, CONFIRM)
    card = world.card(undo)
    assert card.startswith("☑️ Already latched to these ids")
    assert (
        "The customer already has these ids; who set them is not known. The bot changed nothing."
        in card
    )
    assert "The card showed contact 101 and company 202" in card
    assert "[Undo…]" not in card
    assert "latch_customer" not in operations(world)
    assert (await last_request(world)).outcome is Outcome.ALREADY_LATCHED


async def test_an_id_now_used_by_another_customer_shows_fusebills_refusal_and_can_be_tried_again(
    world: World,
) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    world.fusebill.customers[3100017].update(hubSpotId=101)
    await world.press("U0ALICE", undo, CONFIRM)
    assert without_times(world.card(undo)).splitlines()[:3] == [
        "❌ Not done: Stolen Bikes (2554529)",
        "Fusebill refused. Nothing was changed.",
        "Fusebill: hubSpotId 101 is already latched to customer 3100017. (HTTP 409)",
    ]
    assert ids(world) == (None, None)
    world.fusebill.customers[3100017].update(hubSpotId=None)
    await world.press("U0ALICE", await world.follow_up(card, UNDO), CONFIRM)
    assert (ids(world), "↩️ Undone" in world.card(card)) == ((101, 202), True)


@pytest.mark.parametrize("kind", ["lost_after", "server_error"])
async def test_an_inconclusive_answer_is_resolved_by_reading_back(world: World, kind: str) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    world.fusebill.misbehave(kind, operation="latch_customer")
    await world.press("U0ALICE", undo, CONFIRM)
    assert "↩️ Restored" in world.card(undo)
    assert "<@U0ALICE> gave back contact 101 and company 202" in world.card(card)
    assert ids(world) == (101, 202)


async def unknown(world: World, card: PostedMessage) -> PostedMessage:
    """An undo with an unknown outcome."""
    undo = await world.follow_up(card, UNDO)
    world.fusebill.misbehave("hang", operation="latch_customer", times=None)
    await world.press("U0ALICE", undo, CONFIRM)
    world.fusebill.behave()
    assert "❓ Outcome unknown" in world.card(undo)
    return undo


# a call is given up at once, and whatever comes next for its customer waits for two seconds
BRIEF = Timing(
    hold_s=1.0, execution_s=0.3, fusebill_write_s=0.3, looks_for_s=0.2, sweep_every_s=0.1
)


async def test_an_undo_that_turns_out_done_is_marked_on_the_first_card(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await world.confirmed()
        undo = await unknown(world, card)
        world.fusebill.customers[BIKES].update(hubSpotId=101, hubSpotCompanyId=202)
        await world.press("U0BOB", undo, CHECK)
        assert "↩️ Restored" in world.card(undo)
        # on a busy machine a hold of a second may be over, and the drawing is taken again
        gave_back = "<@U0ALICE> gave back contact 101 and company 202"
        await world.slack.workspace.until(lambda: gave_back in world.card(card))
        assert "[Undo…]" not in world.card(card)


async def test_an_undo_that_turns_out_not_done_gets_a_new_card(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await world.confirmed()
        await world.press("U0BOB", await unknown(world, card), CHECK)
        await world.press("U0ALICE", replies(world, card)[-1], CONFIRM)
        assert ids(world) == (101, 202)
        assert "<@U0ALICE> gave back contact 101 and company 202" in world.card(card)
        first = (await world.requests_about(BIKES))[-1]
        assert first.undone_by == (await last_request(world)).id


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_bot_killed_during_an_undo_finishes_after_a_restart(
    tmp_path: Path, when: str
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        await staged.start()
        card = await staged.ask()
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda: "[Undo…]" in staged.card(card))
        await staged.settled()
        await staged.slack.click("U0BOB", card.ts, UNDO)
        await staged.until(lambda: "[Latch Stolen Bikes again]" in staged.thread(card))
        undo = staged.slack.workspace.thread(CHANNEL, card.ts)[-1]
        await staged.until(lambda: len(staged.cards()) == 2)
        Trap(staged, (when, "latch_customer")).arm()
        await staged.slack.click("U0ALICE", undo.ts, CONFIRM)
        await staged.until(lambda: staged.bots[-1].process.exitcode is not None)
        await staged.start()
        await staged.until(
            lambda: "<@U0ALICE> gave back contact 101 and company 202" in staged.card(card)
        )
        assert (ids(staged), staged.calls("latch_customer")) == (
            (101, 202),
            2 if when == "before" else 1,
        )


async def test_simultaneous_clicks_on_undo_post_one_card(world: World) -> None:
    card = await world.confirmed()
    before = len(replies(world, card))
    presses = [world.slack.click("U0BOB", card.ts, UNDO) for _ in range(4)]
    assert {delivery.status for delivery in await asyncio.gather(*presses)} == {200}
    await world.settled()
    assert len(replies(world, card)) == before + 1
    assert "already an open request" in world.last_ephemeral("U0BOB")


async def test_an_undo_overtaken_by_a_later_decision_latches_nothing(world: World) -> None:
    card = await world.confirmed()
    undo = await world.follow_up(card, UNDO)
    world.fusebill.customers[BIKES].update(hubSpotId=101, hubSpotCompanyId=202)
    again = await world.confirmed("2554529 once more")
    assert "✅ Unlatched" in world.card(again)

    assert "⏩ Overtaken" in world.card(undo)
    assert "latch_customer" not in operations(world)
    assert ids(world) == (None, None)
    assert "another request came first" in world.thread(card)


async def test_an_expired_undo_does_not_suggest_unlatching(open_world: OpenWorld) -> None:
    async with open_world(timing=Timing(sweep_every_s=60)) as world:
        undo = await world.follow_up(await world.confirmed(), UNDO)
        await world.pass_time(QUARTER)
        await world.press("U0BOB", undo, CONFIRM)
        assert world.last_ephemeral("U0BOB").endswith("Ask again: Undo…")
