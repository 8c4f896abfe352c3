"""Checks the installation and says what to fix: tries each part for real, changes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError, KeyRefused, NotReached
from bot.fusebill.responses import RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.manifest import scopes
from bot.ledger.engine import LedgerUnavailable, open_engine, version
from bot.ledger.schema import REVISION
from bot.settings import Settings
from bot.slack.client import Slack, SlackError, is_retryable, open_session

FAR_AWAY_S = 100 * 24 * 3600


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; unless it is `ok`, `fix` says what to do."""

    ok: bool
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"✓ {self.text}" if self.ok else f"✗ {self.text}\n    {self.fix}"


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Check every part, in the order in which an admin sets them up."""
    yield CheckResult(True, "Settings: valid")
    async with open_session() as session:
        slack = Slack(
            AsyncWebClient(
                token=settings.slack_bot_token.get_secret_value(),
                base_url=settings.slack_api_url,
                session=session,
                retry_handlers=[],
            )
        )
        groups = _user_groups(settings)
        yield await _token(slack, user_groups=bool(groups))
        async for result in _connections(settings, slack):
            yield result
        yield await _fusebill(settings)
        yield await asyncio.to_thread(_ledger, settings)
        for channel_id in sorted(settings.unlatch_channels):
            yield await _channel(slack, channel_id)
        for group in groups:
            yield await _user_group(slack, group)
        for group in sorted(settings.unlatch_notify):
            if group.startswith("S") and group not in groups:
                yield await _mentioned_group(slack, group)


async def _token(slack: Slack, *, user_groups: bool) -> CheckResult:
    try:
        answer = await slack.auth_test()
    except SlackError as error:
        fix = "Install the app, then copy SLACK_BOT_TOKEN again from “OAuth & Permissions”."
        return _refused(f"Slack's bot token: {error.code}", error, fix)
    granted = set(str(answer.headers.get("x-oauth-scopes", "")).split(","))
    missing = sorted(set(scopes(user_groups=user_groups)) - granted)
    if missing:
        return CheckResult(
            False,
            f"Slack's bot token: missing scopes: {', '.join(missing)}",
            "Add them under “OAuth & Permissions”, or paste the manifest again, then reinstall.",
        )
    return CheckResult(
        True, f"Slack's bot token: {answer['user']} in {answer['team']}, with all scopes"
    )


async def _connections(settings: Settings, slack: Slack) -> AsyncIterator[CheckResult]:
    if not settings.slack_app_token and not settings.slack_signing_secret:
        fix = "Set SLACK_SIGNING_SECRET (for http) or SLACK_APP_TOKEN (for socket)."
        yield CheckResult(False, "Slack's requests: neither HTTP nor Socket Mode is set up", fix)
    if settings.slack_app_token:
        yield await _socket_mode(slack, settings.slack_app_token.get_secret_value())
    if settings.slack_signing_secret:
        yield _signing_secret(settings.slack_signing_secret.get_secret_value())


async def _socket_mode(slack: Slack, app_token: str) -> CheckResult:
    try:
        await slack.open_connection(app_token)
    except SlackError as error:
        fix = "Turn on Socket Mode, and give SLACK_APP_TOKEN the scope connections:write."
        return _refused(f"Socket Mode: {error.code}", error, fix)
    return CheckResult(True, "Socket Mode: Slack accepts the app-level token")


def _signing_secret(secret: str) -> CheckResult:
    if not re.fullmatch("[0-9a-f]{32}", secret):
        fix = (
            "Copy SLACK_SIGNING_SECRET again from “Basic Information”: 32 characters, 0-9 and a-f."
        )
        return CheckResult(False, "Slack's signing secret: malformed", fix)
    return CheckResult(
        True, "Slack's signing secret: well-formed (only a request from Slack can verify it)"
    )


def _refused(text: str, error: SlackError, fix: str) -> CheckResult:
    if is_retryable(error):
        fix = "Check that this machine can reach Slack, then try again in a minute."
    return CheckResult(False, text, fix)


async def _fusebill(settings: Settings) -> CheckResult:
    limits: list[RateLimit] = []

    def observe(_operation: str, _status: int | None, _s: float, limit: RateLimit | None) -> None:
        limits.extend([limit] if limit else [])

    async with AiohttpTransport() as http:
        client = FusebillClient(
            http, settings.fusebill_base_url, settings.fusebill_api_key, observe=observe
        )
        try:
            await client.find_customers("Reference", "unlatch-bot check", limit=1)
        except KeyRefused as error:
            fix = "Copy FUSEBILL_API_KEY again, exactly as Fusebill shows it, without encoding it."
            return CheckResult(False, f"Fusebill: refuses the API key (HTTP {error.status})", fix)
        except NotReached:
            fix = "Check FUSEBILL_BASE_URL, and that this machine can reach it."
            return CheckResult(False, "Fusebill: can't be reached", fix)
        except FusebillError as error:
            fix = "Check FUSEBILL_BASE_URL. If it is right, try again in a minute."
            return CheckResult(False, f"Fusebill: no usable answer ({error})", fix)
    minute = limits[-1].minute.remaining if limits else None
    day = limits[-1].day.remaining if limits else None
    calls = f"; {minute} calls left this minute, {day} today" if minute is not None else ""
    return CheckResult(True, f"Fusebill: accepts the API key{calls}")


def _ledger(settings: Settings) -> CheckResult:
    url = settings.database_url.get_secret_value()
    kind = "SQLite" if url.startswith("sqlite:") else "PostgreSQL"
    try:
        engine = open_engine(url, read_only=True)
        try:
            found = version(engine)
        finally:
            engine.dispose()
    except LedgerUnavailable as error:
        fix = "Check DATABASE_URL. To create a new ledger, run: python -m bot migrate"
        return CheckResult(False, f"Ledger ({kind}): {error}", fix)
    if found != REVISION:
        fix = "Run: python -m bot migrate. If the ledger is newer than this bot, update the bot."
        return CheckResult(
            False, f"Ledger ({kind}): version {found or 'none'}, expected {REVISION}", fix
        )
    return CheckResult(True, f"Ledger ({kind}): version {REVISION}")


async def _channel(slack: Slack, channel_id: str) -> CheckResult:
    try:
        await slack.try_to_post(channel_id, int(time.time()) + FAR_AWAY_S)
    except SlackError as error:
        fix = "Type /invite @unlatch in that channel, or remove it from UNLATCH_CHANNELS."
        return _refused(f"Channel {channel_id}: the bot can't post ({error.code})", error, fix)
    return CheckResult(True, f"Channel {channel_id}: the bot can post")


async def _user_group(slack: Slack, group: str) -> CheckResult:
    try:
        members = await slack.user_group_members(group)
    except SlackError as error:
        fix = "Check the id, and that the app has the scope usergroups:read."
        return _refused(f"User group {group}: the bot can't read it ({error.code})", error, fix)
    return CheckResult(True, f"User group {group}: {len(members)} members")


async def _mentioned_group(slack: Slack, group: str) -> CheckResult:
    """A group that cards only mention: this needs no scope, so that the bot may be blind to it."""
    try:
        members = await slack.user_group_members(group)
    except SlackError as error:
        if error.code == "missing_scope":
            return CheckResult(
                True,
                f"User group {group}: is mentioned; only usergroups:read would show if it exists",
            )
        fix = "Check the id in UNLATCH_NOTIFY: in Slack, open the group and copy its id."
        return _refused(f"User group {group}: can't be mentioned ({error.code})", error, fix)
    if not members:
        fix = "Add members to the group, or remove it from UNLATCH_NOTIFY."
        return CheckResult(False, f"User group {group}: has no members to notify", fix)
    return CheckResult(True, f"User group {group}: {len(members)} members are notified")


def _user_groups(settings: Settings) -> list[str]:
    ids = settings.unlatch_requesters | settings.unlatch_confirmers
    return sorted(i for i in ids if i.startswith("S"))
