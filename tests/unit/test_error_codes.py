"""The table of Slack's error codes: every documented code, who ends it, what the admin can do."""

from __future__ import annotations

import pytest

from bot.slack.error_codes import BAD_TOKEN, MEANINGS, UNKNOWN, Remedy, meaning_of
from bot.slack.errors import (
    SlackBlocked,
    SlackRefused,
    SlackUnavailable,
    advice,
    failure,
)
from tests.slack_errors import DOCUMENTED


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
