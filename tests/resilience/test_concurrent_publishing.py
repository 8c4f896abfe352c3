"""Several tasks publish one request: the newest card stays, and no event is posted twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.faults import TIMING, calls, posted_once_in_order
from tests.support.names import CHANNEL, CONFIRM, UNDO
from tests.support.reading import request_id
from tests.support.world import OpenWorld, World, settings_for


class Held:
    """Holds the first call of a method until `released` is set."""

    def __init__(self, world: World, method: str) -> None:
        self.method = method
        self.reached, self.released = asyncio.Event(), asyncio.Event()
        world.slack.before = self._hold

    async def _hold(self, method: str) -> None:
        if method == self.method and not self.reached.is_set():
            self.reached.set()
            await self.released.wait()


async def press_undo_late(world: World, card: PostedMessage) -> None:
    """Press **Undo…** on a card that no longer offers it, as who sees an older one may."""
    await world.slack.forge_click("U0GUEST", card.ts, UNDO, (await world.kept(card)).id)


async def test_an_old_card_that_slack_updates_late_does_not_stay(open_world: OpenWorld) -> None:
    async with open_world(timing=TIMING) as world:
        card = await world.ask()
        await world.press("U0BOB", card, CONFIRM)
        await world.press("U0ALICE", card, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        held = Held(world, "chat.update")
        # a refused click: its update shows the card as it was before the undo
        await press_undo_late(world, card)
        await held.reached.wait()
        await world.slack.click("U0BOB", undo.ts, CONFIRM)
        await world.slack.workspace.until(lambda: "latched" in world.card(undo).lower())
        asyncio.get_running_loop().call_later(0.5, held.released.set)
        await world.settled()
        assert "↩️ Undone" in world.card(card)
        assert (await world.kept(card)).is_settled
        assert "was refused" in world.thread(card)


async def test_a_refusal_being_posted_is_not_posted_again_with_the_result(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=TIMING, unlatch_two_person=True) as world:
        card = await world.ask()
        held = Held(world, "chat.postMessage")
        await world.slack.click("U0ALICE", card.ts, CONFIRM)
        await held.reached.wait()
        await world.slack.click("U0BOB", card.ts, CONFIRM)
        await world.slack.workspace.until(lambda: calls(world) == 1)
        held.released.set()
        await world.settled()
        assert "✅ Unlatched" in world.card(card)
        assert world.thread(card).count("was refused") == 1
        assert posted_once_in_order(world.thread(card))


async def test_a_result_being_posted_is_not_posted_again_with_a_refusal(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=TIMING) as world:
        card = await world.ask()
        held = Held(world, "chat.postMessage")
        await world.slack.click("U0BOB", card.ts, CONFIRM)
        await held.reached.wait()
        await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(card))
        await world.slack.click("U0GUEST", card.ts, UNDO)
        await world.slack.workspace.until(lambda: bool(world.slack.workspace.ephemerals("U0GUEST")))
        held.released.set()
        await world.settled()
        assert world.thread(card).count("was refused") == 1
        assert posted_once_in_order(world.thread(card))


async def test_a_plain_unlatch_updates_card_and_thread_once(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    methods = [call.method for call in world.slack.calls]
    assert sorted(methods[1:]) == ["chat.postMessage", "chat.postMessage", "chat.update"]


async def test_an_old_card_of_another_instance_is_replaced_soon(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    # the old drawing is held for less than a lease, also on a busy machine
    timing = replace(TIMING, hold_s=5.0)
    async with open_world(timing=timing) as world, AsyncExitStack() as stack:
        card = await world.ask()
        await world.press("U0BOB", card, CONFIRM)
        await world.press("U0ALICE", card, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        settings = settings_for(world.slack, world.fusebill, tmp_path)
        other = await stack.enter_async_context(build(settings, timing))
        address, _ended = await stack.enter_async_context(listening(other, settings, "http"))
        held = Held(world, "chat.update")
        await press_undo_late(world, card)
        await held.reached.wait()
        world.slack.request_url = f"{address}/slack/events"
        await world.slack.click("U0BOB", undo.ts, CONFIRM)
        await world.slack.workspace.until(lambda: not len(other.tasks))
        # one process draws a card at a time, and draws it again if it has changed meanwhile
        assert "↩️ Undone" not in world.card(card)
        held.released.set()
        await world.slack.workspace.until(lambda: "↩️ Undone" in world.card(card))
        await world.slack.workspace.until(lambda: not len(other.tasks) and not len(world.bot.tasks))
        assert (await world.kept(card)).is_settled


async def posted_twice(world: World) -> tuple[PostedMessage, PostedMessage]:
    """A card whose answer was lost, and the one in the ledger."""
    world.slack.faults.fail("chat.postMessage", drop="after")
    await world.slack.command("U0ALICE", "2554529 moved <&> on")
    await world.settled()
    orphan, own = world.slack.workspace.messages(CHANNEL)
    return orphan, own


async def test_a_duplicate_card_that_is_pressed_links_to_the_other_and_has_no_buttons(
    world: World,
) -> None:
    orphan, own = await posted_twice(world)
    await world.press("U0GUEST", orphan, CONFIRM)
    text = world.card(orphan)
    assert text.startswith("☝️ See the other card: Stolen Bikes")
    assert "moved <&> on" in text
    blocks = str(world.slack.workspace.message(CHANNEL, orphan.ts).blocks)
    assert own.ts.replace(".", "") in blocks
    assert "'button'" not in blocks
    assert "[Unlatch Stolen Bikes]" in world.card(own)


async def test_a_duplicate_card_mentions_the_other_if_there_is_no_permalink(world: World) -> None:
    orphan, _own = await posted_twice(world)
    world.slack.faults.fail("chat.getPermalink", error="message_not_found")
    await world.press("U0GUEST", orphan, CONFIRM)
    assert "the other card in this channel" in world.card(orphan)


async def test_the_requests_own_card_is_never_retired(world: World) -> None:
    card = await world.ask()
    before = len(world.slack.calls)
    await world.press("U0GUEST", card, CONFIRM)
    since = world.slack.calls[before:]
    # its thread gets the refusal, and it is drawn as it is
    assert {call.method for call in since} == {"response_url", "chat.postMessage", "chat.update"}
    updates = [call.arguments for call in since if call.method == "chat.update"]
    assert all("Unlatch Stolen Bikes" in str(each["blocks"]) for each in updates)
    assert "[Unlatch Stolen Bikes]" in world.card(card)


async def test_a_duplicate_card_that_slack_does_not_find_is_only_logged(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    await world.slack.forge_click("U0GUEST", "1.000001", CONFIRM, request_id(card))
    await world.settled()
    assert "duplicate card not retired" in capsys.readouterr().out
    assert "[Unlatch Stolen Bikes]" in world.card(card)
