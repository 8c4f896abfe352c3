"""A simulated Slack: an HTTP server on loopback that is as strict as Slack.

The bot uses it like Slack (Web API, response URLs, Socket Mode); tests and the sandbox's page type
commands and press buttons through it. It knows nothing of the bot.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from bot.sandbox.slack import delivery as outbound
from bot.sandbox.slack.delivery import Delivery
from bot.sandbox.slack.rate_limits import RateLimits
from bot.sandbox.slack.response_urls import Origin, ResponseUrls
from bot.sandbox.slack.socket_mode import SocketMode
from bot.sandbox.slack.validation.block_kit import buttons, text_of
from bot.sandbox.slack.views import OpenView, Views
from bot.sandbox.slack.web_api import WebApi
from bot.sandbox.slack.wire import Call, Faults, FaultyServer, Refused
from bot.sandbox.slack.workspace import Channel, Ephemeral, PostedMessage, User, Workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = [
    "Call",
    "Channel",
    "Delivery",
    "Ephemeral",
    "Faults",
    "OpenView",
    "PostedMessage",
    "SimulatedSlack",
    "User",
    "Workspace",
    "text_of",
]

MAX_BYTES = 1_000_000


class SimulatedSlack(FaultyServer):
    """A Slack with one workspace; an async context manager that serves while it is open.

    Signed requests go to `request_url`; if that is None, to an open Socket Mode connection.
    `calls`, `faults`, `before` and `after`: see `FaultyServer`; `limits` are off until set.
    """

    def __init__(
        self,
        port: int = 0,
        request_url: str | None = None,
        *,
        bot_token: str = "xoxb-sandbox",  # noqa: S107  # not a secret: a simulation
        app_token: str = "xapp-sandbox",  # noqa: S107  # the same
        signing_secret: str = "sandbox-signing-secret",  # noqa: S107  # the same
    ) -> None:
        self.workspace = Workspace()
        super().__init__(self.workspace)
        self.request_url = request_url
        self.bot_token = bot_token
        self.app_token = app_token
        self.signing_secret = signing_secret
        self.url = f"http://127.0.0.1:{port}/"
        self.limits = RateLimits()
        self.responses = ResponseUrls(self.workspace)
        self.socket_mode = SocketMode()
        self.views = Views(self.workspace)
        self._port = port
        self._more_routes: list[web.RouteDef] = []
        self._close_callbacks: list[Callable[[], None]] = []
        self._deliver_last: Callable[[], Awaitable[Delivery]] | None = None

    @property
    def scheduled(self) -> dict[str, str]:
        """The messages that are scheduled: their channels by their ids."""
        return self._web_api.scheduled

    @property
    def api_url(self) -> str:
        """The Web API's base URL, for the setting `SLACK_API_URL`."""
        return f"{self.url}api/"

    def serve_also(self, routes: Sequence[web.RouteDef], close: Callable[[], None]) -> None:
        """Add routes to the server; `close` is called first when it closes, to end open streams."""
        self._more_routes += routes
        self._close_callbacks.append(close)

    async def __aenter__(self) -> Self:
        self._web_api = WebApi(
            self.workspace,
            self.bot_token,
            self.app_token,
            lambda: self.socket_mode.open(self.url),
            self.limits,
            self.views,
        )
        app = web.Application(client_max_size=MAX_BYTES)
        app.add_routes(
            [
                web.route("*", "/api/{method}", self._on_call),
                web.post("/{kind:commands|actions}/{rest:.+}", self._on_response),
                web.get("/link/", self.socket_mode.serve),
                *self._more_routes,
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        # Opened again, it has the same address and the same messages.
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/"
        # No connection is reused: a bot that was killed leaves dead ones behind.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for close in self._close_callbacks:
            close()
        await self.socket_mode.close()
        await self._session.close()
        await self._runner.cleanup()

    async def command(
        self,
        user_id: str,
        text: str,
        *,
        channel_id: str = "C0BILLING",
        command: str = "/unlatch",
    ) -> Delivery:
        """Type a slash command; the text of the bot's answer becomes an ephemeral message."""
        payload = outbound.command_payload(self.workspace, user_id, channel_id, command, text)
        origin = Origin(user_id, channel_id)
        payload["response_url"] = self._response_url(origin)
        self.views.issue(payload["trigger_id"], user_id)
        delivery = await self._deliver("slash_commands", payload, urlencode(payload))
        self._show_failure(delivery, origin, command)
        self._show_answer(delivery, origin, command)
        return delivery

    async def click(
        self,
        user_id: str,
        message_ts: str,
        action_id: str,
        *,
        channel_id: str = "C0BILLING",
        value: str | None = None,
    ) -> Delivery:
        """Press a button of a message. Raises: LookupError if the message has no such button."""
        message = self.workspace.message(channel_id, message_ts)
        return await self._press(user_id, message, _button(message.blocks, action_id, value))

    async def forge_click(
        self,
        user_id: str,
        message_ts: str,
        action_id: str,
        value: str,
        *,
        channel_id: str = "C0BILLING",
    ) -> Delivery:
        """Press a button that need not exist, on a message that need not exist."""
        try:
            message = self.workspace.message(channel_id, message_ts)
        except LookupError:
            message = PostedMessage(message_ts, channel_id, self.workspace.bot.id, "")
        label = {"type": "plain_text", "text": action_id}
        forged = {"type": "button", "action_id": action_id, "text": label, "value": value}
        return await self._press(user_id, message, ("forged", forged))

    async def click_ephemeral(
        self, user_id: str, ephemeral: Ephemeral, action_id: str, value: str | None = None
    ) -> Delivery:
        """Press a button of an ephemeral message. Raises: LookupError if it has no such button."""
        current = self.workspace.ephemeral(ephemeral.id)
        return await self._press(user_id, current, _button(current.blocks, action_id, value))

    async def submit(self, view_id: str, typed: dict[str, str]) -> Delivery | None:
        """Fill in a modal, texts by `block_id`, and send it; the bot's answer changes it.

        Returns None if Slack's own app refuses it: see `OpenView.errors`. Raises: LookupError.
        """
        filled = self.views.fill(view_id, typed)
        if filled.errors:
            return None
        view = self.views.payload(filled)
        payload = outbound.submission_payload(self.workspace, filled.user_id, view)
        self.views.issue(payload["trigger_id"], filled.user_id)
        form = urlencode({"payload": json.dumps(payload)})
        delivery = await self._deliver("interactive", payload, form)
        failed = outbound.failure_of(delivery) is not None
        self.views.answer(view_id, delivery.body, failed=failed)
        return delivery

    def last_delivery(self) -> Callable[[], Awaitable[Delivery]]:
        """What delivers once more what was typed, pressed or sent last, as after a lost ack.

        It is the same act, signed anew or in another envelope. Raises: LookupError if there is
        none.
        """
        if self._deliver_last is None:
            raise LookupError("nothing was delivered yet")
        return self._deliver_last

    async def send_raw(self, body: bytes, headers: Mapping[str, str]) -> Delivery:
        """POST a body to the bot with exactly these headers; no signature is added."""
        if self.request_url is None:
            return Delivery(0, "", 0.0)
        return await outbound.send(self._session, self.request_url, body, headers)

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """Slack's signature headers for a body; `timestamp` in epoch seconds, by default now."""
        return outbound.signature(self.signing_secret, body, timestamp)

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every Socket Mode connection to leave; see `SocketMode.disconnect`."""
        await self.socket_mode.disconnect(reason)

    def page_changed(self) -> None:
        """Push the new state to every open page."""
        self.workspace.touch()

    async def _press(
        self, user_id: str, place: PostedMessage | Ephemeral, button: tuple[str, dict[str, Any]]
    ) -> Delivery:
        payload = outbound.click_payload(self.workspace, user_id, place, button)
        origin = Origin(user_id, place.channel_id, place)
        payload["response_url"] = self._response_url(origin)
        self.views.issue(payload["trigger_id"], user_id)
        form = urlencode({"payload": json.dumps(payload)})
        delivery = await self._deliver("interactive", payload, form)
        self._show_failure(delivery, origin, "The button")
        return delivery

    async def _deliver(self, kind: str, payload: dict[str, Any], form: str) -> Delivery:
        self._deliver_last = partial(self._send, kind, payload, form)
        return await self._send(kind, payload, form)

    async def _send(self, kind: str, payload: dict[str, Any], form: str) -> Delivery:
        if self.request_url is None and self.socket_mode.links:
            accepts = kind == "slash_commands" or payload["type"] == "view_submission"
            return await self.socket_mode.deliver(kind, payload, accepts_response=accepts)
        body = form.encode()
        return await self.send_raw(body, self.sign(body))

    def _response_url(self, origin: Origin) -> str:
        return f"{self.url}{self.responses.issue(origin)}"

    def _show_failure(self, delivery: Delivery, origin: Origin, subject: str) -> None:
        error = outbound.failure_of(delivery)
        if error is not None:
            text = f'{subject} failed with the error "{error}"'
            self.workspace.add_ephemeral(origin.user_id, origin.channel_id, text)

    def _show_answer(self, delivery: Delivery, origin: Origin, command: str) -> None:
        if outbound.failure_of(delivery) is not None or not delivery.body.strip():
            return
        try:
            self.responses.show(origin, _answer_of(delivery.body))
        except Refused:
            text = f'{command} failed with the error "invalid_command_response"'
            self.workspace.add_ephemeral(origin.user_id, origin.channel_id, text)

    async def _on_call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        return await self.handle(request, method, partial(self._web_api.answer, method))

    async def _on_response(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/")
        return await self.handle(
            request, "response_url", lambda _token, body: self.responses.use(path, body)
        )


def _button(
    blocks: list[dict[str, Any]], action_id: str, value: str | None
) -> tuple[str, dict[str, Any]]:
    for block_id, button in buttons(blocks):
        if button.get("action_id") == action_id and value in (None, button.get("value")):
            return block_id, button
    raise LookupError(f"no button {action_id} with value {value}")


def _answer_of(body: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {"text": body}
    return answer if isinstance(answer, dict) else {"text": body}
