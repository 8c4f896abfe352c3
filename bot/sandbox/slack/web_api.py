"""Simulates the Web API: checks tokens, scopes, channels, texts and blocks as Slack does.

Failures are HTTP 200 with `ok: false` and Slack's error codes: docs.slack.dev/reference/methods.
"""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation import block_kit
from bot.sandbox.slack.validation.tables import ONE_TABLE
from bot.sandbox.slack.wire import Answer, Refused
from bot.sandbox.slack.workspace import APP_ID, BOT_ID, Blocks, Channel, PostedMessage, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.sandbox.slack.rate_limits import RateLimits
    from bot.sandbox.slack.views import Views

MAX_POSTED_LENGTH = 40_000
MAX_UPDATED_LENGTH = 4_000
MAX_SCHEDULE_AHEAD_S = 120 * 24 * 3600
SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.scheduleMessage": "chat:write",
    "chat.deleteScheduledMessage": "chat:write",
    "conversations.info": "channels:read",
    "usergroups.users.list": "usergroups:read",
}


def content_of(
    arguments: dict[str, Any], max_length: int, *, tables: bool
) -> tuple[str, Blocks | None]:
    """A message's text and blocks. Raises: Refused where Slack would not accept them.

    `tables` is `Workspace.takes_tables`.
    """
    text, blocks = arguments.get("text") or "", arguments.get("blocks")
    if isinstance(blocks, str):
        try:
            blocks = json.loads(blocks)
        except ValueError:
            raise Refused("invalid_blocks_format") from None
    if not isinstance(text, str):
        raise Refused("invalid_arguments")
    if not text and not blocks:
        raise Refused("no_text")
    if len(text) > max_length:
        raise Refused("msg_too_long")
    found = [] if blocks is None else block_kit.problems(blocks, tables=tables)
    if found:
        two_tables = all(ONE_TABLE in line for line in found)
        error = "invalid_attachments" if two_tables else "invalid_blocks"
        raise Refused(error, response_metadata={"messages": found})
    if block_kit.size(blocks) > block_kit.MAX_CHARACTERS:
        raise Refused("msg_blocks_too_long")
    return text, blocks


def message_payload(workspace: Workspace, message: PostedMessage) -> dict[str, Any]:
    """A message as it appears in Slack's answers and payloads."""
    user = workspace.users[message.user_id]
    payload: dict[str, Any] = {"type": "message", "user": user.id, "ts": message.ts}
    payload |= {"text": message.text, "team": user.team_id, "blocks": message.blocks}
    if user.bot:
        payload |= {"bot_id": BOT_ID, "app_id": APP_ID}
    if message.edited:
        payload["edited"] = {"user": user.id, "ts": message.ts}
    if message.thread_ts is not None:
        payload |= {"thread_ts": message.thread_ts, "parent_user_id": user.id}
    elif workspace.thread(message.channel_id, message.ts):
        payload["thread_ts"] = message.ts
    return payload


