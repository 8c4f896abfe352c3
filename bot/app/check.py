"""Checks the installation and says what to fix: tries each part for real, changes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime

import stamina

from bot.app.checks import CheckResult, cards, clock, file_modes, fix as fix_of, warning, why
from bot.app.composition import links_of, open_client
from bot.environment import this_bot
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError, KeyRefused, NotReached
from bot.fusebill.pace import RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.manifest import scopes
from bot.ledger.database.engine import LedgerUnavailable, open_engine, require_writable
from bot.ledger.database.migrating import version
from bot.ledger.tables import REVISION
from bot.messages import fusebill_errors
from bot.messages.block_kit import cut
from bot.ops.logs import redacted
from bot.settings import Settings
from bot.slack.client import Slack
from bot.slack.error_codes import ALLOWED_ADDRESSES, Remedy, meaning_of
from bot.slack.errors import SlackError, is_retryable
from bot.slack.web_api import open_session

__all__ = ["CheckResult", "check", "report"]

FAR_AWAY_S = 100 * 24 * 3600
DELETE_ATTEMPTS = 4
MAX_DELETE_S = 15.0


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Check every part, in the order in which an admin sets them up."""
    yield CheckResult(True, "Settings: valid")
    async with open_session() as session:
        slack = Slack(open_client(settings, session))
        groups = _user_groups(settings)
        token, headers = await _token(slack, user_groups=bool(groups))
        yield token
        for result in clock(headers.get("date", ""), settings):
            yield result
        async for result in _connections(settings, slack):
            yield result
        yield await _fusebill(settings)
        yield await asyncio.to_thread(_ledger, settings)
        yield _readers(settings)
        for channel_id in sorted(settings.unlatch_channels):
            yield await _channel(slack, channel_id)
        for group in groups:
            yield await _user_group(slack, group, confirms=group in settings.unlatch_confirmers)
        for group in sorted(settings.unlatch_notify):
            if group.startswith("S") and group not in groups:
                yield await _mentioned_group(slack, group)
        if token.ok:
            yield await cards(slack, links_of(settings))
    for result in (*_two_person(settings), *file_modes(settings)):
        yield result


async def report(settings: Settings) -> bool:
    """Check every part and print each result; returns whether nothing is wrong."""
    is_ok = True
    async for result in check(settings):
        print(redacted(str(result)), flush=True)
        is_ok = is_ok and result.ok
    return is_ok


def _two_person(settings: Settings) -> Iterator[CheckResult]:
    if settings.unlatch_two_person and not settings.unlatch_notify:
        yield warning(
            "Rules: two people are needed, and nobody is mentioned on the cards",
            "Set UNLATCH_NOTIFY; else cards wait for whoever happens to see them.",
        )


async def _token(slack: Slack, *, user_groups: bool) -> tuple[CheckResult, Mapping[str, str]]:
    """The result, and the headers of Slack's answer if there was one."""
    try:
        answer = await slack.auth_test()
    except SlackError as error:
        return _refused(f"Slack's bot token: {why(error)}", error), {}
    who = f"{answer['user']} in {answer['team']}"
    return _scopes(who, answer.headers, user_groups=user_groups), answer.headers


def _scopes(who: str, headers: Mapping[str, str], *, user_groups: bool) -> CheckResult:
    needed = sorted(scopes(user_groups=user_groups))
    if (header := headers.get("x-oauth-scopes")) is None:
        # a proxy may drop a header that it doesn't know: this is no proof that a scope is missing
        return warning(
            f"Slack's bot token: {who}, but the answer named no scopes",
            f"Compare them yourself under “OAuth & Permissions”: {', '.join(needed)}.",
        )
    missing = sorted(set(needed) - set(re.split(r",\s*", header)))
    if missing:
        # without the option it would lack the scope again
        option = " (printed with --user-groups)" if "usergroups:read" in missing else ""
        return CheckResult(
            False,
            f"Slack's bot token: missing scopes: {', '.join(missing)}",
            f"Add them under “OAuth & Permissions”, or paste the manifest again{option}, then"
            " reinstall.",
        )
    return CheckResult(True, f"Slack's bot token: {who}, with all scopes")


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
        if error.code == "invalid_auth":
            fix = f"{fix} If it is right: {ALLOWED_ADDRESSES}"
        return _refused(f"Socket Mode: {why(error)}", error, fix)
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


