"""`/unlatch pending`: what waits and what is under way, for the person who asks."""

from __future__ import annotations

import pytest

from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import heard_by, operations, without_times
from tests.support.world import OpenWorld, World


async def listed(world: World, user_id: str = "U0BOB") -> list[str]:
    """The lines of one person's list."""
    return without_times(await world.reply_to("pending", user_id)).splitlines()


def titles(lines: list[str]) -> list[str]:
    """The first line of each request."""
    return [line for line in lines if line.endswith("card")]


async def test_who_asks_sees_what_waits_and_what_is_under_way_and_where_its_card_is(
    world: World,
) -> None:
    await world.ask("2554529 moved to the new portal")
    assert await listed(world) == [
        "Waiting for a decision, or under way",
        "☝️ you may decide · 2554529 Stolen Bikes · card",
        "asked by <@U0ALICE>, AT; expires AT",
        "why: moved to the new portal",
    ]
    [call] = [call for call in world.slack.calls if call.method == "chat.getPermalink"]
    assert call.answer["ok"]
    assert heard_by(world) == {"U0BOB", CHANNEL}
    world.fusebill.misbehave("hang", operation="unlatch_customer", times=None)
    [card] = world.slack.workspace.messages(CHANNEL)
    await world.slack.click("U0ALICE", card.ts, CONFIRM)
    reads = operations(world)
    assert (await listed(world))[1:3] == [
        "⏳ under way · 2554529 Stolen Bikes · card",
        "asked by <@U0ALICE>, AT",
    ]
    assert operations(world)[: len(reads)] == reads
    world.fusebill.hang_up()
    world.fusebill.behave()


async def test_cards_that_this_person_may_decide_come_first_then_the_oldest(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_two_person=True) as world:
        await world.ask("2554529 a", "U0BOB")
        await world.ask("3100025 b", "U0ALICE")
        await world.ask("3100066 c", "U0BOB")
        await world.ask("3100058 d", "U0ALICE")
        found = [line.split(" · ")[:2] for line in titles(await listed(world))]
        assert [[state, name.split()[0]] for state, name in found] == [
            ["☝️ you may decide", "3100025"],
            ["☝️ you may decide", "3100058"],
            ["🕒 waits for somebody else", "2554529"],
            ["🕒 waits for somebody else", "3100066"],
        ]


async def test_what_is_decided_and_done_is_not_listed_though_it_is_read_again_later(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_recheck_after_s=3600) as world:
        await world.press("U0ALICE", await world.ask(), CONFIRM)
        await world.press("U0ALICE", await world.ask("3100025"), CANCEL)
        await world.decline("U0BOB", await world.ask("3100066"))
        assert await listed(world) == ["☑️ Nothing waits for a decision, and no work is under way."]


async def test_at_most_ten_are_shown_and_the_others_counted(world: World) -> None:
    for number in range(12):
        await world.ask(f"2554529 number {number}")
    lines = await listed(world)
    assert [line for line in lines if line.startswith("why")] == [
        f"why: number {number}" for number in range(10)
    ]
    assert lines[-1] == "2 more are not shown."
    assert all(call.answer["ok"] for call in world.slack.calls)


async def test_the_rules_for_reading_apply(world: World) -> None:
    assert "People from other organisations may not" in (await listed(world, "U0GUEST"))[0]


async def test_a_list_that_the_ledger_cannot_give_is_said_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask()
    monkeypatch.setattr("bot.ledger.database.executor.TIMEOUT_S", 0.0)
    assert "ledger can't be reached" in (await listed(world))[0]
