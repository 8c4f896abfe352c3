"""Exports the ledger's events as JSON, CSV or a table, oldest first."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Engine, RowMapping, Select, and_, or_, select

from bot.domain.models import EventType
from bot.ledger.database.engine import streaming
from bot.ledger.rows import stored, time_of
from bot.ledger.same_customer import IS_TO_BE_EXECUTED
from bot.ledger.tables import card_id_of_row, events, requests

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
    "card_id": 32,
}
COLUMNS = (*WIDTHS, "details")
# a spreadsheet takes a cell that begins like this for a formula: owasp.org, "CSV Injection"
FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # the wide ones count too
# some spreadsheets split at semicolons, so the text after one can also begin a cell
AFTER_SEMICOLON = re.compile(rf"(;\s*)(?=[{re.escape(''.join(FORMULA))}])")

OF_THE_CARD = (EventType.STOP_REQUESTED, EventType.DECISION_DENIED, EventType.DELIVERY_FAILED)
"""Events about all customers of a card; only its first request has them."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events to read; None means all. `until` is exclusive.

    `customer_id` includes what was done about all customers of a card with this one.

    `who` is the id of a user: all events of the cards in which this person had a part, since what
    came of a confirmation has no actor. `unfinished` are requests that were confirmed and have no
    outcome yet.
    """

    customer_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    who: str | None = None
    unfinished: bool = False


def moment(value: str, *, end: bool = False) -> datetime:
    """Parse an ISO 8601 date or time, by default in UTC; with `end`, a date means its end.

    Raises: ValueError.
    """
    try:
        day = date.fromisoformat(value)
    except ValueError:
        at = datetime.fromisoformat(value)
        return _in_utc(at) if at.tzinfo else at.replace(tzinfo=UTC)
    if end and day == date.max:
        raise ValueError("there is no day after this one")
    return datetime.combine(day, time(), UTC) + timedelta(days=1 if end else 0)


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time in UTC") from None


def read(engine: Engine, wanted: Filter) -> Generator[Row, None, None]:
    """The events, oldest first, fetched a thousand at a time.

    Raises: LedgerUnavailable.
    """
    with streaming(engine) as connection:
        rows = connection.execute(_query(wanted))
        yield from map(_row, rows.mappings())


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object per line, in ASCII, so that no value can break the line or the encoding."""
    return (json.dumps(row, default=str) for row in rows)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """A header and one line per event (RFC 4180), safe to open in a spreadsheet."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _csv_line(COLUMNS)
        yield _csv_line([_escape_formula(_cell(row[name])) for name in COLUMNS])


def as_table(rows: Iterable[Row]) -> Iterator[str]:
    """A header and one line per event, in aligned columns."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _table_line({name: name.upper() for name in COLUMNS})
        yield _table_line({name: _cell(row[name]) for name in COLUMNS})


FORMS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    "json": as_json,
    "csv": as_csv,
    "table": as_table,
}


def _query(wanted: Filter) -> Select[Any]:
    query = select(
        *stored(events),
        requests.c.customer_id,
        requests.c.kind,
        requests.c.channel_id,
        card_id_of_row.label("card_id"),
    ).join_from(events, requests)
    if wanted.customer_id is not None:
        own = requests.c.customer_id == wanted.customer_id
        about_all = and_(requests.c.position == 1, events.c.type.in_(OF_THE_CARD))
        on_card = card_id_of_row.in_(select(card_id_of_row).where(own))
        query = query.where(or_(own, and_(about_all, on_card)))
    if wanted.since is not None:
        query = query.where(events.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.at < wanted.until)
    if wanted.who is not None:
        parts = select(card_id_of_row).join_from(events, requests)
        query = query.where(card_id_of_row.in_(parts.where(events.c.actor == wanted.who)))
    if wanted.unfinished:
        query = query.where(IS_TO_BE_EXECUTED)
    return query.order_by(events.c.at, events.c.id)


def _row(row: RowMapping) -> Row:
    details = _details(row)
    # only `verify` uses them
    details.pop("row", None)
    details.pop("card", None)
    return {
        "at": _iso(row["at"]),
        # a denied search has no customer
        "customer_id": row["customer_id"] or None,
        "event": row["type"],
        "who": row["actor"],
        "vid": details.pop("vid", None),
        "company_id": details.pop("company_id", None),
        "why": details.pop("why", "") or details.pop("reason", ""),
        "kind": row["kind"],
        "request_id": row["request_id"],
        "channel_id": row["channel_id"],
        "card_id": row["card_id"],
        "details": {k: v for k, v in details.items() if k not in row},
    }


def _details(row: RowMapping) -> dict[str, Any]:
    """An event's details; unreadable ones are shown as stored, and `verify` reports them."""
    try:
        details = json.loads(row["details"])
    except (ValueError, RecursionError):
        details = None
    return details if isinstance(details, dict) else {"unreadable": str(row["details"])}


def _iso(stored: object) -> str:
    try:
        return time_of(stored).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except ValueError:
        return str(stored)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False) if value else None
    # a control character could act on the terminal or break the line
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for c in ("" if value is None else str(value))
    )


def _escape_formula(cell: str) -> str:
    cell = AFTER_SEMICOLON.sub(r"\1'", cell)
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) else cell


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _table_line(cells: dict[str, str]) -> str:
    padded = [cells[name].ljust(width) for name, width in WIDTHS.items()]
    return "  ".join([*padded, cells["details"]]).rstrip()
