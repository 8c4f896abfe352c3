"""Outages of the ledger: at the click, between call and outcome, or without an answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from bot.domain.models import EventType
from bot.ledger.database.executor import CONNECTIONS
from bot.sandbox.slack.simulator import PostedMessage
from tests.support import postgresql
from tests.support.damage import CHANGES_A_CARD, locked, lose, refused
from tests.support.faults import TIMING, calls, confirm, posted_once_in_order, shown
from tests.support.ledger import make_due
from tests.support.names import BIKES, CHANNEL, STOP, UNDO
from tests.support.proxy import Proxy
from tests.support.reading import unlatched
from tests.support.stage import on_both
from tests.support.world import OpenWorld, World, add_customers

BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class LockedFile:
    def __init__(self, database_url: str) -> None:
        self._file = database_url.removeprefix("sqlite:///")

    def begin(self) -> None:
        self._other = sqlite3.connect(self._file)
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._other.close()


class Vanished:
    def __init__(self, server_url: str, database_url: str) -> None:
        self._server_url, self._database_url = server_url, database_url

    def begin(self) -> None:
        postgresql.go_away(self._server_url, self._database_url)

    def end(self) -> None:
        postgresql.come_back(self._server_url, self._database_url)


Outage = LockedFile | Vanished


def outage_of(database_url: str, request: pytest.FixtureRequest) -> Outage:
    if database_url.startswith("sqlite"):
        return LockedFile(database_url)
    return Vanished(request.getfixturevalue("postgresql_server"), database_url)


@pytest.fixture
async def ledger_world(
    open_world: OpenWorld, database_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[World, Outage]]:
    """A world, and an outage of its ledger to begin and end."""
    async with open_world(timing=TIMING, database_url=database_url) as world:
        yield world, outage_of(database_url, request)


@on_both
async def test_a_click_without_a_ledger_is_answered_in_time_and_can_be_repeated(
    ledger_world: tuple[World, Outage],
) -> None:
    world, outage = ledger_world
    card = await world.ask()
    outage.begin()
    delivery = await world.slack.click("U0BOB", card.ts, "unlatch_confirm")
    assert delivery.status == 200
    assert delivery.seconds < 3
    await world.slack.workspace.until(lambda: world.slack.workspace.ephemerals("U0BOB"))
    assert "ledger can't be reached" in world.last_ephemeral("U0BOB")
    outage.end()
    assert calls(world) == 0

    await world.press("U0BOB", world.slack.workspace.message(CHANNEL, card.ts), "unlatch_confirm")
    await shown(world, card, "✅ Unlatched")
    assert calls(world) == 1


@on_both
async def test_an_outcome_is_recorded_when_the_ledger_is_back(
    ledger_world: tuple[World, Outage],
) -> None:
    world, outage = ledger_world
    card = await world.ask()

    async def vanish(operation: str) -> None:
        if operation == "unlatch_customer":
            outage.begin()

    world.fusebill.after = vanish
    await confirm(world, card)
    await world.slack.workspace.until(lambda: "⏳" in world.card(card))
    outage.end()
    await shown(world, card, "✅ Unlatched")
    assert calls(world) == 1
    assert posted_once_in_order(world.thread(card))


@pytest.fixture
async def proxied_world(
    open_world: OpenWorld, postgresql_url: str
) -> AsyncIterator[tuple[World, Proxy]]:
    async with AsyncExitStack() as stack:
        opens, url = postgresql.proxied(postgresql_url)
        proxy = await stack.enter_async_context(Proxy(opens))
        opened = open_world(timing=TIMING, database_url=url.format(port=proxy.port))
        yield await stack.enter_async_context(opened), proxy


async def test_an_outcome_whose_commit_was_not_confirmed_is_not_recorded_twice(
    proxied_world: tuple[World, Proxy],
) -> None:
    world, proxy = proxied_world
    card = await world.ask()

    async def lose(operation: str) -> None:
        if operation == "unlatch_customer":
            proxy.loses_answer_to = CHANGES_A_CARD

    world.fusebill.after = lose
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert proxy.loses_answer_to is None
    assert (await world.kept(card)).story == [
        EventType.REQUESTED,
        EventType.CONFIRMED,
        EventType.BEGUN,
        EventType.CLEARED,
    ]


async def test_a_click_whose_commit_was_not_confirmed_counts(
    proxied_world: tuple[World, Proxy],
) -> None:
    world, proxy = proxied_world
    card = await world.ask()
    proxy.loses_answer_to = CHANGES_A_CARD
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert proxy.loses_answer_to is None
    assert calls(world) == 1
    assert posted_once_in_order(world.thread(card))
    assert world.slack.workspace.ephemerals("U0BOB") == []


async def test_a_ledger_that_stops_answering_does_not_delay_a_click(
    proxied_world: tuple[World, Proxy],
) -> None:
    world, proxy = proxied_world
    card = await world.ask()
    proxy.speaks.clear()
    delivery = await world.slack.click("U0BOB", card.ts, "unlatch_confirm")
    assert delivery.status == 200
    proxy.speaks.set()
    await world.slack.workspace.until(lambda: world.slack.workspace.ephemerals("U0BOB"))
    assert calls(world) == 0


CUSTOMERS = [BIKES, *range(5_000_001, 5_000_010)]


async def at_work(world: World) -> tuple[PostedMessage, asyncio.Event]:
    """A card whose last two customers are not begun until the event is set."""
    released, held = asyncio.Event(), Counter[str]()

    async def hold(operation: str) -> None:
        held[operation] += 1
        if operation == "unlatch_customer":
            await released.wait()

    add_customers(world.fusebill, CUSTOMERS)
    card = await world.ask(f"{', '.join(map(str, CUSTOMERS))} moved")
    world.fusebill.before = hold
    await confirm(world, card)
    begun = len(CUSTOMERS) - 2
    await world.slack.workspace.until(
        lambda: "[Stop]" in world.card(card) and held["unlatch_customer"] == begun
    )
    return card, released


@on_both
async def test_a_stop_counts_though_the_ledger_is_away_when_it_is_pressed(
    open_world: OpenWorld, database_url: str, request: pytest.FixtureRequest
) -> None:
    outage = outage_of(database_url, request)
    timing = replace(TIMING, execution_s=8.0)
    async with open_world(timing=timing, database_url=database_url) as world:
        card, released = await at_work(world)
        outage.begin()
        await world.slack.click("U0BOB", card.ts, STOP)
        await asyncio.sleep(2.0)
        outage.end()
        await world.slack.workspace.until(lambda: "Stopping" in world.card(card))
        released.set()
        await world.slack.workspace.until(
            lambda: "✅ 8 unlatched · 🛑 2 stopped" in world.card(card)
        )
        await world.settled()
        assert unlatched(world.thread(card)) >= 8
        assert "stopped" in world.thread(card).lower()
        assert world.ephemerals("U0BOB") == []


async def test_a_stop_that_does_not_count_says_that_the_work_goes_on(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    timing = replace(TIMING, execution_s=8.0)
    async with open_world(timing=timing, database_url=url) as world:
        card, released = await at_work(world)
        outage = LockedFile(url)
        outage.begin()
        await world.slack.click("U0BOB", card.ts, STOP)
        await world.slack.workspace.until(lambda: bool(world.ephemerals("U0BOB")), 30.0)
        outage.end()
        released.set()
        told = world.last_ephemeral("U0BOB")
        assert "your Stop did not count: the work goes on" in told
        assert "nothing was done" not in told


async def test_a_card_whose_row_somebody_has_locked_does_not_hold_up_the_others(
    open_world: OpenWorld, postgresql_url: str
) -> None:
    timing = replace(TIMING, sweep_every_s=0.05)
    async with open_world(
        timing=timing, database_url=postgresql_url, unlatch_expires_after_s=1
    ) as world:
        stuck, other = await world.ask(), await world.ask("3100025 moved")
        with locked(postgresql_url, stuck.ts):
            await world.slack.workspace.until(lambda: "Expired" in world.card(other))
            assert "[Unlatch Stolen Bikes]" in world.card(stuck)
        await world.slack.workspace.until(lambda: "Expired" in world.card(stuck))


async def test_locked_cards_leave_connections_for_clicks(
    open_world: OpenWorld, postgresql_url: str
) -> None:
    timing = replace(TIMING, sweep_every_s=0.2)
    async with open_world(timing=timing, database_url=postgresql_url) as world:
        add_customers(world.fusebill, CUSTOMERS)
        for customer in CUSTOMERS:
            await world.ask(f"{customer} moved")
        soon = datetime.now(UTC) + timedelta(seconds=3)
        for card in await world.cards():
            make_due(postgresql_url, card.id, "expire", soon)
        with locked(postgresql_url), psycopg.connect(postgresql_url, autocommit=True) as observer:
            assert datetime.now(UTC) < soon
            blocked: list[int] = []
            async with asyncio.timeout(10):
                while blocked.count(0) == len(blocked) or len(blocked) < 100:
                    [row] = observer.execute(BLOCKED)
                    blocked.append(row[0])
                    await asyncio.sleep(0.005)
        assert max(blocked) <= CONNECTIONS // 2


async def test_a_stop_that_the_bots_end_interrupts_does_not_say_that_nothing_was_changed(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    timing = replace(TIMING, execution_s=8.0, drains_for_s=0.2)
    outage = LockedFile(url)
    async with open_world(timing=timing, database_url=url) as world:
        card, released = await at_work(world)
        outage.begin()
        await world.slack.click("U0BOB", card.ts, STOP)
        released.set()
    outage.end()
    told = world.last_ephemeral("U0BOB")
    assert "The bot doesn't know yet if your Stop counted" in told
    assert "nothing was changed" not in told


@pytest.mark.parametrize("text", ["pending", "history", "undo"])
async def test_without_a_ledger_only_a_press_is_told_to_look_at_its_card(
    open_world: OpenWorld, tmp_path: Path, text: str
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with open_world(timing=TIMING, database_url=url) as world:
        card = await world.ask()
        await confirm(world, card)
        await shown(world, card, "✅ Unlatched")
        await world.settled()
        lose(url, "requests")
        if text == "undo":
            await world.press("U0BOB", card, "unlatch_undo")
        else:
            await world.slack.command("U0BOB", text)
            await world.settled()
        told = world.last_ephemeral("U0BOB")
        assert "The bot's ledger can't be reached, so nothing was done." in told
        assert ("If the card still has its buttons" in told) is (text == "undo")


async def test_what_the_ledger_did_not_take_is_left_due_though_the_card_is_drawn_again(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    timing = replace(TIMING, hold_s=3.0)
    async with open_world(timing=timing, database_url=url) as world:
        card = await world.ask()
        await confirm(world, card)
        await shown(world, card, "✅ Unlatched")
        await world.press("U0ALICE", card, UNDO)
        undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
        with refused(url, "undone"):
            await confirm(world, undo)
            # one transaction records the outcome and marks what it undid
            await world.slack.workspace.until(lambda: "Latching" in world.card(undo))
            await asyncio.sleep(0.5)
            assert "Restored" not in world.card(undo)
            assert "↩️ Undone" not in world.card(card)
        await world.slack.workspace.until(lambda: "↩️ Undone" in world.card(card))
