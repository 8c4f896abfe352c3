"""Receives Slack's requests over Socket Mode, a websocket that the bot opens.

slack_sdk reconnects for ever, even if Slack will never accept the bot again. SocketMode raises
SocketModeEnded instead.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import aiohttp
import structlog
from aiohttp import WSMessage
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.client import Slack
from bot.slack.error_codes import ALLOWED_ADDRESSES, BAD_TOKEN
from bot.slack.errors import SlackBlocked, SlackError

log = structlog.get_logger(__name__)

FATAL = (BAD_TOKEN - {"no_permission"}) | {"link_disabled", "socket_mode_not_enabled"}
PING_INTERVAL_S = 5.0
MAX_PAUSE_S = 60.0
CLOSE_TIMEOUT_S = 2.0


class SocketModeEnded(Exception):
    """Slack will not accept the bot again; the text says why and what to do."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"Slack ended Socket Mode ({code}): check that Socket Mode is on in the app's settings"
            " and that SLACK_APP_TOKEN is an app-level token with connections:write"
            + (f"; {ALLOWED_ADDRESSES}" if code == "invalid_auth" else "")
        )


TRANSIENT_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, SlackClientError, SocketModeEnded)


class SocketMode:
    """A Socket Mode connection; `ended` fails with SocketModeEnded when Slack ends it for good.

    A connection that leaves a ping unanswered is replaced before the third ping.
    """

    def __init__(
        self,
        app: AsyncApp,
        slack: Slack,
        client: AsyncWebClient,
        app_token: str,
        ended: asyncio.Future[None],
        *,
        ping_every_s: float = PING_INTERVAL_S,
    ) -> None:
        self._slack = slack
        self._ping_every_s = ping_every_s
        self._app_token = app_token
        sdk_log = logging.getLogger("slack_sdk.socket_mode")
        sdk_log.addFilter(_shorten_transient_errors)
        self._handler = AsyncSocketModeHandler(
            app, app_token, sdk_log, web_client=client, ping_interval=ping_every_s
        )
        self._handler.client.socket_mode_request_listeners[:] = [self._on_request]
        # slack_sdk asks every five seconds whatever Slack says, and trusts a proxy's answer
        self._handler.client.issue_new_wss_url = self._new_address  # type: ignore[method-assign]
        self._asking = asyncio.Lock()
        # slack_sdk doesn't pass a disconnect to its other listeners
        self._handler.client.on_message_listeners.append(self._on_message)
        self._ended = ended
        self._watch: asyncio.Task[None] | None = None
        self._closing = False
        self._handling: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and reconnect until closed. Raises: SocketModeEnded."""
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
        # every request comes this way: only what may be of these two kinds is read here
        if not ('"hello"' in frame.data or '"disconnect"' in frame.data):
            return
        match json.loads(frame.data):
            case {"type": "disconnect", "reason": reason} if reason in FATAL:
                self._end(SocketModeEnded(reason))
            case {"type": "hello", "num_connections": int(connections)}:
                _log_connections(connections)

    async def _supervise(self) -> None:
        """An address can be used once, and slack_sdk would retry the same one for ever."""
        while True:
            await asyncio.sleep(self._ping_every_s)
            if not await self.connected():
                self._handler.client.wss_uri = None

    async def _new_address(self) -> str:
        """Requests an address until Slack gives one, no more often than Slack allows.

        Raises: SocketModeEnded if Slack never will.
        """
        pause_s = self._ping_every_s
        async with self._asking:
            while True:
                try:
                    return await self._slack.open_connection(self._app_token)
                except SlackError as error:
                    if isinstance(error, SlackBlocked) and error.code in FATAL:
                        self._end(ended := SocketModeEnded(error.code))
                        raise ended from None
                    again_in_s = max(pause_s, error.retry_after_s or 0.0)
                    log.warning("slack not reached", why=error.code, again_in_s=again_in_s)
                await asyncio.sleep(again_in_s)
                pause_s = min(pause_s * 2, max(MAX_PAUSE_S, self._ping_every_s))

    def _end(self, error: SocketModeEnded) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


def _log_connections(connections: int) -> None:
    """Slack deals its requests out among all connections of one app-level token.

    A connection that was lost is counted until Slack notices.
    Source: docs.slack.dev/apis/events-api/using-socket-mode, "Using multiple connections"
    """
    if connections == 1:
        log.info("socket mode connected", connections=connections)
        return
    log.warning(
        "socket mode connected, and not alone",
        connections=connections,
        check=(
            "Each connection of this SLACK_APP_TOKEN gets a part of the commands and clicks. That"
            " is right for instances that share one ledger. Another bot with this token, such as a"
            " test, needs an app of its own: it gets clicks on cards that it does not have."
        ),
    )


def _shorten_transient_errors(record: logging.LogRecord) -> bool:
    """slack_sdk logs a traceback for each lost or failed connection; drop it."""
    if record.exc_info and isinstance(record.exc_info[1], TRANSIENT_ERRORS):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
