"""The form of `/unlatch many`: Slack accepts it, and what was sent is understood or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Ask, AskMany
from bot.messages.forms import (
    OPEN_FOR,
    TOO_OLD,
    Sent,
    paste_form,
    read_sent,
    understood,
)
from bot.sandbox.slack.validation.view_checks import problems
from tests.support.names import CHANNEL

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
URL = "https://hooks.slack.com/commands/T0SANDBOX/1/abc"
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def sent(ids: str, reason: str = "", opened_at: datetime = NOW) -> Sent:
    return Sent("V0FORM", CHANNEL, URL, opened_at, ids, reason)


def ask(ids: str, reason: str = "", *, needs_reason: bool = False) -> Any:
    return understood(sent(ids, reason), NOW, needs_reason=needs_reason)


@pytest.mark.parametrize("needs_reason", [True, False])
def test_slack_accepts_the_form_and_its_fields_are_read_back(needs_reason: bool) -> None:  # noqa: FBT001
    form = paste_form(CHANNEL, URL, NOW, needs_reason=needs_reason)
    assert problems(form) == []
    assert [block["optional"] for block in form["blocks"] if "optional" in block] == [
        not needs_reason
    ]
    values = {"ids": {"ids": {"value": "7\n8"}}, "reason": {"reason": {"value": None}}}
    assert read_sent(form | {"id": "V0FORM", "state": {"values": values}}) == sent("7\n8")


def test_what_was_sent_asks_for_one_customer_or_many() -> None:
    assert ask("7", "moved\nportal") == Ask(7, "moved portal")
    assert ask("7\tBikes\n8\tTents\n7\n") == AskMany((7, 8), "")


def test_only_the_first_wrong_lines_are_listed() -> None:
    said = ask("\n".join(["7", *"abcdefg"]))["ids"].splitlines()
    assert said[0] == "Line 2: There is no customer id in 'a'."
    assert (len(said), said[-1]) == (6, "2 more lines are wrong.")


def test_both_fields_are_told_at_once() -> None:
    assert set(ask("x", needs_reason=True)) == {"ids", "reason"}
    assert set(ask("x", "y" * 501)) == {"ids", "reason"}
    assert set(ask("\n".join(map(str, range(1, 64))), needs_reason=True)) == {"ids"}


def test_an_old_form_is_refused_since_its_answers_would_not_arrive() -> None:
    old = sent("7", opened_at=NOW - OPEN_FOR - timedelta(seconds=1))
    assert understood(old, NOW, needs_reason=False) == {"ids": TOO_OLD}


@given(ANY_TEXT, ANY_TEXT, st.booleans())
def test_whatever_was_sent_is_understood_or_told(
    ids: str,
    reason: str,
    needs_reason: bool,  # noqa: FBT001
) -> None:
    found = ask(ids, reason, needs_reason=needs_reason)
    if isinstance(found, Ask | AskMany):
        assert found.reason or not needs_reason
    else:
        assert found
        assert set(found) <= {"ids", "reason"}
        assert all(found.values())
