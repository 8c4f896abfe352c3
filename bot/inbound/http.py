"""The HTTP routes: Slack's requests, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from yarl import URL

from bot.inbound.manifest import EVENTS_PATH
from bot.inbound.rejections import Reason, Rejected, Rejections, check_headers, check_signature
from bot.ops.metrics import RECEIVED_AT

MAX_BODY = 1_000_000
BODY_TIMEOUT_S = 5.0
MAX_FIELDS = 100

Check = Callable[[], Awaitable[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Started:
    """What the routes need of a bot that has started.

    `readiness` returns the state of each part, `render` the metrics. `readies` says whether such
    states let this process take a click. While `stopping` returns True, Slack's requests are
    answered with 503.
    """

    app: AsyncApp
    readiness: Check
    readies: Callable[[dict[str, str]], bool]
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
    parts = await bot.readiness()
    ready = bot.readies(parts)
    return web.json_response({"ready": ready, **parts}, status=200 if ready else 503)


async def _metrics(_request: web.Request, bot: Started) -> web.Response:
    return web.Response(body=await bot.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _no_route(_request: web.Request, _bot: Started) -> web.Response:
    return web.Response(status=404)


def _slack_events(secret: bytes) -> Answer:
    async def slack_events(request: web.Request, bot: Started) -> web.Response:
        received_at = perf_counter()
        try:
            check_headers(request, MAX_BODY)
            body = await _body(request)
            check_signature(secret, body, request)
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
            query=request.query_string,
            headers={name: [value] for name, value in request.headers.items()},
            # already parsed and verified, as in Socket Mode
            mode="socket_mode",
            context={RECEIVED_AT: received_at},
        )
        return await to_aiohttp_response(await bot.app.async_dispatch(bolt_request))

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
