"""Cards as the ledger keeps them, in the words of a test: read from rows, without the bot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, select

from bot.domain.models import Customer, EventType, Kind, Outcome, Person, Verdict
from bot.ledger.tables import events, jobs, requests

Job = Literal["post", "remind", "expire", "work", "show", "recheck", "overtake"]
"""The kinds of thing that may still have to be done for a card."""
AnyRow = RowMapping


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event; `number` counts from 1 within its request."""

    number: int
    at: datetime
    type: EventType
    actor: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """What a card asks about one customer, with its events in order."""

    id: str
    card_id: str
    kind: Kind
    customer: Customer
    message_ts: str | None
    thread_ts: str | None
    requester: Person
    reason: str
    asked_at: datetime
    expires_at: datetime
    verdict: Verdict | None
    outcome: Outcome | None
    settled_at: datetime | None
    undoes: str | None
    undone_by: str | None
    events: tuple[KeptEvent, ...]

    @property
    def story(self) -> list[EventType]:
        """The types of its events."""
        return [event.type for event in self.events]


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is still to be done for a card, and when; who is at it holds it until then."""

    card_id: str
    kind: Job
    at: datetime


@dataclass(frozen=True, slots=True)
class KeptCard:
    """A card with its requests.

    `is_open`: it waits for a decision. `due`: what is still to be done, soonest first. `tries`: how
    often showing it failed or was interrupted, as long as it is not shown. `thread_is_complete`:
    its thread has all its events, as far as the bot knows.
    """

    requests: tuple[KeptRequest, ...]
    is_open: bool
    due: tuple[Due, ...]
    tries: int
    thread_is_complete: bool

    @property
    def id(self) -> str:
        """The id of its first request."""
        return self.first.card_id

    @property
    def first(self) -> KeptRequest:
        """The request that speaks for the card: who asks, why, where, and how it was decided."""
        return self.requests[0]

    @property
    def events(self) -> tuple[KeptEvent, ...]:
        """The events of all its requests, one request after the other."""
        return tuple(event for request in self.requests for event in request.events)

    @property
    def story(self) -> list[EventType]:
        """The types of its events."""
        return [event.type for event in self.events]

    @property
    def jobs(self) -> list[Job]:
        """The kinds of what is still to be done, soonest first."""
        return [each.kind for each in self.due]

    @property
    def is_settled(self) -> bool:
        """Whether it is decided and nothing is still to be done: no work, no drawing, no look."""
        return self.first.verdict is not None and not self.due


def cards_in(connection: Connection, *where: ColumnElement[bool]) -> list[KeptCard]:
    """The cards whose requests meet conditions, oldest first."""
    query = select(requests).where(*where).order_by(requests.c.asked_at, requests.c.position)
    rows: dict[str, list[AnyRow]] = {}
    for row in connection.execute(query).mappings():
        rows.setdefault(row["card_id"] or row["id"], []).append(row)
    of_them = select(requests.c.id).where(*where)
    query = select(events).where(events.c.request_id.in_(of_them)).order_by(events.c.number)
    happened: dict[str, list[KeptEvent]] = {}
    for row in connection.execute(query).mappings():
        happened.setdefault(row["request_id"], []).append(_event(row))
    due: dict[str, list[AnyRow]] = {}
    for row in connection.execute(select(jobs)).mappings():
        due.setdefault(row["card_id"], []).append(row)
    return [
        _card(card_id, of_card, happened, due.get(card_id, [])) for card_id, of_card in rows.items()
    ]


def _card(
    card_id: str,
    rows: Sequence[AnyRow],
    happened: Mapping[str, list[KeptEvent]],
    job_rows: Sequence[AnyRow],
) -> KeptCard:
    due = [
        Due(card_id, row["kind"], row["held_until"] or row["due_at"])
        for row in job_rows
        if row["due_at"] is not None
    ]
    first = rows[0]
    return KeptCard(
        tuple(_request(row, card_id, happened.get(row["id"], [])) for row in rows),
        is_open=first["is_open"],
        due=tuple(sorted(due, key=lambda each: each.at)),
        tries=sum(row["attempts"] for row in job_rows if row["kind"] == "show"),
        thread_is_complete=first["shown_events"] >= sum(row["events"] for row in rows),
    )


def _request(row: AnyRow, card_id: str, happened: Sequence[KeptEvent]) -> KeptRequest:
    return KeptRequest(
        id=row["id"],
        card_id=card_id,
        kind=Kind(row["kind"]),
        customer=Customer.of(json.loads(row["customer"])),
        message_ts=row["message_ts"],
        thread_ts=row["thread_ts"],
        requester=Person(row["requester_id"], row["requester_team_id"]),
        reason=row["reason"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        verdict=row["verdict"] and Verdict(row["verdict"]),
        outcome=row["outcome"] and Outcome(row["outcome"]),
        settled_at=row["settled_at"],
        undoes=row["undoes"],
        undone_by=row["undone_by"],
        events=tuple(happened),
    )


def _event(row: AnyRow) -> KeptEvent:
    details = json.loads(row["details"])
    return KeptEvent(row["number"], row["at"], EventType(row["type"]), row["actor"], details)
