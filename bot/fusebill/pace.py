"""Fusebill's rate limits: reads them from its answers, and keeps work on many customers within.

Each answer says how many calls are left, and when the minute ends. What only one person waits for
never waits here: a reserve of each minute is left for it.
Source: developer.staxbill.com, "Rate limits": 1,000 calls a minute, 50 or 10 for test accounts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from bot.domain.values import value
from bot.fusebill.errors import RateLimited

MINUTE = timedelta(minutes=1)
SILENCE = timedelta(seconds=10)
"""So long after a call without an answer nobody waits to learn how many are left."""
RESERVE_PART = 10
MIN_RESERVE, MAX_RESERVE = 3, 50
DIGITS = re.compile(r"[0-9]{1,18}")
_TICKS = {10: 1, 13: 1_000}  # per second, by the number of digits of an epoch today


@value
class RateWindow:
    """How many calls a window has left, when it resets, its limit; None if Fusebill did not say."""

    remaining: int | None = None
    reset_at: datetime | None = None
    limit: int | None = None


@value
class RateLimit:
    """Fusebill's two rate limit windows, from the headers `X-Rate-Limit-*`."""

    minute: RateWindow
    day: RateWindow


def rate_limit_of(headers: Mapping[str, str]) -> RateLimit:
    """Return the limits per minute and per day from the headers `X-Rate-Limit-*`."""
    return RateLimit(_window(headers, "minute"), _window(headers, "day"))


def retry_at(
    headers: Mapping[str, str], received_at: datetime, *, limited: bool
) -> datetime | None:
    """When Fusebill takes calls again, as far as a refused call's answer says.

    Every answer has the limits, and they say nothing about other troubles: they count only if the
    call was refused for them, `limited`.
    """
    after = headers.get("retry-after", "").strip()
    if DIGITS.fullmatch(after):
        return received_at + timedelta(seconds=min(int(after), 86_400))
    if after and (moment := _moment(after)):
        return moment
    if not limited:
        return None
    limit = rate_limit_of(headers)
    exhausted = limit.day if limit.day.remaining == 0 else limit.minute
    return exhausted.reset_at


def _window(headers: Mapping[str, str], name: str) -> RateWindow:
    return RateWindow(
        _number(headers.get(f"x-rate-limit-remaining-{name}")),
        _moment(headers.get(f"x-rate-limit-reset-{name}")),
        _number(headers.get(f"x-rate-limit-limit-{name}")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and DIGITS.fullmatch(text) else None


@lru_cache(maxsize=8)  # all answers of a minute name the same two
def _moment(text: str | None) -> datetime | None:
    """Parse a timestamp in any common format: Fusebill documents none."""
    if not text:
        return None
    try:
        if DIGITS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / _TICKS[len(text)], UTC)
        parse = datetime.fromisoformat if text[0].isdigit() else parsedate_to_datetime
        moment = parse(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


@value
class _Minute:
    """What the last answer said; `remaining` is None if it did not say."""

    remaining: int | None
    reserve: int
    ends_at: datetime


class Pace:
    """Makes calls for many customers wait while few calls of the minute are left.

    At the start of a minute nobody knows how many are left, so the first call goes alone. If it
    gets no answer, the others are not held back: they would meet the same silence one by one.
    """

    def __init__(self) -> None:
        self._minute: _Minute | None = None
        self._blocked_until: datetime | None = None
        self._running = 0
        self._news = asyncio.Event()

    def observe(self, window: RateWindow) -> None:
        """Take what an answer of Fusebill says about the minute."""
        now = datetime.now(UTC)
        ends_at = window.reset_at
        if ends_at is None or not now < ends_at <= now + MINUTE:
            # not said, or by a clock that differs from this one
            ends_at = now + MINUTE
        remaining, known = window.remaining, self._minute
        if known and remaining is not None and known.remaining is not None:
            # answers arrive in another order than they were given
            same = abs(known.ends_at - ends_at) < timedelta(seconds=1)
            remaining = min(remaining, known.remaining) if same else remaining
        part = (window.limit or 0) // RESERVE_PART
        self._minute = _Minute(remaining, min(max(part, MIN_RESERVE), MAX_RESERVE), ends_at)
        self._wake()

    @asynccontextmanager
    async def call(self, calls: int = 1) -> AsyncIterator[None]:
        """Make a call within the block, or up to `calls` of them, once enough are left.

        If Fusebill refuses it for a while (RateLimited, which passes on), no other starts until
        then.
        """
        while (until := self._waits_until(calls)) is not None:
            news = self._news
            left = until - datetime.now(UTC)
            try:
                async with asyncio.timeout(max(left.total_seconds(), 0.0)):
                    await news.wait()
            except TimeoutError:
                continue
        self._running += calls
        try:
            yield
        except RateLimited as error:
            self.wait_until(error.retry_at)
            raise
        finally:
            self._running -= calls
            if self._is_unknown(now := datetime.now(UTC)):
                self._minute = _Minute(None, MIN_RESERVE, now + SILENCE)
            self._wake()

    def wait_until(self, retry_at: datetime | None) -> bool:
        """Start no call before `retry_at`; false if that is not known, or too far away to wait."""
        waits = retry_at is not None and retry_at <= datetime.now(UTC) + MINUTE
        if waits:
            self._blocked_until = retry_at
        return waits

    def _waits_until(self, calls: int) -> datetime | None:
        """Until when no call may start, unless there is news before; None if one may start now."""
        now = datetime.now(UTC)
        if self._blocked_until and now < self._blocked_until:
            return self._blocked_until
        minute = self._minute
        if minute is None or self._is_unknown(now):
            return now + MINUTE if self._running else None
        if minute.remaining is None:
            return None
        # the answer to a running call may or may not be counted in what is left
        free = minute.remaining - self._running >= minute.reserve + calls
        return None if free else minute.ends_at

    def _is_unknown(self, now: datetime) -> bool:
        return self._minute is None or self._minute.ends_at <= now

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
