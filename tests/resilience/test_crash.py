"""The bot is killed at any point: the next process finishes the work and reports it right."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.ledger import broken, set_back
from tests.support.names import BIKES
from tests.support.stage import Stage, on_both

BEFORE_OUTCOME = [
    (when, call) for call in ("get_customer", "unlatch_customer") for when in ("before", "after")
]
AFTER_OUTCOME = [
    (when, call) for call in ("chat.update", "chat.postMessage") for when in ("before", "after")
]
RECLAIMED = "resumed interrupted work"
RESUMED = ["asked", "confirmed", RECLAIMED, "Unlatched"]
STEPS = re.compile(
    f"asked|confirmed|cancelled|Expired|{RECLAIMED}|Unlatched|Other ids|Not done|Already clear"
)


def story(thread: str) -> list[str]:
    """The steps that a thread shows; a line that was posted twice counts once."""
    return list(dict.fromkeys(step.strip() for step in STEPS.findall(thread)))


async def kill(
    staged: Stage, card: PostedMessage, point: tuple[str, str], lets_through: int = 0
) -> None:
    """Confirm the card, and kill the bot at the point."""
    async with staged.dies_at(point, lets_through):
        await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")


async def kill_at_start(staged: Stage, point: tuple[str, str]) -> None:
    """Start the bot and kill it at the point: it takes up what the process before it left."""
    async with staged.dies_at(point):
        # it reclaims the work before it listens, and may be killed before that
        await staged.launch()


@on_both
@pytest.mark.parametrize("point", BEFORE_OUTCOME + AFTER_OUTCOME, ids=" ".join)
async def test_after_a_kill_at_any_point_the_next_process_finishes_the_work(
    staged: Stage, point: tuple[str, str]
) -> None:
    await staged.start()
    card = await staged.ask()
    await kill(staged, card, point)
    await staged.start()
    [kept] = await staged.settled()

    assert "Cleared contact 101 and company 202" in staged.card(card)
    reclaimed = [RECLAIMED] if point in BEFORE_OUTCOME else []
    expected = ["asked", "confirmed", *reclaimed, "Unlatched"]
    assert story(staged.thread(card)) == expected
    assert staged.fusebill.customers[BIKES]["hubSpotId"] is None
    # the call is repeated only if it was lost before its effect
    assert staged.calls("unlatch_customer") == (2 if point == ("before", "unlatch_customer") else 1)
    # that the call begins is written down, and not told
    assert [event.number for event in kept.events] == list(range(1, len(expected) + 2))
    assert broken(staged.database_url) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_kill_while_reading_back_nothing_is_cleared_twice(
    staged: Stage, when: str
) -> None:
    await staged.start()
    card = await staged.ask()
    staged.fusebill.misbehave("empty", operation="unlatch_customer")
    await kill(staged, card, (when, "get_customer"), lets_through=1)
    await staged.start()
    await staged.settled()

    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert story(staged.thread(card)) == RESUMED
    assert staged.calls("unlatch_customer") == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_kill_while_showing_progress_the_work_is_finished(
    staged: Stage, when: str
) -> None:
    await staged.start(timing=replace(PACE, working_after_s=0.5))
    card = await staged.ask()
    staged.fusebill.misbehave("hang", operation="unlatch_customer")
    await kill(staged, card, (when, "chat.update"))
    assert staged.calls("unlatch_customer") == 1
    staged.fusebill.behave()
    await staged.start()
    await staged.settled()

    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert story(staged.thread(card)) == RESUMED


@pytest.mark.parametrize("point", BEFORE_OUTCOME, ids=" ".join)
async def test_ids_that_changed_while_the_bot_was_dead_are_left_alone(
    staged: Stage, point: tuple[str, str]
) -> None:
    await staged.start()
    card = await staged.ask()
    await kill(staged, card, point)
    calls = staged.calls("unlatch_customer")
    staged.fusebill.customers[BIKES] |= {"hubSpotId": 901, "hubSpotCompanyId": 902}
    await staged.start()
    await staged.settled()

    assert staged.fusebill.customers[BIKES]["hubSpotId"] == 901
    assert staged.calls("unlatch_customer") == calls
    assert "Now latched to contact 901 and company 902" in staged.card(card)
    # nobody knows who changed them once the bot has begun a call
    changed = "Other ids" if "unlatch_customer" in point else "Not done"
    assert story(staged.thread(card)) == ["asked", "confirmed", RECLAIMED, changed]


async def test_after_repeated_kills_the_work_is_still_finished(staged: Stage) -> None:
    await staged.start()
    card = await staged.ask()
    points = [*BEFORE_OUTCOME[:3], *AFTER_OUTCOME]
    await kill(staged, card, points[0])
    for point in points[1:]:
        await kill_at_start(staged, point)
    await staged.start()
    await staged.settled()

    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert story(staged.thread(card)) == RESUMED
    assert staged.calls("unlatch_customer") == 2


async def test_work_that_kills_every_process_ends_as_unknown_once_it_was_begun(
    staged: Stage,
) -> None:
    await staged.start()
    card = await staged.ask()
    await kill(staged, card, ("before", "unlatch_customer"))
    for _ in range(4):
        await kill_at_start(staged, ("after", "get_customer"))
    await staged.start()
    await staged.settled()

    assert staged.card(card).startswith("❓ Outcome unknown")
    assert "interrupted 5 times" in staged.card(card)
    assert staged.calls("unlatch_customer") == 1


@pytest.mark.parametrize("point", AFTER_OUTCOME, ids=" ".join)
async def test_after_a_kill_a_cancelled_card_is_shown_as_cancelled(
    staged: Stage, point: tuple[str, str]
) -> None:
    await staged.start()
    card = await staged.ask()
    async with staged.dies_at(point):
        await staged.slack.click("U0ALICE", card.ts, "unlatch_cancel")
    await staged.start()
    await staged.settled()

    assert "Cancelled" in staged.card(card)
    assert story(staged.thread(card)) == ["asked", "cancelled"]
    assert staged.calls("unlatch_customer") == 0


async def test_a_card_that_expired_while_the_bot_was_dead_is_shown_as_expired(
    staged: Stage,
) -> None:
    bot = await staged.start(unlatch_expires_after_s=60)
    card = await staged.ask()
    await bot.kill()
    # longer than a hold after its time: the bot was away, it was not just restarted
    set_back(staged.database_url, -timedelta(seconds=120))
    await staged.start()
    await staged.until(lambda: "Expired" in staged.card(card))
    await staged.settled()
    assert story(staged.thread(card)) == ["asked", "Expired"]
    seen = "while the bot was away; the customer is still latched to contact 101 and company 202."
    assert f"Expired {seen}" in staged.card(card)


async def test_a_refusal_whose_bot_was_killed_is_drawn_by_another_before_the_recheck(
    staged: Stage,
) -> None:
    for _ in range(2):
        await staged.start(unlatch_recheck_after_s=3600)
    card = await staged.ask()
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(lambda: "✅ Unlatched" in staged.thread(card))
    await staged.until(lambda: waits_for_recheck(staged))
    async with staged.dies_at(("before", "chat.postMessage")):
        await staged.slack.click("U0GUEST", card.ts, "unlatch_undo")
    await staged.until(lambda: "was refused" in staged.thread(card))


async def test_what_a_bot_overtook_that_was_killed_right_after_it_is_closed_by_the_next(
    staged: Stage,
) -> None:
    await staged.start()
    card, overtaken = await staged.ask(), await staged.ask()
    # the outcome is in the ledger once the card is drawn
    await kill(staged, card, ("before", "chat.update"))
    await staged.start()
    await staged.until(lambda: staged.card(overtaken).startswith("⏩ Overtaken: Stolen Bikes"))
    first, second = await staged.settled()
    assert first.story[-1] == "cleared"
    assert second.story == ["requested", "overtaken"]
    assert broken(staged.database_url) == []


def waits_for_recheck(staged: Stage) -> bool:
    """Whether the only card is drawn, and waits for nothing but a recheck much later."""
    [card] = staged.cards()
    soon = datetime.now(UTC) + timedelta(minutes=30)
    return card.jobs == ["recheck"] and card.due[0].at > soon
