"""What can go wrong with a call to Slack, and how a failed call is classified; no I/O.

    SlackError
    ├── SlackUnavailable    temporary: 5xx, no connection, time-out, or not from Slack's API
    │   └── SlackBusy       temporary: the rate limit is reached
    └── SlackRefused        permanent: Slack's own error code says why

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
BAD_TOKEN = frozenset(
    {"token_revoked", "token_expired", "invalid_auth", "account_inactive", "not_authed"}
)
# an admin can fix a bad token, and the ledger keeps what is still to be posted
TRANSIENT = BAD_TOKEN | frozenset(
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
    """A call failed; `code` is Slack's error code, `http_<status>` or the exception's name."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SlackUnavailable(SlackError):
    """The call may succeed later; `retry_after_s` is the wait that Slack asked for, if any."""

    def __init__(self, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s


class SlackBusy(SlackUnavailable):
    """The rate limit is reached (429): other calls with the same key have to wait too."""


class SlackRefused(SlackError):
    """The same call will never succeed."""


def is_retryable(error: Exception) -> TypeGuard[SlackUnavailable]:
    """Whether the same call may succeed later without an admin's help."""
    return isinstance(error, SlackUnavailable) and error.code not in BAD_TOKEN


def classify(error: Exception) -> SlackError | None:
    """The SlackError for an exception; None if the exception did not come from a Slack call."""
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
    """Why a response URL refused a message; None if it accepted it.

    The answer is JSON, as from the Web API, or a bare `ok` or error code.
    """
    text = (response.body or "").strip()
    data: object = {"error": text} if _CODE.fullmatch(text) else None
    with suppress(ValueError):
        data = json.loads(text)
    accepted = isinstance(data, dict) and data.get("ok") is True
    if response.status_code == HTTPStatus.OK and (accepted or text in ("", "ok")):
        return None
    return _failure(response.status_code, data, response.headers)


def _failure(status: int, data: object, headers: Mapping[str, str]) -> SlackError:
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    code = code or f"http_{status}"
    retry_after_s = _seconds(headers.get("Retry-After", ""))
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in BUSY:
        return SlackBusy(code, retry_after_s)
    if (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or code in TRANSIENT
        or not isinstance(data, dict)
    ):
        return SlackUnavailable(code, retry_after_s)
    return SlackRefused(code)


def _seconds(header: str) -> float | None:
    """Parse `Retry-After`, at most 10 minutes: a faulty gateway must not silence the bot."""
    with suppress(ValueError):
        if isfinite(seconds := float(header)):
            return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
    return None
