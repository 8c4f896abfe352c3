"""What can go wrong with a call to Slack, and how a failed call is classified; no I/O.

    SlackError
    ├── SlackUnavailable    passes: Slack is away or troubled, or somebody else answered for it
    │   ├── SlackBusy       the rate limit is reached
    │   └── SlackBlocked    Slack says no, until an admin, an invitation or time changes that
    └── SlackRefused        this message can't be changed or posted, and never will be

Only a JSON object with `ok: false` and an `error` is Slack's word; of a response URL also one of
Slack's codes alone. A proxy's page, an empty answer, half an object: all that is somebody else's,
and passes.

What ends each code is in `error_codes`. Source: docs.slack.dev/apis/web-api/rate-limits
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from typing import Any, NamedTuple, TypeGuard

from bot.slack.error_codes import Remedy, codes, meaning_of

MAX_RETRY_AFTER_S = 600.0
MAX_PAUSE_S = 30.0
MAX_WORD_LENGTH = 300
BUSY = frozenset({"ratelimited", "rate_limited", "http_429"})
PASSING = codes(Remedy.TIME) - BUSY
"""Codes of Slack that pass by themselves. Every code in no list here is a SlackBlocked."""
UNCHANGEABLE = codes(Remedy.NOTHING)
"""Codes about a message, thread or response URL that is gone for good."""
UNPOSTABLE = codes(Remedy.CONTENT)
"""Codes about the content: lines for a table, or short plain text, may be accepted instead."""
Fields = Mapping[str, type]


class SlackError(Exception):
    """A call failed; `code` is Slack's error code, `http_<status>` or the exception's name.

    `retry_after_s` is the wait that Slack asked for, if any, and `words` are its own about the
    message.
    """

    def __init__(
        self, code: str, retry_after_s: float | None = None, words: Sequence[str] = ()
    ) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s
        self.words = words


class SlackUnavailable(SlackError):
    """The call may succeed later."""


class SlackBusy(SlackUnavailable):
    """The rate limit is reached (429): other calls with the same key have to wait too."""


class SlackBlocked(SlackUnavailable):
    """Slack's own no: the call may succeed once an admin or an invitation has changed something."""


class SlackRefused(SlackError):
    """The same call will never succeed."""


class Answer(NamedTuple):
    """What came over HTTP; `is_json`: it says so itself."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_json: bool = True


class Said(NamedTuple):
    """Slack's JSON object that says `ok`, and the headers with it."""

    data: dict[str, Any]
    headers: Mapping[str, str]


def is_retryable(error: Exception) -> TypeGuard[SlackUnavailable]:
    """Whether the same call may succeed soon, without anybody's help."""
    return isinstance(error, SlackUnavailable) and not isinstance(error, SlackBlocked)


def pause_of(error: Exception) -> bool | float:
    """How long stamina waits before the same call: as Slack asked, up to 30 s; True: its pauses.

    False if the call is not to be repeated.
    """
    if not is_retryable(error):
        return False
    return min(error.retry_after_s, MAX_PAUSE_S) if error.retry_after_s else True


def is_verdict(error: SlackError) -> bool:
    """Whether Slack itself said no, so that the call surely had no effect."""
    return isinstance(error, SlackRefused | SlackBlocked)


def advice(error: SlackError) -> dict[str, str]:
    """What a log line says beside the code, if waiting does not help: what the admin must do."""
    fix = meaning_of(error.code).fix if isinstance(error, SlackBlocked) else ""
    return {"check": fix} if fix else {}


def accepted(answer: Answer, has: Fields) -> Said:
    """What Slack says, if that is `ok` and has these fields. Raises: SlackError."""
    data = _json(answer.body) if answer.is_json else None
    if not (answer.status == HTTPStatus.OK and isinstance(data, dict) and data.get("ok") is True):
        raise failure(answer.status, data, answer.headers)
    for name, kind in has.items():
        if not isinstance(value := data.get(name), kind) or value == "":
            raise SlackUnavailable("incomplete_answer")
    return Said(data, answer.headers)


def taken(answer: Answer) -> None:
    """Check that a response URL took a message. Raises: SlackError.

    Slack accepts with `{"ok": true}` or a bare `ok`. It refuses with an error code, which may be
    bare too; a word that is no code of Slack's may be a proxy's.
    Sources: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, "Handling errors";
    github.com/sourcegraph/sourcegraph-public-snapshot/issues/49979
    """
    text, data = answer.body.decode(errors="replace").strip(), _json(answer.body)
    if text in UNCHANGEABLE | UNPOSTABLE:
        data = {"ok": False, "error": text}
    is_taken = text == "ok" or (isinstance(data, dict) and data.get("ok") is True)
    if answer.status != HTTPStatus.OK or not is_taken:
        raise failure(answer.status, data, answer.headers)


def _json(body: bytes) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    return None


def failure(status: int, data: object, headers: Mapping[str, str]) -> SlackError:
    """The error for an answer that is no success: its status, its JSON (if any) and headers."""
    verdict = data.get("error") if isinstance(data, dict) and data.get("ok") is False else None
    code = verdict if isinstance(verdict, str) and verdict else f"http_{status}"
    retry_after_s = _seconds(headers.get("Retry-After", ""))
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in BUSY:
        return SlackBusy(code, retry_after_s)
    if code != verdict or code in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SlackUnavailable(code, retry_after_s)
    if code in UNCHANGEABLE or code in UNPOSTABLE:
        return SlackRefused(code, words=_words(data))
    return SlackBlocked(code, retry_after_s)


def _words(data: object) -> list[str]:
    """What Slack says of a message that it refuses; which block it means stands in it."""
    said = data if isinstance(data, dict) else {}
    metadata, errors = said.get("response_metadata"), said.get("errors")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    lists = [each for each in (messages, errors) if isinstance(each, list)]
    return [str(word)[:MAX_WORD_LENGTH] for each in lists for word in each]


def _seconds(header: str) -> float | None:
    """Parse `Retry-After`, seconds or a date, as at most 10 minutes.

    A faulty gateway must not silence the bot.
    """
    with suppress(ValueError):
        if isfinite(seconds := float(header)):
            return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
        return None
    with suppress(ValueError, TypeError, OverflowError):
        left_s = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        return min(max(left_s, 0.0), MAX_RETRY_AFTER_S)
    return None
