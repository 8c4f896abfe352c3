"""No call without a hold that was found just before it: a silent database, a process that slept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from signal import SIGCONT, SIGSTOP

import pytest

from bot.domain.models import Outcome
from bot.settings import Timing
from tests.resilience.test_many_crash import all_outcomes
from tests.support import postgresql
from tests.support.bot_process import PACE, BotProcess
from tests.support.ledger import HOLD_LOST, broken
from tests.support.names import BIKES, CONFIRM
from tests.support.proxy import Proxy
from tests.support.stage import Stage, on_postgresql

MANY = range(5_000_001, 5_000_025)
SHORT = replace(PACE, hold_s=3.0, retry_s=0.1)
LONG = replace(SHORT, hold_s=20.0)
BRIEF = replace(PACE, hold_s=1.0)
LOOKS_S = 1.0
"""Time for a process that woke to do what it would do."""


pytestmark = on_postgresql


@pytest.fixture
async def proxy(postgresql_url: str) -> AsyncIterator[Proxy]:
    opens, _url = postgresql.proxied(postgresql_url)
    async with Proxy(opens) as opened:
        yield opened


async def start_behind(staged: Stage, proxy: Proxy, timing: Timing) -> BotProcess:
    """Start a bot that reaches the database through the proxy."""
    _opens, url = postgresql.proxied(staged.database_url)
    behind = replace(staged, database_url=url.format(port=proxy.port))
    return await behind.start(timing=timing)


@pytest.mark.parametrize(
    ("timing", "silent_s", "bots"),
    [(LONG, 3.0, 1), (SHORT, 5.0, 1), (SHORT, 5.0, 2)],
    ids=["shorter than the hold", "longer than the hold", "another bot takes over"],
)
async def test_a_database_that_is_silent_amid_the_work_has_nobody_called_twice(
    staged: Stage, proxy: Proxy, timing: Timing, silent_s: float, bots: int
) -> None:
    if bots > 1:
        await staged.start(timing=timing)
    await start_behind(staged, proxy, timing)
    card = await staged.ask(*MANY)
    silent = asyncio.Event()

    async def fall_silent(operation: str) -> None:
        if operation == "unlatch_customer" and staged.calls(operation) > len(MANY) // 2:
            staged.fusebill.after = None
            proxy.speaks.clear()
            silent.set()

    staged.fusebill.after = fall_silent
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.1)
    await staged.confirm(card)
    await staged.until(silent.is_set)
    await asyncio.sleep(silent_s)
    proxy.speaks.set()
    await staged.until(lambda: f"✅ {len(MANY)} unlatched" in staged.card(card), 60.0)
    await staged.settled(60.0)
    called = Counter(
        each.customer_id for each in staged.fusebill.calls if each.operation == "unlatch_customer"
    )
    assert called == dict.fromkeys(MANY, 1)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(MANY)}
    assert broken(staged.database_url) == []


async def test_a_process_that_slept_between_its_read_and_its_call_clears_no_new_ids(
    staged: Stage,
) -> None:
    sleeper = await staged.start(timing=BRIEF)
    card = await staged.ask()
    read = asyncio.Event()

    async def freeze(operation: str) -> None:
        if operation == "get_customer" and not read.is_set():
            sleeper.signal(SIGSTOP)
            read.set()

    staged.fusebill.after = freeze
    click = asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM))
    await staged.until(read.is_set)
    await staged.start(timing=BRIEF)
    await staged.settled()
    assert "Cleared contact 101 and company 202" in staged.card(card)
    staged.fusebill.customers[BIKES] |= {"hubSpotId": 901, "hubSpotCompanyId": 902}
    await wakes(staged, sleeper)
    await click
    assert staged.calls("unlatch_customer") == 1
    assert staged.fusebill.customers[BIKES]["hubSpotId"] == 901
    assert "Cleared contact 101 and company 202" in staged.card(card)


@pytest.mark.parametrize("another", [True, False])
async def test_a_process_that_slept_after_it_noted_the_call_reads_before_it_calls(
    staged: Stage, *, another: bool
) -> None:
    sleeper = await staged.start(timing=BRIEF)
    card = await staged.ask()
    postgresql.dawdle_at_commit(staged.database_url, "begun", seconds=1.0)
    click = asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM))
    await staged.until(lambda: postgresql.dawdles(staged.database_url))
    sleeper.signal(SIGSTOP)
    await asyncio.sleep(2 * BRIEF.hold_s)
    before = len(staged.fusebill.calls)
    if another:
        await staged.start(timing=BRIEF)
        await staged.settled()
    await wakes(staged, sleeper)
    await click
    await staged.until(lambda: "✅ Unlatched" in staged.card(card))
    later = [each.operation for each in staged.fusebill.calls[before:]]
    assert later[0] == "get_customer"
    assert staged.calls("unlatch_customer") == 1
    assert HOLD_LOST in staged.log
    await staged.settled()
    assert broken(staged.database_url) == []


async def wakes(staged: Stage, sleeper: BotProcess) -> None:
    """Wake it, and give it time to do what it would."""
    sleeper.signal(SIGCONT)
    await staged.until(lambda: HOLD_LOST in staged.log)
    await asyncio.sleep(LOOKS_S)
