"""Reads the ledger out, oldest first, and verifies that nobody rewrote it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    String,
    Table,
    cast,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from bot.database import LedgerUnavailable, reason
from bot.models import EventType, Outcome, Verdict
from bot.rows import FIXED, digest, event_of, identity
from bot.schema import Moment, events, requests

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
# some spreadsheets split at the semicolon, and then what follows it begins a cell
BEHIND_SEMICOLON = re.compile(rf"(;\s*)(?=[{re.escape(''.join(FORMULA))}])")

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
    """The events, oldest first, a thousand at a time however many there are.

    Raises: LedgerUnavailable.
    """
    with _streaming(engine) as connection:
        rows = connection.execute(_query(wanted))
        yield from map(_readable, rows.mappings())


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """A JSON object a line, in ASCII: nothing in it can break the line or the encoding."""
    return (json.dumps(row, default=str) for row in rows)


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
    """The first row that was changed or is missing, of each request where one is.

    Raises: LedgerUnavailable.
    """
    query = (
        select(*_stored(requests, "own_"), *_stored(events))
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
    with _streaming(engine) as connection:
        rows = connection.execute(query).mappings()
        for request_id, chain in groupby(rows, key=lambda row: row["own_id"]):
            yield from (f"request {request_id}{broken}" for broken in _broken(chain))
        for request_id in connection.execute(orphans).scalars():
            yield f"request {request_id}: its own row is missing"


@contextmanager
def _streaming(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection.execution_options(yield_per=ROWS_AT_A_TIME)
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def _stored(table: Table, prefix: str = "") -> Iterator[ColumnElement[Any]]:
    """Columns as they stand, times as texts: one that is no time must not stop the reading."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


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
        event = replace(event_of(row), at=_time(row["at"]))
    except (ValueError, TypeError, RecursionError):
        return False
    return bool(digest(event) == row["hash"])


def _told(row: RowMapping) -> dict[str, object]:
    """What an event says of its request's own row."""
    details, at = event_of(row).details, _time(row["at"])
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
    kept = own | {"row": identity({name: own[name] for name in FIXED}), "waits": waits}
    return {name: kept[name] for name in told}


def _own(stored: object, kind: object) -> object:
    return _time(stored) if isinstance(kind, Moment) and stored is not None else stored


def _time(stored: object) -> datetime:
    """A time as the driver gives it. Raises: ValueError."""
    if isinstance(stored, datetime):
        return stored.astimezone(UTC)
    return datetime.fromisoformat(str(stored)).replace(tzinfo=UTC)


def _query(wanted: Wanted) -> Select[Any]:
    query = select(
        *_stored(events), requests.c.customer_id, requests.c.kind, requests.c.channel_id
    ).join_from(events, requests)
    if wanted.customer_id is not None:
        query = query.where(requests.c.customer_id == wanted.customer_id)
    if wanted.since is not None:
        query = query.where(events.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.at < wanted.until)
    if wanted.who is not None:
        query = query.where(events.c.actor == wanted.who)
    return query.order_by(events.c.at, events.c.id)


def _readable(row: RowMapping) -> Row:
    details = _details(row)
    # for `verify` alone
    details.pop("row", None)
    return {
        "at": _iso(row["at"]),
        # a refused search is about no customer
        "customer_id": row["customer_id"] or None,
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
    cell = BEHIND_SEMICOLON.sub(r"\1'", cell)
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) else cell


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _table_line(cells: dict[str, str]) -> str:
    padded = [cells[name].ljust(width) for name, width in WIDTHS.items()]
    return "  ".join([*padded, cells["details"]]).rstrip()
