"""Writes ledgers as released versions wrote them: requests with clocks, their events and hashes.

What 0.1.0 and 1.0.0 did differently is here: the former inserted a request once its card was
posted, knew no cards of many, and wrote no team into a verdict's event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, DateTime, TableClause, column, insert, select, table

from bot.domain.models import EventType, Outcome, Verdict
from bot.ledger.database.engine import open_engine
from bot.ledger.hash_chain import canonical_json, chained, fingerprint, place_on_card

FIRST, LAST = "0001", "0005"
"""The revisions of 0.1.0 and of 1.0.0."""
CLOCKS = ("due_at", "claim", "deliveries", "mirrored_through")
TIMES = ("asked_at", "expires_at", "decided_at", "settled_at", "due_at", "posting_until")
NEW_COLUMNS = ("posting_until", "card_id", "position", "card_size")
VERDICTS, OUTCOMES = frozenset(map(str, Verdict)), frozenset(map(str, Outcome))
Story = Sequence[EventType]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OldCard:
    """A card as an older version left it.

    `stories` has, for each request, what happened to it after it was asked. `due` is when each was
    due, `shown` how many of its events the thread showed, `tries` how often the card was taken up
    to be drawn. Without `is_posted`, it has no message. `undone_by` is the card that undid it.
    """

    id: str
    stories: Sequence[Story] = ((),)
    due: Sequence[datetime | None] = (None,)
    shown: Sequence[int] = (0,)
    tries: int = 0
    is_posted: bool = True
    is_denied: bool = False
    undone_by: str | None = None


def write(database_url: str, revision: str, cards: Sequence[OldCard], now: datetime) -> None:
    """Create a ledger of a revision, with these cards."""
    migrate_to(database_url, revision)
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for card in cards:
            rows, chain = _written(card, revision, now)
            if revision == FIRST:
                rows = [{n: v for n, v in row.items() if n not in NEW_COLUMNS} for row in rows]
            for name, new in (("requests", rows), ("events", chain)):
                stored = [_stored(connection, each) for each in new]
                connection.execute(insert(_table(name, new[0])), stored)
    engine.dispose()


def migrate_to(database_url: str, revision: str) -> None:
    """Upgrade a ledger to a revision, or take it back to one."""
    config = Config()
    config.set_main_option("script_location", "bot:ledger/migrations")
    config.set_main_option("path_separator", "os")
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        command.downgrade(config, revision)
    engine.dispose()


def clocks(database_url: str) -> dict[str, Row]:
    """The clocks of all requests of an older ledger, by their ids."""
    engine = open_engine(database_url, read_only=True)
    with engine.connect() as connection:
        rows = connection.execute(select(_table("requests", ["id", *CLOCKS]))).mappings().all()
    engine.dispose()
    return {row["id"]: {name: _utc(row[name]) for name in CLOCKS} for row in rows}


def _table(name: str, columns: Iterable[str]) -> TableClause:
    times = {each: DateTime(timezone=True) for each in columns if each == "at" or each in TIMES}
    return table(name, *(column(each, times.get(each)) for each in columns))


def _written(card: OldCard, revision: str, now: datetime) -> tuple[list[Row], list[Row]]:
    rows = [_row(card, number, now) for number in range(len(card.stories))]
    posted_first = revision == FIRST and not card.is_denied
    message_ts = rows[0]["message_ts"]
    if not posted_first:
        for row in rows:
            row |= {"message_ts": None, "thread_ts": None}
    chain = [
        _asked(row, card, revision, now, posted=posted_first or card.is_denied) for row in rows
    ]
    for row in rows:
        row |= {"message_ts": message_ts, "thread_ts": message_ts}
    for step in zip_longest(*card.stories):
        for row, kind in zip(rows, step, strict=True):
            if kind is not None:
                chain.append(_happened(row, kind, revision, now, card.undone_by))
    return rows, chain


def _row(card: OldCard, number: int, now: datetime) -> Row:
    request_id = f"{number:02}{card.id[2:]}" if number else card.id
    message_ts = f"1795476057.{int(card.id[:4], 16):06}" if card.is_posted else None
    asked_at = now - timedelta(minutes=5)
    return {
        "id": request_id,
        "kind": "unlatch",
        "customer_id": 2554529 + number,
        "customer": canonical_json(
            {
                "customer_id": 2554529 + number,
                "ids": {"vid": 101, "company_id": 202},
                "name": "Sam",
                "company_name": "Stolen Bikes",
                "reference": "1337",
                "status": "Active",
            }
        ),
        "channel_id": "C0BILLING",
        "message_ts": message_ts,
        "thread_ts": message_ts,
        "requester_id": "U0ALICE",
        "requester_team_id": "T0SANDBOX",
        "reason": "moved",
        "asked_at": asked_at,
        "expires_at": asked_at + timedelta(minutes=15),
        "verdict": None,
        "decider_id": None,
        "decider_team_id": None,
        "decided_at": None,
        "outcome": None,
        "settled_at": None,
        "due_at": card.due[number],
        "claim": 0,
        "deliveries": 0 if number else card.tries,
        "mirrored_through": card.shown[number],
        "posting_until": None,
        "events": 0,
        "head": "",
        "undoes": None,
        "undone_by": None,
        "card_id": card.id,
        "position": number + 1,
        "card_size": len(card.stories),
    }


def _asked(row: Row, card: OldCard, revision: str, now: datetime, *, posted: bool) -> Row:
    details: Row = {
        "kind": row["kind"],
        "customer_id": row["customer_id"],
        "channel_id": row["channel_id"],
        "reason": row["reason"],
        "vid": 101,
        "company_id": 202,
        "row": fingerprint(row, posted=posted),
    }
    if revision != FIRST:
        details["card"] = place_on_card(row)
    kind = EventType.ASK_DENIED if card.is_denied else EventType.REQUESTED
    return _append(row, now - timedelta(minutes=5), kind, "U0ALICE", details)


def _happened(
    row: Row, kind: EventType, revision: str, now: datetime, undone_by: str | None
) -> Row:
    at = now - timedelta(minutes=1)
    actor, details = "", dict[str, Any]()
    if kind in VERDICTS:
        actor = "" if kind is EventType.EXPIRED else "U0BOB"
        row |= {"verdict": kind, "decided_at": at, "claim": 1}
        if actor:
            row |= {"decider_id": actor, "decider_team_id": "T0SANDBOX"}
        if revision != FIRST:
            details = {"team": "T0SANDBOX"} if actor else {}
            details["row"] = fingerprint(row, posted=True)
    elif kind in OUTCOMES:
        row |= {"outcome": kind, "settled_at": at}
        details = {"status": 200}
    elif kind is EventType.UNDONE:
        row |= {"undone_by": undone_by}
        details = {"by_request": undone_by}
    elif kind is EventType.RECLAIMED:
        row |= {"claim": row["claim"] + 1}
    return _append(row, at, kind, actor, details)


def _append(row: Row, at: datetime, kind: EventType, actor: str, details: Row) -> Row:
    event = chained(row, at, kind, actor, canonical_json(details))
    row |= {"events": event["number"], "head": event["hash"]}
    return event


def _stored(connection: Connection, row: Row) -> Row:
    """Times as the ledger stores them: in SQLite as UTC without a zone."""
    sqlite = connection.dialect.name == "sqlite"

    def values() -> Iterator[tuple[str, object]]:
        for name, value in row.items():
            is_time = sqlite and isinstance(value, datetime)
            yield name, value.astimezone(UTC).replace(tzinfo=None) if is_time else value

    return dict(values())


def _utc(value: object) -> object:
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
