"""The ledger's queries, each run on the connection of a transaction that `store` began.

The statements are built once: building one costs more than running it.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, bindparam, func, insert, select, update

from bot.domain.meanings import OUTCOMES
from bot.domain.models import NewEvent, Request, RequestHistory, Verdict
from bot.ledger.hash_chain import chained, fingerprint
from bot.ledger.mapping import changing_row, event_of, event_row, request_of, request_row
from bot.ledger.schema import events, requests

OVERDUE_AT_A_TIME = 100
EFFECTIVE = [outcome for outcome, meaning in OUTCOMES.items() if meaning.effective]

ADD = insert(requests)
ADD_EVENT = insert(events)
ONE = select(requests).where(requests.c.id == bindparam("of"))
ONE_LOCKED = ONE.with_for_update()
SAVE = update(requests).where(requests.c.id == bindparam("of"))
EVENTS_OF = select(events).where(events.c.request_id == bindparam("of")).order_by(events.c.number)
OVERDUE = (
    select(requests)
    .where(requests.c.due_at <= bindparam("now"))
    .order_by(requests.c.due_at)
    .limit(OVERDUE_AT_A_TIME)
)
OVERTAKING = (
    select(requests.c.id)
    .where(
        requests.c.customer_id == bindparam("customer"),
        requests.c.id != bindparam("of"),
        requests.c.verdict == Verdict.CONFIRMED,
        requests.c.decided_at > bindparam("since"),
        requests.c.outcome.is_(None) | requests.c.outcome.in_(EFFECTIVE),
    )
    .limit(1)
)
FOLLOW_UP = (
    select(requests)
    .where(
        requests.c.customer_id == bindparam("customer"),
        requests.c.channel_id == bindparam("channel"),
        requests.c.thread_ts == bindparam("thread"),
        requests.c.id != bindparam("of"),
        requests.c.outcome.is_(None),
        requests.c.verdict.is_(None) | (requests.c.verdict == Verdict.CONFIRMED),
        requests.c.message_ts.is_not(None),
    )
    .limit(1)
)
WAITING = select(func.count()).where(requests.c.due_at.is_not(None), requests.c.verdict.is_(None))


def found(connection: Connection, request_id: str) -> Request | None:
    """The request as it is now, None where there is none."""
    row = connection.execute(ONE, {"of": request_id}).mappings().one_or_none()
    return request_of(row) if row else None


def add(connection: Connection, request: Request, new_event: NewEvent) -> Request:
    """Write a new request down with its first event, which vouches for the request's row."""
    row = request_row(request)
    vouching = replace(new_event, details=new_event.details | {"row": fingerprint(row)})
    event = chained(request, vouching)
    connection.execute(ADD, row | {"events": event.number, "head": event.hash})
    connection.execute(ADD_EVENT, event_row(event))
    return replace(request, events=event.number, head=event.hash)


def append(connection: Connection, request: Request, new_event: NewEvent) -> Request:
    """Add an event to a request's chain, and save the request with it."""
    event = chained(request, new_event)
    connection.execute(ADD_EVENT, event_row(event))
    appended = replace(request, events=event.number, head=event.hash)
    save(connection, appended)
    return appended


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


def history_of(connection: Connection, request: Request) -> RequestHistory:
    """The request with all its events."""
    rows = connection.execute(EVENTS_OF, {"of": request.id}).mappings()
    return RequestHistory(request, tuple(map(event_of, rows)))
