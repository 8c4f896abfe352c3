"""HTTP API of the sandbox's page: serves its files, streams its state, takes people's actions.

The sandbox serves only this machine's browser. Requests with a foreign Host header (DNS rebinding)
and POSTs that another site could send without a CORS preflight are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from bot.sandbox.slack.delivery import escaped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bot.sandbox.slack.simulator import SimulatedSlack
    from bot.sandbox.slack.workspace import User

    Action = Callable[[dict[str, object]], Awaitable[dict[str, object]]]
    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FOLDER = Path(__file__).parent / "static"
CHANNEL_ID = "C0BILLING"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MIN_INTERVAL_S = 0.05
KEEP_ALIVE_S = 15.0
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class PageApi:
    """Adds the page to a simulated Slack that is not open yet; served from the same address.

    `extra` returns further state for the page; `actions` are called by `POST /page/do/<name>`.
    """

    def __init__(
        self,
        slack: SimulatedSlack,
        *,
        extra: Callable[[], dict[str, object]] = dict,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        self._slack = slack
        self._extra = extra
        self._actions = dict(actions or {})
        self._closing = asyncio.Event()
        self._up_again: asyncio.TimerHandle | None = None
        self._down_until: float | None = None
        slack.serve_also(self._routes(), self._close)

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", guarded(self._on_index)),
            web.get("/page/events", guarded(self._on_events)),
            web.get("/page/{name:[A-Za-z0-9_-][A-Za-z0-9._-]*}", guarded(self._on_file)),
            web.post("/page/command", guarded(self._on_command)),
            web.post("/page/click", guarded(self._on_click)),
            web.post("/page/view", guarded(self._on_view)),
            web.post("/page/slack", guarded(self._on_slack)),
            web.post("/page/do/{name}", guarded(self._on_action)),
        ]

    def _close(self) -> None:
        # Replaced at once: Slack may be opened again, and then serves new streams.
        closing, self._closing = self._closing, asyncio.Event()
        closing.set()
        if self._up_again is not None:
            self._up_again.cancel()
        self._slack.page_changed()

    def state(self) -> dict[str, Any]:
        """Everything that the page shows, as JSON values."""
        workspace = self._slack.workspace
        channel = workspace.channels[CHANNEL_ID]
        return {
            "team": workspace.teams[workspace.team_id].name,
            "bot": self._user(workspace.bot),
            "users": [self._user(user) for user in workspace.users.values()],
            "channel": {"id": channel.id, "name": channel.name},
            "messages": self._messages(),
            "ephemerals": [
                {
                    "id": ephemeral.id,
                    "user_id": ephemeral.user_id,
                    "channel_id": ephemeral.channel_id,
                    "text": ephemeral.text,
                    "blocks": ephemeral.blocks,
                    "at": ephemeral.at,
                }
                for ephemeral in workspace.all_ephemerals()
            ],
            "views": [
                {
                    "id": shown.id,
                    "user_id": shown.user_id,
                    "view": shown.view,
                    "values": shown.values,
                    "errors": shown.errors,
                    "problem": shown.problem,
                    "hash": shown.hash,
                }
                for shown in self._slack.views.all()
            ],
            "slack_down": self._slack.faults.down,
            "slack_down_until": self._down_until,
            "extra": self._extra(),
        }

    def _user(self, user: User) -> dict[str, Any]:
        workspace = self._slack.workspace
        return {
            "id": user.id,
            "name": user.real_name,
            "team": workspace.teams[user.team_id].name,
            "guest": user.team_id != workspace.team_id,
            "bot": user.bot,
            "color": f"#{user.color}",
        }

    def _messages(self) -> list[dict[str, Any]]:
        messages = self._slack.workspace.everything(CHANNEL_ID)
        replies = Counter(message.thread_ts for message in messages)
        return [
            {
                "ts": message.ts,
                "user_id": message.user_id,
                "text": message.text,
                "blocks": message.blocks,
                "edited": message.edited,
                "thread_ts": message.thread_ts,
                "reply_count": replies[message.ts],
                "at": message.at,
            }
            for message in messages
        ]

    async def _on_index(self, _request: web.Request) -> web.StreamResponse:
        return self._file("index.html")

    async def _on_file(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.StreamResponse:
        path = FOLDER / name
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=HEADERS)

    async def _on_events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent, closing = "", self._closing
        try:
            while not closing.is_set():
                change = self._slack.workspace.change
                state = json.dumps(self.state())
                # If nothing changed, a comment still shows whether the page is connected.
                await response.write(f"data: {state}\n\n".encode() if state != sent else b":\n\n")
                sent = state
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(change.wait(), KEEP_ALIVE_S)
                await asyncio.sleep(0 if closing.is_set() else MIN_INTERVAL_S)
        except ConnectionResetError:
            pass
        return response

    async def _on_command(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        user_id, line = _text(body, "user_id"), _text(body, "text").strip()
        if user_id not in self._slack.workspace.users or not line:
            return _failed("Unknown user or empty message.")
        command, _, text = line.partition(" ")
        if not command.startswith("/"):
            self._slack.workspace.post(CHANNEL_ID, user_id, escaped(line))
        elif command == "/unlatch":
            await self._slack.command(user_id, text)
        else:
            return _failed(f"{command} is not a command here.")
        return web.json_response({"ok": True})

    async def _on_click(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        user_id, action_id = _text(body, "user_id"), _text(body, "action_id")
        value = body.get("value")
        workspace = self._slack.workspace
        try:
            if body.get("ephemeral_id"):
                ephemeral = workspace.ephemeral(_text(body, "ephemeral_id"))
                await self._slack.click_ephemeral(user_id, ephemeral, action_id, value)
            else:
                ts = _text(body, "message_ts")
                await self._slack.click(user_id, ts, action_id, value=value)
        except LookupError:
            return _failed("That button is no longer there.")
        return web.json_response({"ok": True})

    async def _on_view(self, request: web.Request) -> web.StreamResponse:
        """Send or close a modal; without `values` it is closed."""
        body = await _body(request)
        view_id, values = _text(body, "view_id"), body.get("values")
        try:
            if values is None:
                self._slack.views.close(view_id)
            elif isinstance(values, dict):
                typed = {str(name): str(value) for name, value in values.items()}
                await self._slack.submit(view_id, typed)
            else:
                return _failed("values must be an object.")
        except LookupError:
            return _failed("That form is no longer open.")
        return web.json_response({"ok": True})

    async def _on_slack(self, request: web.Request) -> web.StreamResponse:
        down_s = (await _body(request)).get("down_s")
        if isinstance(down_s, bool) or not isinstance(down_s, int | float):
            return _failed("down_s must be a number of seconds.")
        if self._up_again is not None:
            self._up_again.cancel()
        self._set_down(time.time() + down_s if down_s > 0 else None)
        if down_s > 0:
            loop = asyncio.get_running_loop()
            self._up_again = loop.call_later(down_s, self._set_down, None)
        return web.json_response({"ok": True})

    async def _on_action(self, request: web.Request) -> web.StreamResponse:
        action = self._actions.get(request.match_info["name"])
        if action is None:
            raise web.HTTPNotFound
        return web.json_response(await action(await _body(request)))

    def _set_down(self, until: float | None) -> None:
        self._down_until = until
        self._slack.faults.down = until is not None
        self._slack.page_changed()


def guarded(handler: Handler) -> Handler:
    """Refuse requests that another site's page could send, or could read by DNS rebinding."""

    async def guard(request: web.Request) -> web.StreamResponse:
        if urlsplit(f"//{request.host}").hostname not in LOOPBACK:
            raise web.HTTPForbidden(text="The sandbox serves only this machine.")
        if request.method == "POST" and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        return await handler(request)

    return guard


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="The body must be a JSON object.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise web.HTTPBadRequest(text=f"{name} must be a string.")
    return value


def _failed(error: str) -> web.Response:
    return web.json_response({"ok": False, "error": error})
