"""What can go wrong with a call to Fusebill.

    FusebillError                a call that returned no value
    ├── FusebillRefused          4xx: nothing was changed
    │   ├── CustomerNotFound     404: no such customer
    │   ├── KeyRefused           401, 403, or the documented 400: Fusebill refuses the API key
    │   └── RateLimited          429: too many calls; says when to try again, if known
    ├── OutcomeUnknown           time-out, lost reply, 3xx, 5xx, unreadable 2xx: maybe changed
    └── NotReached               no connection: nothing was sent, nothing was changed

Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime


class FusebillError(Exception):
    """A call returned no value.

    `status` is the HTTP status, None without an answer. `texts` are Fusebill's own error messages,
    unescaped: at most 100 of at most 9,000 characters. `why` is the client's reason, for people.
    """

    def __init__(
        self, status: int | None = None, texts: tuple[str, ...] = (), why: str = ""
    ) -> None:
        super().__init__()
        self.status = status
        self.texts = texts
        self.why = why

    def __str__(self) -> str:
        parts = [f"HTTP {self.status}" if self.status else "", self.why, *self.texts]
        return ": ".join(part for part in parts if part)


class FusebillRefused(FusebillError):
    """Fusebill refused the call (4xx): nothing was changed."""


class CustomerNotFound(FusebillRefused):
    """Fusebill knows no such customer (404)."""


class KeyRefused(FusebillRefused):
    """Fusebill refused the bot's API key (401, 403, or its documented 400)."""


class RateLimited(FusebillRefused):
    """Too many calls (429); `retry_at` is when the limit resets, None if unknown."""

    def __init__(
        self,
        status: int | None = None,
        texts: tuple[str, ...] = (),
        why: str = "",
        *,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(status, texts, why)
        self.retry_at = retry_at

    def wait_s(self, at_most_s: float) -> bool | float:
        """How long to wait before a retry, in stamina's terms: seconds, with jitter.

        True (stamina's own back-off) if Fusebill did not say; False (no retry) from `at_most_s` on.
        """
        if self.retry_at is None:
            return True
        wait_s = max(0.0, (self.retry_at - datetime.now(UTC)).total_seconds())
        wait_s += random.uniform(0.05, 0.5)  # noqa: S311  # jitter
        return wait_s if wait_s < at_most_s else False


class OutcomeUnknown(FusebillError):
    """The customer may have been changed or not: read the customer to find out."""


class NotReached(FusebillError):
    """There was no connection to Fusebill: nothing was sent, nothing was changed."""
