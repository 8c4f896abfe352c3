"""Maps rows of the two tables to domain objects, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, String, Table, cast

from bot.domain.models import (
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.ledger.hash_chain import canonical_json
from bot.ledger.schema import Moment

AnyRow = RowMapping | Mapping[str, Any]


def event_of(row: AnyRow) -> Event:
    """A row of `events` as a domain object."""
    return Event(
        request_id=row["request_id"],
        number=row["number"],
        at=row["at"],
        type=EventType(row["type"]),
        actor=row["actor"],
        details=json.loads(row["details"]),
        previous=row["previous"],
        hash=row["hash"],
    )


COLUMNS = {"publish_attempts": "deliveries", "last_posted_event": "mirrored_through"}
"""The columns of `requests` that are named differently from the field they hold."""


def request_of(row: AnyRow) -> Request:
    """A row of `requests` as a domain object."""
    customer = json.loads(row["customer"])
    decider_id = row["decider_id"]
    return Request(
        id=row["id"],
        kind=Kind(row["kind"]),
        # people read and search the column, so it decides which customer a call changes
        customer=Customer.of(customer | {"customer_id": row["customer_id"]}),
        channel_id=row["channel_id"],
        message_ts=row["message_ts"],
        thread_ts=row["thread_ts"],
        requester=Person(row["requester_id"], row["requester_team_id"]),
        reason=row["reason"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        verdict=row["verdict"] and Verdict(row["verdict"]),
        decider=Person(decider_id, row["decider_team_id"]) if decider_id else None,
        decided_at=row["decided_at"],
        outcome=row["outcome"] and Outcome(row["outcome"]),
        settled_at=row["settled_at"],
        due_at=row["due_at"],
        claim=row["claim"],
        publish_attempts=row["deliveries"],
        last_posted_event=row["mirrored_through"],
        events=row["events"],
        head=row["head"],
        undoes=row["undoes"],
        undone_by=row["undone_by"],
        card_id=row["card_id"] or row["id"],
        position=row["position"],
        card_size=row["card_size"],
    )


def request_row(request: Request) -> dict[str, Any]:
    """A request as the columns of `requests`."""
    return changing_row(request) | {
        "id": request.id,
        "kind": request.kind,
        "customer_id": request.customer.customer_id,
        "customer": canonical_json(_stored(request.customer)),
        "channel_id": request.channel_id,
        "requester_id": request.requester.user_id,
        "requester_team_id": request.requester.team_id,
        "reason": request.reason,
        "asked_at": request.asked_at,
        "undoes": request.undoes,
        "card_id": request.card_id,
        "position": request.position,
        "card_size": request.card_size,
    }


def _stored(customer: Customer) -> dict[str, Any]:
    """A customer as JSON keeps it; `dataclasses.asdict` costs ten times as much, for its copies."""
    fields = {name: getattr(customer, name) for name in Customer.__match_args__}
    ids = {name: getattr(customer.ids, name) for name in HubSpotIds.__match_args__}
    return fields | {"ids": ids}


def changing_row(request: Request) -> dict[str, Any]:
    """The columns of a request that may change after the insert."""
    return {
        # these three are set when the card is posted
        "message_ts": request.message_ts,
        "thread_ts": request.thread_ts,
        "expires_at": request.expires_at,
        "verdict": request.verdict,
        "decider_id": request.decider and request.decider.user_id,
        "decider_team_id": request.decider and request.decider.team_id,
        "decided_at": request.decided_at,
        "outcome": request.outcome,
        "settled_at": request.settled_at,
        "due_at": request.due_at,
        "claim": request.claim,
        "deliveries": request.publish_attempts,
        "mirrored_through": request.last_posted_event,
        "events": request.events,
        "head": request.head,
        "undone_by": request.undone_by,
    }


def event_row(event: Event) -> dict[str, Any]:
    """An event as the columns of `events`."""
    return {
        "request_id": event.request_id,
        "number": event.number,
        "at": event.at,
        "type": event.type,
        "actor": event.actor,
        "details": canonical_json(event.details),
        "previous": event.previous,
        "hash": event.hash,
    }


def stored(table: Table, prefix: str = "") -> Iterator[ColumnElement[Any]]:
    """The columns, times as text: a value that is not a time must not stop the reading."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


def time_of(stored: object) -> datetime:
    """Parse a time that `stored` returned; UTC if it has no zone. Raises: ValueError."""
    moment = datetime.fromisoformat(str(stored))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
