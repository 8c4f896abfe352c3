"""When a call was sent of which nobody knows whether it still runs, from its request's events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.models import EventType
from bot.ledger.same_customer import unanswered_at
from tests.support.many import card_of, confirmed, customers, happened

BEGUN, RECLAIMED, UNKNOWN = EventType.BEGUN, EventType.RECLAIMED, EventType.UNKNOWN


def test_an_outcome_says_how_long_before_it_the_call_was_sent() -> None:
    begun = happened(confirmed(card_of(customers(1))), BEGUN)
    [request] = happened(begun, UNKNOWN, calls=[{}], running_s=45.5).requests
    assert unanswered_at(request) == request.events[-1].at - timedelta(seconds=45.5)


def test_a_call_that_ended_does_not_run() -> None:
    begun = happened(confirmed(card_of(customers(1))), BEGUN)
    [request] = happened(begun, EventType.CLEARED, calls=[{"status": 200}]).requests
    assert unanswered_at(request) is None


def test_what_was_never_begun_does_not_run() -> None:
    [request] = happened(confirmed(card_of(customers(1))), EventType.STOPPED).requests
    assert unanswered_at(request) is None


@pytest.mark.parametrize("details", [{}, {"calls": [{"status": 200}]}], ids=["read", "called"])
def test_of_a_process_that_was_killed_it_is_when_the_call_was_begun(
    details: dict[str, Any],
) -> None:
    begun = happened(confirmed(card_of(customers(1))), BEGUN)
    taken_up = happened(begun, RECLAIMED)
    [request] = happened(taken_up, EventType.CLEARED, **details).requests
    assert unanswered_at(request) == begun.first.events[-1].at
