"""Two bots on one PostgreSQL whose clocks differ: one call, and no card ends early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ledger import HOLD_LOST, broken
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.other_clock import FAKETIME, SWEEPS_S, bot_whose_clock_is
from tests.support.stage import Stage, stage

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")

SLOW_S = 5 * SWEEPS_S
"""Several looks of the other bot at what is due."""
APART = [100, -100, 900, -900]
"""Seconds. Slack's signatures allow five minutes, so the last two answer no clicks over HTTP."""


@pytest.fixture
async def staged(postgresql_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(postgresql_url, tmp_path) as opened:
        opened.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=SLOW_S)
        yield opened


async def require_one_call_of(staged: Stage, address: str) -> None:
    """Ask and confirm at one of the bots while both look at what is due."""
    staged.slack.request_url = f"{address}/slack/events"
    card = await staged.ask()
    # time for the other bot to look
    await asyncio.sleep(SLOW_S)
    assert "[Cancel]" in staged.card(card)
    assert (await staged.slack.click("U0BOB", card.ts, CONFIRM)).status == 200
    await staged.until(lambda: "✅ Unlatched" in staged.card(card))
    [kept] = await staged.settled()
    assert kept.story == ["requested", "confirmed", "begun", "cleared"]
    assert staged.calls("unlatch_customer") == 1
    assert len(staged.slack.workspace.messages(CHANNEL)) == 1
    assert "resumed" not in staged.thread(card)
    assert HOLD_LOST not in staged.log
    assert broken(staged.database_url) == []


@pytest.mark.parametrize("ahead_s", APART)
async def test_a_bot_of_another_time_leaves_the_work_and_the_card_to_who_has_it(
    staged: Stage, ahead_s: int
) -> None:
    async with (
        bot_whose_clock_is(0, staged, unlatch_expires_after_s=40) as address,
        bot_whose_clock_is(ahead_s, staged, unlatch_expires_after_s=40),
    ):
        await require_one_call_of(staged, address)


@pytest.mark.parametrize("ahead_s", APART[:2])
async def test_what_a_bot_of_another_time_has_is_left_to_it(staged: Stage, ahead_s: int) -> None:
    async with (
        bot_whose_clock_is(0, staged, unlatch_expires_after_s=40),
        bot_whose_clock_is(ahead_s, staged, unlatch_expires_after_s=40) as address,
    ):
        await require_one_call_of(staged, address)


@pytest.mark.parametrize("ahead_s", APART[2:])
async def test_over_socket_mode_a_quarter_of_an_hour_is_no_trouble(
    staged: Stage, ahead_s: int
) -> None:
    async with (
        bot_whose_clock_is(ahead_s, staged, mode="socket", unlatch_expires_after_s=40),
        bot_whose_clock_is(0, staged, unlatch_expires_after_s=40),
    ):
        await staged.until(lambda: bool(staged.slack.socket_mode.links))
        staged.slack.request_url = None
        card = await staged.ask(BIKES)
        await asyncio.sleep(SLOW_S)
        assert (await staged.slack.click("U0BOB", card.ts, CONFIRM)).status == 200
        await staged.until(lambda: "✅ Unlatched" in staged.card(card))
        await staged.settled()
        assert staged.calls("unlatch_customer") == 1
        assert "resumed" not in staged.thread(card)


async def test_a_card_of_a_bot_that_is_ahead_expires_at_its_time(staged: Stage) -> None:
    life_s = 6
    async with (
        bot_whose_clock_is(0, staged, unlatch_expires_after_s=life_s) as address,
        bot_whose_clock_is(100, staged, unlatch_expires_after_s=life_s),
    ):
        staged.slack.request_url = f"{address}/slack/events"
        card = await staged.ask()
        asked = asyncio.get_running_loop().time()
        await staged.until(lambda: "⌛ Expired" in staged.card(card))
        assert asyncio.get_running_loop().time() - asked >= life_s - 1
        assert "in time" in staged.card(card)


async def test_a_bot_that_is_ahead_still_lets_others_decline(staged: Stage) -> None:
    async with bot_whose_clock_is(100, staged, unlatch_expires_after_s=40) as address:
        staged.slack.request_url = f"{address}/slack/events"
        card = await staged.ask()
        assert (await staged.slack.click("U0BOB", card.ts, CANCEL)).status == 200
        await staged.until(lambda: bool(staged.slack.views.all()))
        form = staged.slack.views.of("U0BOB")
        await staged.slack.submit(form.id, {"reason": "not theirs"})
        await staged.until(lambda: "not theirs" in staged.card(card))


async def test_a_bot_that_is_ahead_reminds_of_a_card_in_time(staged: Stage) -> None:
    life: dict[str, Any] = {"unlatch_expires_after_s": 6}
    people: dict[str, Any] = {"unlatch_notify": frozenset({"U0BOB"})}
    async with bot_whose_clock_is(100, staged, **life, **people) as address:
        staged.slack.request_url = f"{address}/slack/events"
        card = await staged.ask()
        await staged.until(lambda: "<@U0BOB>" in staged.thread(card))
        assert "[Cancel]" in staged.card(card)
