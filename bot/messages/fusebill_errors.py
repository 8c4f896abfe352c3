"""Says whose "no" an error of Fusebill is and what to do: for people, and for the bot's admin.

One table, a row for each error. Nobody is told that trying again won't help unless that is known,
nor that Fusebill said what somebody else may have said. What Fusebill answered to the calls for a
request is worded from the evidence in its event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from bot.domain.models import Event
from bot.fusebill.errors import (
    UNREADABLE,
    CustomerNotFound,
    Forbidden,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    NotUnderstood,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WrongAddress,
)
from bot.messages.block_kit import Line, cut, date, say, text
from bot.messages.phrases import error_lines

WHY_LENGTH = 260
QUOTED = 3  # texts of one call: the first is often only "An error has occurred."
RETRY = ("Try again in a minute. If it still fails, tell the bot's admin.",)
TELL_ADMIN = ("Trying again won't help; tell the bot's admin.",)
MAYBE_THE_KEY = "It may also be FUSEBILL_API_KEY."


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """How an error is shown: `reason` is one sentence.

    `{http}` and `{why}` stand for the status and the client's reason, if there are any, and
    `{came}` for both in brackets. `fix` is for the admin, in `check`. `advice` is for the person
    who asked; without any, what helps depends on whether the error may pass.
    """

    emoji: str
    reason: str
    fix: str
    advice: tuple[str, ...] = ()


WORDS: Mapping[type[FusebillError], ErrorWords] = {
    CustomerNotFound: ErrorWords(
        "🔎",
        "Fusebill has no such customer.",
        "Check FUSEBILL_BASE_URL: a search needs no customer.",
        (
            "The id is the “Stax Bill ID” of Fusebill's customer list, not the “Customer ID”.",
            "To search, type a name, a reference or an email address instead.",
        ),
    ),
    KeyRefused: ErrorWords(
        "🔑",
        "Fusebill did not accept the bot's API key.",
        "Copy FUSEBILL_API_KEY again, exactly as Fusebill shows it, without encoding it.",
        ("The bot's admin has to set a valid FUSEBILL_API_KEY.",),
    ),
    Forbidden: ErrorWords(
        "✋",
        "Somebody in front of Fusebill answered{came}.",
        "Fusebill documents no such answer. If it stays so, look for a firewall, a proxy or a list"
        " of allowed IP addresses between this machine and Fusebill.",
        (
            "Try again in a minute. If it stays so, tell the bot's admin:",
            "that is a firewall, a proxy or a list of allowed addresses, not Fusebill.",
        ),
    ),
    WrongAddress: ErrorWords(
        "🔎",
        "This does not look like Fusebill's API{came}.",
        "If it stays so, check FUSEBILL_BASE_URL: a Fusebill API does not answer like this.",
        ("Try again in a minute. If it stays so, the bot's admin has to check FUSEBILL_BASE_URL.",),
    ),
    RateLimited: ErrorWords(
        "⏳",
        "Fusebill accepts no more calls right now.",
        "Try again later: this passes by itself.",
    ),
    FusebillRefused: ErrorWords(
        "❌",
        "Fusebill refused.",
        "Fusebill refused a simple search: ask its support, and quote its words.",
    ),
    Unavailable: ErrorWords(
        "⏳",
        "Fusebill is not available{http}.",
        "Try again later. If it stays so, ask Fusebill's support.",
    ),
    NotUnderstood: ErrorWords(
        "❌",
        "Somebody answered, not in Fusebill's form{came}.",
        "If it stays so, check FUSEBILL_BASE_URL, and what stands between this machine and"
        " Fusebill.",
    ),
    OutcomeUnknown: ErrorWords(
        "❌",
        "Fusebill gave no conclusive answer{http}{why}.",
        "Check FUSEBILL_BASE_URL. If it is right, try again in a minute.",
    ),
    NotReached: ErrorWords(
        "❌",
        "Fusebill could not be reached{why}.",
        "Check FUSEBILL_BASE_URL, HTTPS_PROXY, and that this machine can reach it.",
    ),
    FusebillError: ErrorWords("❌", "Fusebill gave no usable answer{http}{why}.", ""),
}

CONNECTION_FIXES: Mapping[str, str] = {
    "certificate not trusted": "Put the certificate of the authority that signed it into the file"
    " that SSL_CERT_FILE names.",
    "host not found": "Check FUSEBILL_BASE_URL, and this machine's DNS.",
    "proxy refused": "Check HTTPS_PROXY and NO_PROXY, and what the proxy allows.",
}


def emoji(error: FusebillError) -> str:
    """A sign for what kind of trouble it is."""
    return _words(error).emoji


def reason(error: FusebillError) -> str:
    """What went wrong, in one sentence; in a second one, that a write may still be under way."""
    until = f" until {_moment(error.retry_at)}" if error.retry_at else ""
    if isinstance(error, RateLimited) and until:
        return f"Fusebill accepts no more calls{until}."
    status = f"HTTP {error.status}" if error.status else ""
    why = cut(error.why.removeprefix(f"{UNREADABLE}: "), WHY_LENGTH)
    stands_for = {
        "http": until + (f" ({status})" if status else ""),
        "came": f" ({': '.join(filter(None, (status, why)))})" if status or why else "",
        "why": f": {cut(error.why, WHY_LENGTH)}" if error.why else "",
    }
    # in one pass: what came may hold braces itself
    sentence = re.sub(r"{(\w+)}", lambda name: stands_for[name[1]], _words(error).reason)
    return f"{sentence} The call may still be under way." if error.may_still_run else sentence


def _moment(at: datetime) -> str:
    # the limit of a day ends tomorrow
    is_today = at.date() == datetime.now(UTC).date()
    return f"{at:%H:%M:%S} UTC" if is_today else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def advice(error: FusebillError) -> list[Line]:
    """What the person who asked can do."""
    if isinstance(error, RateLimited | Unavailable) and error.retry_at:
        return [[say("Try again after "), date(error.retry_at), say(".")]]
    lines = _words(error).advice or (RETRY if error.may_pass else TELL_ADMIN)
    return [[say(line)] for line in (*lines, *_about_the_key(error))]


def fix(error: FusebillError) -> str:
    """What the bot's admin can do."""
    connection = CONNECTION_FIXES.get(error.why) if isinstance(error, NotReached) else None
    return connection or " ".join((_words(error).fix, *_about_the_key(error)))


