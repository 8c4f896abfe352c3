"""The Slack client: the calls that the bot makes; `bot.slack.errors` holds their errors.

Slack has refused blocks that it takes on other days, and has answered server errors to tables. So a
refused message loses its table first (lines say the same), then the blocks that Slack names become
text, then all but the buttons, since they are the message. Text alone is the last resort.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.values import value
from bot.messages.block_kit import Form, Message, plainer
from bot.slack.error_codes import THREAD_REFUSED
from bot.slack.errors import (
    UNPOSTABLE,
    Said,
    SlackError,
    SlackRefused,
    SlackUnavailable,
)
from bot.slack.rate_limiter import MAX_WAIT_S, Key, RateLimiter
from bot.slack.web_api import Observe, WebApi

log = structlog.get_logger(__name__)

T = TypeVar("T")
Blocks = list[dict[str, Any]]

OPEN_TIMEOUT = aiohttp.ClientTimeout(total=3.0)
"""After this a trigger is no longer valid, so that waiting for Slack's answer makes no sense."""
Send = Callable[[dict[str, object]], Awaitable[T]]
"""Sends the `text` of a message, and its `blocks` if it has any."""

MAX_PLAIN_LENGTH = 3000
"""Slack takes 4,000 characters in an update: docs.slack.dev/reference/methods/chat.update"""
_SERVER_ERROR = re.compile("http_5[0-9][0-9]|internal_error|fatal_error")
_BLOCK = re.compile(r"/blocks/([0-9]+)")


@value
class Sent:
    """A message that Slack took; `refused` is why not as it was drawn, but more simply."""

    ts: str
    refused: str = ""


