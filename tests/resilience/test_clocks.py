"""The wall clock is set back between a command, its click and what follows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.ledger import broken, is_set_in_the_future, set_back
from tests.support.names import BIKES, CONFIRM, UNDO
from tests.support.stage import on_both
from tests.support.world import OpenWorld, World

JOINERY = 3100025
HOUR = timedelta(hours=1)
LIFE = timedelta(minutes=15)
"""Of a card, by default."""
SHORTLY = timedelta(seconds=25)
"""Not so far that a job would seem to be of another time."""


def latch_again(world: World) -> None:
    world.fusebill.customers[BIKES].update(hubSpotId=901, hubSpotCompanyId=902)


@on_both
@pytest.mark.parametrize("asked", [f"{BIKES} again", f"{BIKES}, {JOINERY} again"])
async def test_what_was_cleared_before_the_clock_was_set_back_can_be_cleared_again(
    open_world: OpenWorld, database_url: str, asked: str
) -> None:
    async with open_world(database_url=database_url) as world:
        await world.press("U0BOB", await world.ask(), CONFIRM)
        set_back(database_url, HOUR)
        latch_again(world)
        card = await world.ask(asked)
        await world.press("U0BOB", card, CONFIRM)
        assert world.ephemerals("U0BOB") == []
        assert world.fusebill.customers[BIKES]["hubSpotId"] is None
        assert "nlatched" in world.card(card)


@on_both
async def test_an_undo_is_refused_though_the_clock_was_set_back_before_the_later_change(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        first = await world.ask()
        await world.press("U0BOB", first, CONFIRM)
        latch_again(world)
        second = await world.ask()
        set_back(database_url, SHORTLY)
        await world.press("U0BOB", second, CONFIRM)
        await world.press("U0ALICE", first, UNDO)
        assert "can't be undone" in world.last_ephemeral("U0ALICE")
        assert "again?" not in world.thread(first)


@on_both
async def test_a_card_is_overtaken_though_the_clock_was_set_back_before_the_other_was_confirmed(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        first, other = await world.ask(), await world.ask()
        set_back(database_url, SHORTLY)
        await world.press("U0BOB", other, CONFIRM)
        world.fusebill.customers[BIKES].update(hubSpotId=101, hubSpotCompanyId=202)
        assert "⏩ Overtaken" in world.card(first)
        assert world.fusebill.customers[BIKES]["hubSpotId"] == 101


@on_both
@pytest.mark.parametrize("asked", [f"{BIKES} moved", f"{BIKES}, {JOINERY} moved"])
async def test_a_card_whose_clock_was_set_back_waits_until_its_time(
    open_world: OpenWorld, database_url: str, asked: str
) -> None:
    async with open_world(database_url=database_url) as world:
        card = await world.ask(asked)
        set_back(database_url, HOUR)
        # a job that was set in the future is looked at, and put off
        await world.slack.workspace.until(lambda: not is_set_in_the_future(database_url))
        assert "[Cancel]" in world.card(card)
        set_back(database_url, -HOUR - LIFE)
        await world.slack.workspace.until(lambda: "⌛ Expired" in world.card(card))
        assert "in time" in world.card(card)
        assert broken(database_url) == []


@on_both
@pytest.mark.parametrize("asked", [f"{BIKES} moved", f"{BIKES}, {JOINERY} moved"])
async def test_a_card_whose_clock_was_set_back_can_be_confirmed(
    open_world: OpenWorld, database_url: str, asked: str
) -> None:
    async with open_world(database_url=database_url) as world:
        card = await world.ask(asked)
        set_back(database_url, HOUR)
        await world.press("U0BOB", card, CONFIRM)
        assert world.ephemerals("U0BOB") == []
        assert "nlatched" in world.card(card)
        assert broken(database_url) == []
