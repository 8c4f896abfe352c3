"""Says who refused, Fusebill or somebody else, and what to do: for people and the bot's admin.

One table, a row for each error. Nobody is told that trying again won't help unless that is known,
nor that Fusebill said what somebody else may have said. What Fusebill answered to the calls for a
request is worded from the evidence in its event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any

from bot.domain.models import Event
from bot.domain.values import value
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
from bot.messages.phrases import ERROR_LENGTH, MAX_ERRORS

WHY_LENGTH = 260
MINUTE = timedelta(minutes=1)
RETRY = ("Try again in a minute. If it still fails, tell the bot's admin.",)
TELL_ADMIN = ("Trying again won't help; tell the bot's admin.",)
MAYBE_THE_KEY = "It may also be FUSEBILL_API_KEY."


@value
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
        "Something in front of Fusebill answered{came}.",
        "Fusebill documents no such answer. If this goes on, look for a firewall, a proxy or a list"
        " of allowed IP addresses between this machine and Fusebill.",
        (
            "Try again in a minute. If this goes on, tell the bot's admin:",
            "that is a firewall, a proxy or a list of allowed addresses, not Fusebill.",
        ),
    ),
    WrongAddress: ErrorWords(
        "🔎",
        "This does not look like Fusebill's API{came}.",
        "If this goes on, check FUSEBILL_BASE_URL: a Fusebill API does not answer like this.",
        ("Try again in a minute. If this goes on, the bot's admin must check FUSEBILL_BASE_URL.",),
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
        "Try again later. If this goes on, ask Fusebill's support.",
    ),
    NotUnderstood: ErrorWords(
        "❌",
        "The answer was not in Fusebill's form{came}.",
        "If this goes on, check FUSEBILL_BASE_URL, and what stands between this machine and"
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
    status = f"HTTP {error.status}" if error.status else ""
    why = cut(error.why.removeprefix(f"{UNREADABLE}: "), WHY_LENGTH)
    stands_for = {
        "http": f" ({status})" if status else "",
        "came": f" ({': '.join(filter(None, (status, why)))})" if status or why else "",
        "why": f": {cut(error.why, WHY_LENGTH)}" if error.why else "",
    }
    sentence = _words(error).reason.format_map(stands_for)
    return f"{sentence} The call may still be under way." if error.may_still_run else sentence


def advice(error: FusebillError) -> list[Line]:
    """What the person who asked can do."""
    if isinstance(error, RateLimited | Unavailable) and error.retry_at:
        return [after(error.retry_at, "Try again")]
    lines = _words(error).advice or (RETRY if error.may_pass else TELL_ADMIN)
    return [[say(line)] for line in (*lines, *_about_the_key(error))]


def after(at: datetime, what: str) -> Line:
    """After what time to do something, to the minute that people see."""
    minute = at.replace(second=0, microsecond=0)
    return [say(f"{what} after "), date(minute if minute == at else minute + MINUTE), say(".")]


def fix(error: FusebillError) -> str:
    """What the bot's admin can do."""
    connection = CONNECTION_FIXES.get(error.why) if isinstance(error, NotReached) else None
    return connection or " ".join((_words(error).fix, *_about_the_key(error)))


def _about_the_key(error: FusebillError) -> list[str]:
    is_unauthorized = error.status == HTTPStatus.UNAUTHORIZED
    return [MAYBE_THE_KEY] if isinstance(error, Forbidden) and is_unauthorized else []


def _words(error: FusebillError) -> ErrorWords:
    return next(WORDS[kind] for kind in type(error).__mro__ if kind in WORDS)


def calls_line(event: Event) -> Line:
    """What Fusebill answered to the calls for a request, and how long that took.

    Equal answers are counted. The words of an answer that the outcome quotes are left out.
    """
    calls, seconds = _calls_of(event), event.details.get("seconds")
    status = event.details.get("status")
    if not calls and status:
        calls = [{"status": status}]
    said: list[Line] = []
    for answer, same in groupby(_answer(call, _is_quoted(event, call)) for call in calls):
        times = len([*same])
        said.append(
            [text(answer, limit=ERROR_LENGTH), *([say(f", {times} times")] if times > 1 else [])]
        )
    answered = [part for each in said for part in (say(", then "), *each)][1:]
    read_back = [say(" · read back")] if event.details.get("how") == "read_back" else []
    took = [say(f" · {seconds} s")] if seconds is not None else []
    return [*([say(" · Fusebill: "), *answered] if answered else []), *read_back, *took]


def was_usual(event: Event) -> bool:
    """Whether one call simply showed what was asked."""
    statuses = [call.get("status") for call in _calls_of(event)]
    return statuses in ([], [200]) and event.details.get("how") != "read_back"


def _calls_of(event: Event) -> list[dict[str, Any]]:
    """The event's calls to Fusebill; none in events of before they were kept."""
    calls = event.details.get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _is_quoted(event: Event, call: Mapping[str, Any]) -> bool:
    """Whether the outcome's last error is the answer to this call, which keeps fewer words."""
    texts: Any = event.details.get("texts", ())
    same = all(a.startswith(b) for a, b in zip(texts, call.get("texts", ()), strict=False))
    return bool(texts) and call.get("status") == event.details.get("status") and same


def _answer(call: Mapping[str, Any], is_quoted: bool) -> str:  # noqa: FBT001  # said of the call
    """One call that may have changed something, as the ledger holds it: its status and words."""
    status, words = call.get("status"), call.get("texts")
    answer = f"HTTP {status}" if isinstance(status, int) else "no answer"
    texts = [each for each in words if isinstance(each, str)] if isinstance(words, list) else []
    if texts and not is_quoted:
        more = f" +{len(texts) - MAX_ERRORS} more" if len(texts) > MAX_ERRORS else ""
        return f"{answer} {', '.join(f'“{each}”' for each in texts[:MAX_ERRORS])}{more}"
    why = str(call.get("why") or "")
    return f"{answer} ({why})" if why else answer
