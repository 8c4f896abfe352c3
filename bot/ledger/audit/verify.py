"""Verifies that nobody changed the ledger: each request's chain of events, and its own row.

What a hash vouches for is the text as stored. Nothing here is made anew from today's classes, so a
row of an older or a newer version, whose customer has other fields, is as sound as one of today's.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    RowMapping,
    String,
    Table,
    cast,
    func,
    or_,
    select,
)

from bot.domain.models import EventType, Outcome, Verdict
from bot.ledger.database.engine import streaming
from bot.ledger.hash_chain import (
    NOT_POSTED,
    digest,
    fingerprint,
    place_on_card,
)
from bot.ledger.tables import Moment, card_id_of_row, events, requests


def verify(engine: Engine) -> Generator[str, None, None]:
    """Yield one line for each broken request: the first row that was changed, added or removed.

    Raises: LedgerUnavailable.
    """
    query = (
        select(*columns(requests, "own_"), *columns(events))
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
    sizes = func.min(requests.c.card_size), func.max(requests.c.card_size)
    miscounted = (
        select(card_id_of_row.label("card_id"), func.count(), *sizes)
        .group_by(card_id_of_row)
        .having(or_(*(func.count() != each for each in sizes)))
        .order_by(card_id_of_row)
    )
    with streaming(engine) as connection:
        rows = connection.execute(query).mappings()
        for request_id, chain in groupby(rows, key=lambda row: row["own_id"]):
            yield from (f"request {request_id}{problem}" for problem in _problems(chain))
        for request_id in connection.execute(orphans).scalars():
            yield f"request {request_id}: its own row is missing"
        for card_id, found, smallest, largest in connection.execute(miscounted):
            added = found > smallest
            problem = f"{found} requests are on it, not {smallest}"
            missing = f"{found} of its {largest} requests are there"
            yield f"card {card_id}: {problem if added else missing}"


def size(engine: Engine) -> str:
    """How much there is to verify, in words. Raises: LedgerUnavailable."""
    with streaming(engine) as connection:
        numbers = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (requests, events)
        ]
    return f"requests: {numbers[0]}, events: {numbers[1]}"


def _problems(chain: Iterable[RowMapping]) -> Iterator[str]:
    """The first problem with one request's events or its own row, if there is one."""
    number, previous, expected, row = 0, "", dict[str, object](), None
    for row in chain:
        if row["request_id"] is None:
            break
        number += 1
        if row["number"] != number:
            yield f", event {number}: missing"
            return
        if not _is_unchanged(row):
            yield f", event {number}: changed"
            return
        if row["previous"] != previous:
            # this event's own hash is right: the one before was changed and rehashed
            yield f", event {max(1, number - 1)}: changed"
            return
        previous = row["hash"]
        if row["type"] not in set(EventType):
            # a newer version wrote it, and may have changed the row in ways of its own
            expected = {"row": expected.get("row")}
        else:
            expected |= _expected(row)
    # each request has its first event from the start
    if row is None or number == 0 or row["own_events"] != number:
        added = row is not None and row["own_events"] in range(number)
        first = row["own_events"] if row is not None and added else number
        yield f", event {first + 1}: {'added' if added else 'missing'}"
    elif row["own_head"] != previous:
        yield f", event {number}: changed"
    elif expected != _actual(row, expected):
        yield ": its own row was changed"


def _is_unchanged(row: RowMapping) -> bool:
    try:
        right = digest(dict(row) | {"at": time_of(row["at"])})
        return right == row["hash"] and object_of(row["details"]) is not None
    except (ValueError, TypeError, RecursionError):
        return False


def _expected(row: RowMapping) -> dict[str, object]:
    """The values that an event implies for its request's own row."""
    details, at = object_of(row["details"]) or {}, time_of(row["at"])
    if row["number"] == 1:
        waits = row["type"] == EventType.REQUESTED
        names = "verdict decider_id decider_team_id decided_at outcome settled_at undone_by"
        empty = names.split()
        # version 0.1.0 wrote no place: each of its requests is a card of its own
        place = details.get("card", [row["own_id"], 1, 1])
        return {"row": details.get("row"), "waits": waits, "card": place} | dict.fromkeys(empty)
    if row["type"] in set(Verdict):
        who = row["actor"] or None
        # version 0.1.0 did not write the team into the event
        team = details.get("team", row["own_decider_team_id"]) if who else None
        decided = {
            "verdict": row["type"],
            "decider_id": who,
            "decider_team_id": team,
            "decided_at": at,
            "waits": False,
        }
        return decided | _vouched(details)
    if row["type"] == EventType.POSTED:
        return _vouched(details)
    if row["type"] == EventType.DELIVERY_FAILED:
        return {"waits": False}
    if row["type"] in set(Outcome):
        return {"outcome": row["type"], "settled_at": at}
    return {"undone_by": details.get("by_request")} if row["type"] == EventType.UNDONE else {}


def _vouched(details: dict[str, object]) -> dict[str, object]:
    """The fingerprint of the whole row, where the event holds one: version 0.1 wrote none."""
    return {"row": details["row"]} if "row" in details else {}


def _actual(row: RowMapping, expected: Mapping[str, object]) -> dict[str, object]:
    """The same values from the request's own row; empty if it can't be read."""
    try:
        own = {c.name: _parsed(row[f"own_{c.name}"], c.type) for c in requests.c}
    except ValueError:
        return {}
    posted = not str(expected.get("row")).startswith(NOT_POSTED)
    card_id, *place = place_on_card(own)
    vouched = {"row": fingerprint(own, posted=posted), "card": [card_id or own["id"], *place]}
    actual = own | vouched | {"waits": bool(own["is_open"])}
    return {name: actual[name] for name in expected}


def _parsed(value: object, kind: object) -> object:
    return time_of(value) if isinstance(kind, Moment) and value is not None else value


def columns(table: Table, prefix: str = "") -> Iterator[ColumnElement[Any]]:
    """The columns, times as text."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


def time_of(stored: object) -> datetime:
    """Parse a time; UTC if it has no zone. Raises: ValueError."""
    moment = datetime.fromisoformat(str(stored))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def object_of(stored: str | bytes) -> dict[str, Any] | None:
    """Parse a JSON object; None if it is none."""
    try:
        found = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
