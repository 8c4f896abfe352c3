"""Another version of the bot, whose customers have other fields, takes turns on one ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bot.sandbox.slack.simulator import PostedMessage
from tests.support.by_hand import store_customer_otherwise, writing
from tests.support.ledger import broken
from tests.support.names import BIKES, CONFIRM, UNDO
from tests.support.world import World

Fields = Callable[[dict[str, Any]], dict[str, Any]]


def one_more(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {"tier": "Gold", "ids": stored["ids"] | {"deal_id": 7}}


def one_less(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in stored if name != "email"}


async def asked_by_the_other(world: World, card: PostedMessage, fields: Fields) -> None:
    """Let a card be as the other version would have asked for it."""
    with writing(world.database_url) as connection:
        store_customer_otherwise(connection, (await world.kept(card)).id, fields)
    assert broken(world.database_url) == []


@pytest.mark.parametrize("fields", [one_more, one_less], ids=lambda fields: fields.__name__)
@pytest.mark.parametrize("asks_first", ["this version", "the other"])
async def test_versions_with_other_fields_of_a_customer_take_turns_on_one_ledger(
    world: World, fields: Fields, asks_first: str
) -> None:
    card = await world.ask()
    if asks_first == "the other":
        await asked_by_the_other(world, card, fields)
    await world.press("U0BOB", card, CONFIRM)
    assert "✅ Unlatched" in world.card(card)
    assert broken(world.database_url) == []
    undo = await world.follow_up(card, UNDO)
    if asks_first == "this version":
        await asked_by_the_other(world, undo, fields)
    await world.press("U0ALICE", undo, CONFIRM)
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 101
    assert "undone" in world.card(card).lower()
    assert broken(world.database_url) == []
