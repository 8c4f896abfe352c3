"""Slack and Fusebill on loopback, as cheap as possible while the calls stay real.

They check the secrets, answer with realistic bodies and headers after a delay that can be set, and
record each call in the flow that it belongs to.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.benchmarks.flows import CARD, READ, THREAD, UNLATCH, Flow, Leg

BOT_TOKEN = "xoxb-benchmark"
SIGNING_SECRET = "benchmark-signing-secret"
API_KEY = "MDpiZW5jaG1hcms="
TEAM_ID, BOT_USER_ID = "T0BENCH", "U0UNLATCH"

_SAMPLES = Path(__file__).parents[1] / "samples"
_SAMPLE_ID = b"2554529"
_IDENTITY = {
    "ok": True,
    "url": "https://bench.slack.com/",
    "team": "Bench",
    "user": "unlatch",
    "team_id": TEAM_ID,
    "user_id": BOT_USER_ID,
    "bot_id": "B0UNLATCH",
    "is_enterprise_install": False,
}
_SLACK_HEADERS = {"X-OAuth-Scopes": "commands,chat:write,chat:write.public,usergroups:read"}
_RATE_LIMIT = {
    "X-Rate-Limit-Limit-Minute": "1000",
    "X-Rate-Limit-Remaining-Minute": "900",
    "X-Rate-Limit-Reset-Minute": "2026-11-23T12:01:00+00:00",
    "X-Rate-Limit-Limit-Day": "180000",
    "X-Rate-Limit-Remaining-Day": "170000",
    "X-Rate-Limit-Reset-Day": "2026-11-24T00:00:00+00:00",
}


class Doubles:
    """Both remote sides. `delay_s` is added to each call; `calls` counts the calls by name."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.calls: Counter[str] = Counter()
        self.url = ""
        self._by_channel: dict[str, Flow] = {}
        self._by_customer: dict[int, Flow] = {}
        self._latched = (_SAMPLES / "latched_customer.json").read_bytes().split(_SAMPLE_ID)
        self._unlatched = (_SAMPLES / "unlatched_customer.json").read_bytes().split(_SAMPLE_ID)
        self._last_ts = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on a free port; sets `url`."""
        runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    def environment(self) -> dict[str, str]:
        """The settings that point a server at the doubles; all variants read the bot's names."""
        return {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": f"{self.url}/api/",
            "FUSEBILL_API_KEY": API_KEY,
            "FUSEBILL_BASE_URL": f"{self.url}/v1",
        }

    def response_url(self, flow: Flow) -> str:
        """Where a server sends ephemeral messages; in a flow with one customer it should not."""
        return f"{self.url}/ephemeral/{flow.channel_id}"

    def expect(self, flow: Flow) -> None:
        """Start recording the calls that belong to a flow."""
        self._by_channel[flow.channel_id] = flow
        self._by_customer |= dict.fromkeys(flow.customer_ids, flow)

    def forget(self) -> None:
        """Forget the flows and the counts."""
        self._by_channel.clear()
        self._by_customer.clear()
        self.calls.clear()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        began = perf_counter()
        body = await request.read()
        _, side, method, *_rest = request.path.split("/", 3)
        match side:
            case "api":
                return await self._slack(request, method, body, began)
            case "v1":
                return await self._fusebill(request, began)
            case _:
                self._by_channel[method].tell(body.decode())
                return web.Response(text="ok")

    async def _slack(
        self, request: web.BaseRequest, method: str, body: bytes, began: float
    ) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {BOT_TOKEN}":
            return _json({"ok": False, "error": "invalid_auth"})
        if method == "auth.test":
            return _json(_IDENTITY, _SLACK_HEADERS)
        arguments = _arguments(request.content_type, body)
        flow = self._by_channel[arguments["channel"]]
        name = THREAD if arguments.get("thread_ts") else method
        posted = {"type": "message", "user": BOT_USER_ID, "text": arguments["text"]}
        if "blocks" in arguments:
            posted["blocks"] = arguments["blocks"]
        ts = arguments.get("ts") or self._new_ts()
        if name == CARD:
            flow.card_ts, flow.card = ts, posted | {"ts": ts}
        answer = {"ok": True, "channel": flow.channel_id, "ts": ts, "message": posted | {"ts": ts}}
        return await self._after_delay(flow, name, began, lambda: _json(answer, _SLACK_HEADERS))

    async def _fusebill(self, request: web.BaseRequest, began: float) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {API_KEY}":
            return _json({"Errors": [{"Key": "Api Error", "Value": "Not authorized."}]}, status=401)
        customer_id = int(request.path.rsplit("/", 1)[1])
        flow = self._by_customer[customer_id]
        name = READ if request.method == "GET" else UNLATCH
        if name == UNLATCH:
            flow.cleared.add(customer_id)

        def customer() -> web.Response:
            parts = self._unlatched if customer_id in flow.cleared else self._latched
            body = str(customer_id).encode().join(parts)
            return web.Response(body=body, content_type="application/json", headers=_RATE_LIMIT)

        return await self._after_delay(flow, name, began, customer)

    async def _after_delay(
        self, flow: Flow, name: str, began: float, answer: Callable[[], web.Response]
    ) -> web.Response:
        self.calls[name] += 1
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        response = answer()
        # send the answer first: the flow may start its next step at once
        leg = Leg(name, began, perf_counter())
        asyncio.get_running_loop().call_soon(flow.add, leg)
        return response

    def _new_ts(self) -> str:
        self._last_ts += 1
        return f"1795000000.{self._last_ts:06d}"


def _arguments(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type == "application/json":
        return dict(json.loads(body))
    form: dict[str, Any] = dict(parse_qsl(body.decode()))
    if "blocks" in form:
        form["blocks"] = json.loads(form["blocks"])
    return form


def _json(
    value: dict[str, Any], headers: dict[str, str] | None = None, status: int = 200
) -> web.Response:
    body = json.dumps(value).encode()
    return web.Response(body=body, content_type="application/json", headers=headers, status=status)
