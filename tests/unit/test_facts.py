"""What the card of one customer shows, the card of many shows too, field by field."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.domain.models import Card, Customer, EventType, HubSpotIds, Person, Verdict
from bot.messages.card import Deciders, draw
from tests.support.hostile import NO_LINKS, NOON, shown
from tests.support.many import card_of, customers, happened

NO_ROOM = {"email"}
"""Of a customer: fifty of them in a message leave no room for more than who it is."""
IN_PLACE_OF_A_COMPANY = "name"


def marked(kind: type[Any], start: int) -> dict[str, Any]:
    """A value for each field that nothing else on a card looks like."""
    values: dict[str, Any] = {}
    for number, each in enumerate(fields(kind), start):
        is_text = "str" in str(each.type)
        values[each.name] = f"the-{each.name}-{number}" if is_text else number
    return values


IDS = marked(HubSpotIds, 800_001)
CUSTOMER = marked(Customer, 900_001) | {"ids": HubSpotIds(**IDS)}
ON_A_CUSTOMER = {name: str(value) for name, value in (CUSTOMER | IDS).items() if name != "ids"}


def time(minutes: int) -> datetime:
    return NOON + timedelta(days=1, minutes=minutes)


def on_card(at: datetime) -> str:
    return f"{at:%F %T} UTC"


ASKED = {
    "requester": Person("U0ASKED", "T0SANDBOX"),
    "reason": "the reason why",
    "asked_at": time(1),
    "expires_at": time(2),
}
DECIDED = {"decider": Person("U0DECIDED", "T0SANDBOX"), "decided_at": time(3)}
WHO_ASKED = {
    "requester": "<@U0ASKED>",
    "reason": "the reason why",
    "asked_at": on_card(time(1)),
}
FOR_WHOM = {"requester": "for <@U0ASKED>", "reason": "the reason why"}
WHO_DECIDED = {"decider": "<@U0DECIDED>", "decided_at": on_card(time(3))}


def cards(*event_types: EventType, **changes: Any) -> tuple[str, str]:
    """What the cards of one customer and of two show after the same; the first is the same."""
    first, other = Customer(**CUSTOMER), customers(1)[0]
    drawn = []
    for on_it in ([first], [first, other]):
        card = card_of(on_it, **ASKED)
        for type_ in event_types:
            card = happened(card, type_, "U0LATER", why="the answer", found={"vid": 700_001})
        card = Card(tuple(replace(each, **changes) for each in card.requests))
        drawn.append(shown(draw(card, NO_LINKS, Deciders(["U0NOTIFY"]))))
    return drawn[0], drawn[1]


@pytest.mark.parametrize("name", ON_A_CUSTOMER)
def test_what_the_card_of_one_shows_of_a_customer_the_table_of_many_shows(name: str) -> None:
    one, many = (each.replace("The-status", "the-status") for each in cards())
    assert ON_A_CUSTOMER[name] in one, "the card of one shows each field"
    expected = name not in NO_ROOM and name != IN_PLACE_OF_A_COMPANY
    assert (ON_A_CUSTOMER[name] in many) is expected


def test_a_customer_without_a_company_has_its_name_in_the_table() -> None:
    unnamed = replace(Customer(**CUSTOMER), company_name="")
    card = card_of([unnamed, *customers(1)])
    assert ON_A_CUSTOMER[IN_PLACE_OF_A_COMPANY] in shown(draw(card, NO_LINKS))


@pytest.mark.parametrize(
    ("event_types", "changes", "facts"),
    [
        ([], {}, WHO_ASKED | {"expires_at": on_card(time(2)), "notify": "<@U0NOTIFY>"}),
        ([], DECIDED | {"verdict": Verdict.CONFIRMED}, FOR_WHOM | WHO_DECIDED),
        ([EventType.CANCELLED], DECIDED, WHO_ASKED | WHO_DECIDED),
        ([EventType.DECLINED], DECIDED, WHO_ASKED | WHO_DECIDED | {"why": "the answer"}),
        ([EventType.EXPIRED], DECIDED | {"decider": None}, WHO_ASKED),
        (
            [EventType.CONFIRMED, EventType.CLEARED, EventType.UNDONE],
            DECIDED,
            FOR_WHOM | WHO_DECIDED | {"undone by": "<@U0LATER>"},
        ),
        (
            [EventType.CONFIRMED, EventType.CLEARED, EventType.LATCHED_AGAIN],
            DECIDED,
            FOR_WHOM | WHO_DECIDED | {"latched again": "⚠️ Latched again: "},
        ),
    ],
    ids=["asked", "working", "cancelled", "declined", "expired", "undone", "latched again"],
)
def test_what_the_card_of_one_says_of_a_request_the_card_of_many_says(
    event_types: list[EventType], changes: dict[str, Any], facts: dict[str, str]
) -> None:
    for drawn in cards(*event_types, **changes):
        assert {name: fact for name, fact in facts.items() if fact not in drawn} == {}
