"""The parts of `check`: what a check found, Slack's errors, this machine's side, the cards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from bot.domain.meanings import VERDICTS
from bot.domain.models import (
    Card,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.inbound.rejections import MAX_SKEW_S
from bot.ledger.database.engine import sqlite_file
from bot.ledger.database.sqlite_files import PRIVATE
from bot.messages.block_kit import Message
from bot.messages.card import draw, duplicate
from bot.messages.phrases import Links
from bot.messages.thread import next_reply
from bot.settings import Settings
from bot.slack.client import Slack
from bot.slack.error_codes import meaning_of
from bot.slack.errors import SlackBusy, SlackError, is_retryable

ANYBODY = 0o777
MAX_CLOCK_ERROR_S = 5.0
"""The answer was on its way for a moment, and its header has no fractions of a second."""
UNKNOWN_METHOD = "unknown_method"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SOMEBODY = Person("U0000000000", "T0000000000")
_SAMPLE = Request(
    id="0" * 32,
    kind=Kind.UNLATCH,
    customer=Customer(1, HubSpotIds(101, 202), "Sam Spokes", "Stolen Bikes", "REF-7", "Active"),
    channel_id="C0000000000",
    message_ts="1700000000.000100",
    thread_ts="1700000000.000100",
    requester=_SOMEBODY,
    reason="a reason",
    asked_at=_NOW,
    expires_at=_NOW,
)
_CONFIRMED: dict[str, Any] = {
    "verdict": Verdict.CONFIRMED,
    "decider": _SOMEBODY,
    "decided_at": _NOW,
}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; unless it is `ok`, `fix` says what to do.

    A `warning` has a `fix` too, but the bot can run: it is `ok`.
    """

    ok: bool
    text: str
    fix: str = ""
    warning: bool = False

    def __str__(self) -> str:
        mark = "!" if self.warning else "✓" if self.ok else "✗"
        return f"{mark} {self.text}\n    {self.fix}" if self.fix else f"{mark} {self.text}"


def warning(text: str, fix: str) -> CheckResult:
    """Something that works, but probably not as the admin wants it."""
    return CheckResult(True, text, fix, warning=True)


def why(error: SlackError) -> str:
    """Slack's error code; where no connection came about, also to which host and why."""
    # the text of other errors may hold an address with a password
    if isinstance(cause := error.__cause__, aiohttp.ClientConnectorError):
        return f"{error.code}: {cause}"
    return error.code


def fix(error: SlackError, refused: str = "") -> str:
    """What to do; if Slack itself says no, `refused` or else what its code means."""
    if not is_retryable(error):
        return refused or meaning_of(error.code).fix
    if isinstance(error, SlackBusy):
        wait = f"{error.retry_after_s:.0f} s" if error.retry_after_s else "a minute"
        return f"Slack answers, but accepts no more calls now: try again in {wait}."
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        return "Check SLACK_API_URL, HTTPS_PROXY, and that this machine can reach Slack."
    if _is_strange(error.code):
        return (
            "Slack does not answer like this: check SLACK_API_URL, and what stands between this"
            " machine and Slack."
        )
    return "Check that this machine can reach Slack, then try again in a minute."


def _is_strange(code: str) -> bool:
    """Whether somebody else seems to have answered for Slack."""
    status = code.removeprefix("http_")
    if status != code and status.isdecimal():
        return int(status) < HTTPStatus.INTERNAL_SERVER_ERROR
    return code in ("unreadable_answer", "incomplete_answer")


def clock(date: str, settings: Settings) -> Iterator[CheckResult]:
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
    if abs(ahead_s) >= MAX_SKEW_S and settings.slack_signing_secret:
        yield CheckResult(False, text, f"{fix} The bot takes no request signed 5 minutes away.")
    else:
        yield warning(text, fix)


