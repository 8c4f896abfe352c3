"""What can go wrong with a call to Fusebill.

    FusebillError                what is known of a call that brought no value
    ├── FusebillRefused          4xx: nothing was changed
    │   ├── CustomerNotFound     404: no such customer
    │   ├── KeyRefused           401, 403, or the 400 that says so: the bot's API key is not taken
    │   └── RateLimited          429: too many calls; says when to come again, where it is known
    ├── OutcomeUnknown           time-out, lost reply, 3xx, 5xx, unreadable 2xx: it may be changed
    └── NotReached               no connection was had: nothing was sent, nothing was changed

Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime


class FusebillError(Exception):
    """A call brought no value.

    `status` is the HTTP status, None where there was no answer; `texts` are Fusebill's own words
    (at most 100 of at most 9,000 characters, never escaped); `why` is this client's, for people.
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
    """Fusebill said no (4xx): nothing was changed."""


class CustomerNotFound(FusebillRefused):
    """Fusebill knows no such customer (404)."""


class KeyRefused(FusebillRefused):
    """Fusebill does not take the bot's API key (401, 403, or its documented 400)."""


class RateLimited(FusebillRefused):
    """Too many calls (429); `retry_at` is when the window opens again, None where unknown."""

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
        """How long to wait before another call, as stamina takes it: seconds, with jitter.

        True where Fusebill did not say; False where that is longer than `at_most_s`.
        """
        if self.retry_at is None:
            return True
        wait_s = max(0.0, (self.retry_at - datetime.now(UTC)).total_seconds())
        wait_s += random.uniform(0.05, 0.5)  # noqa: S311  # so that the many don't come back as one
        return wait_s if wait_s < at_most_s else False


class OutcomeUnknown(FusebillError):
    """Whether it was done cannot be told from this call: read the customer."""


class NotReached(FusebillError):
    """Fusebill was not reached: nothing was sent, nothing was changed."""
