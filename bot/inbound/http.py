"""The HTTP routes: Slack's requests, health, readiness, metrics.

What does not come from Slack is rejected before anything is done for it, counted, and logged at
most once in ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest, digest
from time import perf_counter
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from yarl import URL

from bot.domain.values import value
from bot.inbound.manifest import EVENTS_PATH
from bot.ops.metrics import RECEIVED_AT, Metrics

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


def check_headers(request: web.BaseRequest, max_body: int) -> tuple[str, str]:
    """Reject what can be told before the body is read; returns the signature's time, and it.

    Raises: Rejected.
    """
    # Slack never compresses, and a small body could inflate to gigabytes
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Rejected(Reason.ENCODING)
    if (request.content_length or 0) > max_body:
        raise Rejected(Reason.TOO_LARGE)
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    if not (timestamp and signature):
        raise Rejected(Reason.MISSING)
    return timestamp, signature


def check_signature(secret: bytes, body: str, timestamp: str, signature: str) -> None:
    """Check that Slack signed this request, at most five minutes ago.

    Raises: Rejected.
    Source: docs.slack.dev/authentication/verifying-requests-from-slack
    """
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


MAX_BODY = 1_000_000
BODY_TIMEOUT_S = 5.0
MAX_FIELDS = 100


@value
class Started:
    """What the routes need of a bot that has started.

    `readiness` returns whether this process can take a click, and the state of each part, `render`
    the metrics. While `stopping` returns True, Slack's requests are answered with 503.
    """

    app: AsyncApp
    readiness: Callable[[], Awaitable[tuple[bool, dict[str, str]]]]
    render: Callable[[], Awaitable[bytes]]
    stopping: Callable[[], bool]
    rejections: Rejections


@dataclass(slots=True)
class Front:
    """Whether there is a bot behind the routes yet: a start may wait for Slack or the database."""

    started: Started | None = None


Answer = Callable[[web.Request, Started], Awaitable[web.Response]]
Handler = Callable[[web.Request], Awaitable[web.Response]]


def application(front: Front, signing_secret: str) -> web.Application:
    """Build the HTTP application; without a secret (Socket Mode) it takes no request of Slack.

    Until the bot has started, everything but `/healthz` is answered with 503. Its server must not
    decompress bodies (`auto_decompress=False`): nothing is done for strangers.
    """

    def once_started(answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            if front.started is None:
                return _closing(
                    web.json_response({"ready": False, "process": "starting"}, status=503)
                )
            return await answer(request, front.started)

        return handle

    logging.getLogger("aiohttp.server").addFilter(_is_not_junk)
    served = web.Application(client_max_size=MAX_BODY)
    served.router.add_get("/healthz", _healthz)
    served.router.add_get("/readyz", once_started(_readyz))
    served.router.add_get("/metrics", once_started(_metrics))
    slack_events = _slack_events(signing_secret.encode()) if signing_secret else _no_route
    served.router.add_post(EVENTS_PATH, once_started(slack_events))
    return served


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def _readyz(_request: web.Request, bot: Started) -> web.Response:
    ready, parts = await bot.readiness()
    return web.json_response({"ready": ready, **parts}, status=200 if ready else 503)


async def _metrics(_request: web.Request, bot: Started) -> web.Response:
    return web.Response(body=await bot.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _no_route(_request: web.Request, _bot: Started) -> web.Response:
    return web.Response(status=404)


def _slack_events(secret: bytes) -> Answer:
    async def slack_events(request: web.Request, bot: Started) -> web.Response:
        received_at = perf_counter()
        try:
            signed = check_headers(request, MAX_BODY)
            body = await _body(request)
            check_signature(secret, body, *signed)
        except Rejected as rejected:
            return bot.rejections.add(rejected)
        except TimeoutError:
            return web.Response(status=408)
        except (web.RequestPayloadError, ConnectionError):
            return web.Response(status=400)
        if bot.stopping():
            return _closing(web.Response(status=503))
        bolt_request = AsyncBoltRequest(
            body=_payload(body),
            # already parsed and verified, as in Socket Mode
            mode="socket_mode",
            context={RECEIVED_AT: received_at},
        )
        said = await bot.app.async_dispatch(bolt_request)
        return web.Response(status=said.status, text=said.body, headers=said.first_headers())

    return slack_events


def _is_not_junk(record: logging.LogRecord) -> bool:
    """Whether to log it: aiohttp logs a traceback for each request that is no HTTP."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _closing(response: web.Response) -> web.Response:
    """The last on its connection, so that Slack's next request can reach another instance."""
    response.force_close()
    return response


async def _body(request: web.Request) -> str:
    """The body. Raises: Rejected, TimeoutError, web.RequestPayloadError, ConnectionError."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            # Slack sends UTF-8; anything else fails the signature check anyway
            return (await request.read()).decode("utf-8", "replace")
    except web.HTTPRequestEntityTooLarge:
        raise Rejected(Reason.TOO_LARGE) from None


def _payload(body: str) -> dict[str, Any]:
    """A click's payload or a command's fields; empty for anything else.

    Bolt's own parser takes any body that contains "payload" for a click, even in a typed reason.
    """
    try:
        if body.count("&") > MAX_FIELDS:
            return {}
        fields = URL.build(query_string=body, encoded=True).query
        payload = json.loads(fields["payload"]) if "payload" in fields else dict(fields)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}
