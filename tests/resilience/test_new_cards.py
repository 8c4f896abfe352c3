"""A request is in the ledger before its card is posted: nothing in between leaves a dead button."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.domain.models import EventType, Verdict
from bot.ledger.database.engine import open_engine
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.damage import tamper
from tests.support.faults import TIMING, calls, posted_once_in_order, shown
from tests.support.ledger import broken, set_back, what_is_due
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.stage import Stage, on_both
from tests.support.world import OpenWorld, World

POST = "chat.postMessage"


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(timing=TIMING) as opened:
        yield opened


def ledger_of(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


async def ask_and_die(staged: Stage, when: str) -> None:
    """Ask for a card, and kill the bot before or after Slack posts it."""
    async with staged.dies_at((when, POST)):
        await staged.slack.command("U0ALICE", f"{BIKES} moved")


def cards(staged: Stage) -> list[PostedMessage]:
    return staged.slack.workspace.messages(CHANNEL)


@pytest.mark.parametrize(("when", "posted"), [("before", 1), ("after", 2)])
async def test_a_card_whose_bot_was_killed_while_posting_it_is_posted_by_the_next(
    staged: Stage, when: str, posted: int
) -> None:
    await staged.start()
    await ask_and_die(staged, when)
    await staged.start()
    await staged.until(lambda: len(cards(staged)) == posted)
    await staged.slack.click("U0BOB", cards(staged)[-1].ts, CONFIRM)
    await staged.until(lambda: "Cleared contact 101" in staged.card(cards(staged)[-1]))
    await staged.settled()
    assert staged.calls("unlatch_customer") == 1
    assert broken(staged.database_url) == []


@on_both
@pytest.mark.parametrize("action", [CONFIRM, CANCEL])
async def test_a_card_posted_by_a_bot_that_was_killed_counts_and_has_no_rival(
    staged: Stage, action: str
) -> None:
    # a bot whose lease is long: the next one does not post another card before the click
    slow = replace(PACE, hold_s=5.0)
    await staged.start(timing=slow)
    await ask_and_die(staged, "after")
    await staged.start(timing=slow)
    [card] = cards(staged)
    await staged.slack.click("U0ALICE", card.ts, action)
    [kept] = await staged.settled()
    assert kept.first.message_ts == card.ts
    assert kept.first.verdict is (Verdict.CONFIRMED if action == CONFIRM else Verdict.CANCELLED)
    assert len(cards(staged)) == 1
    assert staged.slack.workspace.ephemerals("U0ALICE") == []


async def test_a_card_that_the_ledger_does_not_know_yet_can_be_declined(staged: Stage) -> None:
    slow = replace(PACE, hold_s=5.0)
    await staged.start(timing=slow)
    await ask_and_die(staged, "after")
    await staged.start(timing=slow)
    [card] = cards(staged)
    await staged.slack.click("U0BOB", card.ts, CANCEL)
    await staged.until(lambda: bool(staged.slack.views.all()))
    await staged.slack.submit(staged.slack.views.all()[-1].id, {"reason": "wrong customer"})
    [kept] = await staged.settled()
    assert (kept.first.message_ts, kept.first.verdict) == (card.ts, Verdict.DECLINED)
    assert "⛔ Declined" in staged.card(card)
    assert broken(staged.database_url) == []


async def test_of_two_cards_for_one_request_either_can_be_pressed(staged: Stage) -> None:
    await staged.start()
    await ask_and_die(staged, "after")
    await staged.start()
    await staged.until(lambda: len(cards(staged)) == 2)
    await staged.slack.click("U0BOB", cards(staged)[0].ts, CONFIRM)
    await staged.settled()

    def with_text(text: str) -> list[str]:
        return [card.ts for card in cards(staged) if text in staged.card(card)]

    # the click may be quicker than the note that the second card was posted: then the first counts
    await staged.until(lambda: len(with_text("See the other card")) == 1)
    await staged.until(lambda: len(with_text("Cleared contact 101 and company 202")) == 1)
    assert with_text("See the other card") != with_text("Cleared contact 101 and company 202")
    assert staged.calls("unlatch_customer") == 1


async def test_each_duplicate_that_lost_answers_leave_counts_and_then_shows_where_the_card_is(
    world: World,
) -> None:
    world.slack.faults.fail("chat.postMessage", drop="after", times=2)
    await world.slack.command("U0ALICE", f"{BIKES} moved")
    await world.settled()
    first, second, card = world.slack.workspace.messages(CHANNEL)
    assert (await world.kept(card)).is_open
    await world.press("U0BOB", first, CONFIRM)
    await shown(world, card, "✅ Unlatched")
    await world.press("U0BOB", second, CONFIRM)
    assert all("See the other card" in world.card(each) for each in (first, second))
    assert [call.operation for call in world.fusebill.calls].count("unlatch_customer") == 1


async def test_a_request_whose_time_ran_out_without_a_card_ends_and_its_requester_is_told(
    staged: Stage,
) -> None:
    await staged.start(unlatch_expires_after_s=60)
    await ask_and_die(staged, "before")
    set_back(staged.database_url, -timedelta(seconds=120))
    await staged.start()
    await staged.until(lambda: bool(staged.slack.workspace.ephemerals("U0ALICE")))
    [told] = staged.slack.workspace.ephemerals("U0ALICE")
    assert "There is no card for customer 2554529: the bot was interrupted" in told.text
    assert cards(staged) == []
    assert broken(staged.database_url) == []


async def test_a_click_that_is_quicker_than_the_disk_counts(world: World, tmp_path: Path) -> None:
    clicked: list[int] = []

    async def click(method: str) -> None:
        # Slack shows the card before the bot learns its ts
        if method == POST and not clicked:
            clicked.append(0)
            [card] = world.slack.workspace.messages(CHANNEL)
            clicked.append((await world.slack.click("U0BOB", card.ts, CONFIRM)).status)

    world.slack.after = click
    card = await world.ask()
    await shown(world, card, "✅ Unlatched")
    assert clicked == [0, 200]
    assert calls(world) == 1
    assert posted_once_in_order(world.thread(card))
    assert broken(ledger_of(tmp_path)) == []


async def test_a_refused_click_that_is_quicker_than_the_disk_is_told_in_the_thread(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    async with open_world(timing=TIMING, unlatch_two_person=True) as world:
        clicked: list[int] = []

        async def click(method: str) -> None:
            if method == POST and not clicked:
                [card] = world.slack.workspace.messages(CHANNEL)
                clicked.append((await world.slack.click("U0ALICE", card.ts, CONFIRM)).status)

        world.slack.after = click
        card = await world.ask()
        await world.settled()
        assert len(world.slack.workspace.messages(CHANNEL)) == 1
        assert world.thread(card).count("was refused") == 1
        await world.press("U0BOB", card, CONFIRM)
        await shown(world, card, "✅ Unlatched")
    assert broken(ledger_of(tmp_path)) == []


async def test_a_card_that_can_not_be_noted_can_be_pressed_all_the_same(
    world: World, tmp_path: Path
) -> None:
    engine = open_engine(ledger_of(tmp_path))
    held: list[Connection] = []

    async def lock(method: str) -> None:
        if method == POST and not held:
            connection = engine.connect()
            connection.begin()
            held.append(connection)

    world.slack.after = lock
    await world.slack.command("U0ALICE", f"{BIKES} moved")
    await world.slack.workspace.until(lambda: world.slack.workspace.messages(CHANNEL))
    await world.slack.workspace.until(lambda: bool(held))
    await asyncio.sleep(1.5)
    held[0].close()
    engine.dispose()
    [card] = world.slack.workspace.messages(CHANNEL)
    await world.press("U0BOB", card, CONFIRM)
    await shown(world, card, "✅ Unlatched")
    assert len(world.slack.workspace.messages(CHANNEL)) == 1


async def test_a_press_on_a_card_of_a_request_that_ended_says_so_and_changes_nothing(
    world: World,
) -> None:
    # Slack posts the card and loses the answer, then it says no
    world.slack.faults.fail(POST, drop="after")
    world.slack.faults.fail(POST, error="channel_not_found")
    await world.slack.command("U0ALICE", str(BIKES))
    await world.settled()
    orphan = world.slack.workspace.messages(CHANNEL)[0]
    await world.press("U0BOB", orphan, CONFIRM)
    assert "could not be posted in time; nothing was changed" in world.last_ephemeral("U0BOB")
    assert calls(world) == 0
    assert what_is_due(world.database_url) == []


async def test_only_a_card_that_is_posted_late_has_an_event_for_it(world: World) -> None:
    card = await world.ask()
    assert (await world.kept(card)).story == [EventType.REQUESTED]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("decided", "changed"),
    [
        (False, {"expires_at": datetime(2099, 1, 1, tzinfo=UTC)}),
        (False, {"reason": "another"}),
        (True, {"message_ts": "1.1"}),
        (True, {"thread_ts": "1.1"}),
        (True, {"expires_at": datetime(2099, 1, 1, tzinfo=UTC)}),
    ],
)
async def test_verify_finds_a_change_of_a_row_that_was_written_before_its_card(
    open_world: OpenWorld, tmp_path: Path, changed: dict[str, Any], *, decided: bool, late: bool
) -> None:
    async with open_world(timing=TIMING) as world:
        if late:
            world.slack.faults.fail(POST, status=429, retry_after=2)
        card = await world.ask()
        if decided:
            await world.press("U0ALICE", card, CANCEL)
            await world.settled()
    assert broken(ledger_of(tmp_path)) == []
    tamper(ledger_of(tmp_path), **changed)
    [line] = broken(ledger_of(tmp_path))
    assert line.endswith("its own row was changed")
