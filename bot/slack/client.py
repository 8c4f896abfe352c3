"""What the bot says to Slack; its errors are those of `slack_answers`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.messages.block_kit import Message
from bot.slack.errors import (
    TEXT_ONLY,
    SlackBusy,
    SlackError,
    SlackRefused,
    SlackUnavailable,
    classify,
    failure_of,
    is_retryable,
)
from bot.slack.rate_limiter import MAX_WAIT_S, Key, RateLimiter

__all__ = [
    "Slack",
    "SlackBusy",
    "SlackError",
    "SlackRefused",
    "SlackUnavailable",
    "is_retryable",
    "open_session",
]

T = TypeVar("T")
Observe = Callable[[str, str, float], None]

CALL_S = 10.0
SIDE_BY_SIDE = 64
CONNECTIONS = 100


def open_session() -> aiohttp.ClientSession:
    """The one session for the process's life; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_S, connect=3),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        # Slack's API keeps nothing in cookies, and looking for them costs each call
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class Slack:
    """The calls that the bot makes, at most so many side by side.

    Every method raises SlackUnavailable or SlackRefused. `observe` is told each call's method,
    its result (`ok` or Slack's error code) and its seconds. Where Slack takes only so much at a
    time, `post` and `update` wait for their turn for up to `max_wait_s` seconds, and call
    `on_wait` when they begin to.
    """

    def __init__(self, client: AsyncWebClient, observe: Observe = lambda *_: None) -> None:
        self._client = client
        self._observe = observe
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._rate_limiter = RateLimiter()

    async def post(
        self,
        channel_id: str,
        message: Message | Callable[[], Message],
        thread_ts: str | None = None,
        *,
        max_wait_s: float = MAX_WAIT_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> str:
        """Post a message, into a thread if one is named; returns its `ts`.

        A message that depends on when it is posted is given as what draws it.
        """

        async def call() -> str:
            drawn = message if isinstance(message, Message) else message()
            response = await self._worded(
                "chat.postMessage",
                lambda blocks: self._client.chat_postMessage(
                    channel=channel_id,
                    text=drawn.text,
                    blocks=blocks,
                    thread_ts=thread_ts,
                    unfurl_links=False,
                    unfurl_media=False,
                ),
                drawn,
            )
            return str(response["ts"])

        key: Key = ("chat.postMessage", channel_id)
        return await self._rate_limiter.run(key, call, max_wait_s=max_wait_s, on_wait=on_wait)

    async def update(
        self,
        channel_id: str,
        message_ts: str,
        message: Message,
        *,
        max_wait_s: float = MAX_WAIT_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Put a message in the place of one that the bot posted."""

        async def call() -> None:
            await self._worded(
                "chat.update",
                lambda blocks: self._client.chat_update(
                    channel=channel_id, ts=message_ts, text=message.text, blocks=blocks
                ),
                message,
            )

        # counted for the whole workspace, unlike what is posted
        key: Key = ("chat.update", "")
        await self._rate_limiter.run(key, call, max_wait_s=max_wait_s, on_wait=on_wait)

    async def send_ephemeral(self, response_url: str, message: Message) -> None:
        """Tell one person something that nobody else sees (five times, for thirty minutes)."""

        async def call(blocks: list[dict[str, Any]] | None) -> None:
            webhook = AsyncWebhookClient(
                response_url, session=self._client.session, retry_handlers=[]
            )
            response = await webhook.send(
                text=message.text,
                blocks=blocks,
                response_type="ephemeral",
                replace_original=False,
            )
            if failure := failure_of(response):
                raise failure

        await self._worded("response_url", call, message)

    async def permalink(self, channel_id: str, message_ts: str) -> str:
        """The address of a message."""

        async def call() -> str:
            response = await self._client.chat_getPermalink(
                channel=channel_id, message_ts=message_ts
            )
            return str(response["permalink"])

        return await self._called("chat.getPermalink", call)

    async def try_to_post(self, channel_id: str, post_at: int) -> None:
        """Schedule a message for `post_at` and take it back at once: nobody ever sees it.

        Slack holds a scheduled message against the same rules as a posted one.
        """

        async def call() -> None:
            scheduled = await self._client.chat_scheduleMessage(
                channel=channel_id, post_at=post_at, text="unlatch-bot check: to be taken back"
            )
            await self._client.chat_deleteScheduledMessage(
                channel=channel_id, scheduled_message_id=scheduled["scheduled_message_id"]
            )

        await self._called("chat.scheduleMessage", call)

    async def open_connection(self, app_token: str) -> None:
        """Ask for a Socket Mode connection and leave it unused."""

        async def call() -> None:
            await self._client.apps_connections_open(app_token=app_token)

        await self._called("apps.connections.open", call)

    async def user_group_members(self, user_group_id: str) -> frozenset[str]:
        """The user ids in a user group."""

        async def call() -> frozenset[str]:
            response = await self._client.usergroups_users_list(usergroup=user_group_id)
            return frozenset(response.get("users") or ())

        return await self._called("usergroups.users.list", call)

    @property
    def token(self) -> str:
        """The bot token that the calls are made with."""
        return self._client.token or ""

    async def auth_test(self) -> AsyncSlackResponse:
        """Who the bot is: `team_id`, `bot_id`, `user_id`, `user`; scopes are in the headers."""
        return await self._called("auth.test", self._client.auth_test)

    async def _worded(
        self,
        method: str,
        call: Callable[[list[dict[str, Any]] | None], Awaitable[T]],
        message: Message,
    ) -> T:
        """Say it as blocks, or in plain text where Slack won't take the blocks."""
        try:
            return await self._called(method, lambda: call(message.blocks))
        except SlackRefused as error:
            if error.code not in TEXT_ONLY:
                raise
            return await self._called(method, lambda: call(None))

    async def _called(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        async with self._slots:
            began = perf_counter()
            result = "ok"
            try:
                return await call()
            except Exception as error:
                result = "error"
                known = classify(error)
                if known is None:
                    raise
                result = known.code
                raise known from error
            finally:
                self._observe(method, result, perf_counter() - began)
