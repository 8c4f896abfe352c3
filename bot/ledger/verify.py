"""Verifies that nobody rewrote the ledger: the chain of each request's events, and its own row."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from sqlalchemy import Engine, RowMapping, select

from bot.domain.models import EventType, Outcome, Verdict
from bot.ledger.engine import streaming
from bot.ledger.hash_chain import digest, fingerprint
from bot.ledger.mapping import event_of, stored, time_of
from bot.ledger.schema import Moment, events, requests


def verify(engine: Engine) -> Generator[str, None, None]:
    """The first row that was changed or is missing, of each request where one is.

    Raises: LedgerUnavailable.
    """
    query = (
        select(*stored(requests, "own_"), *stored(events))
        .select_from(requests.outerjoin(events))
        .order_by(requests.c.id, events.c.number)
    )
    orphans = (
        select(events.c.request_id)
        .select_from(events.outerjoin(requests))
        .where(requests.c.id.is_(None))
        .distinct()
        .order_by(events.c.request_id)
    )
    with streaming(engine) as connection:
        rows = connection.execute(query).mappings()
        for request_id, chain in groupby(rows, key=lambda row: row["own_id"]):
            yield from (f"request {request_id}{broken}" for broken in _broken(chain))
        for request_id in connection.execute(orphans).scalars():
            yield f"request {request_id}: its own row is missing"


def _broken(chain: Iterable[RowMapping]) -> Iterator[str]:
    """What is wrong with one request's events, or with its own row, if anything."""
    number, previous, told, row = 0, "", dict[str, object](), None
    for row in chain:
        if row["request_id"] is None:
            break
        number += 1
        if row["number"] != number:
            yield f", event {number}: missing"
            return
        if not _genuine(row):
            yield f", event {number}: changed"
            return
        if row["previous"] != previous:
            # this one's own hash is right: the one before was changed and hashed anew
            yield f", event {max(1, number - 1)}: changed"
            return
        previous = row["hash"]
        told |= _told(row)
    if row is None or row["own_events"] != number:
        added = row is not None and row["own_events"] in range(number)
        first = row["own_events"] if row is not None and added else number
        yield f", event {first + 1}: {'added' if added else 'missing'}"
    elif row["own_head"] != previous:
        yield f", event {number}: changed"
    elif told != _kept(row, told):
        yield ": its own row was changed"


def _genuine(row: RowMapping) -> bool:
    try:
        event = replace(event_of(row), at=time_of(row["at"]))
    except (ValueError, TypeError, RecursionError):
        return False
    return bool(digest(event) == row["hash"])


def _told(row: RowMapping) -> dict[str, object]:
    """What an event says of its request's own row."""
    details, at = event_of(row).details, time_of(row["at"])
    if row["number"] == 1:
        # a card that nobody has decided waits until it expires, and for no longer
        waits = row["type"] == EventType.REQUESTED
        nothing = ("verdict", "decider_id", "decided_at", "outcome", "settled_at", "undone_by")
        return {"row": details.get("row"), "waits": waits} | dict.fromkeys(nothing)
    if row["type"] in set(Verdict):
        who = row["actor"] or None
        return {"verdict": row["type"], "decider_id": who, "decided_at": at, "waits": False}
    if row["type"] in set(Outcome):
        return {"outcome": row["type"], "settled_at": at}
    return {"undone_by": details.get("by_request")} if row["type"] == EventType.UNDONE else {}


def _kept(row: RowMapping, told: Iterable[str]) -> dict[str, object]:
    """What a request's own row says of the same; empty where it can't be read."""
    try:
        own = {c.name: _own(row[f"own_{c.name}"], c.type) for c in requests.c}
    except ValueError:
        return {}
    waits = own["verdict"] is None and own["due_at"] is not None
    if waits and own["due_at"] != own["expires_at"]:
        return {}
    kept = own | {"row": fingerprint(own), "waits": waits}
    return {name: kept[name] for name in told}


def _own(stored: object, kind: object) -> object:
    return time_of(stored) if isinstance(kind, Moment) and stored is not None else stored
