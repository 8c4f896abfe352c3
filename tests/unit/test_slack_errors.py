"""Slack's errors: whose word it is, whether it passes, who can end it, and how long to wait."""

from __future__ import annotations

import pytest

from bot.slack.error_codes import BAD_TOKEN, MEANINGS, UNKNOWN, Remedy, meaning_of
from bot.slack.errors import (
    Answer,
    SlackBlocked,
    SlackBusy,
    SlackError,
    SlackRefused,
    SlackUnavailable,
    advice,
    failure,
    taken,
)
from tests.slack_errors import DOCUMENTED


def failure_of(status: int, body: str, **headers: str) -> SlackError | None:
    """Why a response URL did not take a message."""
    dashed = {name.replace("_", "-").title(): value for name, value in headers.items()}
    try:
        taken(Answer(status, dashed, body.encode()))
    except SlackError as error:
        return error
    return None


@pytest.mark.parametrize("body", ["ok", '{"ok": true}'])
def test_a_response_url_has_two_ways_to_accept_a_message(body: str) -> None:
    assert failure_of(200, body) is None


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (200, '{"ok": false, "error": "invalid_blocks"}', SlackRefused, "invalid_blocks"),
        (404, '{"ok": false, "error": "expired_url"}', SlackRefused, "expired_url"),
        (200, '{"ok": false, "error": "message_not_found"}', SlackRefused, "message_not_found"),
        (200, '{"ok": false, "error": "not_in_channel"}', SlackBlocked, "not_in_channel"),
        (200, '{"ok": false, "error": "some_new_code"}', SlackBlocked, "some_new_code"),
        (500, '{"ok": false, "error": "not_in_channel"}', SlackUnavailable, "not_in_channel"),
        (400, "no_text", SlackRefused, "no_text"),
        (404, "used_url", SlackRefused, "used_url"),
        (400, "some_other_word", SlackUnavailable, "http_400"),
        (403, "forbidden", SlackUnavailable, "http_403"),
        (403, '{"error": "forbidden"}', SlackUnavailable, "http_403"),
        (200, '{"ok": false, "error": 5}', SlackUnavailable, "http_200"),
        (200, '{"ok": false}', SlackUnavailable, "http_200"),
        (200, '{"ok": true', SlackUnavailable, "http_200"),
        (200, "", SlackUnavailable, "http_200"),
        (200, "[" * 100_000, SlackUnavailable, "http_200"),
        (200, '{"ok": false, "error": "internal_error"}', SlackUnavailable, "internal_error"),
        (200, "<html>a gateway's page</html>", SlackUnavailable, "http_200"),
        (200, "[]", SlackUnavailable, "http_200"),
        (503, "", SlackUnavailable, "http_503"),
        (200, '{"ok": false, "error": "ratelimited"}', SlackBusy, "ratelimited"),
        (429, "", SlackBusy, "http_429"),
    ],
)
def test_only_slacks_own_json_or_one_of_its_codes_is_slacks_word(
    status: int, body: str, expected: type[Exception], code: str
) -> None:
    failure = failure_of(status, body)
    assert failure
    assert (type(failure), failure.code) == (expected, code)


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
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 21 Oct 2195 07:28:00 GMT", 600.0),
        ("Wed, 21 Oct 2026 07:28:1899999999999", None),
        ("Wed, 21 Oct 2026 07:28:18 +9999999992299", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_at_most_ten_minutes(
    header: str, seconds: float | None
) -> None:
    failure = failure_of(429, "", retry_after=header)
    assert isinstance(failure, SlackBusy)
    assert failure.retry_after_s == seconds


@pytest.mark.parametrize("method", DOCUMENTED)
def test_every_documented_code_of_a_method_has_a_row(method: str) -> None:
    assert [code for code in DOCUMENTED[method].split() if code not in MEANINGS] == []


def error(code: str) -> Exception:
    """The error for Slack's own answer with this code."""
    return failure(200, {"ok": False, "error": code}, {})


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_a_code_is_as_lasting_as_its_row_says_which_tells_who_can_end_it(code: str) -> None:
    meaning, raised = MEANINGS[code], error(code)
    if meaning.remedy is Remedy.TIME:
        assert isinstance(raised, SlackUnavailable)
        assert type(raised) is not SlackBlocked
    elif meaning.remedy in (Remedy.CONTENT, Remedy.NOTHING):
        assert type(raised) is SlackRefused
    else:
        assert type(raised) is SlackBlocked
    assert bool(meaning.fix) >= (meaning.remedy in (Remedy.ADMIN, Remedy.CHANNEL))
    assert "try again" not in meaning.fix.lower()


def test_a_refused_token_is_for_the_admin() -> None:
    assert {MEANINGS[code].remedy for code in BAD_TOKEN} == {Remedy.ADMIN}


def test_an_unknown_code_is_for_the_admin_to_look_up() -> None:
    assert meaning_of("some_new_code") is UNKNOWN
    assert advice(SlackBlocked("some_new_code")) == {"check": UNKNOWN.fix}


def test_somebody_elses_answer_is_no_code_of_slack() -> None:
    # a gateway may answer with a status and a text that looks like a code
    assert advice(SlackUnavailable("invalid_auth")) == {}
