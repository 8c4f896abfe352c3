"""What the bot answers over HTTP: Slack's requests, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier
from yarl import URL

from bot.inbound.manifest import EVENTS_PATH
from bot.ops.metrics import RECEIVED_AT

MAX_BODY = 1_000_000
BODY_ARRIVES_IN_S = 5.0
MAX_FIELDS = 100

Readiness = Callable[[], Awaitable[dict[str, str]]]


def application(
    app: AsyncApp | None,
    signing_secret: str,
    readiness: Readiness,
    render: Callable[[], Awaitable[bytes]],
    stopping: Callable[[], bool],
) -> web.Application:
    """The routes; without `app` (Socket Mode) only those for the host.

    `readiness` says of each part "ok" or what is wrong; `render` gives the metrics. While it is
    `stopping`, nothing is taken from Slack.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(_request: web.Request) -> web.Response:
        parts = await readiness()
        ready = all(state == "ok" for state in parts.values())
        return web.json_response({"ready": ready, **parts}, status=200 if ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    served = web.Application(client_max_size=MAX_BODY)
    served.router.add_get("/healthz", healthz)
    served.router.add_get("/readyz", readyz)
    served.router.add_get("/metrics", metrics)
    if app is not None:
        verifier = SignatureVerifier(signing_secret)
        served.router.add_post(EVENTS_PATH, _slack_events(app, verifier, stopping))
    return served


def _slack_events(
    app: AsyncApp, verifier: SignatureVerifier, stopping: Callable[[], bool]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def slack_events(request: web.Request) -> web.Response:
        received_at = perf_counter()
        try:
            async with asyncio.timeout(BODY_ARRIVES_IN_S):
                # what is not UTF-8 can't carry a good signature either way
                body = (await request.read()).decode("utf-8", "replace")
        except TimeoutError:
            return web.Response(status=408)
        if not _signed(verifier, body, request):
            return web.Response(status=401)
        if stopping():
            return _elsewhere()
        asked = AsyncBoltRequest(
            body=_payload(body),
            query=request.query_string,
            headers={name: [value] for name, value in request.headers.items()},
            # parsed and verified here, as it is where Socket Mode delivers it
            mode="socket_mode",
            context={RECEIVED_AT: received_at},
        )
        return await to_aiohttp_response(await app.async_dispatch(asked))

    return slack_events


def _elsewhere() -> web.Response:
    """Slack tells the person; what is sent next goes to another instance, over a new connection."""
    answer = web.Response(status=503)
    answer.force_close()
    return answer


def _signed(verifier: SignatureVerifier, body: str, request: web.Request) -> bool:
    """Whether Slack sent this, and not longer than five minutes ago.

    Source: docs.slack.dev/authentication/verifying-requests-from-slack
    """
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    # the verifier raises on what is no number and on what is no ASCII
    readable = re.fullmatch(r"[0-9]{1,12}", timestamp) and signature.isascii()
    return bool(readable) and verifier.is_valid(body, timestamp, signature)


def _payload(body: str) -> dict[str, Any]:
    """A click's payload or a command's fields; empty for what is neither.

    Bolt's own parser takes every form in which the word "payload" occurs, in a person's reason
    too, for a click.
    """
    try:
        if body.count("&") > MAX_FIELDS:
            return {}
        fields = URL.build(query_string=body, encoded=True).query
        payload = json.loads(fields["payload"]) if "payload" in fields else dict(fields)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}
