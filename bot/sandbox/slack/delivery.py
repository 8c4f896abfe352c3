"""Builds and sends the requests that Slack makes to the bot: commands, clicks and forms, signed.

Sources: docs.slack.dev/authentication/verifying-requests-from-slack,
docs.slack.dev/interactivity/implementing-slash-commands,
docs.slack.dev/reference/interaction-payloads/block_actions-payload,
docs.slack.dev/reference/interaction-payloads/view-interactions-payload.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from bot.sandbox.slack.web_api import message_payload
from bot.sandbox.slack.workspace import APP_ID, Ephemeral, PostedMessage, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

ACK_WITHIN_S = 3.0
VERIFICATION_TOKEN = "sandbox-verification-token"  # noqa: S105  # a legacy field, not a secret
USER_AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The bot's answer: HTTP status (0: no answer in 3 s, or unreachable), body, duration.

    Over Socket Mode an ack counts as status 200, and `body` is its payload as JSON.
    """

    status: int
    body: str
    seconds: float


def signature(secret: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """Slack's signature headers for a body; `timestamp` in epoch seconds, by default now."""
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    signed = hmac.new(secret.encode(), b":".join([b"v0", stamp.encode(), body]), hashlib.sha256)
    return {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={signed.hexdigest()}",
    }


async def send(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]
) -> Delivery:
    """POST a request to the bot and wait for the answer, at most 3 s as Slack does."""
    defaults = {
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": USER_AGENT,
        "Accept": "application/json,*/*",
    }
    started = time.monotonic()
    try:
        async with session.post(
            url,
            data=body,
            headers={**defaults, **headers},
            timeout=aiohttp.ClientTimeout(total=ACK_WITHIN_S),
            allow_redirects=False,
        ) as response:
            text = await response.text(errors="replace")
            return Delivery(response.status, text, time.monotonic() - started)
    except (TimeoutError, aiohttp.ClientError):
        return Delivery(0, "", time.monotonic() - started)


def failure_of(delivery: Delivery) -> str | None:
    """Slack's name for the error of a delivery; None if there was none."""
    # The time-out may fire slightly early, as the event loop uses another clock.
    if delivery.status == 0 and delivery.seconds >= ACK_WITHIN_S - 0.1:
        return "operation_timeout"
    return None if delivery.status == HTTPStatus.OK else "dispatch_failed"


def escaped(text: str) -> str:
    """Text with `&`, `<` and `>` as entities, as Slack passes on what people type."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def command_payload(
    workspace: Workspace, user_id: str, channel_id: str, command: str, text: str
) -> dict[str, str]:
    """The form fields of a slash command, without `response_url`."""
    user, channel = workspace.users[user_id], workspace.channels[channel_id]
    team = workspace.teams[user.team_id]
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": team.id,
        "team_domain": team.domain,
        "channel_id": channel.id,
        # Slack hides the name of a private channel here.
        "channel_name": "privategroup" if channel.private else channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": escaped(text.strip()),
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "trigger_id": _trigger_id(),
        **({"enterprise_id": team.enterprise_id} if team.enterprise_id else {}),
    }


def click_payload(
    workspace: Workspace,
    user_id: str,
    place: PostedMessage | Ephemeral,
    button: tuple[str, dict[str, Any]],
) -> dict[str, Any]:
    """The payload of a click, without `response_url`; `button` is a pair of `block_kit.buttons`."""
    user, channel = workspace.users[user_id], workspace.channels[place.channel_id]
    team = workspace.teams[workspace.team_id]
    payload: dict[str, Any] = {
        "type": "block_actions",
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": APP_ID,
        "token": VERIFICATION_TOKEN,
        "container": _container(place),
        "trigger_id": _trigger_id(),
        "team": {"id": team.id, "domain": team.domain},
        "enterprise": {"id": team.enterprise_id, "name": ""} if team.enterprise_id else None,
        "is_enterprise_install": False,
        "channel": {"id": channel.id, "name": "privategroup" if channel.private else channel.name},
        "state": {"values": {}},
        "actions": [_action(*button)],
    }
    if isinstance(place, PostedMessage):
        payload["message"] = message_payload(workspace, place)
    return payload


def submission_payload(workspace: Workspace, user_id: str, view: dict[str, Any]) -> dict[str, Any]:
    """The payload of a modal that was sent; it names no channel and no message."""
    user, team = workspace.users[user_id], workspace.teams[workspace.team_id]
    return {
        "type": "view_submission",
        "team": {"id": team.id, "domain": team.domain},
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": APP_ID,
        "token": VERIFICATION_TOKEN,
        "trigger_id": _trigger_id(),
        "view": view,
        "response_urls": [],
        "is_enterprise_install": False,
        "enterprise": None,
    }


def _container(place: PostedMessage | Ephemeral) -> dict[str, Any]:
    is_ephemeral = isinstance(place, Ephemeral)
    container = {
        "type": "message",
        "message_ts": place.id if isinstance(place, Ephemeral) else place.ts,
        "channel_id": place.channel_id,
        "is_ephemeral": is_ephemeral,
    }
    if isinstance(place, PostedMessage) and place.thread_ts is not None:
        container["thread_ts"] = place.thread_ts
    return container


def _action(block_id: str, button: dict[str, Any]) -> dict[str, Any]:
    return {
        "action_id": button.get("action_id", ""),
        "block_id": block_id,
        **{key: button[key] for key in button.keys() & {"text", "value", "style", "url"}},
        "type": "button",
        "action_ts": f"{time.time():.6f}",
    }


def _trigger_id() -> str:
    return f"{time.time_ns()}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
