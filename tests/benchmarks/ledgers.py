"""Databases for the bot: new ones, filled ones, and how many transactions they committed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psycopg
from sqlalchemy import insert

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
from bot.ledger.engine import migrate, open_engine
from bot.ledger.hash_chain import digest
from bot.ledger.mapping import event_row, request_row
from bot.ledger.schema import events, requests
from tests.support import postgresql

BATCH_SIZE = 2_000
_ALICE, _BOB = Person("U0ALICE", "T0BENCH"), Person("U0BOB", "T0BENCH")
_EVENTS: tuple[tuple[EventType, str, dict[str, object]], ...] = (
    (EventType.REQUESTED, "U0ALICE", {"reason": "moved", "vid": 434381295294, "company_id": 202}),
    (
        EventType.DECISION_DENIED,
        "U0ALICE",
        {"verdict": "confirmed", "why": "Somebody else has to confirm."},
    ),
    (EventType.CONFIRMED, "U0BOB", {}),
    (EventType.RECLAIMED, "", {"claim": 2}),
    (EventType.CLEARED, "", {"seconds": 0.2, "status": 200, "how": "answer"}),
)


class Ledgers:
    """Ledgers of one run; PostgreSQL starts when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing = ExitStack()
        self._numbers = count(1)
        self._server_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def sqlite(self) -> str:
        """The address of a SQLite ledger that does not exist yet."""
        return f"sqlite:///{self._folder / f'ledger{next(self._numbers)}.db'}"

    def postgresql(self) -> str:
        """The address of an empty PostgreSQL ledger at the bot's schema version."""
        if not self._server_url:
            self._server_url = self._closing.enter_context(postgresql.server())
        url = self._closing.enter_context(postgresql.database(self._server_url))
        _with_engine(url, migrate)
        return url


def transactions(url: str) -> int:
    """A counter of write transactions; only the difference of two readings has a meaning.

    SQLite: `iChange` in the header of the WAL index, which counts commits (sqlite.org/walformat);
    transactions that share a commit count once. PostgreSQL: the next transaction's number.
    """
    if url.startswith("sqlite:///"):
        index = Path(url.removeprefix("sqlite:///") + "-shm")
        return int.from_bytes(index.read_bytes()[8:12], sys.byteorder)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    return int(row[0]) if row else 0


def fill(url: str, how_many: int) -> None:
    """Write this many settled requests of past years, each with a valid chain of five events."""

    def write(engine: Any) -> None:
        migrate(engine)
        written = 0
        while written < how_many:
            batch = [_settled(n) for n in range(written, min(written + BATCH_SIZE, how_many))]
            with engine.begin() as connection:
                connection.execute(insert(requests), [request_row(request) for request, _ in batch])
                links = [event_row(event) for _, history in batch for event in history]
                connection.execute(insert(events), links)
            written += len(batch)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if engine.dialect.name == "postgresql":
                # autovacuum would otherwise run in the middle of a measurement
                connection.exec_driver_sql("VACUUM ANALYZE")

    _with_engine(url, write)


def _with_engine(url: str, work: Callable[[Any], None]) -> None:
    engine = open_engine(url)
    try:
        work(engine)
    finally:
        engine.dispose()


def _settled(number: int) -> tuple[Request, list[Event]]:
    at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=90 * number)
    customer_id = 1_000_000 + number % 200_000
    request = Request(
        id=uuid4().hex,
        kind=Kind.UNLATCH,
        customer=Customer(
            customer_id,
            HubSpotIds(434381295294, 202),
            "John Doe",
            "Stolen Bikes",
            "1337",
            "Active",
            "Good",
            "john@stolen-bikes.example",
        ),
        channel_id="C0BILLING",
        message_ts=f"{at.timestamp():.6f}",
        thread_ts=f"{at.timestamp():.6f}",
        requester=_ALICE,
        reason="moved to the new portal",
        asked_at=at,
        expires_at=at + timedelta(minutes=15),
        verdict=Verdict.CONFIRMED,
        decider=_BOB,
        decided_at=at + timedelta(seconds=2),
        outcome=Outcome.CLEARED,
        settled_at=at + timedelta(seconds=4),
        claim=2,
        last_posted_event=len(_EVENTS),
    )
    history = list(_chain(request.id, at))
    return replace(request, events=len(history), head=history[-1].hash), history


def _chain(request_id: str, at: datetime) -> Iterator[Event]:
    previous = ""
    for number, (kind, actor, details) in enumerate(_EVENTS, 1):
        moment = at + timedelta(seconds=number - 1)
        event = Event(request_id, number, moment, kind, actor, details, previous)
        previous = digest(event)
        yield replace(event, hash=previous)
