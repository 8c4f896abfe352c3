"""Each column of a request is written and read back."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.models import Card, HubSpotIds
from bot.ledger.rows import card_of, request_of, request_row
from bot.ledger.tables import Moment, requests
from tests.support.hostile import CARD, NOON

COLUMNS = [column.name for column in requests.c]


def other_value(name: str, value: object) -> object:
    """Another value that a column may have."""
    if name == "customer":
        return str(value).replace("Stolen", "Other")
    if isinstance(requests.c[name].type, Moment):
        return NOON + timedelta(days=1)
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else "other"


def row() -> dict[str, Any]:
    return request_row(replace(CARD, position=2, card_id="5f01", card_size=2))


def test_a_request_is_written_to_all_columns() -> None:
    assert sorted(row()) == sorted(COLUMNS)


# without a decider nobody is in its team
@pytest.mark.parametrize("name", [each for each in COLUMNS if each != "decider_team_id"])
def test_each_column_is_read_back(name: str) -> None:
    before = row()
    after = before | {name: other_value(name, before[name])}
    assert request_of(after) != request_of(before)


def test_the_team_of_whoever_decided_is_read_back() -> None:
    decided = row() | {"decider_id": "U0BOB", "decider_team_id": "T0SANDBOX"}
    other = decided | {"decider_team_id": "T0PARTNER"}
    assert request_of(decided) != request_of(other)


def test_each_field_of_a_request_comes_from_a_column_or_its_events() -> None:
    renamed = {"events": "event_count", "requester_id": "requester", "decider_id": "decider"}
    of_columns = {renamed.get(name, name) for name in COLUMNS}
    # the customer's text holds what a move changes the ids to
    assert {field.name for field in fields(CARD)} - of_columns == {"events", "command", "to"}
    moved = replace(CARD, to=HubSpotIds(9901))
    assert request_of(request_row(moved)).to == HubSpotIds(9901)
    assert card_of([row()], []) == Card((request_of(row()),))
