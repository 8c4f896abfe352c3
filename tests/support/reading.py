"""What tests read off messages and calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bot.sandbox.slack.simulator import Call, PostedMessage
from tests.support.names import CHANNEL
from tests.support.world import World


def without_times(text: str) -> str:
    """A text with every time in it as AT, and every duration as SOME."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "AT", text)
    return re.sub(r"took [\d.]+ s", "took SOME s", text)


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
    """What a card's buttons carry."""
    return str(buttons_of(card)[0]["value"])


def operations(world: World) -> list[str]:
    """What was asked of Fusebill, in order."""
    return [call.operation for call in world.fusebill.calls]


def said(world: World) -> list[Call]:
    """Everything that was said in a channel or to somebody, in order."""
    methods = ("chat.postMessage", "chat.update", "response_url")
    return [call for call in world.slack.calls if call.method in methods]


async def told(world: World, text: str, channel_id: str = CHANNEL) -> str:
    """Type a command as Alice; gives what she was told last when all is done."""
    delivery = await world.slack.command("U0ALICE", text, channel_id=channel_id)
    assert delivery.status == 200, delivery
    await world.settled()
    return world.last_ephemeral("U0ALICE")


def heard_by(world: World) -> set[str]:
    """Who was told anything: people, and channels in which everybody was."""
    workspace = world.slack.workspace
    ephemerals = {ephemeral.user_id for ephemeral in workspace.all_ephemerals()}
    return ephemerals | {c for c in workspace.channels if workspace.messages(c)}
