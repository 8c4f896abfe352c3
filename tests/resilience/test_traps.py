"""Pitfalls of Bolt and slack_sdk, tested over the wire; each test fails without its guard."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bot.app.composition import build
from bot.domain.models import Verdict
from bot.inbound.socket_mode import SocketMode
from tests.support.names import CHANNEL
from tests.support.proxy import Proxy
from tests.support.world import World, settings_for

LOCKED_S = 0.5


async def test_a_click_is_acknowledged_only_after_its_verdict_is_on_disk(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(LOCKED_S, other.close)
    delivery = await world.slack.click("U0BOB", card.ts, "unlatch_confirm")
    assert delivery.seconds >= LOCKED_S - 0.1
    assert (await world.kept(card)).first.verdict is Verdict.CONFIRMED


async def test_a_failure_after_an_ack_does_not_undo_it(world: World) -> None:
    card = await world.ask()
    await world.press("U0ALICE", card, "unlatch_cancel")
    card_id = (await world.kept(card)).id
    # a click that came too late, without the response_url to answer it
    click = {
        "type": "block_actions",
        "team": {"id": "T0SANDBOX"},
        "user": {"id": "U0BOB", "team_id": "T0SANDBOX"},
        "actions": [{"type": "button", "action_id": "unlatch_confirm", "value": card_id}],
    }
    body = urlencode({"payload": json.dumps(click)}).encode()
    delivery = await world.slack.send_raw(body, world.slack.sign(body))
    assert delivery.status == 200


async def test_a_failed_command_is_reported_to_the_person(world: World) -> None:
    world.slack.faults.fail("chat.postMessage", error="some_new_error", times=None)
    assert "some_new_error" in await world.reply_to("2554529")


async def test_no_ack_waits_for_auth_test(world: World) -> None:
    world.slack.faults.fail("auth.test", error="invalid_auth", times=None)
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    assert Counter(call.method for call in world.slack.calls)["auth.test"] == 1


async def test_every_update_includes_its_blocks(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    [update] = [call for call in world.slack.calls if call.method == "chat.update"]
    assert update.arguments["text"]
    assert update.arguments["blocks"]


async def test_a_card_is_a_message_that_can_always_be_updated(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    methods = Counter(call.method for call in world.slack.calls)
    assert methods == {"auth.test": 1, "chat.postMessage": 2, "chat.update": 1}


async def test_slack_sdk_does_not_retry_a_lost_answer(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.update", drop="before")
    await world.press("U0BOB", card, "unlatch_confirm")
    assert "slack unavailable" in capsys.readouterr().out


async def test_acks_do_not_wait_for_bolts_polling(world: World) -> None:
    deliveries = [await world.slack.command("U0ALICE", "help") for _ in range(20)]
    assert min(delivery.seconds for delivery in deliveries) < 0.009


async def test_a_dead_socket_mode_connection_is_replaced(world: World, tmp_path: Path) -> None:
    slack = world.slack
    host, port = slack.url.removeprefix("http://").strip("/").split(":")
    async with (
        Proxy(partial(asyncio.open_connection, host, int(port))) as proxy,
        build(settings_for(slack, world.fusebill, tmp_path)) as bot,
    ):
        slack.request_url, slack.url = None, f"http://127.0.0.1:{proxy.port}/"
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection = SocketMode(
            bot.app, bot.slack, bot.client, slack.app_token, ended, ping_every_s=0.2
        )
        await connection.open()
        links = slack.socket_mode.links
        await slack.workspace.until(lambda: bool(links))
        [dead] = links
        proxy.freeze()
        await slack.workspace.until(lambda: any(link is not dead for link in links))
        # Slack would have noticed the dead connection
        links.remove(dead)
        assert (await slack.command("U0ALICE", "2554529")).status == 200
        await slack.workspace.until(lambda: bool(slack.workspace.messages(CHANNEL)))
        await connection.close()


def test_the_version_of_bolt_has_no_signature_bypass() -> None:
    assert tuple(map(int, version("slack_bolt").split(".")[:2])) >= (1, 29)
