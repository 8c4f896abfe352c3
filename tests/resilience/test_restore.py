"""Back-up and restore, with the steps of `docs/operations.md`."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.ledger import set_back
from tests.support.names import CONFIRM
from tests.support.stage import Stage, stage


def back_up(folder: Path) -> Path:
    """`sqlite3 ledger.db ".backup …"`, which is safe while the bot writes."""
    backup = folder / "backup.db"
    source, target = sqlite3.connect(folder / "ledger.db"), sqlite3.connect(backup)
    with source, target:
        source.backup(target)
    source.close()
    target.close()
    return backup


async def restore(staged: Stage, backup: Path) -> None:
    """Stop the bot, put the file back, remove the journal files, start."""
    await staged.bots[-1].stop()
    shutil.copy(backup, staged.folder / "ledger.db")
    for journal in ("ledger.db-wal", "ledger.db-shm"):
        (staged.folder / journal).unlink(missing_ok=True)
    await staged.start()


async def test_a_card_that_the_backup_does_not_know_is_refused_and_calls_nothing(
    tmp_path: Path,
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        await staged.start()
        await staged.ask()
        backup = back_up(tmp_path)
        unknown = await staged.ask()
        await restore(staged, backup)
        await staged.slack.click("U0BOB", unknown.ts, CONFIRM)
        await staged.until(lambda: bool(staged.slack.workspace.ephemerals("U0BOB")))
        assert "request" in staged.slack.workspace.ephemerals("U0BOB")[-1].text
        assert staged.calls("unlatch_customer") == 0


async def test_what_was_confirmed_and_not_done_at_the_backup_is_done_after_the_restore(
    tmp_path: Path,
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        await staged.start()
        card = await staged.ask()
        async with staged.dies_at(("before", "unlatch_customer")):
            await staged.slack.click("U0BOB", card.ts, CONFIRM)
        backup = back_up(tmp_path)
        await restore(staged, backup)
        [kept] = await staged.settled()
        assert staged.calls("unlatch_customer") >= 1
        assert (kept.first.verdict, kept.first.outcome) == ("confirmed", "cleared")
        assert "✅ Unlatched" in staged.card(card)


@pytest.mark.parametrize(
    ("readable", "expected"),
    [
        (True, "Expired while the bot was away; the customer is no longer latched."),
        (False, "the customer could not be read, so the bot doesn't know whether it was changed."),
    ],
)
async def test_a_card_that_the_backup_holds_undecided_is_looked_at_before_it_expires(
    tmp_path: Path,
    readable: bool,  # noqa: FBT001  # parametrized
    expected: str,
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        await staged.start(unlatch_expires_after_s=60)
        card = await staged.ask()
        backup = back_up(tmp_path)
        # its time has come when it is restored
        set_back(f"sqlite:///{backup}", -timedelta(seconds=120))
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda: "✅ Unlatched" in staged.card(card))
        await staged.settled()
        if not readable:
            staged.fusebill.misbehave("conflict", operation="get_customer", times=None)
        await restore(staged, backup)
        await staged.until(lambda: "⌛ Expired" in staged.card(card))
        assert expected in staged.card(card)
        assert "nothing was changed" not in staged.card(card) + staged.thread(card)
        assert staged.calls("unlatch_customer") == 1
