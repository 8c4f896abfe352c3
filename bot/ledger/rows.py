"""Reads cards from their rows, and writes what steps change.

The statements are built at import, since building one costs more than running it, and compiled once
(`database.statements`). None of them is run once a customer: fifty customers take as many round
trips to the database as one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    RowMapping,
    Update,
    bindparam,
    insert,
    select,
    update,
)

from bot.domain.commands import COMMAND
from bot.domain.models import (
    Card,
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
from bot.ledger import witness
from bot.ledger.database.statements import Row, Statement
from bot.ledger.hash_chain import canonical_json, chained, mismatch
from bot.ledger.jobs import Kind as JobKind, Transaction
from bot.ledger.tables import card_id_of_row, events, requests

AnyRow = RowMapping | Mapping[str, Any]
ROWS_OF_CARD = (
    select(requests).where(card_id_of_row == bindparam("card_id")).order_by(requests.c.position)
)
CARD = Statement(ROWS_OF_CARD)
CARD_LOCKED = Statement(ROWS_OF_CARD.with_for_update(key_share=True))
EVENTS = Statement(
    # SQLite would keep what a subquery finds in a table of its own
    select(events)
    .join(requests, requests.c.id == events.c.request_id)
    .where(card_id_of_row == bindparam("card_id"))
    .order_by(events.c.id)
)
ADD = insert(requests)
ADD_EVENT = Statement(insert(events))
SAVE = update(requests).where(requests.c.id == bindparam("request_id"))
NOTE_SHOWN = Statement(
    update(requests)
    # what a thread shows never becomes less, whoever notes it first
    .where(requests.c.id == bindparam("card"), requests.c.shown_events < bindparam("shown"))
    .values(shown_events=bindparam("shown"))
)
CARDS_OF = select(card_id_of_row).where(requests.c.id.in_(bindparam("ids", expanding=True)))


_UNDECIDED = dict.fromkeys(
    [
        *("verdict", "decider_id", "decider_team_id", "decided_at"),
        *("outcome", "settled_at", "undone_by"),
    ]
)


class NoSuchCard(Exception):
    """The ledger has no card with this id."""


@dataclass(slots=True)
class LockedCard:
    """A card's rows, locked until the transaction ends, and its events.

    A step changes the rows and appends events, and the transaction's end writes them. Hashes cover
    the rows as they are stored, so these and not the values that are made from them are what is
    changed.
    """

    _tx: Transaction
    rows: list[Row]
    events: list[Row] = field(default_factory=list)
    _is_new: bool = False
    _new_events: list[Row] = field(default_factory=list)
    _changed: dict[str, Row] = field(default_factory=dict)
    _card: Card | None = None

    first: Row = field(init=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        """The first row speaks for the card; the transaction writes what is changed."""
        self.first = self.rows[0]
        self.id = self.first["card_id"] or self.first["id"]
        self._tx.locked.append(self)

    @property
    def at(self) -> datetime:
        """The time of what is done now: never earlier than the card's last event."""
        last: datetime = self.events[-1]["at"] if self.events else self._tx.now
        return max(self._tx.now, last)

    @property
    def card(self) -> Card:
        """The card as its rows are now; writes them, so that each event has its number."""
        self.save()
        if self._card is None:
            self._card = card_of(self.rows, self.events)
        return self._card

    @property
    def mismatch(self) -> str:
        """What its own events do not vouch for, in a few words; empty if nothing."""
        return mismatch(self.id, self.rows, self.events)

    def change(self, row: Row, **columns: object) -> None:
        """Change columns of one of the rows."""
        row.update(columns)
        self._changed.setdefault(row["id"], {"request_id": row["id"]}).update(columns)
        self._card = None

    def change_all(self, **columns: object) -> None:
        """Change columns of all rows: what belongs to the card."""
        for row in self.rows:
            self.change(row, **columns)

    def place(self, message_ts: str | None, expires_at: datetime | None = None) -> None:
        """Note the message that shows the card, and the thread that shows its history."""
        self.change_all(
            message_ts=message_ts,
            thread_ts=self.first["thread_ts"] or message_ts,
            expires_at=expires_at or self.first["expires_at"],
        )

    def append(
        self, row: Row, event: EventType, details: Mapping[str, object], actor: str = ""
    ) -> None:
        """Append an event to the chain of one of the rows."""
        new = chained(row, self.at, event, actor, canonical_json(details))
        self.change(row, events=new["number"], head=new["hash"])
        self._new_events.append(new)
        self.events.append(new)

    def settle(
        self, row: Row, outcome: Outcome, details: Mapping[str, object], actor: str = ""
    ) -> None:
        """Write what came of a request, with its event."""
        self.change(row, outcome=outcome, settled_at=self.at)
        self.append(row, EventType(outcome), details, actor)

    def show(self) -> None:
        """Have the card and its thread drawn; without a message that is done once it is posted."""
        if self.first["message_ts"]:
            self._tx.set(self.id, JobKind.SHOW, here=True)

    def save(self) -> None:
        """Write the new or changed rows, and the new events with the number that each gets."""
        connection = self._tx.connection
        if self._is_new:
            # a column that is not named is null
            _write(connection, ADD, [_without_nulls(row) for row in self.rows])
        else:
            _write(connection, SAVE, self._changed.values())
        if self._new_events:
            counts = ADD_EVENT.insert(connection, self._new_events)
            for event, count in zip(self._new_events, counts, strict=True):
                event["id"] = count
                witness.saw(connection, event, count)
        self._is_new, self._new_events, self._changed = False, [], {}


