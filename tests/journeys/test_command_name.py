"""The command under another name than the usual one, as a test app beside the real one has it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.sandbox.slack.simulator import text_of
from bot.settings import Mode
from tests.support.names import AGAIN, BIKES, CHANNEL, CONFIRM, UNDO
from tests.support.reading import parts
from tests.support.world import QUARTER, OpenWorld, World

OTHER = "/unlatch-test"
JOINERY = 3100025
USUAL = re.compile(r"/unlatch\b(?!-test)")


def all_that_was_said(world: World) -> str:
    """Every message and every private answer, one after the other."""
    workspace = world.slack.workspace
    threads = [workspace.thread(CHANNEL, each.ts) for each in workspace.messages(CHANNEL)]
    messages = [*workspace.messages(CHANNEL), *(each for thread in threads for each in thread)]
    private = [text_of(each.blocks) for each in workspace.all_ephemerals()]
    return "\n".join([*(text_of(each.blocks) for each in messages), *private])


async def typed(world: World, text: str, command: str = OTHER) -> None:
    delivery = await world.slack.command("U0ALICE", text, command=command)
    assert delivery.status == 200
    await world.settled()


async def pressed(world: World) -> None:
    """Press the first button of Alice's last private answer."""
    answer = world.slack.workspace.ephemerals("U0ALICE")[-1]
    button: dict[str, Any] = next(each for each in parts(answer.blocks) if "value" in each)
    await world.slack.click_ephemeral("U0ALICE", answer, button["action_id"], button["value"])
    await world.settled()


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_every_private_answer_names_the_command_as_it_was_typed(
    open_world: OpenWorld, mode: Mode
) -> None:
    async with open_world(mode=mode, unlatch_channels=frozenset({CHANNEL})) as world:
        for text in ("help", "", "history abc", "history 0001337", "pending", "undo", "424242 x"):
            await typed(world, text)
        await typed(world, f"{BIKES} {JOINERY} {'because ' * 300}")
        await world.slack.command("U0ALICE", f"{BIKES}", command=OTHER, channel_id="C0PUBLIC")
        await world.settled()
        assert f"Type {OTHER} " in all_that_was_said(world)
        assert f"{OTHER} pending" in all_that_was_said(world)
        assert USUAL.findall(all_that_was_said(world)) == []


async def names(world: World) -> list[object]:
    """The name that each card's first event keeps, the oldest card first."""
    cards = sorted(await world.cards(), key=lambda each: each.first.asked_at)
    return [each.first.events[0].details["command"] for each in cards]


async def by_id(world: World) -> None:
    await typed(world, f"{BIKES} moved")


async def by_a_search(world: World) -> None:
    await typed(world, "find stolen")
    await pressed(world)


async def by_one_of_two_meanings(world: World) -> None:
    await typed(world, f"{BIKES} and {JOINERY}")
    await pressed(world)


async def by_a_form(world: World) -> None:
    await typed(world, "many")
    form = world.slack.views.of("U0ALICE")
    await world.slack.submit(form.id, {"ids": f"{BIKES}\n{JOINERY}", "reason": "moved"})
    await world.settled()


@pytest.mark.parametrize(
    "ask", [by_id, by_a_search, by_one_of_two_meanings, by_a_form], ids=lambda ask: ask.__name__
)
async def test_whatever_leads_to_a_card_keeps_the_name_that_was_typed(
    world: World, ask: Any
) -> None:
    await ask(world)
    [card] = world.slack.workspace.messages(CHANNEL)
    await world.pass_time(QUARTER)
    await world.slack.workspace.until(lambda: "⌛ Expired" in world.card(card))
    await world.settled()
    await world.press("U0ALICE", card, AGAIN)
    assert await names(world) == [OTHER, OTHER]
    assert USUAL.findall(all_that_was_said(world)) == []


async def test_a_follow_up_is_named_as_its_card_was(world: World) -> None:
    await by_id(world)
    [card] = world.slack.workspace.messages(CHANNEL)
    await world.press("U0BOB", card, CONFIRM)
    await world.press("U0BOB", card, UNDO)
    assert await names(world) == [OTHER, OTHER]
