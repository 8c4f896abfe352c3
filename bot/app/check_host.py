"""Checks this machine's side: its clock, and who can read its ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from bot.app.check_result import CheckResult, warning
from bot.inbound.rejections import MAX_SKEW_S
from bot.ledger.database.engine import sqlite_file
from bot.ledger.database.sqlite_files import PRIVATE
from bot.settings import Settings

ANYBODY = 0o777
MAX_CLOCK_ERROR_S = 5.0
"""The answer was on its way for a moment, and its header has no fractions of a second."""


def clock(date: str, settings: Settings) -> Iterator[CheckResult]:
    """A warning or a fault if this machine's clock differs from the `Date` of Slack's answer."""
    now = datetime.now(UTC)
    try:
        ahead_s = (now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds()
    except ValueError:
        return
    if abs(ahead_s) <= MAX_CLOCK_ERROR_S:
        return
    where = "ahead of" if ahead_s > 0 else "behind"
    text = f"Clock: this machine's is {abs(ahead_s):.0f} s {where} Slack's"
    fix = "Have NTP set it: with SQLite, the ledger's times and what is due follow it."
    if abs(ahead_s) >= MAX_SKEW_S and settings.slack_signing_secret:
        yield CheckResult(False, text, f"{fix} The bot takes no request signed 5 minutes away.")
    else:
        yield warning(text, fix)


def file_modes(settings: Settings) -> Iterator[CheckResult]:
    """A warning for each of SQLite's files that others than the owner may read or write."""
    ledger = sqlite_file(settings.database_url.get_secret_value())
    if ledger is None:
        return
    # SQLite has its other files beside the one that a link names
    ledger = ledger.resolve()
    for file in (ledger, *(Path(f"{ledger}{end}") for end in ("-wal", "-shm"))):
        # a folder needs its x, so this advice would lock its owner out
        if not file.is_file():
            continue
        with suppress(FileNotFoundError):
            mode = file.stat().st_mode & ANYBODY
            if mode & ~PRIVATE:
                text = f"Ledger (SQLite): others on this machine can open {file} (mode {mode:04o})"
                yield warning(text, f"Run: chmod 600 {file}")
