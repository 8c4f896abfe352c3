"""Reads messages and calls: buttons, texts, and who received what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import aiohttp

from bot.sandbox.slack.simulator import Call, PostedMessage
from tests.support.names import CHANNEL
from tests.support.world import World


async def metrics_of(address: str) -> str:
    """The metrics of the bot at an address."""
    async with aiohttp.request("GET", f"{address}/metrics") as response:
        return await response.text()


def without_times(text: str) -> str:
    """Replace every time in a text with AT, and every duration with SOME."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "AT", text)
    text = re.sub(r"<!date\^[^|]*\|AT>", "AT", text)
    return re.sub(r" · [\d.]+ s\b", " · SOME s", text)


def parts(value: object) -> Iterator[dict[str, Any]]:
    """Every object with a type, anywhere in a message's blocks."""
    if isinstance(value, list):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        if "type" in value:
            yield value
        for item in value.values():
            yield from parts(item)


def buttons_of(message: PostedMessage) -> list[dict[str, Any]]:
    """A message's buttons, in order."""
    return [part for part in parts(message.blocks) if part["type"] == "button"]


def request_id(card: PostedMessage) -> str:
    """The request id in a card's buttons."""
    return str(buttons_of(card)[0]["value"])


def unlatched(thread: str) -> int:
    """How many times a thread says of a customer that it was unlatched, alone or in a batch.

    A reply whose posting was cut off may be there twice.
    """
    batches = re.findall(r"([0-9]+) unlatched", thread)
    alone = re.findall(r"(?:Unlatched:|\u2022) .* \([0-9]+\) \u00b7 ", thread)
    return len(alone) + sum(map(int, batches))


def operations(world: World) -> list[str]:
    """The calls to Fusebill, in order."""
    return [call.operation for call in world.fusebill.calls]


def said(world: World) -> list[Call]:
    """The calls to Slack that posted, updated or sent a message, in order."""
    methods = ("chat.postMessage", "chat.update", "response_url")
    return [call for call in world.slack.calls if call.method in methods]


async def answer_to(world: World, text: str, channel_id: str = CHANNEL) -> str:
    """Type a command as Alice; returns her last ephemeral once the bot is done."""
    delivery = await world.slack.command("U0ALICE", text, channel_id=channel_id)
    assert delivery.status == 200, delivery
    await world.settled()
    return world.last_ephemeral("U0ALICE")


def heard_by(world: World) -> set[str]:
    """The people who got an ephemeral, and the channels with a message."""
    workspace = world.slack.workspace
    ephemerals = {ephemeral.user_id for ephemeral in workspace.all_ephemerals()}
    return ephemerals | {c for c in workspace.channels if workspace.messages(c)}
