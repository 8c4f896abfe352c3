"""The Slack client: the calls that the bot makes; `bot.slack.errors` holds their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.messages.block_kit import Form, Message
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

CALL_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 3.0
"""After this a trigger is no longer valid, so that waiting for Slack's answer makes no sense."""
MAX_CONCURRENT_CALLS = 64
CONNECTIONS = 100


def open_session() -> aiohttp.ClientSession:
    """Open the process's only HTTP session to Slack; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, connect=3),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        # Slack's API uses no cookies, and a cookie jar slows every call
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class Slack:
    """Makes the bot's Slack calls, at most 64 at once.

    Every method raises SlackUnavailable or SlackRefused. `observe` gets each call's method, result
    (`ok` or Slack's error code) and seconds. If Slack limits the rate, `post` and `update` wait for
    their turn for up to `max_wait_s` seconds and call `on_wait` when the wait begins.
    """

    def __init__(self, client: AsyncWebClient, observe: Observe = lambda *_: None) -> None:
        self._client = client
        self._observe = observe
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
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
        """Post a message, in the thread `thread_ts` if given; returns the message's `ts`.

        `message` may be a function, which is called when the message is sent, after any wait.
        """

        async def call() -> str:
            drawn = message if isinstance(message, Message) else message()
            response = await self._send(
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
        """Replace a message that the bot posted."""

        async def call() -> None:
            await self._send(
                "chat.update",
                lambda blocks: self._client.chat_update(
                    channel=channel_id, ts=message_ts, text=message.text, blocks=blocks
                ),
                message,
            )

        # Slack limits updates per workspace, posts per channel
        key: Key = ("chat.update", "")
        await self._rate_limiter.run(key, call, max_wait_s=max_wait_s, on_wait=on_wait)

    async def send_ephemeral(self, response_url: str, message: Message) -> None:
        """Send a message that only one person sees.

        A response URL works five times within 30 minutes.
        Source: docs.slack.dev/interactivity/handling-user-interaction
        """

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

        await self._send("response_url", call, message)

    async def open_form(self, trigger_id: str, form: Form) -> None:
        """Open a form for the person whose click brought the `trigger_id`.

        A trigger works once, within 3 s. Source: docs.slack.dev/reference/methods/views.open
        """

        async def call() -> None:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._client.views_open(trigger_id=trigger_id, view=form)

        await self._call("views.open", call)

    async def permalink(self, channel_id: str, message_ts: str) -> str:
        """The URL of a message."""

        async def call() -> str:
            response = await self._client.chat_getPermalink(
                channel=channel_id, message_ts=message_ts
            )
            return str(response["permalink"])

        return await self._call("chat.getPermalink", call)

    async def try_to_post(self, channel_id: str, post_at: int) -> None:
        """Check that the bot may post in a channel, without anybody seeing a message.

        Schedules a message for `post_at` (epoch seconds) and deletes it at once: Slack applies the
        same rules to a scheduled message as to a posted one.
        """

        async def call() -> None:
            scheduled = await self._client.chat_scheduleMessage(
                channel=channel_id, post_at=post_at, text="unlatch-bot check: deleted at once"
            )
            await self._client.chat_deleteScheduledMessage(
                channel=channel_id, scheduled_message_id=scheduled["scheduled_message_id"]
            )

        await self._call("chat.scheduleMessage", call)

    async def open_connection(self, app_token: str) -> None:
        """Request a Socket Mode connection without using it, to check `app_token`."""

        async def call() -> None:
            await self._client.apps_connections_open(app_token=app_token)

        await self._call("apps.connections.open", call)

    async def user_group_members(self, user_group_id: str) -> frozenset[str]:
        """The user ids of a user group's members."""

        async def call() -> frozenset[str]:
            response = await self._client.usergroups_users_list(usergroup=user_group_id)
            return frozenset(response.get("users") or ())

        return await self._call("usergroups.users.list", call)

    @property
    def token(self) -> str:
        """The bot token that the calls use."""
        return self._client.token or ""

    async def auth_test(self) -> AsyncSlackResponse:
        """The bot's `team_id`, `bot_id`, `user_id` and `user`; the headers hold its scopes."""
        return await self._call("auth.test", self._client.auth_test)

    async def _send(
        self,
        method: str,
        call: Callable[[list[dict[str, Any]] | None], Awaitable[T]],
        message: Message,
    ) -> T:
        """Send the blocks; if Slack refuses them, send the plain text instead."""
        try:
            return await self._call(method, lambda: call(message.blocks))
        except SlackRefused as error:
            if error.code not in TEXT_ONLY:
                raise
            return await self._call(method, lambda: call(None))

    async def _call(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
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
