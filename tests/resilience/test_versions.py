"""A ledger that an earlier version wrote: this version reads it and finishes its open work."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.domain.models import EventType, Outcome, Verdict
from tests.support.damage import tamper
from tests.support.kept import KeptCard
from tests.support.ledger import broken, create, requests_about
from tests.support.names import BIKES, CONFIRM
from tests.support.stage import Stage, stage

FOLDER = Path(__file__).parents[1] / "samples"
SAMPLES = sorted(FOLDER.glob("ledger_*.sql"))
INTERRUPTED = FOLDER / "interrupted_1.0.0.sql"
"""Cards of 1.0.0, which was killed at each step of a flow, of a batch and of an undo."""
DECIDED_NOT_DONE = 3100071
WAITING = 2554529


@pytest.fixture(params=SAMPLES, ids=[path.stem for path in SAMPLES])
def old_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of a ledger as a released version left it, with work that its process never did."""
    return copied(request.param, tmp_path)


def copied(path: Path, folder: Path) -> str:
    """The URL of a ledger in a folder, as a sample has it."""
    connection = sqlite3.connect(folder / "ledger.db")
    connection.executescript(path.read_text("utf-8"))
    connection.close()
    return f"sqlite:///{folder}/ledger.db"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A card that 1.0.0 left, and which of its customers were latched then."""

    state: str
    killed: str
    latched: dict[int, bool]


def interrupted() -> list[Interrupted]:
    listed = json.loads(INTERRUPTED.with_suffix(".json").read_text("utf-8"))
    return [
        Interrupted(each["state"], each["killed"], {int(i): v for i, v in each["latched"].items()})
        for each in listed
    ]


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
        # 0.1.0 had no card that could be stopped, and 1.0.0 not the others
        newer = {Outcome.STOPPED, Outcome.NOT_BEGUN, Outcome.ALREADY_LATCHED, Outcome.MOVED}
        newer |= {Outcome.LEFT_OUT}
        assert set(Outcome) - newer <= outcomes.keys()


async def test_whatever_killed_an_older_version_its_cards_are_carried_on_with_one_call(
    tmp_path: Path,
) -> None:
    async with stage(copied(INTERRUPTED, tmp_path), tmp_path) as staged:
        customers = staged.fusebill.customers
        for card in interrupted():
            for each, latched in card.latched.items():
                ids = {"hubSpotId": each + 1, "hubSpotCompanyId": each + 2}
                nothing = dict.fromkeys(ids)
                customers[each] = customers[BIKES] | {"id": each} | (ids if latched else nothing)
        await staged.start()
        # how long 1.0.0 would have waited before it looked at a cleared customer, nobody knows
        await staged.until(
            lambda: all(c.first.verdict and {*c.jobs} <= {"recheck"} for c in staged.cards())
        )
        for card in interrupted():
            for each, latched in card.latched.items():
                assert _end(staged, each) == _expected(card, latched=latched), card
    assert broken(staged.database_url) == []


def _end(staged: Stage, customer_id: int) -> tuple[object, ...]:
    """What came of a customer's last request, and the calls that changed it."""
    called = [
        call.operation
        for call in staged.fusebill.calls
        if call.customer_id == customer_id and call.operation != "get_customer"
    ]
    found = requests_about(staged.database_url, customer_id)
    if not found:
        return (None, None, None, called)
    last = found[0]
    return (last.verdict, last.outcome, found[-1].undone_by == last.id, called)


def _expected(card: Interrupted, *, latched: bool) -> tuple[object, ...]:
    match card.state:
        case "asked":
            # its time is over, and no card shows it
            return (None, None, None, [])
        case "waits":
            return (Verdict.EXPIRED, None, False, [])
        case "cancelled":
            return (Verdict.CANCELLED, None, False, [])
        case "confirmed" | "many confirmed":
            called = ["unlatch_customer"] if latched else []
            return (Verdict.CONFIRMED, Outcome.CLEARED, False, called)
        case _:
            called = [] if latched else ["latch_customer"]
            return (Verdict.CONFIRMED, Outcome.RESTORED, True, called)


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
