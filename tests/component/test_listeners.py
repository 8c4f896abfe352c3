"""Acknowledgements: given in time, and never undone by a later failure."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from bot.messages.card import Action
from bot.ops import logs
from bot.sandbox.slack.simulator import Delivery
from tests.support.damage import spoil
from tests.support.ledger import set_back
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM, MOVE
from tests.support.reading import operations, request_id
from tests.support.world import QUICK, OpenWorld, World

COMMAND = {
    "command": "/unlatch",
    "text": "2554529",
    "channel_id": CHANNEL,
    "user_id": "U0ALICE",
    "team_id": "T0SANDBOX",
    "response_url": "http://127.0.0.1:9/never",
}


async def signed(world: World, body: bytes) -> Delivery:
    return await world.slack.send_raw(body, world.slack.sign(body))


def click(value: str, action_id: str = CONFIRM, **changes: object) -> bytes:
    """A press as Slack sends it; a part that is None is left out."""
    payload: dict[str, object] = {
        "type": "block_actions",
        "user": {"id": "U0BOB", "team_id": "T0SANDBOX"},
        "team": {"id": "T0SANDBOX"},
        "actions": [{"action_id": action_id, "type": "button", "block_id": "b", "value": value}],
        "container": {"channel_id": CHANNEL, "message_ts": "1.2"},
        "response_url": "http://127.0.0.1:9/never",
    }
    sent = {key: each for key, each in (payload | changes).items() if each is not None}
    return f"payload={quote(json.dumps(sent))}".encode()


@pytest.mark.parametrize("action_id", [CONFIRM, "unlatch_undo"])
async def test_an_exception_about_the_ack_does_not_undo_it(world: World, action_id: str) -> None:
    # who pressed is read before the ack of one button, and after that of the other
    delivery = await signed(world, click("no such request", action_id, user=None))
    assert (delivery.status, delivery.body) == (200, "")
    # without the guard Bolt would wait for three seconds and answer 404
    assert delivery.seconds < 2.5


async def test_every_button_has_a_listener(world: World) -> None:
    # Bolt answers 404 to what nobody listens to
    found = {
        action: [(await signed(world, click("5f0c", f"{action}{end}"))).status for end in ("", "_")]
        for action in Action
    }
    assert found == {action: [200, 404] for action in Action}


@pytest.mark.parametrize(
    "changes",
    [
        {"response_url": None},
        {"container": None},
        {"container": {"type": "view"}, "channel": {"id": CHANNEL}},
        {"container": None, "response_url": None, "team": None},
    ],
    ids=str,
)
async def test_a_press_counts_though_slack_leaves_out_where_it_was(
    world: World, changes: dict[str, Any]
) -> None:
    card = await world.ask()
    delivery = await signed(world, click(request_id(card), **changes))
    await world.settled()
    assert (delivery.status, delivery.body) == (200, "")
    assert world.card(card).startswith("✅ Unlatched: Stolen Bikes (2554529)")
    assert "By <@U0BOB>" in world.card(card)


async def test_an_exception_before_the_ack_is_answered_without_its_text(world: World) -> None:
    for missing in ("user", "team_id", "channel_id", "response_url"):
        fields = {key: value for key, value in COMMAND.items() if not key.startswith(missing)}
        delivery = await signed(world, urlencode(fields).encode())
        assert (delivery.status, delivery.seconds < 2.5) == (200, True)
        assert "Something went wrong in the bot" in delivery.body
        assert "Error" not in delivery.body
    assert operations(world) == []


async def test_the_bot_works_after_an_exception(world: World) -> None:
    await signed(world, click("no such request", user=None))
    await signed(world, urlencode({"command": "/unlatch"}).encode())
    assert "(2554529)" in world.card(await world.ask())


async def test_the_ack_of_an_ask_is_empty(world: World) -> None:
    delivery = await world.slack.command("U0ALICE", "2554529")
    assert (delivery.status, delivery.body) == (200, "")


async def test_a_cancel_that_finds_no_ledger_decides_nothing_and_says_so(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    delivery = await world.slack.click("U0BOB", card.ts, CANCEL)
    await world.settled()
    other.close()
    # Slack waits three seconds for an ack
    assert (delivery.status, delivery.seconds < 3.0) == (200, True)
    assert "ledger can't be reached, so nothing was done" in world.last_ephemeral("U0BOB")
    assert operations(world) == ["get_customer"]


async def test_a_request_that_cannot_be_recorded_gets_no_card(world: World, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    reply = await world.reply_to("2554529")
    other.close()
    await world.settled()
    assert reply == (
        "💾 The bot's ledger can't be reached, so no card was posted.\nNothing was changed.\n"
        "In a minute, ask again: /unlatch 2554529"
    )
    assert world.slack.workspace.messages(CHANNEL) == []


@pytest.mark.parametrize("action_id", [CONFIRM, CANCEL])
async def test_a_click_that_fails_in_the_bot_is_acknowledged_and_answered(
    world: World, action_id: str
) -> None:
    card = await world.ask()
    spoil(world.database_url)
    delivery = await world.slack.click("U0BOB", card.ts, action_id)
    await world.settled()
    assert (delivery.status, delivery.body) == (200, "")
    assert "Something went wrong in the bot" in world.last_ephemeral("U0BOB")
    assert operations(world) == ["get_customer"]


async def test_work_that_fails_after_the_ack_is_reported_to_the_person(
    world: World,
) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    spoil(world.database_url)
    await world.press("U0BOB", card, "unlatch_undo")
    assert "Something went wrong in the bot" in world.last_ephemeral("U0BOB")


async def test_a_press_that_can_not_be_read_after_its_ack_is_answered(world: World) -> None:
    card = await world.ask()
    delivery = await world.slack.forge_click("U0BOB", card.ts, MOVE, "not what a card has")
    assert delivery.status == 200
    await world.settled()
    assert "Something went wrong in the bot" in world.last_ephemeral("U0BOB")


async def test_other_cards_expire_though_one_row_cannot_be_read(
    open_world: OpenWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world() as world:
        spoiled, other = await world.ask(), await world.ask("3100025 why")
        spoil(world.database_url, BIKES)
        set_back(world.database_url, timedelta(minutes=-15))
        await world.slack.workspace.until(lambda: "Expired" in world.card(other))
        assert "[Unlatch Stolen Bikes]" in world.card(spoiled)
    logged = capsys.readouterr().out
    assert logged.count("job failed; audit --verify finds changed rows") == 1


async def test_a_command_that_a_stop_interrupts_is_reported_to_the_person(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(QUICK, drains_for_s=0.2)) as world:
        world.fusebill.misbehave("hang", times=None)
        await world.slack.command("U0ALICE", "2554529")
    assert "did not get to this; nothing was changed" in world.last_ephemeral("U0ALICE")


async def test_log_lines_about_a_click_name_the_person_and_the_card(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", "json")
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    written = capsys.readouterr().err.splitlines()
    lines = [json.loads(line) for line in written if line.startswith("{")]
    (executed,) = (line for line in lines if line["event"] == "executed")
    known = ("user_id", "channel_id", "message_ts", "customer_id", "requester", "decider")
    assert [executed[name] for name in known] == [
        "U0BOB",
        CHANNEL,
        card.ts,
        2554529,
        "U0ALICE",
        "U0BOB",
    ]
