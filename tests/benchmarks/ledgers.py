"""Databases for the bot: empty ones, and ones that are filled with requests of past years."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, insert, text

from bot.domain.models import (
    Customer,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.ledger.database.engine import open_engine
from bot.ledger.database.migrating import migrate
from bot.ledger.hash_chain import canonical_json, chained
from bot.ledger.rows import request_row
from bot.ledger.tables import events, requests
from tests.support import postgresql

MAX_WRITTEN = 20_000
"""Of these each has a valid chain of five events; more are copies of them with other ids."""
PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
"""The bot's engine, which fills the ledgers too, gives no statement and no autovacuum that long."""
_Row = dict[str, Any]
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
    """Ledgers of one run; PostgreSQL starts when it is first needed, if none runs already."""

    def __init__(self, folder: Path, server_url: str = "") -> None:
        self._folder = folder
        self._closing = ExitStack()
        self._numbers = count(1)
        self._server_url = server_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def sqlite(self) -> str:
        """The address of an empty SQLite ledger at the bot's schema version."""
        url = f"sqlite:///{self.new_file()}"
        _with_engine(url, migrate)
        return url

    def new_file(self) -> str:
        """The path of a file that is not there yet, for a bot that makes its own ledger."""
        return str(self._folder / f"ledger{next(self._numbers)}.db")

    def postgresql(self) -> str:
        """The address of an empty PostgreSQL ledger at the bot's schema version."""
        if not self._server_url:
            self._server_url = self._closing.enter_context(postgresql.server())
        url = self._closing.enter_context(postgresql.database(self._server_url))
        _with_engine(url, migrate)
        return url

    def filled(self, new: Callable[[], str], how_many: int, card_size: int) -> str:
        """The address of a ledger with this many settled requests, on cards of `card_size`."""
        url = new()
        _with_engine(url, lambda engine: _fill(engine, how_many, card_size))
        return url


def _fill(engine: Engine, how_many: int, card_size: int) -> None:
    doublings = 0
    while how_many > MAX_WRITTEN and how_many % 2 == 0:
        how_many, doublings = how_many // 2, doublings + 1
    with engine.begin() as connection:
        histories = list(_settled(how_many, card_size))
        connection.execute(insert(requests), [row for row, _ in histories])
        connection.execute(insert(events), [event for _, history in histories for event in history])
    for number in range(doublings):
        with engine.begin() as connection:
            _double(connection, number)
    if engine.dialect.name == "postgresql":
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(PATIENT)
            # autovacuum would otherwise run in the middle of a measurement
            cursor.execute("VACUUM ANALYZE")


def _double(connection: Connection, number: int) -> None:
    """Copy every request and its events under ids that are spread as random ones are."""
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.create_function("md5", 1, _md5)
    else:
        connection.exec_driver_sql(PATIENT)
    for table, ids in ((requests, ("id", "card_id")), (events, ("request_id",))):
        connection.execute(text(_copy(table, ids, number)))


def _copy(table: Table, ids: tuple[str, ...], number: int) -> str:
    columns = [each.name for each in table.columns if each.name != "id" or "id" in ids]
    values = [f"md5({name} || '{number}')" if name in ids else name for name in columns]
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}"


def _md5(value: str) -> str:
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()


def _with_engine(url: str, work: Callable[[Engine], object]) -> None:
    engine = open_engine(url)
    try:
        work(engine)
    finally:
        engine.dispose()


def _settled(how_many: int, card_size: int) -> Iterator[tuple[_Row, list[_Row]]]:
    card_id = ""
    for number in range(how_many):
        position = number % card_size
        request = _request(number // card_size, 1_000_000 + number, card_size)
        card_id = request.id if position == 0 else card_id
        row = request_row(request) | {"card_id": card_id, "position": position + 1}
        at = request.asked_at
        row |= {
            "verdict": Verdict.CONFIRMED,
            "decider_id": _BOB.user_id,
            "decider_team_id": _BOB.team_id,
            "decided_at": at + timedelta(seconds=2),
            "outcome": Outcome.CLEARED,
            "settled_at": at + timedelta(seconds=4),
            "shown_events": 0 if position else len(_EVENTS) * card_size,
        }
        history = list(_chain(row, at))
        yield row, history


def _request(card: int, customer_id: int, card_size: int) -> Request:
    at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=90 * card)
    return Request(
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
        card_size=card_size,
    )


def _chain(row: _Row, at: datetime) -> Iterator[_Row]:
    """The events of a request, which its row then ends with."""
    for number, (kind, actor, details) in enumerate(_EVENTS):
        moment = at + timedelta(seconds=number)
        event = chained(row, moment, kind, actor, canonical_json(details))
        row |= {"events": event["number"], "head": event["hash"]}
        yield event