class Slack:
    """Makes the bot's Slack calls; every method raises SlackUnavailable or SlackRefused.

    If Slack limits the rate, `post` and `update` wait for
    their turn for up to `max_wait_s` seconds, and `post` calls `on_wait` when its wait begins.
    """

    def __init__(self, client: AsyncWebClient, observe: Observe = lambda *_: None) -> None:
        self._web_api = WebApi(client, observe)
        self._rate_limiter = RateLimiter()

    async def post(
        self,
        channel_id: str,
        message: Message | Callable[[], Message],
        *threads: str | None,
        max_wait_s: float = MAX_WAIT_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Sent:
        """Post a message in the first of the threads that takes it; None is the channel itself.

        `message` may be a function, which is called when the message is sent, after any wait.
        """
        thread_ts, *others = dict.fromkeys(threads or (None,))
        try:
            return await self._send(
                ("chat.postMessage", channel_id),
                (lambda: message) if isinstance(message, Message) else message,
                max_wait_s,
                on_wait,
                channel=channel_id,
                unfurl_links=False,
                unfurl_media=False,
                **({"thread_ts": thread_ts} if thread_ts else {}),
            )
        except SlackError as error:
            if not others or error.code not in THREAD_REFUSED:
                raise
            log.warning("thread refused", why=error.code, thread_ts=thread_ts)
        return await self.post(channel_id, message, *others, max_wait_s=max_wait_s, on_wait=on_wait)

    async def update(
        self,
        channel_id: str,
        message_ts: str,
        message: Message,
        *,
        max_wait_s: float = MAX_WAIT_S,
    ) -> Sent:
        """Replace a message that the bot posted."""
        # Slack limits updates per workspace, posts per channel
        key: Key = ("chat.update", "")
        return await self._send(key, lambda: message, max_wait_s, channel=channel_id, ts=message_ts)

    async def send_ephemeral(self, response_url: str, message: Message) -> None:
        """Send a message that only one person sees.

        A response URL works five times within 30 minutes.
        Source: docs.slack.dev/interactivity/handling-user-interaction
        """
        await self._respond(response_url, message, replace_original=False)

    async def replace_original(self, response_url: str, message: Message) -> None:
        """Replace the message whose button was pressed, wherever it is."""
        await self._respond(response_url, message, replace_original=True)

    async def _respond(self, url: str, message: Message, *, replace_original: bool) -> None:
        kind = {} if replace_original else {"response_type": "ephemeral"}
        how = {"replace_original": replace_original, **kind}
        await _send_simpler(message, lambda shown: self._web_api.respond(url, shown | how))

    async def open_form(self, trigger_id: str, form: Form) -> None:
        """Open a form for the person whose click brought the `trigger_id`.

        A trigger works once, within 3 s. Source: docs.slack.dev/reference/methods/views.open
        """
        opened = {"trigger_id": trigger_id, "view": form}
        await self._web_api.call("views.open", opened, timeout=OPEN_TIMEOUT)

    async def permalink(self, channel_id: str, message_ts: str) -> str:
        """The URL of a message."""
        where = {"channel": channel_id, "message_ts": message_ts}
        said = await self._web_api.ask("chat.getPermalink", {"permalink": str}, **where)
        return str(said.data["permalink"])

    async def schedule(self, channel_id: str, text: str, post_at: int) -> str:
        """Schedule a message for `post_at` (epoch seconds); returns its id.

        Slack applies the same rules as to a posted message, and nobody sees it before its time.
        """
        planned = {"channel": channel_id, "post_at": post_at, "text": text}
        name = "scheduled_message_id"
        said = await self._web_api.call("chat.scheduleMessage", planned, {name: str})
        return str(said.data[name])

    async def unschedule(self, channel_id: str, scheduled_id: str) -> None:
        """Delete a scheduled message."""
        planned = {"channel": channel_id, "scheduled_message_id": scheduled_id}
        await self._web_api.call("chat.deleteScheduledMessage", planned)

    async def open_connection(self, app_token: str) -> str:
        """Request a Socket Mode connection: the address, which can be used once."""
        said = await self._web_api.ask("apps.connections.open", {"url": str}, token=app_token)
        return str(said.data["url"])

    async def user_group_members(self, user_group_id: str) -> frozenset[str]:
        """The user ids of a user group's members."""
        asked, has = {"usergroup": user_group_id}, {"users": list}
        said = await self._web_api.ask("usergroups.users.list", has, **asked)
        return frozenset(map(str, said.data["users"]))

    async def auth_test(self) -> Said:
        """The bot's `team_id`, `bot_id`, `user_id` and `user`; the headers hold its scopes."""
        return await self._web_api.ask("auth.test", {"team_id": str, "user_id": str})

    async def _send(
        self,
        key: Key,
        message: Callable[[], Message],
        max_wait_s: float,
        on_wait: Callable[[], None] = lambda: None,
        **place: object,
    ) -> Sent:
        """Send a message when it is its turn, made simpler if Slack refuses it."""
        method, _ = key

        async def send() -> Sent:
            said, refused = await _send_simpler(
                message(), lambda shown: self._web_api.call(method, shown | place, {"ts": str})
            )
            return Sent(str(said.data["ts"]), refused)

        return await self._rate_limiter.run(key, send, max_wait_s=max_wait_s, on_wait=on_wait)


async def _send_simpler(message: Message, call: Send[T]) -> tuple[T, str]:
    """Send a message, or as much of it as Slack takes.

    Returns Slack's answer, and the code with which it failed to take the whole message; empty if it
    took that. Raises: SlackError.
    """
    failures: list[SlackError] = []
    for blocks in _ever_simpler(message, failures):
        try:
            return await call({"text": message.text, "blocks": blocks}), failures[
                0
            ].code if failures else ""
        except SlackRefused as error:
            if error.code not in UNPOSTABLE:
                raise
            log.warning("message refused", why=error.code, slack_says=error.words)
            failures.append(error)
        except SlackUnavailable as error:
            has_table = message.without_table and blocks is message.blocks
            if not has_table or not _SERVER_ERROR.fullmatch(error.code):
                raise
            failures.append(error)
    return await call({"text": message.text[:MAX_PLAIN_LENGTH]}), failures[0].code


def _ever_simpler(message: Message, failures: list[SlackError]) -> Iterator[Blocks]:
    """The message's blocks, each time simpler than what Slack has refused last.

    A server error to a table may pass; the second one counts as its refusal.
    """
    yield message.blocks
    if isinstance(failures[-1], SlackUnavailable):
        yield message.blocks
    blocks = message.without_table or message.blocks
    if message.without_table:
        yield blocks
    if named := {int(each) for word in failures[-1].words for each in _BLOCK.findall(word)}:
        yield plainer(blocks, named)
    yield plainer(blocks)
