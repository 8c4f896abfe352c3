"""Cards that wait for another card's work on their customers, when the bot is killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.ledger import broken
from tests.support.names import BIKES, CONFIRM, CUSTOMERS, STOP
from tests.support.stage import Stage, on_both

PATIENT = replace(PACE, hold_s=2.0)
MANY = CUSTOMERS[:4]
one_and_many = pytest.mark.parametrize("ids", [[BIKES], MANY], ids=["one", "many"])


async def asked(staged: Stage, ids: Sequence[int]) -> list[PostedMessage]:
    """Two cards about the same customers."""
    return [await staged.ask(*ids), await staged.ask(*ids)]


async def confirm(staged: Stage, cards: Sequence[PostedMessage]) -> None:
    """Confirm both; if Fusebill is slow, the second waits for the first."""
    for card in cards:
        await staged.slack.click("U0BOB", card.ts, CONFIRM)


async def ended(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.settled(30.0)
    assert broken(staged.database_url) == []


@on_both
@one_and_many
async def test_a_card_that_waited_when_the_bot_was_killed_says_that_it_did_nothing(
    staged: Stage, ids: Sequence[int]
) -> None:
    bot = await staged.start(timing=PATIENT)
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.0)
    first, second = await asked(staged, ids)
    await confirm(staged, [first, second])
    await staged.until(lambda: staged.calls("unlatch_customer") == len(ids))
    await bot.kill()
    staged.fusebill.behave()
    await ended(staged)
    await staged.until(lambda: "lready clear" in staged.card(second))
    assert "nlatched" in staged.card(first).partition("\n")[0]
    assert "nlatched" not in staged.card(second).partition("\n")[0]
    assert "[Undo…]" not in staged.card(second)
    assert "begun" not in staged.thread(second)


@one_and_many
async def test_a_card_whose_own_call_came_after_its_wait_says_what_it_did(
    staged: Stage, ids: Sequence[int]
) -> None:
    await staged.start(timing=PATIENT)
    for customer_id in ids:
        # the first card's call is refused, so the second finds the customer latched
        staged.fusebill.misbehave(
            "conflict", operation="unlatch_customer", times=1, customer_id=customer_id
        )
    async with staged.dies_at(("after", "unlatch_customer"), 2 * len(ids) - 1):
        first, second = await asked(staged, ids)
        staged.fusebill.misbehave("slow", operation="get_customer", times=len(ids), seconds=0.5)
        await confirm(staged, [first, second])
    await ended(staged)
    await staged.until(lambda: "nlatched" in staged.card(second).partition("\n")[0])
    assert "ot done" in staged.card(first)
    assert "lready clear" not in staged.card(second)
    assert "The customer's turn came" in staged.thread(second)
    assert staged.calls("unlatch_customer") == 2 * len(ids)


async def test_a_stopped_card_that_waited_when_the_bot_was_killed_is_stopped(
    staged: Stage,
) -> None:
    bot = await staged.start(timing=replace(PATIENT, working_after_s=0.1))
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=1.5)
    first, second = await asked(staged, MANY)
    await confirm(staged, [first, second])
    await staged.until(lambda: "[Stop]" in staged.card(second))
    await staged.slack.click("U0BOB", second.ts, STOP)
    # nothing of it was begun, so it ends at once
    await staged.until(lambda: "topp" in staged.card(second))
    await bot.kill()
    staged.fusebill.behave()
    await ended(staged)
    await staged.until(lambda: "4 stopped" in staged.card(second))
    assert "4 unlatched" in staged.card(first)