class WebApi:
    """The Web API's methods; `open_link` returns the URL of a new Socket Mode connection."""

    def __init__(
        self,
        workspace: Workspace,
        bot_token: str,
        app_token: str,
        open_link: Callable[[], str],
        limits: RateLimits,
        views: Views,
    ) -> None:
        self._workspace = workspace
        self._bot_token = bot_token
        self._app_token = app_token
        self._open_link = open_link
        self._limits = limits
        self.scheduled: dict[str, str] = {}
        self._methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "chat.getPermalink": self._get_permalink,
            "chat.scheduleMessage": self._schedule_message,
            "chat.deleteScheduledMessage": self._delete_scheduled_message,
            "usergroups.users.list": self._user_group,
            "conversations.info": self._channel_info,
            "blocks.validate": self._validate,
            "views.open": views.open,
        }

    def answer(self, method: str, token: str, arguments: dict[str, Any]) -> Answer:
        """Execute a call and return Slack's answer."""
        if rate_limited := self._limits.refusal(method, arguments):
            return rate_limited
        try:
            body = {"ok": True, **self._execute(method, token, arguments)}
        except Refused as refused:
            body = refused.body
        named = token == self._bot_token and self._workspace.names_scopes
        scopes = {"x-oauth-scopes": ",".join(sorted(self._workspace.scopes))}
        date = {"Date": formatdate(time.time() + self._workspace.clock_ahead_s, usegmt=True)}
        return Answer(body, headers=date | (scopes if named else {}))

    def _execute(self, method: str, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if method not in self._methods and method != "apps.connections.open":
            raise Refused("unknown_method", req_method=method)
        if token not in (self._bot_token, self._app_token):
            raise Refused("invalid_auth" if token else "not_authed")
        if token == self._app_token:
            return self._execute_for_app(method)
        if method not in self._methods:
            raise Refused("not_allowed_token_type")
        needed, provided = SCOPES.get(method), self._workspace.scopes
        if needed and needed not in provided:
            raise Refused("missing_scope", needed=needed, provided=",".join(sorted(provided)))
        return self._methods[method](arguments)

    def _execute_for_app(self, method: str) -> dict[str, Any]:
        if method == "auth.test":
            return {"app_name": "unlatch", "app_id": APP_ID}
        if method != "apps.connections.open":
            raise Refused("not_allowed_token_type")
        return {"url": self._open_link()}

    def _auth_test(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        team, bot = self._workspace.teams[self._workspace.team_id], self._workspace.bot
        return {
            "url": f"https://{team.domain}.slack.com/",
            "team": team.name,
            "user": bot.name,
            "team_id": team.id,
            "user_id": bot.id,
            "bot_id": BOT_ID,
            "is_enterprise_install": False,
            **({"enterprise_id": team.enterprise_id} if team.enterprise_id else {}),
        }

    def _validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            blocks = json.loads(str(arguments.get("blocks")))
        except ValueError:
            raise Refused("invalid_blocks_format") from None
        found = block_kit.problems(blocks, tables=self._workspace.takes_tables)
        errors = [{"pointer": "", "code": "invalid_blocks", "message": text} for text in found]
        return {"errors": errors}

    def _writable(self, arguments: dict[str, Any]) -> Channel:
        channel = self._visible(arguments)
        if channel.archived:
            raise Refused("is_archived")
        if not channel.member and "chat:write.public" not in self._workspace.scopes:
            raise Refused("not_in_channel")
        if channel.read_only:
            raise Refused("restricted_action")
        return channel

    def _schedule_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._writable(arguments)
        self._content(arguments, MAX_POSTED_LENGTH)
        post_at = int(arguments.get("post_at") or 0)
        if post_at <= time.time():
            raise Refused("time_in_past")
        if post_at > time.time() + MAX_SCHEDULE_AHEAD_S:
            raise Refused("time_too_far")
        scheduled_id = f"Q{len(self.scheduled) + 1:06}"
        self.scheduled[scheduled_id] = channel.id
        return {"channel": channel.id, "scheduled_message_id": scheduled_id, "post_at": post_at}

    def _delete_scheduled_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.scheduled.pop(str(arguments.get("scheduled_message_id")), None) is None:
            raise Refused("invalid_scheduled_message_id")
        return {}

    def _post_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._writable(arguments)
        text, blocks = self._content(arguments, MAX_POSTED_LENGTH)
        thread_ts = arguments.get("thread_ts")
        if thread_ts is not None:
            self._parent(channel, thread_ts)
        bot_id = self._workspace.bot.id
        message = self._workspace.post(channel.id, bot_id, text, blocks, thread_ts=thread_ts)
        payload = message_payload(self._workspace, message)
        return {"channel": channel.id, "ts": message.ts, "message": payload}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(arguments)
        if channel.archived:
            raise Refused("is_inactive")
        message = self._message(channel, arguments.get("ts"))
        if message.user_id != self._workspace.bot.id:
            raise Refused("cant_update_message")
        text, blocks = self._content(arguments, MAX_UPDATED_LENGTH)
        message = self._workspace.update(channel.id, message.ts, text, blocks)
        payload = message_payload(self._workspace, message)
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": payload}

    def _get_permalink(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(arguments)
        message = self._message(channel, arguments.get("message_ts"))
        domain = self._workspace.teams[self._workspace.team_id].domain
        link = f"https://{domain}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
        if message.thread_ts is not None:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    def _user_group(self, arguments: dict[str, Any]) -> dict[str, Any]:
        users = self._workspace.user_groups.get(arguments.get("usergroup", ""))
        if users is None:
            raise Refused("no_such_subteam")
        return {"users": list(users)}

    def _channel_info(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(arguments)
        info = {
            "id": channel.id,
            "name": channel.name,
            "is_channel": True,
            "is_private": channel.private,
            "is_archived": channel.archived,
            "is_member": channel.member,
            "is_ext_shared": bool(channel.shared_with),
            "connected_team_ids": list(channel.shared_with),
        }
        return {"channel": info}

    def _content(self, arguments: dict[str, Any], max_length: int) -> tuple[str, Blocks | None]:
        return content_of(arguments, max_length, tables=self._workspace.takes_tables)

    def _visible(self, arguments: dict[str, Any]) -> Channel:
        channel = self._workspace.channels.get(str(arguments.get("channel")))
        if channel is None or (channel.private and not channel.member):
            raise Refused("channel_not_found")
        return channel

    def _message(self, channel: Channel, ts: object) -> PostedMessage:
        try:
            return self._workspace.message(channel.id, str(ts))
        except LookupError:
            raise Refused("message_not_found") from None

    def _parent(self, channel: Channel, thread_ts: object) -> None:
        if thread_ts not in [message.ts for message in self._workspace.messages(channel.id)]:
            raise Refused("thread_not_found")
