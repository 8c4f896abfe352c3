"""What somebody who can write to the database writes by hand: rows and events with right hashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from bot.ledger.database.engine import open_engine
from bot.ledger.hash_chain import (
    NOT_POSTED,
    canonical_json,
    chained,
    fingerprint,
    place_on_card,
)
from bot.ledger.tables import events, requests

Row = dict[str, Any]
FORGED = "f" * 32
"""The id of a request that nobody made."""


@contextmanager
def writing(database_url: str) -> Iterator[Connection]:
    """A transaction of somebody else than the bot."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def row_of(connection: Connection, request_id: str) -> Row:
    """A request's row as it is stored."""
    query = select(requests).where(requests.c.id == request_id)
    return dict(connection.execute(query).mappings().one())


def events_of(connection: Connection, request_id: str) -> list[Row]:
    """A request's events as they are stored."""
    query = select(events).where(events.c.request_id == request_id).order_by(events.c.number)
    return [dict(row) for row in connection.execute(query).mappings()]


def chain(row: Row, own: Sequence[Row]) -> None:
    """Give events their numbers and right hashes, and the request's row their end."""
    row |= {"events": 0, "head": ""}
    for event in own:
        event.update(chained(row, event["at"], event["type"], event["actor"], event["details"]))
        row |= {"events": event["number"], "head": event["hash"]}


def rewrite(connection: Connection, row: Row, own: Sequence[Row]) -> None:
    """Write a request that is there already, with its events, anew."""
    chain(row, own)
    connection.execute(delete(events).where(events.c.request_id == row["id"]))
    connection.execute(update(requests).where(requests.c.id == row["id"]).values(row))
    connection.execute(insert(events), own)


def forge(
    connection: Connection, like: str, at: datetime, count: int | None = None, **columns: object
) -> None:
    """Add a request that nobody made, as right as one of the bot's: a copy of another one.

    `count` is its `events.id`; None: as the database counts.
    """
    row = row_of(connection, like) | {"id": FORGED, "card_id": FORGED} | columns
    row |= {"asked_at": at}
    vouched = {"row": fingerprint(row, posted=True), "card": place_on_card(row)}
    own = {
        "at": at,
        "type": "requested",
        "actor": row["requester_id"],
        "details": canonical_json(vouched),
    }
    own |= {} if count is None else {"id": count}
    chain(row, [own])
    connection.execute(insert(requests), row)
    connection.execute(insert(events), own)


def store_customer_otherwise(
    connection: Connection, request_id: str, fields: Callable[[Row], Row]
) -> None:
    """Let an undecided request be as a version wrote it whose customers have other `fields`."""
    row, own = row_of(connection, request_id), events_of(connection, request_id)
    row["customer"] = canonical_json(fields(json.loads(row["customer"])))
    details = json.loads(own[0]["details"])
    posted = not details["row"].startswith(NOT_POSTED)
    details["row"] = fingerprint(row, posted=posted)
    own[0]["details"] = canonical_json(details)
    rewrite(connection, row, own)
