"""Exports the ledger's events, or a line for each request, as JSON, CSV or a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Engine, RowMapping, Select, and_, or_, select

from bot.domain.models import EventType
from bot.domain.values import value
from bot.ledger.audit.verify import columns, object_of, time_of
from bot.ledger.database.engine import streaming
from bot.ledger.people import name_at
from bot.ledger.same_customer import IS_TO_BE_EXECUTED
from bot.ledger.tables import card_id_of_row, events, requests
from bot.ledger.witness import MESSAGE

BOM = "\ufeff"
"""Without it, spreadsheets read UTF-8 as the letters of a Western code page."""
MAX_LINE = 200
WIDTHS = {
    "at": 19,
    "customer_id": 11,
    "customer": 22,
    "event": 15,
    "who": 11,
    "who_name": 14,
    "vid": 12,
    "company_id": 12,
    "result": 16,
    "asked_by": 11,
    "asked_by_name": 14,
    "decided_by": 11,
    "decided_by_name": 15,
    "request_id": 32,
}
"""The table's columns, cut to these; what has none and is not at its end is in JSON and CSV."""
AT_THE_END = ("why", "details")
# a spreadsheet takes a cell that begins like this for a formula: owasp.org, "CSV Injection"
FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # the wide ones count too
# some spreadsheets split at semicolons, so the text after one can also begin a cell
AFTER_SEMICOLON = re.compile(rf"(;\s*)(?=[{re.escape(''.join(FORMULA))}])")

OF_THE_CARD = (EventType.STOP_REQUESTED, EventType.DECISION_DENIED, EventType.DELIVERY_FAILED)
"""Events about all customers of a card; only its first request has them."""

Row = dict[str, Any]


@value
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


def read(engine: Engine, wanted: Filter) -> Generator[Row, None, None]:
    """The events, oldest first, fetched a thousand at a time. Raises: LedgerUnavailable."""
    with streaming(engine) as connection:
        yield from map(_event, connection.execute(_events(wanted)).mappings())


def summary(engine: Engine, wanted: Filter) -> Generator[Row, None, None]:
    """The requests, oldest first: what came of each, who asked and who decided.

    Raises: LedgerUnavailable.
    """
    with streaming(engine) as connection:
        yield from map(_request, connection.execute(_requests(wanted)).mappings())


