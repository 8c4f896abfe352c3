"""A ledger that an earlier version wrote: this version reads it and finishes its open work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from bot.domain.models import EventType, Outcome, Verdict
from tests.support.damage import tamper
from tests.support.kept import KeptCard
from tests.support.ledger import broken, create
from tests.support.names import CONFIRM
from tests.support.stage import Stage, stage

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("ledger_*.sql"))
DECIDED_NOT_DONE = 3100071
WAITING = 2554529


@pytest.fixture(params=SAMPLES, ids=[path.stem for path in SAMPLES])
def old_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of a ledger as a released version left it, with work that its process never did."""
    path: Path = request.param
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.executescript(path.read_text("utf-8"))
    connection.close()
    return f"sqlite:///{tmp_path}/ledger.db"


def test_migrating_an_older_ledger_keeps_every_hash(old_ledger: str) -> None:
    create(old_ledger)
    assert broken(old_ledger) == []


async def test_the_open_work_of_an_older_version_is_finished(
    old_ledger: str, tmp_path: Path
) -> None:
    async with stage(old_ledger, tmp_path) as staged:
        await staged.start()
        cards = await _all_done(staged)
        by_customer = {card.first.customer.customer_id: card for card in cards}
        assert staged.calls("unlatch_customer") == 1
        done = by_customer[DECIDED_NOT_DONE]
        assert done.first.outcome is Outcome.CLEARED
        assert EventType.RECLAIMED in done.story
        assert by_customer[WAITING].first.verdict is Verdict.EXPIRED
    assert broken(old_ledger) == []


async def test_every_outcome_that_an_older_version_wrote_is_read(
    old_ledger: str, tmp_path: Path
) -> None:
    async with stage(old_ledger, tmp_path) as staged:
        await staged.start()
        outcomes = Counter(card.first.outcome for card in await _all_done(staged))
        # 0.1.0 had no card that could be stopped
        assert set(Outcome) - {Outcome.STOPPED} <= outcomes.keys()


async def test_a_card_of_a_kind_that_only_a_newer_version_knows_is_left_alone(
    tmp_path: Path,
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        bot = await staged.start(unlatch_expires_after_s=2)
        card = await staged.ask()
        await bot.kill()
        tamper(staged.database_url, kind="swap")
        await staged.start()
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda: bool(staged.slack.workspace.ephemerals("U0BOB")))
        await asyncio.sleep(2.5)
        [kept] = staged.cards()
        assert (kept.first.kind, kept.first.verdict) == ("swap", None)
        assert staged.calls("unlatch_customer") == 0
        assert "sweep failed" not in staged.log


async def _all_done(staged: Stage) -> list[KeptCard]:
    for _ in range(100):
        cards = await staged.settled()
        if all(card.first.verdict for card in cards):
            return cards
        await asyncio.sleep(0.1)
    raise AssertionError(staged.log)
