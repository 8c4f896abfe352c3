"""Decides whether a request comes from Slack, counts those that don't, and logs them sparingly."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from hmac import compare_digest, digest

import structlog
from aiohttp import web

from bot.ops.metrics import Metrics

log = structlog.get_logger(__name__)

LOG_INTERVAL_S = 10.0
MAX_SKEW_S = 300
"""How old Slack's signature may be; anything older may be a copy of a request."""


class Reason(StrEnum):
    """Why a request was rejected; also the label in the metrics."""

    MISSING = "missing"
    SIGNATURE = "signature"
    CLOCK = "clock"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"


STATUS: Mapping[Reason, int] = {Reason.TOO_LARGE: 413, Reason.ENCODING: 415}
"""The answer; to all others it is 401."""
ADVICE: Mapping[Reason, str] = {
    Reason.MISSING: "No signature: these requests are not from Slack.",
    Reason.SIGNATURE: "Wrong signature: if commands fail in Slack, copy SLACK_SIGNING_SECRET again"
    " from the app's “Basic Information”; if not, these requests are not from Slack.",
    Reason.CLOCK: "Right signature, but this machine's clock is {off} Slack's: check its"
    " synchronisation (NTP). If the clock is right, somebody repeats old requests.",
    Reason.TOO_LARGE: "Too large: Slack's requests are far below 1 MB.",
    Reason.ENCODING: "Compressed: Slack's requests never are; if a proxy does this, turn it off.",
}


class Rejected(Exception):
    """The request does not come from Slack, or can't be told from one that does not.

    `skew_s`: how many seconds this machine's clock is ahead of the signature's time.
    """

    def __init__(self, reason: Reason, skew_s: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.skew_s = skew_s


def check_headers(request: web.BaseRequest, max_body: int) -> None:
    """Reject what can be told before the body is read. Raises: Rejected."""
    # Slack never compresses, and a small body could inflate to gigabytes
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Rejected(Reason.ENCODING)
    if (request.content_length or 0) > max_body:
        raise Rejected(Reason.TOO_LARGE)
    if not all(_signature(request)):
        raise Rejected(Reason.MISSING)


def check_signature(secret: bytes, body: str, request: web.BaseRequest) -> None:
    """Check that Slack signed this request, at most five minutes ago.

    Raises: Rejected.
    Source: docs.slack.dev/authentication/verifying-requests-from-slack
    """
    timestamp, signature = _signature(request)
    # `int` takes other scripts' digits, and `compare_digest` no text that is not ASCII
    if not (re.fullmatch(r"[0-9]{1,12}", timestamp) and signature.isascii()):
        raise Rejected(Reason.SIGNATURE)
    expected = digest(secret, f"v0:{timestamp}:{body}".encode(), "sha256").hex()
    if not compare_digest(f"v0={expected}", signature):
        raise Rejected(Reason.SIGNATURE)
    # only now is it Slack's own time
    skew_s = round(time.time()) - int(timestamp)
    if abs(skew_s) > MAX_SKEW_S:
        raise Rejected(Reason.CLOCK, skew_s)


def _signature(request: web.BaseRequest) -> tuple[str, str]:
    headers = request.headers
    return headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")


class Rejections:
    """Counts rejected requests, and logs at most one line in ten seconds about them."""

    def __init__(self, metrics: Metrics, *, log_interval_s: float = LOG_INTERVAL_S) -> None:
        self._metrics = metrics
        self._log_interval_s = log_interval_s
        self._counts: Counter[Reason] = Counter()
        self._skew_s = 0
        self._next_line: asyncio.TimerHandle | None = None
        for reason in Reason:
            metrics.rejected.labels(reason)

    def add(self, rejected: Rejected) -> web.Response:
        """Count one; returns the answer to it."""
        self._metrics.rejected.labels(rejected.reason).inc()
        self._counts[rejected.reason] += 1
        if rejected.reason is Reason.CLOCK:
            self._skew_s = rejected.skew_s
        if self._next_line is None:
            self._log()
        response = web.Response(status=STATUS.get(rejected.reason, 401))
        response.force_close()
        return response

    def close(self) -> None:
        """Log what is not logged yet."""
        if self._next_line is not None:
            self._next_line.cancel()
            self._next_line = None
        self._write()

    def _log(self) -> None:
        written = self._write()
        loop = asyncio.get_running_loop()
        self._next_line = loop.call_later(self._log_interval_s, self._log) if written else None

    def _write(self) -> bool:
        if not self._counts:
            return False
        counts = {str(reason): self._counts[reason] for reason in Reason if self._counts[reason]}
        skew = {"clock_off_s": self._skew_s} if Reason.CLOCK in self._counts else {}
        off = f"{abs(self._skew_s)} s {'ahead of' if self._skew_s > 0 else 'behind'}"
        advice = " ".join(ADVICE[reason].format(off=off) for reason in Reason if reason in counts)
        log.warning("requests rejected", **counts, **skew, check=advice)
        self._counts.clear()
        return True
