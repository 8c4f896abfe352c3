"""Two bots on one PostgreSQL whose clocks differ: one call, and no card ends early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.settings import Mode, Timing
from tests.support.ledger import HOLD_LOST, broken
from tests.support.names import BIKES, CANCEL
from tests.support.other_clock import FAKETIME, SWEEPS_S, bot_whose_clock_is
from tests.support.stage import Stage, on_postgresql

pytestmark = [pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")]
pytestmark += [on_postgresql]

SLOW_S = 5 * SWEEPS_S
"""Several looks of the other bot at what is due."""
ON_TIME = Timing(sweep_every_s=SWEEPS_S)


@pytest.fixture
def staged(staged: Stage) -> Stage:
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=SLOW_S)
    return staged


async def confirmed_once(staged: Stage, customer_id: int) -> None:
    """Ask and confirm at the bot that Slack calls, while both look at what is due."""
    calls = staged.calls("unlatch_customer")
    card = await staged.ask(customer_id)
    # time for the other bot to look
    await asyncio.sleep(SLOW_S)
    assert "[Cancel]" in staged.card(card)
    await staged.confirm(card)
    await staged.until(lambda: "✅ Unlatched" in staged.card(card))
    kept = (await staged.settled())[-1]
    # a machine with much else to do may post a card late
    story = [each for each in kept.story if each != "posted"]
    assert story == ["requested", "confirmed", "begun", "cleared"]
    assert staged.calls("unlatch_customer") == calls + 1
    assert "resumed" not in staged.thread(card)
    assert HOLD_LOST not in staged.log
    assert broken(staged.database_url) == []


# seconds; Slack's signatures allow five minutes, so beyond them a bot gets its clicks otherwise
@pytest.mark.parametrize(("ahead_s", "mode"), [(100, "http"), (-900, "socket")])
async def test_what_a_bot_of_another_time_has_is_left_to_it_and_it_leaves_others_theirs(
    staged: Stage, ahead_s: int, mode: Mode
) -> None:
    await staged.start(timing=ON_TIME, unlatch_expires_after_s=40)
    await confirmed_once(staged, BIKES)
    async with bot_whose_clock_is(ahead_s, staged, mode=mode, unlatch_expires_after_s=40) as other:
        await confirmed_once(staged, 3100025)
        staged.slack.request_url = f"{other}/slack/events" if mode == "http" else None
        await confirmed_once(staged, 3100033)
        if mode == "http":
            await declined(staged)


async def declined(staged: Stage) -> None:
    staged.fusebill.reset()
    card = await staged.ask()
    assert (await staged.slack.click("U0BOB", card.ts, CANCEL)).status == 200
    await staged.until(lambda: bool(staged.slack.views.all()))
    form = staged.slack.views.of("U0BOB")
    await staged.slack.submit(form.id, {"reason": "not theirs"})
    await staged.until(lambda: "not theirs" in staged.card(card))


async def test_a_card_beside_a_bot_that_is_ahead_is_reminded_of_and_expires_at_its_time(
    staged: Stage,
) -> None:
    life_s = 6
    rules: dict[str, Any] = {
        "unlatch_expires_after_s": life_s,
        "unlatch_notify": frozenset({"U0BOB"}),
    }
    await staged.start(timing=ON_TIME, **rules)
    async with bot_whose_clock_is(100, staged, **rules):
        card = await staged.ask()
        asked = asyncio.get_running_loop().time()
        await staged.until(lambda: "<@U0BOB>" in staged.thread(card))
        assert "[Cancel]" in staged.card(card)
        await staged.until(lambda: "⌛ Expired" in staged.card(card))
        assert asyncio.get_running_loop().time() - asked >= life_s - 1
        assert "in time" in staged.card(card)
