"""What one transaction does with a request's rows; the ledger says which and when."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, func, select

from bot.models import Event, Happening, Request, Trail
from bot.rows import (
    changing_row,
    digest,
    event_of,
    event_row,
    identity,
    request_of,
    request_row,
)
from bot.statements import ADD, ADD_EVENT, EVENTS_OF, ONE, ONE_LOCKED, OVERTAKING, SAVE


def found(connection: Connection, request_id: str) -> Request | None:
    """The request as it is now, None where there is none."""
    row = connection.execute(ONE, {"of": request_id}).mappings().one_or_none()
    return request_of(row) if row else None


def add(connection: Connection, request: Request, happening: Happening) -> Request:
    """Write a new request down with its first event, which vouches for the request's row."""
    row = request_row(request)
    vouching = replace(happening, details=happening.details | {"row": identity(row)})
    event = _chained(request, vouching)
    connection.execute(ADD, row | {"events": event.number, "head": event.hash})
    connection.execute(ADD_EVENT, event_row(event))
    return replace(request, events=event.number, head=event.hash)


def append(connection: Connection, request: Request, happening: Happening) -> Request:
    """Add an event to a request's chain, and save the request with it."""
    event = _chained(request, happening)
    connection.execute(ADD_EVENT, event_row(event))
    appended = replace(request, events=event.number, head=event.hash)
    save(connection, appended)
    return appended


def _chained(request: Request, happening: Happening) -> Event:
    event = Event(
        request_id=request.id,
        number=request.events + 1,
        at=happening.at,
        type=happening.type,
        actor=happening.actor,
        details=happening.details,
        previous=request.head,
    )
    return replace(event, hash=digest(event))


def locked(connection: Connection, request_id: str) -> Request:
    """The request, which nobody else can change before this transaction ends. Raises: KeyError."""
    row = connection.execute(ONE_LOCKED, {"of": request_id}).mappings().one_or_none()
    if row is None:
        raise KeyError(request_id)
    return request_of(row)


def was_overtaken(connection: Connection, request: Request) -> bool:
    """Whether a request that follows another came too late: see `ledger.Judge`."""
    if request.thread_ts == request.message_ts:
        # it follows no other: what it found is compared with what there is before each call
        return False
    if connection.dialect.name == "postgresql":
        # two that follow the same one are two rows: one after the other, or neither sees the other
        customer_id = request.customer.customer_id
        connection.execute(select(func.pg_advisory_xact_lock(customer_id)))
    values = {
        "customer": request.customer.customer_id,
        "of": request.id,
        "since": request.asked_at,
    }
    return connection.execute(OVERTAKING, values).first() is not None


def save(connection: Connection, request: Request) -> None:
    """Save what of a request may change."""
    connection.execute(SAVE, changing_row(request) | {"of": request.id})


def trail_of(connection: Connection, request: Request) -> Trail:
    """The request with all its events."""
    rows = connection.execute(EVENTS_OF, {"of": request.id}).mappings()
    return Trail(request, tuple(map(event_of, rows)))
