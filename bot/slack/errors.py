"""What Slack answered, where it was not what was asked for; nothing here does I/O.

    SlackError
    ├── SlackUnavailable    passes: 5xx, no connection, time-out; may say for how long
    │   └── SlackBusy       passes: Slack takes only so much of this at a time
    └── SlackRefused        stays: Slack's own error code says why

Source: docs.slack.dev/reference/methods, each method's list of errors;
docs.slack.dev/apis/web-api/rate-limits
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from math import isfinite
from typing import Any, TypeGuard

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.webhook.webhook_response import WebhookResponse

MAX_RETRY_AFTER_S = 600.0
TEXT_ONLY = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
BUSY = frozenset({"ratelimited", "rate_limited", "http_429"})
NOT_LET_IN = frozenset(
    {"token_revoked", "token_expired", "invalid_auth", "account_inactive", "not_authed"}
)
PASSING = NOT_LET_IN | frozenset(  # an admin mends those while the ledger keeps what is to be said
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
    }
)

_CODE = re.compile(r"[a-z0-9_]{1,60}")


class SlackError(Exception):
    """Slack did not do it; `code` is Slack's own error code, or says how it was missed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SlackUnavailable(SlackError):
    """It may go through later: not before `retry_after_s` seconds, where Slack said so."""

    def __init__(self, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s


class SlackBusy(SlackUnavailable):
    """Slack takes only so much of this at a time: whoever else wants the same has to wait too."""


class SlackRefused(SlackError):
    """It will never go through as it is."""


def is_retryable(error: Exception) -> TypeGuard[SlackUnavailable]:
    """Whether the same call may go through later, with nobody's doing."""
    return isinstance(error, SlackUnavailable) and error.code not in NOT_LET_IN


def classify(error: Exception) -> SlackError | None:
    """What a failed call means, None where it is no failure of Slack's."""
    match error:
        case SlackError():
            return error
        case SlackApiError():
            response: Any = error.response
            status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
            headers = getattr(response, "headers", {})
            return _failure(status, getattr(response, "data", None), headers)
        case TimeoutError() | aiohttp.ClientError() | OSError() | SlackClientError():
            return SlackUnavailable(type(error).__name__)
        case _:
            return None


def failure_of(response: WebhookResponse) -> SlackError | None:
    """Why a response URL did not take what it was given, None where it took it.

    It answers in JSON like the Web API, or with a bare `ok` or error code.
    """
    text = (response.body or "").strip()
    data: object = {"error": text} if _CODE.fullmatch(text) else None
    with suppress(ValueError):
        data = json.loads(text)
    taken = isinstance(data, dict) and data.get("ok") is True
    if response.status_code == HTTPStatus.OK and (taken or text in ("", "ok")):
        return None
    return _failure(response.status_code, data, response.headers)


def _failure(status: int, data: object, headers: Mapping[str, str]) -> SlackError:
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    code = code or f"http_{status}"
    retry_after_s = _seconds(headers.get("Retry-After", ""))
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in BUSY:
        return SlackBusy(code, retry_after_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in PASSING or not isinstance(data, dict):
        return SlackUnavailable(code, retry_after_s)
    return SlackRefused(code)


def _seconds(header: str) -> float | None:
    """What Slack said, cut to what it can mean: a slip of a gateway's must not silence the bot."""
    with suppress(ValueError):
        if isfinite(seconds := float(header)):
            return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
    return None
