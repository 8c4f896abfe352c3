"""Helpers for the failure tests: confirm a card, wait for its result, check its thread."""

from __future__ import annotations

import asyncio
from collections import Counter

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Timing
from tests.support import ledger
from tests.support.world import World

# the lease is longer than any of these tests: no request may be reclaimed
TIMING = Timing(hold_s=20, execution_s=1.0, sweep_every_s=0.05, working_after_s=0.1, pause_s=0.05)
STORY = ["asked", "confirmed", "Unlatched"]


class Gate:
    """Holds a call of a simulator until it is opened: each one, or only the first."""

    def __init__(self, call: str, *, only_first: bool = False) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._call, self._only_first = call, only_first

    async def __call__(self, call: str) -> None:
        if call == self._call and not (self._only_first and self.reached.is_set()):
            self.reached.set()
            await self.opened.wait()


def calls(world: World) -> int:
    return Counter(call.operation for call in world.fusebill.calls)["unlatch_customer"]


async def confirm(world: World, card: PostedMessage) -> None:
    assert (await world.slack.click("U0BOB", card.ts, "unlatch_confirm")).status == 200


async def confirm_until_given_up(world: World, card: PostedMessage) -> None:
    """Confirm a card while Slack takes nothing, until the bot gives up on Slack."""
    await confirm(world, card)
    kept = await world.kept_when(card, lambda kept: kept.jobs == ["show"])
    while not kept.is_settled:
        # an attempt that is under way counts from what it began with
        ledger.give_up_next_time(world.database_url, kept.id)
        await asyncio.sleep(0.1)
        kept = await world.kept(card)
    await world.settled()
    assert kept.story[-1] is EventType.DELIVERY_FAILED


async def shown(world: World, card: PostedMessage, title: str) -> None:
    """Wait until card and thread show a title."""
    await world.slack.workspace.until(
        lambda: title in world.card(card) and title in world.thread(card)
    )
    await world.settled()


def posted_once_in_order(thread: str) -> bool:
    """Whether a thread shows each step of a plain unlatch once, in order."""
    positions = [thread.find(line) for line in STORY]
    return positions == sorted(positions) and all(thread.count(line) == 1 for line in STORY)
