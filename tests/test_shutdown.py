"""Stop and deploy: what was acknowledged is finished, nothing new is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGTERM
from time import monotonic

import aiohttp
import pytest

from bot.settings import Mode
from tests.bot_process import PACE
from tests.stage import Stage, stage


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as opened:
        yield opened


class Gate:
    """Holds a call of a double back until it is opened."""

    def __init__(self, call: str) -> None:
        self.reached, self.opened, self._call = asyncio.Event(), asyncio.Event(), call

    async def __call__(self, call: str) -> None:
        if call == self._call:
            self.reached.set()
            await self.opened.wait()


async def ready(address: str) -> int:
    """The status of /readyz, 0 where nobody answers any more."""
    try:
        async with aiohttp.request("GET", f"{address}/readyz") as response:
            return response.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_bot_that_is_told_to_stop_finishes_what_was_acknowledged(
    staged: Stage, mode: Mode
) -> None:
    bot = await staged.start(mode=mode)
    card = await staged.ask()
    gate = Gate("unlatch_customer")
    staged.fusebill.before = gate
    assert (await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")).status == 200
    await staged.until(gate.reached.is_set)
    assert await ready(bot.address) == 200

    bot.signal(SIGTERM)
    await staged.until(lambda: '"stopping"' in staged.log)
    assert await ready(bot.address) in (0, 503)
    if mode == "socket":
        await staged.until(lambda: not staged.slack.socket_mode.links)
    gate.opened.set()
    assert await bot.ended() == 0
    assert "Cleared: contact 101, company 202" in staged.card(card)
    assert "Unlatched" in staged.thread(card)
    assert [trail.request.due_at for trail in await staged.trails()] == [None]
    assert staged.log.rstrip().endswith("}")


async def test_a_bot_that_is_told_to_stop_takes_no_new_work(staged: Stage) -> None:
    bot = await staged.start()
    card = await staged.ask()
    gate = Gate("unlatch_customer")
    staged.fusebill.before = gate
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(gate.reached.is_set)
    bot.signal(SIGTERM)
    await staged.until(lambda: '"stopping"' in staged.log)

    assert (await staged.slack.command("U0ALICE", "2554529")).status == 0
    gate.opened.set()
    assert await bot.ended() == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_a_second_signal_stops_at_once(staged: Stage, number: int) -> None:
    bot = await staged.start()
    card = await staged.ask()
    gate = Gate("unlatch_customer")
    staged.fusebill.before = gate
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(gate.reached.is_set)
    bot.signal(number)
    await staged.until(lambda: '"stopping"' in staged.log)

    began = monotonic()
    bot.signal(number)
    assert await bot.ended() == 130
    assert monotonic() - began < 2
    gate.opened.set()


async def test_work_that_does_not_end_is_left_to_the_next_process(staged: Stage) -> None:
    bot = await staged.start(timing=replace(PACE, drains_for_s=0.3))
    card = await staged.ask()
    gate = Gate("unlatch_customer")
    staged.fusebill.before = gate
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(gate.reached.is_set)
    assert await bot.stop() == 0
    staged.fusebill.before = None
    gate.opened.set()

    await staged.start()
    await staged.settled()
    assert "Cleared: contact 101, company 202" in staged.card(card)
    assert "taken up again" in staged.thread(card)
