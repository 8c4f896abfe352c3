"""The forms: Slack accepts them whatever they show, and what was sent is read back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Request
from bot.messages import click_answers
from bot.messages.forms import REASON, answer_form, decline_form, read_declined
from bot.messages.lists import OpenRequest, pending
from bot.messages.phrases import Links
from bot.messages.thread import reminder
from bot.sandbox.slack.validation.view_checks import problems
from tests.support.hostile import (
    ALL_LINKS,
    CARD,
    NO_LINKS,
    REQUESTS,
    card_of_one,
    mentions_and_links,
    people_of,
    refused_by_slack,
)
from tests.support.names import ALICE

PEOPLE = st.lists(st.sampled_from(["U0ALICE", "S0OPS", "W0CAROL"]), min_size=1, max_size=3)
URLS = st.none() | st.just("https://sandbox.slack.com/archives/C0BILLING/p1700000000000100")


def sent(view: dict[str, Any], reason: str | None) -> dict[str, Any]:
    """A form as Slack sends it."""
    return view | {"state": {"values": {REASON: {REASON: {"value": reason}}}}}


@given(REQUESTS, ALL_LINKS)
def test_slack_accepts_the_form_whatever_the_request(request: Request, links: Links) -> None:
    assert problems(decline_form(card_of_one(request), "1700000000.000100", links)) == []


@given(REQUESTS)
def test_slack_accepts_the_answer_that_replaces_a_form(request: Request) -> None:
    assert problems(answer_form(click_answers.too_late(card_of_one(request), ALICE))) == []
    assert problems(answer_form(click_answers.NO_SUCH_REQUEST)) == []


@pytest.mark.parametrize(
    ("typed", "reason"),
    [(None, ""), ("", ""), (" \n ", ""), ("wrong\n customer ", "wrong customer")],
)
def test_a_reason_is_one_line_and_may_be_missing(typed: str | None, reason: str) -> None:
    view = decline_form(card_of_one(CARD), "1.2", NO_LINKS)
    declined = read_declined(sent(view, typed))
    assert (declined.request_id, declined.message_ts) == (CARD.id, "1.2")
    assert declined.reason == reason


@given(REQUESTS, PEOPLE)
def test_slack_accepts_every_reminder_and_it_mentions_nobody_else(
    request: Request, notify: list[str]
) -> None:
    message = reminder(card_of_one(request), notify)
    assert refused_by_slack(message) == []
    ids = {f"<!subteam^{i}>" if i.startswith("S") else f"<@{i}>" for i in notify}
    # in the blocks a group is an element of its own
    assert mentions_and_links(message) <= ids | {"<usergroup>"}


@given(st.lists(st.builds(OpenRequest, REQUESTS, URLS, st.booleans()), max_size=10), st.integers(0))
def test_slack_accepts_every_list_of_open_requests(shown: list[OpenRequest], more: int) -> None:
    message = pending(shown, more)
    assert refused_by_slack(message) == []
    people = {person for each in shown for person in people_of(card_of_one(each.request))}
    assert mentions_and_links(message) <= people | {each.url for each in shown if each.url}
