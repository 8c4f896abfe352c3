"""The lower bound: an aiohttp server and client that verify, call and post, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from tests.benchmarks.rivals import cards

SECRET = os.environ["SLACK_SIGNING_SECRET"].encode()
SLACK = os.environ["SLACK_API_URL"]
FUSEBILL = os.environ["FUSEBILL_BASE_URL"]
SLACK_HEADERS = {"Authorization": f"Bearer {os.environ['SLACK_BOT_TOKEN']}"}
FUSEBILL_HEADERS = {
    "Authorization": f"Basic {os.environ['FUSEBILL_API_KEY']}",
    "Content-Type": "application/json",
}


class Floor:
    """The flow over one shared session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request) -> web.Response:
        """Verify, acknowledge, and do the work in the background."""
        body = await request.read()
        if not _signed(request, body):
            return web.Response(status=401)
        form = dict(parse_qsl(body.decode()))
        work = self._click(json.loads(form["payload"])) if "payload" in form else self._ask(form)
        self._spawn(work)
        return web.Response()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, form: dict[str, str]) -> None:
        customer_id, reason = form["text"].split(" ", 1)
        customer = await self._fusebill("GET", f"/customers/{customer_id}")
        text, blocks = cards.card(customer, form["user_id"], reason)
        message = {"channel": form["channel_id"], "text": text, "blocks": blocks}
        await self._slack("chat.postMessage", message)

    async def _click(self, payload: dict[str, Any]) -> None:
        value = json.loads(payload["actions"][0]["value"])
        channel, ts = payload["channel"]["id"], payload["message"]["ts"]
        person = payload["user"]["id"]
        customer = await self._fusebill("GET", f"/customers/{value['id']}")
        if customer["hubSpotId"] != value["hubSpotId"]:
            return
        await self._fusebill("POST", f"/HubSpot/UnlatchCustomer/{value['id']}")
        text, blocks = cards.result(value, person)
        update = {"channel": channel, "ts": ts, "text": text, "blocks": blocks}
        reply = {"channel": channel, "thread_ts": ts, "text": cards.reply(value, person)}
        await asyncio.gather(
            self._slack("chat.update", update), self._slack("chat.postMessage", reply)
        )

    async def _slack(self, method: str, arguments: dict[str, Any]) -> None:
        url = SLACK + method
        async with self._session.post(url, json=arguments, headers=SLACK_HEADERS) as response:
            answer = await response.json()
        if not answer["ok"]:
            raise RuntimeError(answer["error"])

    async def _fusebill(self, method: str, path: str) -> dict[str, Any]:
        url = FUSEBILL + path
        async with self._session.request(method, url, headers=FUSEBILL_HEADERS) as response:
            response.raise_for_status()
            return dict(await response.json())


def _signed(request: web.Request, body: bytes) -> bool:
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "0")
    base = b"v0:" + timestamp.encode() + b":" + body
    expected = f"v0={hmac.new(SECRET, base, hashlib.sha256).hexdigest()}"
    fresh = abs(time.time() - int(timestamp)) <= 300
    return fresh and hmac.compare_digest(expected, request.headers.get("X-Slack-Signature", ""))


async def application() -> web.Application:
    """The app with its one route and the session that it closes at the end."""
    app = web.Application()
    session = aiohttp.ClientSession()
    app.router.add_post("/slack/events", Floor(session).serve)

    async def close(_app: web.Application) -> None:
        await session.close()

    app.on_cleanup.append(close)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None)
