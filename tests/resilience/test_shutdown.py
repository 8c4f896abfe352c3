"""Stop and deploy: acknowledged work is finished, and no new work is taken."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2
from time import monotonic

import aiohttp
import pytest

from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Mode
from tests.support.bot_process import PACE
from tests.support.faults import Gate
from tests.support.names import CHANNEL
from tests.support.proxy import Proxy
from tests.support.stage import Stage

MARGIN_S = 6.0


async def held_at_its_call(staged: Stage) -> tuple[PostedMessage, Gate]:
    """A card that was confirmed, and what holds its call."""
    card, gate = await staged.ask(), Gate("unlatch_customer")
    staged.fusebill.before = gate
    assert (await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")).status == 200
    await staged.until(gate.reached.is_set)
    return card, gate


async def ready(address: str) -> int:
    """The status of /readyz, or 0 if nothing listens any more."""
    try:
        # over a new connection, as a host does: an open one may outlive the listening socket
        async with aiohttp.request("GET", f"{address}/readyz") as response:
            return response.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_stopping_bot_finishes_acknowledged_work(staged: Stage, mode: Mode) -> None:
    bot = await staged.start(mode=mode)
    card, gate = await held_at_its_call(staged)
    assert await ready(bot.address) == 200

    bot.signal(SIGTERM)
    await staged.until(lambda: '"stopping"' in staged.log)
    assert [await ready(bot.address) for _ in range(3)] == [503, 503, 503]
    if mode == "socket":
        await staged.until(lambda: not staged.slack.socket_mode.links)
    gate.opened.set()
    assert await bot.ended() == 0
    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert "Unlatched" in staged.thread(card)
    assert [card.is_settled for card in staged.cards()] == [True]
    assert staged.log.rstrip().endswith("}")


@pytest.mark.parametrize(("mode", "status"), [("http", 503), ("socket", 0)])
async def test_a_stopping_bot_takes_no_new_work(staged: Stage, mode: Mode, status: int) -> None:
    bot = await staged.start(mode=mode)
    _card, gate = await held_at_its_call(staged)
    bot.signal(SIGTERM)
    await staged.until(lambda: '"stopping"' in staged.log)

    assert (await staged.slack.command("U0ALICE", "2554529")).status == status
    assert "failed" in staged.slack.workspace.ephemerals("U0ALICE")[-1].text
    gate.opened.set()
    assert await bot.ended() == 0
    assert len(staged.slack.workspace.messages(CHANNEL)) == 1


async def test_socket_mode_takes_no_work_while_a_probe_waits_for_slack(
    staged: Stage,
) -> None:
    bot = await staged.start(mode="socket")
    hold = Gate("auth.test")
    staged.slack.before = hold
    probe = asyncio.create_task(ready(bot.address))
    await staged.until(hold.reached.is_set)
    bot.signal(SIGTERM)
    await staged.until(lambda: '"stopping"' in staged.log)
    assert (await staged.slack.command("U0ALICE", "2554529")).status == 0
    await staged.until(lambda: not staged.slack.socket_mode.links)
    hold.opened.set()
    assert await probe == 503
    assert await bot.ended() == 0
    assert staged.slack.workspace.messages(CHANNEL) == []


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_click_in_flight_when_the_bot_stops_is_acknowledged_and_executed(
    staged: Stage, mode: Mode
) -> None:
    bot = await staged.start(mode=mode)
    card = await staged.ask()
    with closing(sqlite3.connect(staged.folder / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        click = asyncio.create_task(staged.slack.click("U0BOB", card.ts, "unlatch_confirm"))
        await asyncio.sleep(0.7)
        bot.signal(SIGTERM)
        await staged.until(lambda: '"stopping"' in staged.log)
        other.execute("ROLLBACK")
    assert (await click).status == 200
    assert await bot.ended() == 0
    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert [card.is_settled for card in staged.cards()] == [True]


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_stop_ends_in_time_though_slack_and_fusebill_hang(
    staged: Stage, mode: Mode
) -> None:
    pace = replace(PACE, drains_for_s=0.5, working_after_s=0.1, execution_s=24, hold_s=30)
    bot = await staged.start(mode=mode, timing=pace)
    card = await staged.ask()
    fusebill, slack = Gate("unlatch_customer"), Gate("chat.update")
    staged.fusebill.before, staged.slack.before = fusebill, slack
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(slack.reached.is_set)

    began = monotonic()
    assert await bot.stop() == 0
    assert monotonic() - began < 0.5 + MARGIN_S
    fusebill.opened.set()
    slack.opened.set()


async def test_a_stop_does_not_wait_for_slacks_close_frame(staged: Stage) -> None:
    host, port = staged.slack.url.removeprefix("http://").strip("/").split(":")
    async with Proxy(partial(asyncio.open_connection, host, int(port))) as proxy:
        real, staged.slack.url = staged.slack.url, f"http://127.0.0.1:{proxy.port}/"
        bot = await staged.start(mode="socket", slack_api_url=f"{real}api/")
        proxy.freeze()
        began = monotonic()
        assert await bot.stop() == 0
        assert monotonic() - began < MARGIN_S


async def test_a_bot_that_never_got_its_websocket_can_be_stopped(
    staged: Stage,
) -> None:
    real, staged.slack.url = staged.slack.url, "http://127.0.0.1:1/"
    bot = await staged.launch(mode="socket", slack_api_url=f"{real}api/")
    await staged.until(
        lambda: Counter(call.method for call in staged.slack.calls)["apps.connections.open"] > 1
    )
    began = monotonic()
    assert await bot.stop() == 0
    assert monotonic() - began < MARGIN_S
    assert '"stopped"' in staged.log


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_a_second_signal_stops_at_once(staged: Stage, number: int) -> None:
    bot = await staged.start()
    _card, gate = await held_at_its_call(staged)
    bot.signal(number)
    await staged.until(lambda: '"stopping"' in staged.log)

    began = monotonic()
    bot.signal(number)
    assert await bot.ended() == 130
    assert monotonic() - began < 2
    gate.opened.set()


async def test_a_hangup_drains_however_often_it_comes(staged: Stage) -> None:
    bot = await staged.start()
    card, gate = await held_at_its_call(staged)
    bot.signal(SIGHUP)
    await staged.until(lambda: '"stopping"' in staged.log)
    bot.signal(SIGHUP)
    gate.opened.set()
    assert await bot.ended() == 0
    assert "Cleared contact 101 and company 202" in staged.card(card)


@pytest.mark.parametrize("number", [SIGUSR1, SIGUSR2])
async def test_a_signal_that_means_nothing_ends_nothing(staged: Stage, number: int) -> None:
    bot = await staged.start()
    bot.signal(number)
    await staged.until(lambda: '"signal ignored"' in staged.log)
    assert await ready(bot.address) == 200
    assert "(2554529)" in staged.card(await staged.ask())
    assert await bot.stop() == 0


async def test_unfinished_work_is_left_to_the_next_process(staged: Stage) -> None:
    bot = await staged.start(timing=replace(PACE, drains_for_s=0.3))
    card, gate = await held_at_its_call(staged)
    assert await bot.stop() == 0
    staged.fusebill.before = None
    gate.opened.set()

    await staged.start()
    await staged.settled()
    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert "resumed interrupted work" in staged.thread(card)
