"""What somebody or something breaks in a ledger: edited rows, a lost table, locks, a trigger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from sqlalchemy import text, true, update

from bot.ledger.database.engine import open_engine
from bot.ledger.tables import jobs, requests

CHANGES_A_CARD = (b"UPDATE requests", b"COMMIT")
ADDS_AN_EVENT = (b"INSERT INTO events", b"COMMIT")
"""What transactions that do this send to PostgreSQL, for `Proxy.loses_answer_to`."""


def tamper(
    database_url: str, customer_id: int | None = None, **values: str | datetime | None
) -> None:
    """Edit columns of all requests, or those about one customer, as somebody would by hand.

    Who puts off a card's end also has to put off when the bot ends it.
    """
    where = true() if customer_id is None else requests.c.customer_id == customer_id
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(update(requests).where(where).values(values))
        if "expires_at" in values:
            ends = jobs.c.kind == "expire"
            connection.execute(update(jobs).where(ends).values(due_at=values["expires_at"]))
    engine.dispose()


def spoil(database_url: str, customer_id: int | None = None) -> None:
    """Make requests unreadable, as a manual change of the database might."""
    tamper(database_url, customer_id, customer="oops")


def lose(database_url: str, table: str) -> None:
    """Lose a table."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
    engine.dispose()


@contextmanager
def locked(postgresql_url: str, ts: str | None = None) -> Iterator[None]:
    """An admin's transaction that was left open locks one card, or all."""
    lock = "SELECT 1 FROM requests WHERE message_ts = %s OR %s::text IS NULL FOR UPDATE"
    with psycopg.connect(postgresql_url) as connection:
        connection.execute(lock.encode(), [ts, ts])
        yield


@contextmanager
def refused(sqlite_url: str, event_type: str) -> Iterator[None]:
    """The ledger takes no event of a type meanwhile."""
    engine = open_engine(sqlite_url)
    with engine.begin() as connection:
        trigger = f"CREATE TRIGGER refused BEFORE INSERT ON events WHEN NEW.type = '{event_type}'"
        connection.execute(text(f"{trigger} BEGIN SELECT RAISE(ABORT, 'refused'); END"))
    yield
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER refused"))
    engine.dispose()