def _about_the_key(error: FusebillError) -> list[str]:
    is_unauthorized = error.status == HTTPStatus.UNAUTHORIZED
    return [MAYBE_THE_KEY] if isinstance(error, Forbidden) and is_unauthorized else []


def _words(error: FusebillError) -> ErrorWords:
    return next(WORDS[kind] for kind in type(error).__mro__ if kind in WORDS)


def answer_lines(event: Event) -> Iterator[Line]:
    """What Fusebill answered: each call that may have changed something, then the last error."""
    texts: Any = event.details.get("texts", ())
    status: Any = event.details.get("status")
    calls = calls_of(event)
    lines = call_lines(calls)
    if calls and status and _is_answer(calls[-1], status, texts):
        lines.pop()  # the same answer: quoted once, with all its words
    yield from lines
    # without words, the reason above says what the answer was
    if texts or f"HTTP {status}" not in str(event.details.get("why", "")):
        yield from error_lines(texts, status)


def call_details(event: Event) -> Line:
    """How Fusebill answered and how long it took, as far as it is known."""
    calls, seconds = calls_of(event), event.details.get("seconds")
    statuses = [call.get("status") for call in calls] or [event.details.get("status")]
    shown = [f"HTTP {status}" if status else "not at all" for status in statuses]
    known = bool(calls) or any(statuses)
    answered = [say(f" · Fusebill answered {', '.join(shown)}")] if known else []
    return [*answered, say(f" · took {seconds} s")] if seconds is not None else answered


def calls_of(event: Event) -> list[dict[str, object]]:
    """The event's calls to Fusebill; none in events of before they were kept."""
    calls = event.details.get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def call_lines(calls: list[dict[str, object]]) -> list[Line]:
    """A line for each call, numbered if there are several."""
    several = len(calls) > 1
    return [_call_line(n if several else None, call) for n, call in enumerate(calls, 1)]


def _call_line(number: int | None, entry: Mapping[str, object]) -> Line:
    """One call that may have changed something, as the ledger holds it: its status and words.

    `number` counts the calls, None for the only one.
    """
    status, words = entry.get("status"), entry.get("texts")
    why = str(entry.get("why") or "")
    start = "Fusebill" if number is None else f"Call {number}: Fusebill"
    explained = [say(" ("), text(why), say(")")] if why else []
    if not isinstance(status, int):
        return [say(f"{start} gave no answer"), *explained]
    answered = say(f"{start} answered HTTP {status}")
    quoted = [each for each in words if isinstance(each, str)] if isinstance(words, list) else []
    if not quoted:
        return [answered, *explained]
    more = f" and {len(quoted) - QUOTED} more" if len(quoted) > QUOTED else ""
    parts = [part for each in quoted[:QUOTED] for part in (say("”, “"), text(each))]
    return [answered, say(" (“"), *parts[1:], say(f"”{more})")]


def _is_answer(call: dict[str, Any], status: int, texts: Sequence[str]) -> bool:
    """Whether the last error is the answer to this call; the call keeps fewer of its words."""
    kept: Sequence[str] = call.get("texts", ())
    same = all(whole.startswith(start) for start, whole in zip(kept, texts, strict=False))
    return call.get("status") == status and same and bool(kept) == bool(texts)
