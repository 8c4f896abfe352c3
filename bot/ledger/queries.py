"""The ledger's SQL: functions that run inside a transaction that `store` began.

The statements are built at import, since building one costs more than running it.
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
ONE = select(requests).where(requests.c.id == bindparam("request_id"))
ONE_LOCKED = ONE.with_for_update()
SAVE = update(requests).where(requests.c.id == bindparam("request_id"))
EVENTS_OF = (
    select(events).where(events.c.request_id == bindparam("request_id")).order_by(events.c.number)
)
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
        requests.c.id != bindparam("request_id"),
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
        requests.c.id != bindparam("request_id"),
        requests.c.outcome.is_(None),
        requests.c.verdict.is_(None) | (requests.c.verdict == Verdict.CONFIRMED),
        requests.c.message_ts.is_not(None),
    )
    .limit(1)
)
LONGEST_DUE = select(func.min(requests.c.due_at)).where(requests.c.due_at.is_not(None))
WAITING = select(func.count()).where(requests.c.due_at.is_not(None), requests.c.verdict.is_(None))


def find(connection: Connection, request_id: str) -> Request | None:
    """The request as it is now, None if there is none."""
    row = connection.execute(ONE, {"request_id": request_id}).mappings().one_or_none()
    return request_of(row) if row else None


def add(connection: Connection, request: Request, new_event: NewEvent) -> Request:
    """Insert a request and its first event, which holds the fingerprint of the request's row."""
    row = request_row(request)
    fingerprinted = replace(new_event, details=new_event.details | {"row": fingerprint(row)})
    event = chained(request, fingerprinted)
    connection.execute(ADD, row | {"events": event.number, "head": event.hash})
    connection.execute(ADD_EVENT, event_row(event))
    return replace(request, events=event.number, head=event.hash)


def append(connection: Connection, request: Request, new_event: NewEvent) -> Request:
    """Append an event to a request's chain and save the request."""
    event = chained(request, new_event)
    connection.execute(ADD_EVENT, event_row(event))
    appended = replace(request, events=event.number, head=event.hash)
    save(connection, appended)
    return appended


def lock(connection: Connection, request_id: str) -> Request:
    """Read the request and lock its row until the transaction ends. Raises: KeyError."""
    row = connection.execute(ONE_LOCKED, {"request_id": request_id}).mappings().one_or_none()
    if row is None:
        raise KeyError(request_id)
    return request_of(row)


def was_overtaken(connection: Connection, request: Request) -> bool:
    """Whether a follow-up request was overtaken: see `store.Judge`."""
    if request.thread_ts == request.message_ts:
        # not a follow-up: the worker compares its ids with Fusebill's before each call
        return False
    if connection.dialect.name == "postgresql":
        # two follow-ups lock two different rows: without this lock neither would see the other
        customer_id = request.customer.customer_id
        connection.execute(select(func.pg_advisory_xact_lock(customer_id)))
    values = {
        "customer": request.customer.customer_id,
        "request_id": request.id,
        "since": request.asked_at,
    }
    return connection.execute(OVERTAKING, values).first() is not None


def save(connection: Connection, request: Request) -> None:
    """Save the columns of a request that may change."""
    connection.execute(SAVE, changing_row(request) | {"request_id": request.id})


def history_of(connection: Connection, request: Request) -> RequestHistory:
    """The request with all its events."""
    rows = connection.execute(EVENTS_OF, {"request_id": request.id}).mappings()
    return RequestHistory(request, tuple(map(event_of, rows)))
