"""Maps rows of the two tables to domain objects, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
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


def event_of(row: RowMapping) -> Event:
    """A row of `events` as a noun."""
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


def request_of(row: RowMapping) -> Request:
    """A row of `requests` as a noun."""
    values = dict(row)
    # the column is what people look at and search by: it decides whom a call is about
    snapshot = json.loads(values.pop("customer")) | {"customer_id": values.pop("customer_id")}
    requester = Person(values.pop("requester_id"), values.pop("requester_team_id"))
    decider_id, decider_team_id = values.pop("decider_id"), values.pop("decider_team_id")
    return Request(
        **values
        | {
            "kind": Kind(values["kind"]),
            "verdict": values["verdict"] and Verdict(values["verdict"]),
            "outcome": values["outcome"] and Outcome(values["outcome"]),
        },
        customer=Customer(**snapshot | {"ids": HubSpotIds(**snapshot["ids"])}),
        requester=requester,
        decider=Person(decider_id, decider_team_id) if decider_id else None,
    )


def request_row(request: Request) -> dict[str, Any]:
    """A request as the columns of `requests`."""
    return changing_row(request) | {
        "id": request.id,
        "kind": request.kind,
        "customer_id": request.customer.customer_id,
        "customer": canonical_json(asdict(request.customer)),
        "channel_id": request.channel_id,
        "message_ts": request.message_ts,
        "thread_ts": request.thread_ts,
        "requester_id": request.requester.user_id,
        "requester_team_id": request.requester.team_id,
        "reason": request.reason,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "undoes": request.undoes,
    }


def changing_row(request: Request) -> dict[str, Any]:
    """The columns of a request that may change after it was asked."""
    return {
        "verdict": request.verdict,
        "decider_id": request.decider and request.decider.user_id,
        "decider_team_id": request.decider and request.decider.team_id,
        "decided_at": request.decided_at,
        "outcome": request.outcome,
        "settled_at": request.settled_at,
        "due_at": request.due_at,
        "claim": request.claim,
        "deliveries": request.deliveries,
        "mirrored_through": request.mirrored_through,
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
    """Columns as they stand, times as texts: one that is no time must not stop the reading."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


def time_of(stored: object) -> datetime:
    """A time as `stored` gives it: UTC, unless it says its zone. Raises: ValueError."""
    moment = datetime.fromisoformat(str(stored))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