def _without_nulls(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def _write(connection: Connection, core: Insert | Update, several: Iterable[Row]) -> None:
    """Insert or update rows of `requests`; those that name the same columns together."""
    alike: dict[frozenset[str], list[Row]] = {}
    for row in several:
        alike.setdefault(frozenset(row), []).append(row)
    for columns, these in alike.items():
        _statement(core, columns).many(connection, these)


@lru_cache(maxsize=64)
def _statement(core: Insert | Update, _columns: frozenset[str]) -> Statement:
    return Statement(core)


def read(connection: Connection, card_id: str) -> Card | None:
    """The card as it is now, None if there is none."""
    rows = CARD.rows(connection, {"card_id": card_id})
    return card_of(rows, EVENTS.rows(connection, {"card_id": card_id})) if rows else None


def lock(tx: Transaction, card_id: str, query: Statement = CARD_LOCKED) -> LockedCard:
    """Read a card and lock its rows until the transaction ends. Raises: NoSuchCard."""
    rows = query.rows(tx.connection, {"card_id": card_id})
    if not rows:
        raise NoSuchCard(card_id)
    return LockedCard(tx, rows, EVENTS.rows(tx.connection, {"card_id": card_id}))


def add(tx: Transaction, requests: Sequence[Request]) -> LockedCard:
    """A new card; each of its requests still needs its first event."""
    return LockedCard(tx, [request_row(each) for each in requests], _is_new=True)


def note_shown(connection: Connection, card_id: str, shown: int) -> None:
    """Note how many of a card's events its thread shows."""
    NOTE_SHOWN.execute(connection, {"card": card_id, "shown": shown})


def cards_of(connection: Connection, request_ids: Sequence[str]) -> set[str]:
    """The ids of the cards that these requests are on."""
    return set(connection.execute(CARDS_OF, {"ids": list(request_ids)}).scalars())


def card_of(rows: Sequence[AnyRow], event_rows: Iterable[AnyRow]) -> Card:
    """Rows of `requests` and `events` as a card."""
    return Card(tuple(requests_of(rows, event_rows)))


def requests_of(rows: Sequence[AnyRow], event_rows: Iterable[AnyRow]) -> list[Request]:
    """Rows of `requests` as domain objects, each with its events among those."""
    found: dict[str, list[Event]] = {row["id"]: [] for row in rows}
    for row in event_rows:
        found[row["request_id"]].append(event_of(row))
    return [request_of(row, tuple(found[row["id"]])) for row in rows]


def request_of(row: AnyRow, of_it: tuple[Event, ...] = ()) -> Request:
    """A row of `requests` as a domain object, with its events if they were read."""
    # people read and search the id's column, so it decides which customer a call changes
    customer, to = _customer(row["customer"], row["customer_id"])
    decider_id = row["decider_id"]
    # ledgers of 1.0.0 do not say
    command = of_it[0].details.get("command", COMMAND) if of_it else COMMAND
    return Request(
        id=row["id"],
        kind=Kind(row["kind"]),
        customer=customer,
        channel_id=row["channel_id"],
        message_ts=row["message_ts"],
        thread_ts=row["thread_ts"],
        requester=Person(row["requester_id"], row["requester_team_id"]),
        reason=row["reason"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        is_open=row["is_open"],
        verdict=row["verdict"] and Verdict(row["verdict"]),
        decider=Person(decider_id, row["decider_team_id"]) if decider_id else None,
        decided_at=row["decided_at"],
        outcome=row["outcome"] and Outcome(row["outcome"]),
        settled_at=row["settled_at"],
        undoes=row["undoes"],
        undone_by=row["undone_by"],
        to=to,
        card_id=row["card_id"] or row["id"],
        command=str(command),
        position=row["position"],
        card_size=row["card_size"],
        shown_events=row["shown_events"],
        event_count=row["events"],
        head=row["head"],
        events=of_it,
    )


@lru_cache(maxsize=256)  # each step of a flow reads the same
def _customer(stored: str, customer_id: int) -> tuple[Customer, HubSpotIds | None]:
    """A customer as it was shown, and the ids that it is moved to."""
    found = json.loads(stored)
    to = HubSpotIds.of(found["to"]) if "to" in found else None
    return Customer.of(found | {"customer_id": customer_id}), to


def request_row(request: Request) -> Row:
    """A new request as the columns of `requests`, before its first event."""
    return {
        "id": request.id,
        "kind": request.kind,
        "customer_id": request.customer.customer_id,
        "customer": canonical_json(_stored(request)),
        "channel_id": request.channel_id,
        "message_ts": request.message_ts,
        "thread_ts": request.thread_ts,
        "requester_id": request.requester.user_id,
        "requester_team_id": request.requester.team_id,
        "reason": request.reason,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "is_open": request.is_open,
        **_UNDECIDED,
        "events": 0,
        "head": "",
        "undoes": request.undoes,
        "card_id": request.card_id,
        "position": request.position,
        "card_size": request.card_size,
        "shown_events": 0,
    }


def _stored(request: Request) -> dict[str, Any]:
    """A customer as JSON keeps it, and the ids that it moves `to`, which the row's hash so covers.

    `dataclasses.asdict` costs ten times as much, for its copies.
    """
    customer, to = request.customer, request.to
    fields = {name: getattr(customer, name) for name in Customer.__match_args__}
    return fields | {"ids": _ids(customer.ids)} | ({"to": _ids(to)} if to is not None else {})


def _ids(ids: HubSpotIds) -> dict[str, int | None]:
    return {name: getattr(ids, name) for name in HubSpotIds.__match_args__}


def event_of(row: AnyRow) -> Event:
    """A row of `events` as a domain object, whose fields are its columns."""
    return _event(*(row[name] for name in Event.__match_args__))


@lru_cache(maxsize=512)  # each step of a flow reads the same; a changed row is another event
def _event(request_id: str, number: int, at: datetime, type_: str, *others: Any) -> Event:  # noqa: ANN401  # columns
    actor, details, *chain = others
    return Event(request_id, number, at, EventType(type_), actor, json.loads(details), *chain)
