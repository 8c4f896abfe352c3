"""Receives Slack's requests over Socket Mode, a websocket that the bot opens.

slack_sdk reconnects for ever, even if Slack will never accept the bot again. SocketMode raises
SocketModeEnded instead.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

import aiohttp
import structlog
from aiohttp import WSMessage
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.errors import SlackBusy, classify

T = TypeVar("T")

log = structlog.get_logger(__name__)

FATAL = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "not_allowed_token_type",
        "missing_scope",
        "link_disabled",
        "socket_mode_not_enabled",
    }
)
TRANSIENT_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, SlackClientError)
PING_INTERVAL_S = 5.0
RATE_LIMITED_S = 30.0
"""The wait after a 429 that doesn't say how long: Slack allows few new connections a minute."""
CLOSE_TIMEOUT_S = 2.0


class SocketModeEnded(Exception):
    """Slack will not accept the bot again; the text says why and what to do."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"Slack ended Socket Mode ({code}): check that Socket Mode is on in the app's settings"
            " and that SLACK_APP_TOKEN is an app-level token with connections:write"
        )


class SocketMode:
    """A Socket Mode connection; `ended` fails with SocketModeEnded when Slack ends it for good.

    A connection that leaves a ping unanswered is replaced before the third ping.
    """

    def __init__(
        self,
        app: AsyncApp,
        client: AsyncWebClient,
        app_token: str,
        ended: asyncio.Future[None],
        *,
        ping_every_s: float = PING_INTERVAL_S,
    ) -> None:
        self._client = client
        self._ping_every_s = ping_every_s
        self._app_token = app_token
        sdk_log = logging.getLogger("slack_sdk.socket_mode")
        sdk_log.addFilter(_shorten_transient_errors)
        self._handler = AsyncSocketModeHandler(
            app, app_token, sdk_log, web_client=client, ping_interval=ping_every_s
        )
        self._handler.client.socket_mode_request_listeners[:] = [self._on_request]
        self._rate_limit = _RateLimit()
        # so that slack_sdk's own attempts wait as Slack told the bot's
        self._handler.client.issue_new_wss_url = self._new_address  # type: ignore[method-assign]  # slack_sdk
        # slack_sdk doesn't pass a disconnect to its other listeners
        self._handler.client.on_message_listeners.append(self._on_message)
        self._ended = ended
        self._watch: asyncio.Task[None] | None = None
        self._closing = False
        self._handling: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and reconnect until closed. Raises: SocketModeEnded."""
        await self._check_admission()
        self._watch = asyncio.create_task(self._supervise())
        connecting = asyncio.create_task(self._handler.client.connect())  # type: ignore[no-untyped-call]  # slack_sdk
        try:
            await asyncio.wait([connecting, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
        if self._ended.done():
            self._ended.result()

    async def connected(self) -> bool:
        """Whether the connection is open, according to slack_sdk."""
        return await self._handler.client.is_connected()

    async def close(self) -> None:
        """Take no new requests, acknowledge those already taken, and disconnect."""
        if self._closing:
            return
        self._closing = True
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._handling:
            await asyncio.wait(self._handling, timeout=CLOSE_TIMEOUT_S)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._handler.client.close()  # type: ignore[no-untyped-call]  # slack_sdk
        except TimeoutError:
            # the first close waits for Slack's close frame, the second does not
            await self._handler.client.close()  # type: ignore[no-untyped-call]  # slack_sdk

    async def _on_request(
        self, _client: AsyncBaseSocketModeClient, request: SocketModeRequest
    ) -> None:
        if self._closing:
            # without an ack Slack tells the person that the command failed
            return
        task = asyncio.current_task()
        if task:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        await self._handler.handle(self._handler.client, request)

    async def _on_message(self, frame: WSMessage) -> None:
        if '"disconnect"' not in frame.data:
            return
        message = json.loads(frame.data)
        if message.get("type") == "disconnect" and message.get("reason") in FATAL:
            self._end(SocketModeEnded(message["reason"]))

    async def _supervise(self) -> None:
        """slack_sdk reconnects by itself; this checks whether Slack will ever accept it."""
        while True:
            await asyncio.sleep(self._ping_every_s)
            if not await self.connected():
                # an address can be used once, and slack_sdk would retry the same one for ever
                self._handler.client.wss_uri = None
                try:
                    await self._check_admission()
                except SocketModeEnded as error:
                    self._end(error)

    async def _check_admission(self) -> None:
        """Requests an address without using it: this shows a fatal error that slack_sdk hides."""
        try:
            await self._new_address()
        except SlackApiError as error:
            code = str(error.response.get("error", "")) if error.response else ""
            if code in FATAL:
                raise SocketModeEnded(code) from None
        except Exception as error:  # noqa: BLE001  # slack_sdk reconnects by itself
            log.warning("slack not reached", why=type(error).__name__)

    async def _new_address(self) -> str:
        async def call() -> str:
            answer = await self._client.apps_connections_open(app_token=self._app_token)
            return str(answer["url"])

        return await self._rate_limit.run(call)

    def _end(self, error: SocketModeEnded) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


class _RateLimit:
    """Lets no call through while Slack wants none, so that every caller waits as told."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call, and call again after the wait that Slack asks for.

        Raises: what the call raises.
        """
        async with self._lock:
            while True:
                await asyncio.sleep(max(0.0, self._until - monotonic()))
                try:
                    return await call()
                except SlackApiError as error:
                    known = classify(error)
                    if not isinstance(known, SlackBusy):
                        raise
                    wait_s = known.retry_after_s or RATE_LIMITED_S
                    log.warning("slack limits new connections", again_in_s=wait_s)
                    self._until = monotonic() + wait_s


def _shorten_transient_errors(record: logging.LogRecord) -> bool:
    """slack_sdk logs a traceback for each lost or failed connection; drop it."""
    if record.exc_info and isinstance(record.exc_info[1], TRANSIENT_ERRORS):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
