"""Calls that outlive the bot's patience: never sent again, looked for, and waited for by others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.fusebill.misbehaviour import LATE_OR_LOST
from bot.settings import Timing
from tests.support.names import BIKES, CHECK, CONFIRM, CUSTOMERS, UNDO
from tests.support.reading import operations, request_id
from tests.support.world import OpenWorld, add_customers

# a call is given up after half a second, and what it does is looked for as long again
BRIEF = Timing(
    sweep_every_s=0.1, execution_s=2.0, fusebill_write_s=0.5, looks_for_s=1.5, look_s=0.05
)
WRITE, LATCH = "unlatch_customer", "latch_customer"


async def test_a_call_that_takes_longer_than_an_execution_is_waited_for(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(BRIEF, execution_s=0.4, fusebill_write_s=30)) as world:
        world.fusebill.misbehave(**LATE_OR_LOST["takes 9 s"] | {"seconds": 1.5})
        card = await world.confirmed()
        assert world.card(card).startswith("✅ Unlatched: ")
        assert operations(world).count(WRITE) == 1


async def test_a_call_that_ends_after_it_was_given_up_is_seen_and_not_sent_again(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        world.fusebill.misbehave(**LATE_OR_LOST["outlives the client"] | {"seconds": 0.6})
        card = await world.confirmed()
        assert world.card(card).startswith("✅ Unlatched: ")
        lost = "Fusebill: no answer (no complete answer within 0.5 s)"
        assert f"{lost} · read back" in world.thread(card)
        assert operations(world).count(WRITE) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "hang"},
        {"kind": "bad_gateway", "status": 504},
        {"kind": "lost_late", "seconds": 1.1},
    ],
    ids=str,
)
async def test_a_call_that_may_still_run_is_not_sent_again_and_can_be_checked(
    open_world: OpenWorld, trouble: dict[str, Any]
) -> None:
    patience = 0.5 if trouble["kind"] == "hang" else 5.0
    async with open_world(timing=replace(BRIEF, fusebill_write_s=patience)) as world:
        world.fusebill.misbehave(operation=WRITE, times=None, effect=False, **trouble)
        card = await world.confirmed()
        shown = world.card(card)
        assert shown.startswith("❓ Outcome unknown")
        assert "The call may still be under way." in shown
        assert "[Check again]" in shown
        assert operations(world).count(WRITE) == 1
        [request] = await world.requests_about(BIKES)
        assert request.outcome is Outcome.UNKNOWN
        world.fusebill.hang_up()


async def test_what_is_read_while_a_call_may_still_run_is_tried_again_after_a_failure(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        card = await world.ask()
        world.fusebill.misbehave(**LATE_OR_LOST["outlives the client"] | {"seconds": 0.1})
        world.fusebill.misbehave("unavailable", operation="get_customer", skips=1, times=2)
        await world.press("U0BOB", card, CONFIRM)
        assert world.card(card).startswith("✅ Unlatched: ")


async def test_ids_that_changed_while_a_call_may_still_run_are_told_as_what_they_are(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=BRIEF) as world:
        world.fusebill.misbehave("hang", operation=WRITE)
        card = await world.ask()
        await world.slack.click("U0BOB", card.ts, CONFIRM)
        await world.slack.workspace.until(lambda: operations(world).count(WRITE) == 1)
        world.fusebill.customers[BIKES].update(hubSpotId=901, hubSpotCompanyId=902)
        await world.settled()
        assert world.card(card).startswith("⚠️ Other ids than confirmed")
        world.fusebill.hang_up()


# nothing else begins for this customer within two holds
GUARDED = replace(BRIEF, hold_s=1.5, working_after_s=0.1)


async def test_a_late_call_never_meets_what_was_confirmed_after_it(open_world: OpenWorld) -> None:
    async with open_world(timing=replace(GUARDED, looks_for_s=0.2)) as world:
        world.fusebill.misbehave(**LATE_OR_LOST["outlives the client"] | {"seconds": 1.2})
        card = await world.confirmed()
        assert world.card(card).startswith("❓ Outcome unknown")
        # somebody clears it by hand, and the same call clears it once more, later
        world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
        await world.press("U0BOB", card, CHECK)
        assert world.card(card).startswith("✅ Unlatched")
        undo = await world.follow_up(card, UNDO)
        await world.slack.click("U0BOB", undo.ts, CONFIRM)
        await world.slack.workspace.until(lambda: "Waiting" in world.card(undo))
        assert "its call may run for up to 60 s" in world.card(undo)
        await world.settled()
        assert world.card(undo).startswith("↩️ Restored")
        assert world.fusebill.customers[BIKES]["hubSpotId"] == 101
        write, latch = (c.at for c in world.fusebill.calls if c.operation in (WRITE, LATCH))
        assert latch - write >= 3.0
        assert "turn came" in world.thread(card)


async def test_a_card_that_waits_for_work_waits_for_its_late_call_too(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=GUARDED) as world:
        first, second = [await world.ask(), await world.ask()]
        world.fusebill.misbehave("hang", operation=WRITE)
        await world.slack.click("U0BOB", first.ts, CONFIRM)
        await world.slack.click("U0BOB", second.ts, CONFIRM)
        await world.settled()
        assert world.card(first).startswith("❓ Outcome unknown")
        assert world.card(second).startswith("✅ Unlatched")
        one, two = (c.at for c in world.fusebill.calls if c.operation == WRITE)
        assert two - one >= 3.0
        world.fusebill.hang_up()


MANY = f"{', '.join(map(str, CUSTOMERS))} moved"


async def test_of_many_customers_no_more_are_begun_once_three_calls_got_no_answer(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(BRIEF, looks_for_s=0.3)) as world:
        add_customers(world.fusebill)
        world.fusebill.misbehave("hang", operation=WRITE, times=None)
        card = await world.confirmed(MANY)
        kept = await world.kept(card)
        calls = operations(world).count(WRITE)
        # eight at once, and two more before the third was given up
        assert 8 <= calls <= 10
        assert f"❓ {calls} unknown · ❌ {12 - calls} not begun" in world.card(card)
        assert "❌ Not begun, Fusebill does not answer: " in world.thread(card)
        assert "got no answer, so the bot made none for this one." in world.thread(card)
        for request in kept.requests:
            assert (EventType.BEGUN in request.story) is (request.outcome is Outcome.UNKNOWN)
        world.fusebill.hang_up()


async def test_two_calls_without_an_answer_keep_no_other_customer_from_its_turn(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(BRIEF, looks_for_s=0.3)) as world:
        add_customers(world.fusebill)
        world.fusebill.misbehave("hang", operation=WRITE, times=2)
        card = await world.confirmed(MANY)
        assert world.card(card).startswith("✅ 10 unlatched · ❓ 2 unknown")
        world.fusebill.hang_up()


async def test_after_a_stop_no_second_call_is_made_and_the_first_one_is_kept(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(BRIEF, execution_s=8.0, retry_s=1.0)) as world:
        card = await world.ask(f"{BIKES}, 3100025 moved")
        world.fusebill.misbehave("server_error", operation=WRITE, times=None)
        await world.slack.click("U0BOB", card.ts, CONFIRM)
        await world.slack.workspace.until(lambda: operations(world).count(WRITE) == 2)
        await world.slack.forge_click("U0BOB", card.ts, "unlatch_stop", request_id(card))
        await world.settled()
        assert operations(world).count(WRITE) == 2
        assert "❓ 2 unknown" in world.card(card)
        assert "It was stopped after a call had begun" in world.thread(card)
        assert "Fusebill: HTTP 500" in world.thread(card)
