"""A COMMIT that the database answers with an error: rolled back for certain, or perhaps not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage, text_of
from tests.support import postgresql
from tests.support.faults import TIMING, calls, confirm, shown
from tests.support.names import CHANNEL, CONFIRM
from tests.support.stage import stage
from tests.support.world import OpenWorld, World

# serialization failure, disk full, a deferred constraint: rolled back for certain
ROLLED_BACK = ["40001", "53100", "23514"]
UNRESOLVED = ["08007", "40003"]


@pytest.fixture
async def world(open_world: OpenWorld, postgresql_url: str) -> AsyncIterator[World]:
    async with open_world(timing=TIMING, database_url=postgresql_url) as opened:
        yield opened


async def types(world: World, card: PostedMessage) -> list[EventType]:
    return (await world.kept(card)).story


DONE = [EventType.REQUESTED, EventType.CONFIRMED, EventType.BEGUN, EventType.CLEARED]


@pytest.mark.parametrize("sqlstate", [*ROLLED_BACK, *UNRESOLVED])
async def test_a_click_whose_commit_was_refused_once_counts(
    world: World, postgresql_url: str, sqlstate: str
) -> None:
    card = await world.ask()
    postgresql.fail_at_commit(postgresql_url, "confirmed", sqlstate, times=1)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert await types(world, card) == DONE
    assert postgresql.refused_commits(postgresql_url) == 2
    assert world.ephemerals("U0BOB") == []


@pytest.mark.parametrize("sqlstate", ROLLED_BACK)
async def test_a_click_whose_commits_are_refused_is_told_and_can_be_repeated(
    world: World, postgresql_url: str, sqlstate: str
) -> None:
    card = await world.ask()
    postgresql.fail_at_commit(postgresql_url, "confirmed", sqlstate, times=2)
    await world.press("U0BOB", card, CONFIRM)
    assert "so nothing was done" in world.last_ephemeral("U0BOB")
    assert await types(world, card) == [EventType.REQUESTED]
    assert calls(world) == 0
    await world.press("U0BOB", card, CONFIRM)
    assert await types(world, card) == DONE


@pytest.mark.parametrize("sqlstate", UNRESOLVED)
async def test_a_click_whose_commits_the_server_cannot_tell_of_is_not_called_undone(
    world: World, postgresql_url: str, sqlstate: str
) -> None:
    card = await world.ask()
    postgresql.fail_at_commit(postgresql_url, "confirmed", sqlstate, times=2)
    await world.press("U0BOB", card, CONFIRM)
    assert "The bot doesn't know yet if this counted" in world.last_ephemeral("U0BOB")


@pytest.mark.parametrize("sqlstate", [*ROLLED_BACK, *UNRESOLVED])
async def test_an_outcome_whose_commits_were_refused_is_recorded_once(
    world: World, postgresql_url: str, sqlstate: str
) -> None:
    card = await world.ask()
    postgresql.fail_at_commit(postgresql_url, "cleared", sqlstate, times=3)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert await types(world, card) == DONE
    assert postgresql.refused_commits(postgresql_url) == 4
    assert calls(world) == 1


@pytest.mark.parametrize("sqlstate", ROLLED_BACK)
async def test_a_request_whose_commit_was_refused_has_no_card(
    world: World, postgresql_url: str, sqlstate: str
) -> None:
    postgresql.fail_at_commit(postgresql_url, "requested", sqlstate, times=1)
    assert "no card was posted" in await world.reply_to("2554529 moved")
    await world.settled()
    assert world.slack.workspace.messages(CHANNEL) == []
    await world.ask()


async def test_a_click_on_a_disk_that_takes_no_more_can_be_repeated(tmp_path: Path) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        bot = await staged.start()
        card = await staged.ask()
        written = (tmp_path / "ledger.db-wal").stat().st_size
        bot.limit_file_size(written)
        delivery = await staged.slack.click("U0BOB", card.ts, CONFIRM)
        assert delivery.status == 200
        await staged.until(lambda: staged.slack.workspace.ephemerals("U0BOB"))
        [answer] = staged.slack.workspace.ephemerals("U0BOB")
        assert "The bot doesn't know yet if this counted" in text_of(answer.blocks)
        assert staged.calls("unlatch_customer") == 0
        bot.limit_file_size(None)
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        [kept] = await staged.settled()
        assert kept.story == DONE
        assert staged.calls("unlatch_customer") == 1
