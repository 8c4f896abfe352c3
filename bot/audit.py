"""Reads the ledger out, oldest first, and verifies that nobody rewrote it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Engine, RowMapping, Select, String, select, type_coerce

from bot.models import Outcome, Verdict
from bot.rows import digest, event_of
from bot.schema import events, requests

ROWS_AT_A_TIME = 1000
WIDTHS = {
    "at": 27,
    "customer_id": 12,
    "event": 15,
    "who": 12,
    "vid": 12,
    "company_id": 12,
    "why": 40,
    "kind": 8,
    "request_id": 32,
    "channel_id": 12,
}
COLUMNS = (*WIDTHS, "details")
# a spreadsheet takes a cell that begins so for a formula: owasp.org, "CSV Injection"
FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # the wide ones count too
# the times as they stand, so that one that is no time can be told of
STORED = (*(c for c in events.c if c.name != "at"), type_coerce(events.c.at, String).label("at"))

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events to read; None wants all. `until` is exclusive."""

    customer_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    who: str | None = None


def moment(value: str, *, end: bool = False) -> datetime:
    """An ISO 8601 date or time, UTC unless it says otherwise; the end of a date where `end`.

    Raises: ValueError.
    """
    try:
        day = date.fromisoformat(value)
    except ValueError:
        at = datetime.fromisoformat(value)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if end and day == date.max:
        raise ValueError("there is no day after this one")
    return datetime.combine(day, time(), UTC) + timedelta(days=1 if end else 0)


def read(engine: Engine, wanted: Wanted) -> Generator[Row, None, None]:
    """The events, oldest first, a thousand at a time however many there are."""
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(_query(wanted))
        yield from map(_readable, rows.mappings())


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """A JSON object a line, in ASCII: nothing in it can break the line or the encoding."""
    return (json.dumps(row) for row in rows)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """A header and a line an event (RFC 4180), safe to open in a spreadsheet."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _csv_line(COLUMNS)
        yield _csv_line([_defused(_cell(row[name])) for name in COLUMNS])


def as_table(rows: Iterable[Row]) -> Iterator[str]:
    """Columns for people."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _table_line({name: name.upper() for name in COLUMNS})
        yield _table_line({name: _cell(row[name]) for name in COLUMNS})


FORMS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    "json": as_json,
    "csv": as_csv,
    "table": as_table,
}


def verify(engine: Engine) -> Generator[str, None, None]:
    """The first row that was changed or is missing, of each request where one is."""
    own = (c.label(f"own_{c.name}") for c in requests.c)
    query = (
        select(*own, *STORED)
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
    with engine.connect() as connection:
        streaming = connection.execution_options(yield_per=ROWS_AT_A_TIME)
        rows = streaming.execute(query).mappings()
        for request_id, chain in groupby(rows, key=lambda row: row["own_id"]):
            yield from (f"request {request_id}{broken}" for broken in _broken(chain))
        for request_id in streaming.execute(orphans).scalars():
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
    if row is None or row["own_events"] > number:
        yield f", event {number + 1}: missing"
    elif row["own_events"] < number:
        yield f", event {row['own_events'] + 1}: added"
    elif row["own_head"] != previous:
        yield f", event {number}: changed"
    elif told != _kept(row):
        yield ": its own row was changed"


def _genuine(row: RowMapping) -> bool:
    try:
        event = replace(event_of(row), at=_time(row["at"]))
    except (ValueError, RecursionError):
        return False
    return bool(digest(event) == row["hash"])


def _told(row: RowMapping) -> dict[str, object]:
    """What an event says of its request's own row."""
    details = event_of(row).details
    if row["number"] == 1:
        about = ("kind", "customer_id", "channel_id", "reason", "vid", "company_id")
        told = {name: details.get(name) for name in about}
        return told | dict.fromkeys(("verdict", "decider_id", "outcome")) | {"by": row["actor"]}
    if row["type"] in set(Verdict):
        return {"verdict": row["type"], "decider_id": row["actor"] or None}
    return {"outcome": row["type"]} if row["type"] in set(Outcome) else {}


def _kept(row: RowMapping) -> dict[str, object]:
    """What a request's own row says of the same."""
    names = ("kind", "customer_id", "channel_id", "reason", "verdict", "decider_id", "outcome")
    ids: dict[str, object]
    try:
        ids = json.loads(row["own_customer"])["ids"]
    except (ValueError, RecursionError, LookupError, TypeError):
        ids = {"customer": "unreadable"}
    return {name: row[f"own_{name}"] for name in names} | ids | {"by": row["own_requester_id"]}


def _time(stored: object) -> datetime:
    """A time as the driver gives it. Raises: ValueError."""
    if isinstance(stored, datetime):
        return stored.astimezone(UTC)
    return datetime.fromisoformat(str(stored)).replace(tzinfo=UTC)


def _query(wanted: Wanted) -> Select[Any]:
    query = select(
        *STORED, requests.c.customer_id, requests.c.kind, requests.c.channel_id
    ).join_from(events, requests)
    if wanted.customer_id is not None:
        query = query.where(requests.c.customer_id == wanted.customer_id)
    if wanted.since is not None:
        query = query.where(events.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.at < wanted.until)
    if wanted.who is not None:
        query = query.where(events.c.actor == wanted.who)
    return query.order_by(events.c.id)


def _readable(row: RowMapping) -> Row:
    details = _details(row)
    return {
        "at": _iso(row["at"]),
        "customer_id": row["customer_id"],
        "event": row["type"],
        "who": row["actor"],
        "vid": details.pop("vid", None),
        "company_id": details.pop("company_id", None),
        "why": details.pop("why", "") or details.pop("reason", ""),
        "kind": row["kind"],
        "request_id": row["request_id"],
        "channel_id": row["channel_id"],
        "details": {k: v for k, v in details.items() if k not in row},
    }


def _details(row: RowMapping) -> dict[str, Any]:
    """An event's details; what was made unreadable is shown as it is, and `verify` names it."""
    try:
        details = json.loads(row["details"])
    except (ValueError, RecursionError):
        details = None
    return details if isinstance(details, dict) else {"unreadable": str(row["details"])}


def _iso(stored: object) -> str:
    try:
        return _time(stored).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except ValueError:
        return str(stored)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False) if value else None
    # a control character would act on the reader's terminal, or break the line
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for c in ("" if value is None else str(value))
    )


def _defused(cell: str) -> str:
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) else cell


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _table_line(cells: dict[str, str]) -> str:
    padded = [cells[name].ljust(width) for name, width in WIDTHS.items()]
    return "  ".join([*padded, cells["details"]]).rstrip()
