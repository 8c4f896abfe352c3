"""Cards of many customers, as the ledger would hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.domain.meanings import EVENTS, VERDICTS
from bot.domain.models import (
    Card,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Outcome,
    Request,
    Verdict,
)
from tests.support.hostile import CARD, NOON, STOLEN_BIKES
from tests.support.names import BOB

NAMES = ("Stolen Bikes", "Lost Pedals", "Found Wheels", "Old Chains", "New Bells")
LONG = Customer(
    customer_id=10**18 - 1,
    ids=HubSpotIds(10**18 - 1, 10**18 - 2),
    company_name="🚲" * 200,
    reference="x" * 200,
)


def customers(count: int) -> list[Customer]:
    """Customers with different ids and names."""
    return [
        replace(
            STOLEN_BIKES,
            customer_id=STOLEN_BIKES.customer_id + index,
            company_name=NAMES[index % len(NAMES)],
            ids=HubSpotIds(101 + index, 201 + index),
            reference=f"REF-{index}",
        )
        for index in range(count)
    ]


def card_of(on_it: Sequence[Customer], **changes: Any) -> Card:
    """A card that asks about these customers and waits for a decision."""
    left_out = changes.pop("left_out", [])
    requests = [
        replace(
            CARD,
            id=f"5f{position:02}",
            card_id="5f01",
            customer=customer,
            position=position,
            card_size=len(on_it),
            **changes,
        )
        for position, customer in enumerate(on_it, 1)
    ]
    details = {"left_out": left_out} if left_out else {}
    return happened(Card(tuple(requests)), EventType.REQUESTED, "U0ALICE", **details)


def happened(
    card: Card,
    event: EventType,
    actor: str = "",
    *,
    to: Iterable[int] | None = None,
    **details: object,
) -> Card:
    """The card after an event of the requests with these indexes; by default, of all."""
    chosen = range(len(card.requests)) if to is None else set(to)
    last = max((each.id for each in card.events), default=0)
    return Card(
        tuple(
            _happened(each, event, actor, details, last + index + 1) if index in chosen else each
            for index, each in enumerate(card.requests)
        )
    )


def confirmed(card: Card) -> Card:
    """The card once Bob has confirmed."""
    return happened(card, EventType.CONFIRMED, BOB.user_id)


def _happened(
    request: Request, event: EventType, actor: str, details: dict[str, object], id_: int
) -> Request:
    number = len(request.events) + 1
    at = NOON + timedelta(seconds=number)
    new = Event(request.id, number, at, event, actor, details, id=id_)
    changes: dict[str, Any] = {}
    verdict, outcome = EVENTS[event].verdict, EVENTS[event].outcome
    if verdict:
        changes = {"verdict": verdict, "decider": BOB if actor else None, "decided_at": at}
    if outcome:
        changes = {"outcome": outcome, "settled_at": at}
    return replace(request, **changes, event_count=number, events=(*request.events, new))


RESULTS: dict[Outcome, EventType] = {outcome: EventType(outcome) for outcome in Outcome}
ENDINGS = [each for each in Verdict if not VERDICTS[each].executes]
