"""Tells an admin what is not right yet: each part tried for real, and nothing changed by it."""

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
    """One thing that was looked at; `fix` says what to do where it is not right."""

    right: bool
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"✓ {self.what}" if self.right else f"✗ {self.what}\n    {self.fix}"


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Look at every part, in the order in which an admin sets them up."""
    yield CheckResult(True, "Settings: each is of the right form")
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
        yield await _token(slack, wants_groups=bool(groups))
        async for result in _ways_in(settings, slack):
            yield result
        yield await _fusebill(settings)
        yield await asyncio.to_thread(_ledger, settings)
        for channel_id in sorted(settings.unlatch_channels):
            yield await _channel(slack, channel_id)
        for group in groups:
            yield await _user_group(slack, group)


async def _token(slack: Slack, *, wants_groups: bool) -> CheckResult:
    try:
        answer = await slack.auth_test()
    except SlackError as error:
        fix = "Copy SLACK_BOT_TOKEN anew from “OAuth & Permissions”, after installing the app."
        return _refused(f"Slack's bot token: {error.code}", error, fix)
    granted = set(str(answer.headers.get("x-oauth-scopes", "")).split(","))
    missing = sorted(set(scopes(user_groups=wants_groups)) - granted)
    if missing:
        return CheckResult(
            False,
            f"Slack's bot token: lacks the scopes {', '.join(missing)}",
            "Add them under “OAuth & Permissions”, or paste the manifest anew, then reinstall.",
        )
    return CheckResult(
        True, f"Slack's bot token: {answer['user']} in {answer['team']}, with its scopes"
    )


async def _ways_in(settings: Settings, slack: Slack) -> AsyncIterator[CheckResult]:
    """How Slack's requests come in: signed over HTTP, over Socket Mode, or either."""
    if not settings.slack_app_token and not settings.slack_signing_secret:
        fix = "Set SLACK_SIGNING_SECRET (for http) or SLACK_APP_TOKEN (for socket)."
        yield CheckResult(False, "Slack's requests: no way in is set up", fix)
    if settings.slack_app_token:
        yield await _socket_mode(slack, settings.slack_app_token.get_secret_value())
    if settings.slack_signing_secret:
        yield _signing_secret(settings.slack_signing_secret.get_secret_value())


async def _socket_mode(slack: Slack, app_token: str) -> CheckResult:
    try:
        await slack.open_connection(app_token)
    except SlackError as error:
        fix = "Turn Socket Mode on, and give SLACK_APP_TOKEN the scope connections:write."
        return _refused(f"Socket Mode: {error.code}", error, fix)
    return CheckResult(True, "Socket Mode: Slack opens a connection for the app-level token")


def _signing_secret(secret: str) -> CheckResult:
    if not re.fullmatch("[0-9a-f]{32}", secret):
        fix = "Copy SLACK_SIGNING_SECRET anew from “Basic Information”: 32 digits and a to f."
        return CheckResult(False, "Slack's signing secret: is not of the right form", fix)
    return CheckResult(
        True, "Slack's signing secret: is of the right form (only a request can prove it)"
    )


def _refused(what: str, error: SlackError, fix: str) -> CheckResult:
    if is_retryable(error):
        fix = "Slack gave no usable answer: may this machine reach it? Try again in a minute."
    return CheckResult(False, what, fix)


async def _fusebill(settings: Settings) -> CheckResult:
    left: list[RateLimit] = []

    def observe(_operation: str, _status: int | None, _s: float, limit: RateLimit | None) -> None:
        left.extend([limit] if limit else [])

    async with AiohttpTransport() as http:
        client = FusebillClient(
            http, settings.fusebill_base_url, settings.fusebill_api_key, observe=observe
        )
        try:
            await client.find_customers("Reference", "unlatch-bot check", limit=1)
        except KeyRefused as error:
            fix = "Copy FUSEBILL_API_KEY anew, as it is, without encoding it."
            return CheckResult(False, f"Fusebill: refuses the API key (HTTP {error.status})", fix)
        except NotReached:
            fix = "Is FUSEBILL_BASE_URL right, and may this machine reach it?"
            return CheckResult(False, "Fusebill: can't be reached", fix)
        except FusebillError as error:
            fix = "Is FUSEBILL_BASE_URL right? Otherwise try again in a minute."
            return CheckResult(False, f"Fusebill: no usable answer ({error})", fix)
    minute = left[-1].minute.remaining if left else None
    day = left[-1].day.remaining if left else None
    calls = f"; {minute} calls left this minute, {day} today" if minute is not None else ""
    return CheckResult(True, f"Fusebill: answers and takes the API key{calls}")


def _ledger(settings: Settings) -> CheckResult:
    url = settings.database_url.get_secret_value()
    kind = "SQLite" if url.startswith("sqlite:") else "PostgreSQL"
    try:
        engine = open_engine(url, reads_only=True)
        try:
            found = version(engine)
        finally:
            engine.dispose()
    except LedgerUnavailable as error:
        fix = "Check DATABASE_URL; a new ledger is made by: python -m bot migrate"
        return CheckResult(False, f"Ledger ({kind}): {error}", fix)
    if found != REVISION:
        fix = "Run: python -m bot migrate (or the newer bot, if the ledger's version is newer)"
        return CheckResult(
            False, f"Ledger ({kind}): version {found or 'none'}, not {REVISION}", fix
        )
    return CheckResult(True, f"Ledger ({kind}): answers, version {REVISION}")


async def _channel(slack: Slack, channel_id: str) -> CheckResult:
    try:
        await slack.try_to_post(channel_id, int(time.time()) + FAR_AWAY_S)
    except SlackError as error:
        fix = "Type /invite @unlatch in that channel, or take it off UNLATCH_CHANNELS."
        return _refused(f"Channel {channel_id}: can't be posted in ({error.code})", error, fix)
    return CheckResult(True, f"Channel {channel_id}: can be posted in")


async def _user_group(slack: Slack, group: str) -> CheckResult:
    try:
        members = await slack.user_group_members(group)
    except SlackError as error:
        fix = "Is the id right, and has the app the scope usergroups:read?"
        return _refused(f"User group {group}: can't be read ({error.code})", error, fix)
    return CheckResult(True, f"User group {group}: {len(members)} members")


def _user_groups(settings: Settings) -> list[str]:
    listed = settings.unlatch_requesters | settings.unlatch_confirmers
    return sorted(i for i in listed if i.startswith("S"))
