"""Checks the installation and says what to fix: tries each part for real, changes nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp

from bot.app.composition import open_client
from bot.domain.values import value
from bot.environment import this_bot
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError, KeyRefused, NotReached
from bot.fusebill.pace import RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.http import MAX_SKEW_S
from bot.inbound.manifest import scopes
from bot.ledger.database.engine import (
    PRIVATE,
    LedgerUnavailable,
    open_engine,
    require_writable,
    sqlite_file,
)
from bot.ledger.database.migrating import version
from bot.ledger.tables import REVISION
from bot.messages import fusebill_errors
from bot.messages.block_kit import cut
from bot.messages.phrases import amount
from bot.ops.logs import redacted
from bot.ops.tasks import retried
from bot.settings import Settings
from bot.slack.client import Slack
from bot.slack.error_codes import ALLOWED_ADDRESSES, Remedy, meaning_of
from bot.slack.errors import SlackBusy, SlackError, is_retryable, pause_of
from bot.slack.web_api import open_session

FAR_AWAY_S = 100 * 24 * 3600
DELETE_ATTEMPTS = 4
MAX_DELETE_S = 15.0
GONE = "invalid_scheduled_message_id"
MAX_CLOCK_ERROR_S = 5.0
"""The answer was on its way for a moment, and its header has no fractions of a second."""
NOT_SLACK = (
    "Slack does not answer like this: check SLACK_API_URL, and what stands between this machine and"
    " Slack."
)


@value
class CheckResult:
    """What a check found: fine (✓), a warning (!) with which the bot can run, or a fault (✗)."""

    mark: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.text}" + (f"\n    {self.fix}" if self.fix else "")


_fine, _warning, _fault = (partial(CheckResult, mark) for mark in "✓!✗")


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Check every part, in the order in which an admin sets them up."""
    yield _fine("Settings: valid")
    async with open_session() as session:
        slack = Slack(open_client(settings, session))
        listed = settings.unlatch_requesters | settings.unlatch_confirmers
        groups = sorted(each for each in listed if each.startswith("S"))
        token, headers = await _token(slack, user_groups=bool(groups))
        yield token
        for result in _clock(headers.get("date", ""), settings):
            yield result
        async for result in _connections(settings, slack):
            yield result
        yield await _fusebill(settings)
        yield await asyncio.to_thread(_ledger, settings)
        yield _readers(settings)
        for channel_id in sorted(settings.unlatch_channels):
            yield await _channel(slack, channel_id)
        mentioned = settings.unlatch_notify.difference(groups)
        for group in [*groups, *sorted(each for each in mentioned if each.startswith("S"))]:
            yield await _user_group(slack, group, settings)
    if settings.unlatch_two_person and not settings.unlatch_notify:
        yield _warning(
            "Rules: two people are needed, and nobody is mentioned on the cards",
            "Set UNLATCH_NOTIFY; else cards wait for whoever happens to see them.",
        )
    for result in _file_modes(settings):
        yield result


async def report(settings: Settings) -> bool:
    """Check every part and print each result; returns whether nothing is wrong."""
    is_ok = True
    async for result in check(settings):
        print(redacted(str(result)), flush=True)
        is_ok = is_ok and result.mark != "✗"
    return is_ok


def _why(error: SlackError) -> str:
    """Slack's error code; where no connection came about, also to which host and why."""
    # the text of other errors may hold an address with a password
    if isinstance(cause := error.__cause__, aiohttp.ClientConnectorError):
        return f"{error.code}: {cause}"
    return error.code


def _fix(error: SlackError, refused: str = "") -> str:
    """What to do; if Slack itself says no, `refused` or else what its code means."""
    if not is_retryable(error):
        return refused or meaning_of(error.code).fix
    if isinstance(error, SlackBusy):
        wait = f"{error.retry_after_s:.0f} s" if error.retry_after_s else "a minute"
        return f"Slack answers, but accepts no more calls now: try again in {wait}."
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        return "Check SLACK_API_URL, HTTPS_PROXY, and that this machine can reach Slack."
    status = error.code.removeprefix("http_")
    by_proxy = status.isdecimal() and int(status) < HTTPStatus.INTERNAL_SERVER_ERROR
    if by_proxy or error.code == "incomplete_answer":
        return NOT_SLACK
    return "Check that this machine can reach Slack, then try again in a minute."


