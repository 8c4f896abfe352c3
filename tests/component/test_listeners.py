"""Acks: given in time, and standing whatever comes after them."""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from bot.ops import logs
from bot.sandbox.slack.simulator import Delivery
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import operations, parts, said
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


def click(value: str, **without: None) -> bytes:
    payload = {
        "type": "block_actions",
        "user": {"id": "U0BOB", "team_id": "T0SANDBOX"},
        "team": {"id": "T0SANDBOX"},
        "actions": [{"action_id": CONFIRM, "type": "button", "block_id": "b", "value": value}],
        "container": {"channel_id": CHANNEL, "message_ts": "1.2"},
        "response_url": "http://127.0.0.1:9/never",
    }
    sent = {key: payload[key] for key in payload if key not in without}
    return f"payload={quote(json.dumps(sent))}".encode()


@pytest.mark.parametrize("missing", ["container", "response_url"])
async def test_an_exception_after_the_ack_leaves_the_ack_standing(
    world: World, missing: str
) -> None:
    # an unknown request is told so after the ack, through what this payload lacks
    delivery = await signed(world, click("no such request", **{missing: None}))
    assert (delivery.status, delivery.body) == (200, "")
    # Bolt would let Slack wait for three seconds, and then answer 404
    assert delivery.seconds < 2.5


@pytest.mark.parametrize("missing", ["user", "team_id", "channel_id", "response_url"])
async def test_an_exception_before_the_ack_is_answered_and_says_nothing_of_itself(
    world: World, missing: str
) -> None:
    fields = {key: value for key, value in COMMAND.items() if not key.startswith(missing)}
    delivery = await signed(world, urlencode(fields).encode())
    assert (delivery.status, delivery.seconds < 2.5) == (200, True)
    assert "Something went wrong in the bot" in delivery.body
    assert "Error" not in delivery.body
    assert operations(world) == []


async def test_the_bot_goes_on_after_an_exception(world: World) -> None:
    await signed(world, click("no such request", container=None))
    await signed(world, urlencode({"command": "/unlatch"}).encode())
    assert "Fusebill id: 2554529" in world.card(await world.ask())


async def test_an_ack_says_nothing_where_what_it_asks_for_comes_after(world: World) -> None:
    delivery = await world.slack.command("U0ALICE", "2554529")
    assert (delivery.status, delivery.body) == (200, "")


@pytest.mark.parametrize("action_id", [CONFIRM, CANCEL])
async def test_a_click_that_cannot_be_written_down_decides_nothing_and_is_told_so(
    world: World, tmp_path: Path, action_id: str
) -> None:
    card = await world.ask()
    somebody = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    somebody.execute("BEGIN EXCLUSIVE")
    delivery = await world.slack.click("U0BOB", card.ts, action_id)
    await world.settled()
    somebody.close()
    # Slack waits three seconds for an ack
    assert (delivery.status, delivery.seconds < 3.0) == (200, True)
    assert "ledger can't be reached, so nothing was done" in world.last_ephemeral("U0BOB")
    assert operations(world) == ["get_customer"]


async def test_a_click_that_could_not_be_written_down_can_be_repeated(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    somebody = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    somebody.execute("BEGIN EXCLUSIVE")
    await world.press("U0BOB", card, CONFIRM)
    somebody.close()
    await world.press("U0BOB", card, CONFIRM)
    assert "Cleared: contact 101, company 202" in world.card(card)


async def test_a_card_that_cannot_be_written_down_says_that_nobody_can_confirm_it(
    world: World, tmp_path: Path
) -> None:
    somebody = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    somebody.execute("BEGIN EXCLUSIVE")
    card = await world.ask()
    somebody.close()
    assert "could not be written down, so nobody can confirm it" in world.card(card)
    buttons = parts(said(world)[0].arguments["blocks"])
    value = next(part["value"] for part in buttons if part["type"] == "button")
    await world.slack.forge_click("U0BOB", card.ts, CONFIRM, value)
    await world.settled()
    assert operations(world) == ["get_customer"]


def spoil(folder: Path, where: str = "1 = 1") -> None:
    """Make requests' rows unreadable, as somebody might who writes into the database."""
    with sqlite3.connect(folder / "ledger.db") as somebody:
        somebody.execute(f"UPDATE requests SET customer = 'oops' WHERE {where}")
    somebody.close()


@pytest.mark.parametrize("action_id", [CONFIRM, CANCEL])
async def test_a_click_that_fails_in_the_bot_is_acknowledged_and_told_to_who_clicked(
    world: World, tmp_path: Path, action_id: str
) -> None:
    card = await world.ask()
    spoil(tmp_path)
    delivery = await world.slack.click("U0BOB", card.ts, action_id)
    await world.settled()
    assert (delivery.status, delivery.body) == (200, "")
    assert "Something went wrong in the bot" in world.last_ephemeral("U0BOB")
    assert operations(world) == ["get_customer"]


async def test_work_that_fails_in_the_bot_after_the_ack_is_told_to_who_asked(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    spoil(tmp_path)
    await world.press("U0BOB", card, "unlatch_undo")
    assert "Something went wrong in the bot" in world.last_ephemeral("U0BOB")


async def test_a_row_that_cannot_be_read_keeps_no_other_card_from_expiring(
    open_world: OpenWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world(unlatch_expires_after_s=1) as world:
        spoiled, other = await world.ask(), await world.ask("3100025 why")
        spoil(tmp_path, "customer_id = 2554529")
        await world.slack.workspace.until(lambda: "Expired" in world.card(other))
        assert "[Unlatch customer]" in world.card(spoiled)
    assert capsys.readouterr().out.count("row can't be read") == 1


async def test_a_command_that_a_stop_cuts_short_is_told_to_who_typed_it(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(QUICK, drains_for_s=0.2)) as world:
        world.fusebill.misbehave("hang", times=None)
        await world.slack.command("U0ALICE", "2554529")
    assert "did not get to this; nothing was changed" in world.last_ephemeral("U0ALICE")


async def test_every_line_that_follows_a_click_names_who_and_where(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    logs.configure("INFO", "json")
    logging.getLogger().addHandler(caplog.handler)
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    lines = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
    (settled,) = (line for line in lines if line["event"] == "settled")
    known = ("user_id", "channel_id", "message_ts", "customer_id", "requester", "decider")
    assert [settled[name] for name in known] == [
        "U0BOB",
        CHANNEL,
        card.ts,
        2554529,
        "U0ALICE",
        "U0BOB",
    ]
