"""UNLATCH_NOTIFY: people are mentioned on the new card, and reminded once while it waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage, text_of
from tests.support.bot_process import PACE
from tests.support.ledger import broken, set_back
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import parts, without_times
from tests.support.stage import Stage, Trap, stage
from tests.support.world import OpenWorld, World

NOTIFY = frozenset({"U0BOB", "S0OPS"})
PEOPLE = ["S0OPS", "U0BOB"]
REMINDER = "⏰ Still waiting for a decision"
TWO_THIRDS, THE_REST = timedelta(minutes=10), timedelta(minutes=5)
"""Of the quarter of an hour that a card waits."""
PATIENT = replace(PACE, hold_s=10.0)


def mentioned(message: PostedMessage) -> list[str]:
    """The users and user groups that a message mentions."""
    ids = [part.get("user_id") or part.get("usergroup_id") for part in parts(message.blocks)]
    return [each for each in ids if each]


def reminders(stage_or_world: Stage | World, card: PostedMessage) -> list[PostedMessage]:
    replies = stage_or_world.slack.workspace.thread(CHANNEL, card.ts)
    return [reply for reply in replies if REMINDER in text_of(reply.blocks)]


async def test_a_new_card_mentions_users_and_groups_once_each(open_world: OpenWorld) -> None:
    async with open_world(unlatch_notify=NOTIFY) as world:
        card = await world.ask()
        assert sorted(mentioned(card)) == sorted(["U0ALICE", *PEOPLE])
        assert "For <!subteam^S0OPS> <@U0BOB>" in card.text


@pytest.mark.parametrize("action_id", [CONFIRM, CANCEL])
async def test_a_decided_card_and_its_thread_mention_them_no_more(
    open_world: OpenWorld, action_id: str
) -> None:
    async with open_world(unlatch_notify=frozenset({"U0GUEST", "S0OPS"})) as world:
        card = await world.ask()
        await world.press("U0ALICE", card, action_id)
        messages = [world.slack.workspace.message(CHANNEL, card.ts)]
        messages += world.slack.workspace.thread(CHANNEL, card.ts)
        assert {person for message in messages for person in mentioned(message)} == {"U0ALICE"}


async def test_one_reply_reminds_them_at_two_thirds_and_says_when_it_expires(
    database_url: str, tmp_path: Path
) -> None:
    async with stage(database_url, tmp_path) as staged:
        await staged.start(unlatch_notify=NOTIFY)
        card = await staged.ask()
        [kept] = staged.cards()
        [remind] = [each for each in kept.due if each.kind == "remind"]
        assert kept.first.expires_at - remind.at == timedelta(minutes=5)
        set_back(database_url, -TWO_THIRDS)
        await staged.until(lambda: reminders(staged, card))
        [reminder] = reminders(staged, card)
        assert without_times(text_of(reminder.blocks)).splitlines() == [
            f"{REMINDER}: Stolen Bikes (2554529). ",
            "It expires AT. <!subteam^S0OPS> <@U0BOB>",
        ]
        assert mentioned(reminder) == PEOPLE
        set_back(database_url, -THE_REST)
        await staged.until(lambda: "Expired" in staged.card(card))
        [kept] = await staged.settled()
        assert kept.story == [
            EventType.REQUESTED,
            EventType.REMINDED,
            EventType.EXPIRED,
        ]
        assert len(reminders(staged, card)) == 1
    assert broken(database_url) == []


async def test_two_instances_remind_once(postgresql_url: str, tmp_path: Path) -> None:
    async with stage(postgresql_url, tmp_path) as staged:
        for _ in range(2):
            await staged.start(timing=PATIENT, unlatch_notify=NOTIFY)
        cards = [await staged.ask(customer) for customer in (2554529, 3100025, 3100066)]
        set_back(postgresql_url, -TWO_THIRDS)
        await staged.until(lambda: all(reminders(staged, card) for card in cards))
        set_back(postgresql_url, -THE_REST)
        await staged.until(lambda: all("Expired" in staged.card(card) for card in cards))
        assert [len(reminders(staged, card)) for card in cards] == [1, 1, 1]


async def test_a_decided_card_and_one_without_people_to_notify_remind_nobody(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_notify=NOTIFY) as world:
        card = await world.ask()
        assert "remind" in (await world.kept(card)).jobs
        await world.press("U0ALICE", card, CANCEL)
        assert (await world.kept(card)).is_settled
    async with open_world() as world:
        card = await world.ask()
        assert (await world.kept(card)).jobs == ["expire"]


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}])
async def test_a_reminder_that_slack_does_not_take_is_made_up_for(
    open_world: OpenWorld, fault: dict[str, Any]
) -> None:
    async with open_world(timing=replace(PACE, pause_s=0.1), unlatch_notify=NOTIFY) as world:
        card = await world.ask()
        world.slack.faults.fail("chat.postMessage", **fault)
        await world.pass_time(TWO_THIRDS)
        await world.slack.workspace.until(lambda: reminders(world, card))
        await world.settled()
        assert len(reminders(world, card)) == 1


async def test_a_reminder_that_slack_took_too_late_is_left_out(open_world: OpenWorld) -> None:
    async with open_world(timing=replace(PACE, pause_s=0.1), unlatch_notify=NOTIFY) as world:
        card = await world.ask()
        world.slack.faults.fail("chat.postMessage", status=503, times=None)
        await world.pass_time(TWO_THIRDS)
        await world.kept_when(card, lambda kept: EventType.REMINDED in kept.story)
        await world.press("U0ALICE", card, CANCEL)
        world.slack.faults.clear()
        await world.settled()
        assert reminders(world, card) == []


async def test_a_bot_that_was_down_at_two_thirds_reminds_when_it_is_back(
    database_url: str, tmp_path: Path
) -> None:
    async with stage(database_url, tmp_path) as staged:
        bot = await staged.start(unlatch_notify=NOTIFY)
        card = await staged.ask()
        await bot.kill()
        set_back(database_url, -TWO_THIRDS)
        await staged.start(unlatch_notify=NOTIFY)
        await staged.until(lambda: reminders(staged, card))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_bot_killed_as_it_reminds_does_not_remind_twice(
    database_url: str, tmp_path: Path, when: str
) -> None:
    async with stage(database_url, tmp_path) as staged:
        await staged.start(unlatch_notify=NOTIFY)
        card = await staged.ask()
        trap = Trap(staged, (when, "chat.postMessage"))
        trap.arm()
        set_back(database_url, -TWO_THIRDS)
        await staged.until(trap.sprung.is_set)
        await staged.start(unlatch_notify=NOTIFY)
        set_back(database_url, -THE_REST)
        await staged.until(lambda: "Expired" in staged.card(card))
        [kept] = await staged.settled()
        assert kept.story.count(EventType.REMINDED) == 1
        assert len(reminders(staged, card)) == (1 if when == "after" else 0)
