"""What Slack answers, read once: what passes, what stays, and for how long it asks to wait."""

from __future__ import annotations

import pytest
from slack_sdk.webhook.webhook_response import WebhookResponse

from bot.slack.errors import SlackBusy, SlackRefused, SlackUnavailable, failure_of


def answered(status: int, body: str, **headers: str) -> WebhookResponse:
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return WebhookResponse(url="", status_code=status, body=body, headers=named)


@pytest.mark.parametrize("body", ["ok", "", '{"ok": true}'])
def test_a_response_url_says_in_three_ways_that_it_took_something(body: str) -> None:
    assert failure_of(answered(200, body)) is None


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (200, '{"ok": false, "error": "invalid_blocks"}', SlackRefused, "invalid_blocks"),
        (404, '{"ok": false, "error": "expired_url"}', SlackRefused, "expired_url"),
        (400, "no_text", SlackRefused, "no_text"),
        (200, '{"ok": false}', SlackRefused, "http_200"),
        (200, '{"ok": false, "error": "internal_error"}', SlackUnavailable, "internal_error"),
        (200, "<html>a gateway's</html>", SlackUnavailable, "http_200"),
        (200, "[]", SlackUnavailable, "http_200"),
        (503, "", SlackUnavailable, "http_503"),
        (200, '{"ok": false, "error": "ratelimited"}', SlackBusy, "ratelimited"),
        (429, "", SlackBusy, "http_429"),
    ],
)
def test_what_was_not_taken_passes_or_stays(
    status: int, body: str, expected: type[Exception], code: str
) -> None:
    failure = failure_of(answered(status, body))
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
def test_the_time_to_wait_is_one_that_can_be_waited(header: str, seconds: float | None) -> None:
    failure = failure_of(answered(429, "", retry_after=header))
    assert isinstance(failure, SlackBusy)
    assert failure.retry_after_s == seconds
