"""Defines the ledger's tables for SQLAlchemy; `migrations/` creates them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    func,
)

REVISION = "0008"
"""The migration that this code needs."""


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, also on SQLite, which has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], object] | None:
        """Store naive UTC in SQLite, so that its text values sort by time."""
        if dialect.name != "sqlite":
            return None
        return _stored

    def result_processor(
        self,
        dialect: Dialect,
        coltype: object,  # noqa: ARG002  # SQLAlchemy passes it
    ) -> Callable[[Any], datetime | None]:
        """Return aware UTC, whatever time zone the session has."""
        if dialect.name == "sqlite":
            return _moment
        return lambda at: at and at.astimezone(UTC)


# each step of a flow writes and reads the same times
@lru_cache(maxsize=256)
def _stored(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(" ", "microseconds")[:26] if at else None


@lru_cache(maxsize=256)
def _moment(stored: str | None) -> datetime | None:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC) if stored else None


metadata = MetaData()
Id = BigInteger().with_variant(Integer, "sqlite")

requests = Table(
    "requests",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("customer", Text, nullable=False),
    Column("channel_id", String(32), nullable=False),
    Column("message_ts", String(32)),
    Column("thread_ts", String(32)),
    Column("requester_id", String(32), nullable=False),
    Column("requester_team_id", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("verdict", String(16)),
    Column("decider_id", String(32)),
    Column("decider_team_id", String(32)),
    Column("decided_at", Moment),
    Column("outcome", String(16)),
    Column("settled_at", Moment),
    Column("events", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("undoes", String(32)),
    Column("undone_by", String(32)),
    # null in rows that a version before 0005 wrote: the request is a card of its own
    Column("card_id", String(32)),
    Column("position", Integer, nullable=False, server_default="1"),
    Column("card_size", Integer, nullable=False, server_default="1"),
    # of a card that waits for a decision
    Column("is_open", Boolean, nullable=False, server_default=false()),
    # of a card's first request: how many of the card's events its thread shows
    Column("shown_events", Integer, nullable=False, server_default="0"),
)

by_time = Index("requests_by_time", requests.c.asked_at)


def card_id_of(rows: FromClause) -> ColumnElement[str]:
    """The id of the card of a request, in each version's rows."""
    return func.coalesce(rows.c.card_id, rows.c.id, type_=String(32))


card_id_of_row = card_id_of(requests)
by_card = Index("requests_by_card", card_id_of_row, requests.c.position)
by_customer = Index("requests_by_customer", requests.c.customer_id, requests.c.asked_at)

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("request_id", ForeignKey("requests.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("type", String(32), nullable=False),
    Column("actor", String(32), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("request_id", "number"),
)

response_urls = Table(
    "response_urls",
    metadata,
    Column("id", Id, primary_key=True),
    Column("request_id", ForeignKey("requests.id"), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("response_urls_by_request", "request_id"),
)

# The migration makes the index of the jobs partial. Declaring that here would load PostgreSQL's
# dialect at each start.
jobs = Table(
    "jobs",
    metadata,
    # never reused, so that (id, takes) tells one take from all others
    Column("id", Id, primary_key=True),
    # no foreign key: setting one must not lock another card's row
    Column("card_id", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    # null: given up, until somebody presses or the bot is restarted
    Column("due_at", Moment),
    Column("set_at", Moment, nullable=False),
    # null: nobody holds it
    Column("holder", String(32)),
    Column("held_until", Moment),
    Column("takes", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    UniqueConstraint("card_id", "kind"),
    Index("jobs_due", "kind", "due_at"),
    sqlite_autoincrement=True,
)

acts = Table(
    "acts",
    metadata,
    # Slack's id of what a person did, hashed
    Column("id", String(64), primary_key=True),
    Column("card_id", String(32), nullable=False),
    Column("at", Moment, nullable=False),
    Column("came_of_it", String(16), nullable=False),
    # with one, each act would be written to a table and to an index
    sqlite_with_rowid=False,
)

names = Table(
    "names",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", String(32), nullable=False),
    Column("name", Text, nullable=False),
    # since when it is known
    Column("at", Moment, nullable=False),
    Index("names_by_user", "user_id", "at"),
)