async def _token(slack: Slack, *, user_groups: bool) -> tuple[CheckResult, Mapping[str, str]]:
    """The result, and the headers of Slack's answer if there was one."""
    try:
        answer = await slack.auth_test()
    except SlackError as error:
        return _fault(f"Slack's bot token: {_why(error)}", _fix(error)), {}
    who = f"{answer.data['user']} in {answer.data['team']}"
    return _scopes(who, answer.headers, user_groups=user_groups), answer.headers


def _scopes(who: str, headers: Mapping[str, str], *, user_groups: bool) -> CheckResult:
    needed = sorted(scopes(user_groups=user_groups))
    if (header := headers.get("x-oauth-scopes")) is None:
        # a proxy may drop a header that it doesn't know: this is no proof that a scope is missing
        return _warning(
            f"Slack's bot token: {who}, but the answer named no scopes",
            f"Compare them yourself under “OAuth & Permissions”: {', '.join(needed)}.",
        )
    missing = sorted(set(needed) - set(re.split(r",\s*", header)))
    if missing:
        # without the option it would lack the scope again
        option = " (printed with --user-groups)" if "usergroups:read" in missing else ""
        return _fault(
            f"Slack's bot token: missing scopes: {', '.join(missing)}",
            f"Add them under “OAuth & Permissions”, or paste the manifest again{option}, then"
            " reinstall.",
        )
    return _fine(f"Slack's bot token: {who}, with all scopes")