def _refused(text: str, error: SlackError, fix: str = "") -> CheckResult:
    return CheckResult(False, text, fix_of(error, fix))


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
            refused = f"Fusebill: refuses the API key (HTTP {error.status})"
            return CheckResult(False, refused, fusebill_errors.fix(error))
        except NotReached as error:
            return CheckResult(
                False, f"Fusebill: can't be reached ({error})", fusebill_errors.fix(error)
            )
        except FusebillError as error:
            words = "".join(f" “{cut(each, 200)}”" for each in error.texts[:3])
            why = f"Fusebill: {fusebill_errors.reason(error)}{words}"
            return CheckResult(False, why, fusebill_errors.fix(error))
    minute = limits[-1].minute.remaining if limits else None
    day = limits[-1].day.remaining if limits else None
    left = _count(minute, "call") if minute is not None else ""
    calls = f"; {left} left this minute, {day} today" if left else ""
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
        fix = "Check DATABASE_URL."
        if "there is no ledger" in str(error):
            fix = f"{fix} To create a new ledger, run: {this_bot('migrate')}"
        return CheckResult(False, f"Ledger ({kind}): {error}", fix)
    if found != REVISION:
        fix = f"Run: {this_bot('migrate')}. If the ledger is newer than this bot, update the bot."
        return CheckResult(
            False, f"Ledger ({kind}): version {found or 'none'}, expected {REVISION}", fix
        )
    try:
        require_writable(url)
    except LedgerUnavailable as error:
        fix = "Check that the database is not read-only, and that its disk is not full."
        return CheckResult(False, f"Ledger ({kind}): takes no writes: {error}", fix)
    return CheckResult(True, f"Ledger ({kind}): version {REVISION}, takes writes")


def _readers(settings: Settings) -> CheckResult:
    """Who reads a card: to know whether a channel has guests takes a scope that the bot lacks."""
    text = (
        "Readers: a card shows a customer's name, email and ids to all in its channel, also to"
        " guests and to other organisations that it is shared with"
    )
    if not settings.unlatch_channels:
        text += "; that may be any channel, until UNLATCH_CHANNELS is set"
    return CheckResult(True, text)


async def _channel(slack: Slack, channel_id: str) -> CheckResult:
    post_at = int(time.time()) + FAR_AWAY_S
    shows = f"{datetime.fromtimestamp(post_at, UTC):%Y-%m-%d %H:%M} UTC"
    text = f"unlatch-bot check, not deleted; it would show on {shows}"
    try:
        scheduled_id = await slack.schedule(channel_id, text, post_at)
    except SlackError as error:
        if is_retryable(error):
            fix = (
                f"{fix_of(error)} If Slack took the test message all the same, it would show"
                f" on {shows}."
            )
            return CheckResult(False, f"Channel {channel_id}: not checked ({why(error)})", fix)
        fix = fix_of(error)
        if meaning_of(error.code).remedy in (Remedy.CHANNEL, Remedy.PERSON):
            fix = f"{fix}, or remove it from UNLATCH_CHANNELS."
        return _refused(f"Channel {channel_id}: the bot can't post ({error.code})", error, fix)
    try:
        await _unschedule(slack, channel_id, scheduled_id)
    except SlackError as error:
        return CheckResult(
            False,
            f"Channel {channel_id}: the bot can post, but a test message is left ({error.code})",
            f"Delete {scheduled_id} with chat.deleteScheduledMessage; it would show on {shows}.",
        )
    return CheckResult(True, f"Channel {channel_id}: the bot can post")


async def _unschedule(slack: Slack, channel_id: str, scheduled_id: str) -> None:
    """Delete the test message; tries again while that may help. Raises: SlackError."""
    repeated = False
    async for attempt in stamina.retry_context(
        on=_should_retry, attempts=DELETE_ATTEMPTS, timeout=MAX_DELETE_S, wait_initial=0.5
    ):
        with attempt:
            try:
                await slack.unschedule(channel_id, scheduled_id)
            except SlackError as error:
                # the answer to the first try was lost, but not the try
                if not (repeated and error.code == "invalid_scheduled_message_id"):
                    repeated = True
                    raise


def _should_retry(error: Exception) -> bool | float:
    if not is_retryable(error):
        return False
    return min(error.retry_after_s, MAX_DELETE_S) if error.retry_after_s else True


async def _user_group(slack: Slack, group: str, *, confirms: bool) -> CheckResult:
    try:
        members = await slack.user_group_members(group)
    except SlackError as error:
        return _refused(f"User group {group}: the bot can't read it ({error.code})", error)
    if not members and confirms:
        fix = "Add its members in Slack: through this group nobody may confirm."
        return warning(f"User group {group}: no members", fix)
    return CheckResult(True, f"User group {group}: {_count(len(members), 'member')}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"


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
        return _refused(f"User group {group}: can't be mentioned ({error.code})", error)
    if not members:
        fix = "Add members to the group, or remove it from UNLATCH_NOTIFY."
        return CheckResult(False, f"User group {group}: has no members to notify", fix)
    return CheckResult(True, f"User group {group}: {len(members)} members are notified")


def _user_groups(settings: Settings) -> list[str]:
    ids = settings.unlatch_requesters | settings.unlatch_confirmers
    return sorted(i for i in ids if i.startswith("S"))
