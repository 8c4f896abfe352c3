"""The form of `/unlatch many`: Slack accepts it, and what was sent is understood or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Ask, Doubt, Place
from bot.domain.pasted_text import ColumnChoice, LineError
from bot.messages.paste_form import (
    OPEN_FOR,
    TOO_OLD,
    Sent,
    Understood,
    column_form,
    paste_form,
    read_sent,
    understood,
)
from bot.sandbox.slack.validation.view_checks import problems
from tests.support.names import CHANNEL

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PLACE = Place(CHANNEL, "https://hooks.slack.com/commands/T0SANDBOX/1/abc", command="/unlatch-test")
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def sent(ids: str, reason: str = "", opened_at: datetime = NOW) -> Sent:
    return Sent("V0FORM", PLACE, opened_at, ids, reason)


def ask(ids: str, reason: str = "", *, needs_reason: bool = False) -> Any:
    return understood(sent(ids, reason), NOW, needs_reason=needs_reason)


@pytest.mark.parametrize("needs_reason", [True, False])
def test_slack_accepts_the_form_and_its_fields_are_read_back(needs_reason: bool) -> None:  # noqa: FBT001
    form = paste_form(PLACE, NOW, needs_reason=needs_reason)
    assert problems(form) == []
    assert [block["optional"] for block in form["blocks"] if "optional" in block] == [
        not needs_reason
    ]
    values = {"ids": {"ids": {"value": "7\n8"}}, "reason": {"reason": {"value": None}}}
    assert read_sent(form | {"id": "V0FORM", "state": {"values": values}}) == sent("7\n8")


def test_what_was_sent_asks_for_one_customer_or_many() -> None:
    assert ask("7", "moved\nportal") == Understood(Ask((7,), "moved portal"))
    assert ask("7\tBikes\n8\tTents\n7\n") == Understood(Ask((7, 8), ""))


def test_references_are_a_question_and_what_is_left_out_is_listed() -> None:
    found = ask("Stax Bill ID,Company\n007,Bikes\n,Tents\n8,Kites", "moved")
    meant = Ask((8,), "moved", (Doubt("007", 7),))
    assert found == Understood(meant, (LineError(3, "There is no Stax Bill ID."),))


TWO_COLUMNS = "7\t101\n8\t102"


def chosen(form: dict[str, Any], ids: str, key: str) -> Sent:
    """The form that comes back, sent with this text and the column of this key."""
    menu = form["blocks"][0]
    values = {
        "ids": {"ids": {"value": ids}},
        "reason": {"reason": {"value": "moved"}},
        menu["block_id"]: {"column": {"selected_option": {"value": key}}},
    }
    return read_sent(form | {"id": "V0FORM", "state": {"values": values}})


def column_question(ids: str) -> dict[str, Any]:
    """The form that asks for a column of this text."""
    found = ask(ids, "moved")
    assert isinstance(found, ColumnChoice)
    return column_form(sent(ids, "moved"), found, needs_reason=False)


def test_the_same_form_comes_back_with_the_text_and_a_choice_of_columns() -> None:
    form = column_question(TWO_COLUMNS)
    assert problems(form) == []
    menu, pasted, reason = form["blocks"]
    options = [(each["text"]["text"], each["value"]) for each in menu["element"]["options"]]
    assert options == [("7, 8", "0-0"), ("101, 102", "0-1")]
    assert pasted["element"]["initial_value"] == TWO_COLUMNS
    assert reason["element"]["initial_value"] == "moved"


def test_the_column_that_was_chosen_counts() -> None:
    again = chosen(column_question(TWO_COLUMNS), TWO_COLUMNS, "0-1")
    assert understood(again, NOW, needs_reason=False) == Understood(Ask((101, 102), "moved"))


@pytest.mark.parametrize("breaks", ["\r\n", "\n"])
def test_slack_may_send_other_line_breaks_than_it_got(breaks: str) -> None:
    again = chosen(column_question(TWO_COLUMNS), TWO_COLUMNS.replace("\n", breaks) + breaks, "0-1")
    assert again.column == "0-1"


def test_a_column_that_was_chosen_for_another_text_does_not_count() -> None:
    again = chosen(column_question(TWO_COLUMNS), "9\t201\n10\t202", "0-1")
    assert again.column == ""
    assert isinstance(understood(again, NOW, needs_reason=False), ColumnChoice)


def test_only_the_first_wrong_lines_are_listed() -> None:
    said = ask("\n".join(["7", *"abcdefg"]))["ids"].splitlines()
    assert said[0] == "Line 2: There is no Stax Bill ID in 'a'."
    assert (len(said), said[-1]) == (6, "2 more lines are wrong.")


def test_both_fields_are_told_at_once() -> None:
    assert set(ask("x", needs_reason=True)) == {"ids", "reason"}
    assert set(ask("x", "y" * 501)) == {"ids", "reason"}
    assert set(ask("\n".join(map(str, range(1, 64))), needs_reason=True)) == {"ids", "reason"}


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
    if isinstance(found, Understood):
        assert found.asked.reason or not needs_reason
    elif isinstance(found, ColumnChoice):
        form = column_form(sent(ids, reason), found, needs_reason=needs_reason)
        assert problems(form) == []
    else:
        assert found
        assert set(found) <= {"ids", "reason"}
        assert all(found.values())