def _clock(date: str, settings: Settings) -> Iterator[CheckResult]:
    """A warning or a fault if this machine's clock differs from the `Date` of Slack's answer."""
    now = datetime.now(UTC)
    try:
        ahead_s = (now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds()
    except ValueError:
        return
    if abs(ahead_s) <= MAX_CLOCK_ERROR_S:
        return
    where = "ahead of" if ahead_s > 0 else "behind"
    text = f"Clock: this machine's is {abs(ahead_s):.0f} s {where} Slack's"
    fix = "Let NTP set it: with SQLite, the ledger's times depend on it."
    refuses = abs(ahead_s) >= MAX_SKEW_S and settings.slack_signing_secret
    signed = f"{fix} The bot takes no request signed 5 minutes away."
    yield _fault(text, signed) if refuses else _warning(text, fix)


async def _connections(settings: Settings, slack: Slack) -> AsyncIterator[CheckResult]:
    if not settings.slack_app_token and not settings.slack_signing_secret:
        fix = "Set SLACK_SIGNING_SECRET (for http) or SLACK_APP_TOKEN (for socket)."
        yield _fault("Slack's requests: neither HTTP nor Socket Mode is set up", fix)
    if settings.slack_app_token:
        yield await _socket_mode(slack, settings.slack_app_token.get_secret_value())
    if secret := settings.signing_secret:
        fix = (
            "Copy SLACK_SIGNING_SECRET again from “Basic Information”: 32 characters, 0-9 and a-f."
        )
        is_well_formed = re.fullmatch("[0-9a-f]{32}", secret)
        fine = "Slack's signing secret: well-formed (only a request from Slack can verify it)"
        yield _fine(fine) if is_well_formed else _fault("Slack's signing secret: malformed", fix)


async def _socket_mode(slack: Slack, app_token: str) -> CheckResult:
    try:
        await slack.open_connection(app_token)
    except SlackError as error:
        fix = "Turn on Socket Mode, and give SLACK_APP_TOKEN the scope connections:write."
        if error.code == "invalid_auth":
            fix = f"{fix} If it is right: {ALLOWED_ADDRESSES}"
        return _fault(f"Socket Mode: {_why(error)}", _fix(error, fix))
    return _fine("Socket Mode: Slack accepts the app-level token")


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
        except FusebillError as error:
            why = f"{fusebill_errors.reason(error)}"
            why += "".join(f" “{cut(each, 200)}”" for each in error.texts[:3])
            if isinstance(error, KeyRefused):
                why = f"refuses the API key (HTTP {error.status})"
            elif isinstance(error, NotReached):
                why = f"can't be reached ({error})"
            return _fault(f"Fusebill: {why}", fusebill_errors.fix(error))
    minute = limits[-1].minute.remaining if limits else None
    day = limits[-1].day.remaining if limits else None
    left = "" if minute is None else f"; {amount(minute, 'call')} left this minute, {day} today"
    return _fine(f"Fusebill: accepts the API key{left}")


def _ledger(settings: Settings) -> CheckResult:
    url = settings.database_url.get_secret_value()
    ledger = f"Ledger ({'SQLite' if url.startswith('sqlite:') else 'PostgreSQL'})"
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
        return _fault(f"{ledger}: {error}", fix)
    if found != REVISION:
        fix = f"Run: {this_bot('migrate')}. If the ledger is newer than this bot, update the bot."
        return _fault(f"{ledger}: version {found or 'none'}, expected {REVISION}", fix)
    try:
        require_writable(url)
    except LedgerUnavailable as error:
        fix = "Check that the database is not read-only, and that its disk is not full."
        return _fault(f"{ledger}: takes no writes: {error}", fix)
    return _fine(f"{ledger}: version {REVISION}, takes writes")


def _readers(settings: Settings) -> CheckResult:
    """Who reads a card: to know whether a channel has guests takes a scope that the bot lacks."""
    text = (
        "Readers: a card shows a customer's name, email and ids to all in its channel, also to"
        " guests and to other organisations that it is shared with"
    )
    anywhere = (
        ""
        if settings.unlatch_channels
        else "; that may be any channel, until UNLATCH_CHANNELS is set"
    )
    return _fine(text + anywhere)


async def _channel(slack: Slack, channel_id: str) -> CheckResult:
    """Schedule a message, since Slack judges it like a posted one, and delete it."""
    post_at = int(time.time()) + FAR_AWAY_S
    shows = f"it would show on {datetime.fromtimestamp(post_at, UTC):%Y-%m-%d %H:%M} UTC"
    text = f"unlatch-bot check, not deleted; {shows}"
    channel = f"Channel {channel_id}"
    try:
        scheduled_id = await slack.schedule(channel_id, text, post_at)
    except SlackError as error:
        if is_retryable(error):
            taken = f"If Slack took the test message all the same, {shows}."
            return _fault(f"{channel}: not checked ({_why(error)})", f"{_fix(error)} {taken}")
        elsewhere = meaning_of(error.code).remedy in (Remedy.CHANNEL, Remedy.PERSON)
        fix = _fix(error) + (", or remove it from UNLATCH_CHANNELS." if elsewhere else "")
        return _fault(f"{channel}: the bot can't post ({error.code})", fix)
    try:
        await retried(
            lambda: slack.unschedule(channel_id, scheduled_id),
            pause_of,
            attempts=DELETE_ATTEMPTS,
            timeout_s=MAX_DELETE_S,
            wait_initial=0.5,
        )
    except SlackError as error:
        # perhaps deleted by a try whose answer was lost
        if error.code != GONE:
            return _fault(
                f"{channel}: the bot can post, but a test message is left ({error.code})",
                f"Delete {scheduled_id} with chat.deleteScheduledMessage; {shows}.",
            )
    return _fine(f"{channel}: the bot can post")


async def _user_group(slack: Slack, group: str, settings: Settings) -> CheckResult:
    """A group that cards only mention needs no scope, so that the bot may be blind to it."""
    confirms = group in settings.unlatch_confirmers
    is_read = confirms or group in settings.unlatch_requesters
    try:
        members = await slack.user_group_members(group)
    except SlackError as error:
        blind = f"User group {group}: is mentioned; only usergroups:read would show if it exists"
        if error.code == "missing_scope" and not is_read:
            return _fine(blind)
        what = "the bot can't read it" if is_read else "can't be mentioned"
        return _fault(f"User group {group}: {what} ({error.code})", _fix(error))
    if not members and confirms:
        fix = "Add its members in Slack: through this group nobody may confirm."
        return _warning(f"User group {group}: no members", fix)
    if not members and not is_read:
        fix = "Add members to the group, or remove it from UNLATCH_NOTIFY."
        return _fault(f"User group {group}: has no members to notify", fix)
    notified = "" if is_read else f" {'is' if len(members) == 1 else 'are'} notified"
    return _fine(f"User group {group}: {amount(len(members), 'member')}{notified}")


def _file_modes(settings: Settings) -> Iterator[CheckResult]:
    """A warning for each of SQLite's files that others than the owner may read or write."""
    ledger = sqlite_file(settings.database_url.get_secret_value())
    if ledger is None:
        return
    # SQLite has its other files beside the one that a link names
    ledger = ledger.resolve()
    for file in (ledger, *(Path(f"{ledger}{end}") for end in ("-wal", "-shm"))):
        # a folder needs its x, so this advice would lock its owner out
        mode = file.stat().st_mode & 0o777 if file.is_file() else 0
        if mode & ~PRIVATE:
            text = f"Ledger (SQLite): others on this machine can open {file} (mode {mode:04o})"
            yield _warning(text, f"Run: chmod 600 {file}")