def file_modes(settings: Settings) -> Iterator[CheckResult]:
    """A warning for each of SQLite's files that others than the owner may read or write."""
    ledger = sqlite_file(settings.database_url.get_secret_value())
    if ledger is None:
        return
    # SQLite has its other files beside the one that a link names
    ledger = ledger.resolve()
    for file in (ledger, *(Path(f"{ledger}{end}") for end in ("-wal", "-shm"))):
        # a folder needs its x, so this advice would lock its owner out
        if not file.is_file():
            continue
        with suppress(FileNotFoundError):
            mode = file.stat().st_mode & ANYBODY
            if mode & ~PRIVATE:
                text = f"Ledger (SQLite): others on this machine can open {file} (mode {mode:04o})"
                yield warning(text, f"Run: chmod 600 {file}")


async def cards(slack: Slack, links: Links) -> CheckResult:
    """One line about all kinds of cards."""
    count, no_table = 0, ""
    for kind, message in sample_cards(links):
        try:
            problems = await slack.problems_of(message)
            if problems and message.without_table:
                no_table = problems[0]
                problems = await slack.problems_of(Message(message.text, message.without_table))
        except SlackError as error:
            return _not_checked(error)
        if problems:
            fix = "Tell the bot's makers: with this, people would get a card as plain text."
            return CheckResult(False, f"Cards: Slack refuses {kind} ({problems[0]})", fix)
        count += 1
    if no_table:
        fix = "Nothing to do: cards of many customers list them in lines instead."
        return warning(f"Cards: Slack takes no table ({no_table})", fix)
    return CheckResult(True, f"Cards: Slack accepts all {count} kinds")


def _not_checked(error: SlackError) -> CheckResult:
    if error.code == UNKNOWN_METHOD:
        return warning(
            "Cards: not checked, since this Slack has no blocks.validate (unknown_method)",
            "Nothing to do: cards that Slack refuses are posted as plain text.",
        )
    fix = "Run the check again in a minute."
    return warning(f"Cards: not checked, since Slack did not answer it ({error.code})", fix)


def sample_cards(links: Links) -> Iterator[tuple[str, Message]]:
    """Each kind of card and of thread reply, with a name for it."""
    for size in (1, 2):
        many = " of many" if size > 1 else ""
        for kind in Kind:
            asked = _card(size, EventType.REQUESTED, kind=kind, is_open=True)
            yield f"a card{many} to {kind}", draw(asked, links)
            working = _card(size, EventType.CONFIRMED, kind=kind, **_CONFIRMED)
            yield f"a card{many} that is being done ({kind})", draw(working, links)
        for verdict in Verdict:
            if not VERDICTS[verdict].executes:
                decided = _card(size, EventType(verdict), **_CONFIRMED | {"verdict": verdict})
                yield f"a card{many}: {verdict}", draw(decided, links)
    for outcome in Outcome:
        done = _card(1, EventType(outcome), **_CONFIRMED, outcome=outcome)
        yield f"a card: {outcome}", draw(done, links)
    yield "a card that was posted twice", duplicate(_card(1, EventType.REQUESTED), None)
    everything = Card((replace(_SAMPLE, **_CONFIRMED, events=tuple(map(_event, EventType))),))
    yield from _replies("a thread's reply", everything, links)
    results = [
        replace(_SAMPLE, **_CONFIRMED, outcome=each, card_size=2, events=(_event(EventType(each)),))
        for each in Outcome
    ]
    yield "a card of many: its results", draw(Card(tuple(results)), links)
    yield from _replies("a thread's reply about many", Card(tuple(results)), links)


def _replies(name: str, card: Card, links: Links) -> Iterator[tuple[str, Message]]:
    shown, number = 0, 0
    while reply := next_reply(card, shown, links):
        shown, number = reply.shown, number + 1
        yield f"{name}, {number}", reply.message


def _card(size: int, event: EventType, **changes: Any) -> Card:  # noqa: ANN401  # fields of Request
    """A card of so many customers, to all of which the same has happened."""
    request = replace(_SAMPLE, card_size=size, events=(_event(event),), **changes)
    return Card((request,) * size)


def _event(type_: EventType) -> Event:
    left_out = [{"customer_id": 2, "why": "not known"}]
    details: dict[str, object] = {"texts": ["a text"], "status": 500, "why": "a reason"}
    return Event(_SAMPLE.id, 1, _NOW, type_, _SOMEBODY.user_id, details | {"left_out": left_out})
