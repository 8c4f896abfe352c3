"""Slack's errors: temporary or permanent, and how long to wait."""

from __future__ import annotations

import pytest
from slack_sdk.webhook.webhook_response import WebhookResponse

from bot.slack.errors import SlackBusy, SlackRefused, SlackUnavailable, failure_of


def response(status: int, body: str, **headers: str) -> WebhookResponse:
    dashed = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return WebhookResponse(url="", status_code=status, body=body, headers=dashed)


@pytest.mark.parametrize("body", ["ok", "", '{"ok": true}'])
def test_a_response_url_has_three_ways_to_accept_a_message(body: str) -> None:
    assert failure_of(response(200, body)) is None


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (200, '{"ok": false, "error": "invalid_blocks"}', SlackRefused, "invalid_blocks"),
        (404, '{"ok": false, "error": "expired_url"}', SlackRefused, "expired_url"),
        (400, "no_text", SlackRefused, "no_text"),
        (200, '{"ok": false}', SlackRefused, "http_200"),
        (200, '{"ok": false, "error": "internal_error"}', SlackUnavailable, "internal_error"),
        (200, "<html>a gateway's page</html>", SlackUnavailable, "http_200"),
        (200, "[]", SlackUnavailable, "http_200"),
        (503, "", SlackUnavailable, "http_503"),
        (200, '{"ok": false, "error": "ratelimited"}', SlackBusy, "ratelimited"),
        (429, "", SlackBusy, "http_429"),
    ],
)
def test_a_failure_is_temporary_or_permanent(
    status: int, body: str, expected: type[Exception], code: str
) -> None:
    failure = failure_of(response(status, body))
    assert type(failure) is expected
    assert failure.code == code


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("1000000000000", 600.0),
        ("9" * 400, None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_limited_to_ten_minutes(header: str, seconds: float | None) -> None:
    failure = failure_of(response(429, "", retry_after=header))
    assert isinstance(failure, SlackBusy)
    assert failure.retry_after_s == seconds
