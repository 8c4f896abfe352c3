"""The HTTP routes: Slack's requests, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier
from yarl import URL

from bot.inbound.manifest import EVENTS_PATH
from bot.inbound.rejections import Reason, Rejected, Rejections, check_headers, check_signature
from bot.ops.metrics import RECEIVED_AT

MAX_BODY = 1_000_000
BODY_TIMEOUT_S = 5.0
MAX_FIELDS = 100

Readiness = Callable[[], Awaitable[dict[str, str]]]


def application(
    app: AsyncApp | None,
    signing_secret: str,
    readiness: Readiness,
    render: Callable[[], Awaitable[bytes]],
    stopping: Callable[[], bool],
    rejections: Rejections,
) -> web.Application:
    """Build the HTTP application; without `app` (Socket Mode) it has no route for Slack.

    `readiness` returns "ok" or the problem for each part; `render` returns the metrics. While
    `stopping` returns True, Slack's requests are answered with 503. Its server must not decompress
    bodies (`auto_decompress=False`): nothing is done for strangers.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(_request: web.Request) -> web.Response:
        parts = await readiness()
        ready = all(state == "ok" for state in parts.values())
        return web.json_response({"ready": ready, **parts}, status=200 if ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    logging.getLogger("aiohttp.server").addFilter(_is_not_junk)
    served = web.Application(client_max_size=MAX_BODY)
    served.router.add_get("/healthz", healthz)
    served.router.add_get("/readyz", readyz)
    served.router.add_get("/metrics", metrics)
    if app is not None:
        verifier = SignatureVerifier(signing_secret)
        served.router.add_post(EVENTS_PATH, _slack_events(app, verifier, stopping, rejections))
    return served


def _slack_events(
    app: AsyncApp,
    verifier: SignatureVerifier,
    stopping: Callable[[], bool],
    rejections: Rejections,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def slack_events(request: web.Request) -> web.Response:
        received_at = perf_counter()
        try:
            check_headers(request, MAX_BODY)
            body = await _body(request)
            check_signature(verifier, body, request)
        except Rejected as rejected:
            return rejections.add(rejected)
        except TimeoutError:
            return web.Response(status=408)
        except (web.RequestPayloadError, ConnectionError):
            return web.Response(status=400)
        if stopping():
            return _unavailable()
        bolt_request = AsyncBoltRequest(
            body=_payload(body),
            query=request.query_string,
            headers={name: [value] for name, value in request.headers.items()},
            # already parsed and verified, as in Socket Mode
            mode="socket_mode",
            context={RECEIVED_AT: received_at},
        )
        return await to_aiohttp_response(await app.async_dispatch(bolt_request))

    return slack_events


def _is_not_junk(record: logging.LogRecord) -> bool:
    """Whether to log it: aiohttp logs a traceback for each request that is no HTTP."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _unavailable() -> web.Response:
    """Closes the connection, so that Slack's next request can reach another instance."""
    response = web.Response(status=503)
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
