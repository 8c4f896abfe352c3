"""`/unlatch pending`: what waits and what is under way, for the person who asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.sandbox.slack.simulator import PostedMessage
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import heard_by, operations, without_times
from tests.support.world import OpenWorld, World


async def listed(world: World, user_id: str = "U0BOB") -> list[str]:
    """The lines of one person's list."""
    return without_times(await world.reply_to("pending", user_id)).splitlines()


def titles(lines: list[str]) -> list[str]:
    """The first line of each request."""
    return [line for line in lines if line.endswith("card")]


async def test_a_waiting_card_shows_customer_requester_reason_expiry_and_link(
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


async def test_only_the_person_who_asks_sees_it_and_fusebill_is_not_called(world: World) -> None:
    await world.ask()
    before = operations(world)
    await listed(world)
    assert heard_by(world) == {"U0BOB", CHANNEL}
    assert operations(world) == before


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


async def test_work_under_way_is_listed_without_an_expiry(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("hang", operation="unlatch_customer", times=None)
    await world.slack.click("U0ALICE", card.ts, CONFIRM)
    lines = await listed(world)
    assert lines[1:3] == [
        "⏳ under way · 2554529 Stolen Bikes · card",
        "asked by <@U0ALICE>, AT",
    ]
    world.fusebill.hang_up()
    world.fusebill.behave()


async def decided(world: World, card: PostedMessage, how: str) -> None:
    if how == "declined":
        await world.decline("U0BOB", card)
    else:
        await world.press("U0ALICE", card, {"unlatched": CONFIRM, "cancelled": CANCEL}[how])


@pytest.mark.parametrize("how", ["unlatched", "cancelled", "declined"])
async def test_what_is_decided_and_done_is_not_listed(world: World, how: str) -> None:
    await decided(world, await world.ask(), how)
    assert await listed(world) == ["☑️ Nothing waits for a decision, and no work is under way."]


async def test_a_cleared_customer_that_waits_for_its_recheck_is_not_listed(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_recheck_after_s=3600) as world:
        await world.press("U0ALICE", await world.ask(), CONFIRM)
        assert "Nothing waits" in (await listed(world))[0]


async def test_at_most_ten_are_shown_and_the_others_counted(world: World) -> None:
    for number in range(12):
        await world.slack.command("U0ALICE", f"2554529 number {number}")
        await world.settled()
    lines = await listed(world)
    assert [line for line in lines if line.startswith("why")] == [
        f"why: number {number}" for number in range(10)
    ]
    assert lines[-1] == "2 more are not shown."
    assert all(call.answer["ok"] for call in world.slack.calls)


@pytest.mark.parametrize(
    ("user_id", "settings", "why"),
    [
        ("U0GUEST", {}, "People from other organisations may not"),
        ("U0BOB", {"unlatch_requesters": frozenset({"U0ALICE"})}, "You are not on the list"),
        ("U0BOB", {"unlatch_channels": frozenset({"C0PRIVATE"})}, "can't be used in this channel"),
    ],
    ids=["guest", "not listed", "channel"],
)
async def test_the_rules_for_reading_apply(
    open_world: OpenWorld, user_id: str, settings: dict[str, Any], why: str
) -> None:
    async with open_world(**settings) as world:
        assert why in (await listed(world, user_id))[0]


async def test_a_list_that_the_ledger_cannot_give_is_said_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask()
    monkeypatch.setattr("bot.ledger.database.executor.JOB_TIMEOUT_S", 0.0)
    assert "ledger can't be reached" in (await listed(world))[0]


async def test_many_lists_at_once_are_answered(world: World) -> None:
    await world.ask()
    await asyncio.gather(*(world.slack.command("U0BOB", "pending") for _ in range(10)))
    await world.settled()
    assert len(world.slack.workspace.ephemerals("U0BOB")) == 10
