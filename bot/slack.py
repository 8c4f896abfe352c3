"""What the bot says to Slack, and which of Slack's errors pass and which don't.

    SlackError
    ├── SlackUnavailable    passes: rate limit (says for how long), 5xx, no connection, time-out
    └── SlackRefused        stays: Slack's own error code says why

Source: docs.slack.dev/reference/methods, each method's list of errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.blocks import Message

T = TypeVar("T")
Observe = Callable[[str, str, float], None]

CALL_S = 10.0
SIDE_BY_SIDE = 64
CONNECTIONS = 100
TEXT_ONLY = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
NOT_LET_IN = frozenset(
    {"token_revoked", "token_expired", "invalid_auth", "account_inactive", "not_authed"}
)
PASSING = NOT_LET_IN | frozenset(  # an admin mends those while the ledger keeps what is to be said
    {
        "ratelimited",
        "rate_limited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
    }
)


class SlackError(Exception):
    """Slack did not do it; `code` is Slack's own error code, or says how it was missed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SlackUnavailable(SlackError):
    """It may go through later: not before `retry_after_s` seconds, where Slack said so."""

    def __init__(self, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s


class SlackRefused(SlackError):
    """It will never go through as it is."""


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
    its result (`ok` or Slack's error code) and its seconds.
    """

    def __init__(self, client: AsyncWebClient, observe: Observe = lambda *_: None) -> None:
        self._client = client
        self._observe = observe
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def post(self, channel_id: str, message: Message, thread_ts: str | None = None) -> str:
        """Post a message, into a thread if one is named; returns its `ts`."""

        async def call(blocks: list[dict[str, Any]] | None) -> str:
            response = await self._client.chat_postMessage(
                channel=channel_id,
                text=message.text,
                blocks=blocks,
                thread_ts=thread_ts,
                unfurl_links=False,
                unfurl_media=False,
            )
            return str(response["ts"])

        return await self._worded("chat.postMessage", call, message)

    async def update(self, channel_id: str, message_ts: str, message: Message) -> None:
        """Put a message in the place of one that the bot posted."""

        async def call(blocks: list[dict[str, Any]] | None) -> None:
            await self._client.chat_update(
                channel=channel_id, ts=message_ts, text=message.text, blocks=blocks
            )

        await self._worded("chat.update", call, message)

    async def whisper(self, response_url: str, message: Message) -> None:
        """Tell one person something that nobody else sees (five times, for thirty minutes)."""

        async def call() -> None:
            webhook = AsyncWebhookClient(
                response_url, session=self._client.session, retry_handlers=[]
            )
            response = await webhook.send(
                text=message.text,
                blocks=message.blocks,
                response_type="ephemeral",
                replace_original=False,
            )
            if response.status_code >= 500 or response.status_code == 429:  # noqa: PLR2004  # HTTP
                raise SlackUnavailable(f"http_{response.status_code}")
            if response.status_code != 200:  # noqa: PLR2004  # HTTP
                raise SlackRefused(response.body[:80] or f"http_{response.status_code}")

        await self._called("response_url", call)

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
                known = _typed(error)
                if known is None:
                    raise
                result = known.code
                raise known from error
            finally:
                self._observe(method, result, perf_counter() - began)


def _typed(error: Exception) -> SlackError | None:
    match error:
        case SlackError():
            return error
        case SlackApiError():
            return _answered(error)
        case TimeoutError() | aiohttp.ClientError() | OSError() | SlackClientError():
            return SlackUnavailable(type(error).__name__)
        case _:
            return None


def _answered(error: SlackApiError) -> SlackError:
    response: Any = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    code = code or f"http_{status}"
    retry_after_s = None
    with suppress(ValueError):
        retry_after_s = float(getattr(response, "headers", {}).get("Retry-After", ""))
    if status >= 500 or status == 429 or code in PASSING or not isinstance(data, dict):  # noqa: PLR2004  # HTTP
        return SlackUnavailable(code, retry_after_s)
    return SlackRefused(code)