def heads(engine: Engine) -> Generator[Row, None, None]:
    """The last hash of each request, in the form of the log line that `comparison` reads.

    Raises: LedgerUnavailable.
    """
    query = select(requests.c.id, requests.c.events, requests.c.head).order_by(requests.c.id)
    with streaming(engine) as connection:
        for request_id, number, head in connection.execute(query):
            yield {"event": MESSAGE, "request_id": request_id, "number": number, "hash": head}


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object per line, in ASCII, so that no value can break the line or the encoding."""
    return (json.dumps(row, default=str) for row in rows)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """A header and one line for each row (RFC 4180), safe to open in a spreadsheet."""
    for number, row in enumerate(rows):
        if number == 0:
            yield BOM + _csv_line(row)
        yield _csv_line(_escape_formula(_cell(value)) for value in row.values())


def as_table(rows: Iterable[Row]) -> Iterator[str]:
    """A header and one line for each row, in aligned columns, cut where it would be too long."""
    for number, row in enumerate(rows):
        if number == 0:
            yield _table_line({name: name.upper() for name in row} | {"at": "AT (UTC)"})
        cells = {name: _cell(value) for name, value in row.items()}
        yield _table_line(cells | {"at": cells["at"][:19].replace("T", " ")})


FORMS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    "json": as_json,
    "csv": as_csv,
    "table": as_table,
    "heads": as_json,
}


_ENDS = (EventType.UNDONE, EventType.LATCHED_AGAIN, EventType.CUSTOMER_GONE)
"""What may happen to a customer after the outcome of its request."""


def _events(wanted: Filter) -> Select[Any]:
    query = select(
        *columns(events),
        requests.c.customer_id,
        requests.c.customer,
        requests.c.kind,
        requests.c.channel_id,
        card_id_of_row.label("card_id"),
        name_at(events.c.actor, events.c.at).label("who_name"),
    ).join_from(events, requests)
    if wanted.customer_id is not None:
        own = requests.c.customer_id == wanted.customer_id
        about_all = and_(requests.c.position == 1, events.c.type.in_(OF_THE_CARD))
        on_card = card_id_of_row.in_(select(card_id_of_row).where(own))
        query = query.where(or_(own, and_(about_all, on_card)))
    return query.where(*_that_fit(wanted, events.c.at)).order_by(events.c.at, events.c.id)


def _requests(wanted: Filter) -> Select[Any]:
    of_it = select(events.c.type).where(events.c.request_id == requests.c.id)
    since = of_it.where(events.c.type.in_(_ENDS)).order_by(events.c.number.desc()).limit(1)
    query = select(
        *columns(requests),
        card_id_of_row.label("of_card"),
        name_at(requests.c.requester_id, requests.c.asked_at).label("asked_by_name"),
        name_at(requests.c.decider_id, requests.c.decided_at).label("decided_by_name"),
        of_it.where(events.c.number == requests.c.events).scalar_subquery().label("last"),
        since.scalar_subquery().label("since"),
    )
    if wanted.customer_id is not None:
        query = query.where(requests.c.customer_id == wanted.customer_id)
    found = query.where(*_that_fit(wanted, requests.c.asked_at))
    return found.order_by(requests.c.asked_at, card_id_of_row, requests.c.position)


def _that_fit(wanted: Filter, at: Column[datetime]) -> Iterator[ColumnElement[bool]]:
    if wanted.since is not None:
        yield at >= wanted.since
    if wanted.until is not None:
        yield at < wanted.until
    if wanted.who is not None:
        parts = select(card_id_of_row).join_from(events, requests)
        yield card_id_of_row.in_(parts.where(events.c.actor == wanted.who))
    if wanted.unfinished:
        yield IS_TO_BE_EXECUTED


def _event(row: RowMapping) -> Row:
    details = object_of(row["details"])
    if details is None:
        # `verify` reports it
        details = {"unreadable": str(row["details"])}
    # only `verify` uses them
    details.pop("row", None)
    details.pop("card", None)
    return {
        "at": _iso(row["at"]),
        # a denied search has no customer
        "customer_id": row["customer_id"] or None,
        "customer": _name(row["customer"]),
        "event": row["type"],
        "who": row["actor"],
        "who_name": row["who_name"] or "",
        "vid": details.pop("vid", None),
        "company_id": details.pop("company_id", None),
        "why": details.pop("why", "") or details.pop("reason", ""),
        "kind": row["kind"],
        "request_id": row["request_id"],
        "channel_id": row["channel_id"],
        "card_id": row["card_id"],
        "details": {k: v for k, v in details.items() if k not in row},
    }


def _request(row: RowMapping) -> Row:
    return {
        "at": _iso(row["asked_at"]),
        "customer_id": row["customer_id"] or None,
        "customer": _name(row["customer"]),
        "kind": row["kind"],
        "result": _result(row),
        "asked_by": row["requester_id"],
        "asked_by_name": row["asked_by_name"] or "",
        "decided_by": row["decider_id"] or "",
        "decided_by_name": row["decided_by_name"] or "",
        "why": row["reason"],
        "request_id": row["id"],
        "channel_id": row["channel_id"],
        "card_id": row["of_card"],
    }


def _result(row: RowMapping) -> str:
    if row["outcome"] and row["since"]:
        return f"{row['outcome']}, {row['since']}"
    # what has no verdict and is not open was refused, or could not be posted
    ended = row["outcome"] or row["verdict"]
    return str(ended or ("waiting" if row["is_open"] else row["last"]))


def _name(customer: str) -> str:
    """A customer's name as its request keeps it, from when it was read; empty if it has none."""
    found = object_of(customer) or {}
    return str(found.get("company_name") or found.get("name") or "")


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
    shown = [
        _cut(cells[name], width).ljust(width) for name, width in WIDTHS.items() if name in cells
    ]
    rest = (cells[name] for name in AT_THE_END if cells.get(name))
    return _cut("  ".join([*shown, *rest]).rstrip(), MAX_LINE)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
