"""Checks this machine's side: its clock, who can read its ledger, certificates that will end."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from bot.app.check_result import CheckResult, warning
from bot.inbound.rejections import MAX_SKEW_S
from bot.ledger.database.engine import sqlite_file
from bot.ledger.database.sqlite_files import PRIVATE
from bot.settings import Settings

DAY_S = 24 * 3600
SOON_DAYS = 14
CONNECT_TIMEOUT_S = 5.0
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


async def certificates(settings: Settings) -> AsyncIterator[CheckResult]:
    """A warning for each server whose certificate ends soon; others say if it can't be reached."""
    for name in ("slack_api_url", "fusebill_base_url"):
        address = urlsplit(str(getattr(settings, name)))
        if address.scheme != "https" or not address.hostname:
            continue
        days = await _days_left(address.hostname, address.port or 443)
        if days is not None and days < SOON_DAYS:
            ends = "1 day" if days == 1 else f"{days} days"
            text = f"{name.upper()}: the certificate of {address.hostname} ends in {ends}"
            yield warning(text, "Tell those who run that server, or the proxy in between.")


async def _days_left(host: str, port: int) -> int | None:
    """The days until a server's certificate ends; None if there is no valid one to look at."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _reader, writer = await asyncio.open_connection(
                host, port, ssl=ssl.create_default_context()
            )
    except (OSError, TimeoutError):
        return None
    try:
        ends_at = ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"])
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await writer.wait_closed()
    return int((ends_at - time.time()) // DAY_S)
