"""Rate limits of the simulated Slack, per method and channel; off until set.

Source: docs.slack.dev/apis/web-api/rate-limits ("chat.postMessage": about one a second a channel).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.wire import TOO_MANY_REQUESTS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class _Limit:
    per_s: float
    burst: int
    # by channel: tokens left, and the time at which that was true
    buckets: dict[str, tuple[float, float]] = field(default_factory=dict)


class RateLimits:
    """Token buckets, one per method and channel; tests may replace `clock` (seconds)."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._limits: dict[str, _Limit] = {}

    def limit(self, method: str, *, per_s: float = 1.0, burst: int = 1) -> None:
        """Allow `burst` calls at once and then `per_s` a second, in each channel."""
        self._limits[method] = _Limit(per_s, burst)

    def lift(self) -> None:
        """Remove all limits."""
        self._limits.clear()

    def refusal(self, method: str, arguments: dict[str, Any]) -> Answer | None:
        """Count a call: None if it is allowed, else a 429 with `Retry-After` in whole seconds."""
        limit = self._limits.get(method)
        if limit is None:
            return None
        channel_id, now = str(arguments.get("channel")), self.clock()
        left, since = limit.buckets.get(channel_id, (float(limit.burst), now))
        left = min(limit.burst, left + (now - since) * limit.per_s)
        allowed = left >= 1
        limit.buckets[channel_id] = (left - allowed, now)
        if allowed:
            return None
        retry_after = max(1, math.ceil((1 - left) / limit.per_s))
        body = {"ok": False, "error": "ratelimited"}
        return Answer(body, TOO_MANY_REQUESTS, {"Retry-After": str(retry_after)})
