"""An HTTP answer of Fusebill, and what its headers say: the next page, the limits, when to retry.

Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus

import httpx

_DIGITS = re.compile(r"[0-9]{1,18}")
_TICKS = {10: 1, 13: 1_000}  # per second, by the number of digits of an epoch today


@dataclass(frozen=True, slots=True)
class RateWindow:
    """How many calls are left in a window, when it resets, and how many it allows.

    Each is None if Fusebill did not say.
    """

    remaining: int | None = None
    reset_at: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Fusebill's two rate limit windows, from the headers `X-Rate-Limit-*`."""

    minute: RateWindow
    day: RateWindow


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; not `complete` if its body broke off. `received_at` is aware UTC."""

    status: int
    body: bytes = b""
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    complete: bool = True

    @property
    def content_type(self) -> str:
        """The header `Content-Type`, empty if there is none."""
        return str(self.headers.get("Content-Type", ""))


def has_more(answer: Answer, page: int) -> bool:
    """Whether there is a page after this one; `X-NextPage` is -1 on the last page."""
    after = answer.headers.get("X-NextPage", "")
    return bool(_DIGITS.fullmatch(after)) and int(after) > page


def rate_limit_of(answer: Answer) -> RateLimit:
    """Return the limits per minute and per day from the headers `X-Rate-Limit-*`."""
    return RateLimit(_window(answer.headers, "Minute"), _window(answer.headers, "Day"))


def retry_at(answer: Answer) -> datetime | None:
    """When Fusebill takes calls again, as far as a refused call's answer says."""
    after = answer.headers.get("Retry-After", "").strip()
    if _DIGITS.fullmatch(after):
        return answer.received_at + timedelta(seconds=min(int(after), 86_400))
    if after and (moment := _moment(after)):
        return moment
    if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
        return None  # every answer carries the limits, and they say nothing about other troubles
    limit = rate_limit_of(answer)
    exhausted = limit.day if limit.day.remaining == 0 else limit.minute
    return exhausted.reset_at


def _window(headers: httpx.Headers, name: str) -> RateWindow:
    return RateWindow(
        _number(headers.get(f"X-Rate-Limit-Remaining-{name}")),
        _moment(headers.get(f"X-Rate-Limit-Reset-{name}")),
        _number(headers.get(f"X-Rate-Limit-Limit-{name}")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and _DIGITS.fullmatch(text) else None


@lru_cache(maxsize=8)  # all answers of a minute name the same two
def _moment(text: str | None) -> datetime | None:
    """Parse a timestamp in any common format: Fusebill documents none."""
    if not text:
        return None
    try:
        if _DIGITS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / _TICKS[len(text)], UTC)
        parse = datetime.fromisoformat if text[0].isdigit() else parsedate_to_datetime
        moment = parse(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None
