"""How much the simulated Slack takes of a method at a time; without a limit, everything.

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
    # for each channel: what is left, and when that was
    left: dict[str, tuple[float, float]] = field(default_factory=dict)


class RateLimits:
    """Buckets of tokens, one a channel; `clock` (seconds) may be set to make time pass."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._limits: dict[str, _Limit] = {}

    def limit(self, method: str, *, per_s: float = 1.0, burst: int = 1) -> None:
        """Take of a method, in each channel, `burst` calls at once and `per_s` a second after."""
        self._limits[method] = _Limit(per_s, burst)

    def lift(self) -> None:
        """Take everything again."""
        self._limits.clear()

    def refusal(self, method: str, arguments: dict[str, Any]) -> Answer | None:
        """A call's 429, with the whole seconds until its channel takes one again; None: taken."""
        limit = self._limits.get(method)
        if limit is None:
            return None
        channel_id, now = str(arguments.get("channel")), self.clock()
        left, since = limit.left.get(channel_id, (float(limit.burst), now))
        left = min(limit.burst, left + (now - since) * limit.per_s)
        taken = left >= 1
        limit.left[channel_id] = (left - taken, now)
        if taken:
            return None
        retry_after = max(1, math.ceil((1 - left) / limit.per_s))
        body = {"ok": False, "error": "ratelimited"}
        return Answer(body, TOO_MANY_REQUESTS, {"Retry-After": str(retry_after)})
