"""The ledger's SQL: functions that run inside a transaction that `store` began.

The statements are built at import, since building one costs more than running it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, case, false, func, insert, select, update

from bot.domain.meanings import OUTCOMES
from bot.domain.models import EventType, NewEvent, Outcome, Request, RequestHistory, Verdict
from bot.ledger.hash_chain import chained, fingerprint
from bot.ledger.mapping import changing_row, event_of, event_row, request_of, request_row
from bot.ledger.schema import events, requests

OVERDUE_AT_A_TIME = 100
MAX_PAUSE = timedelta(hours=1)
"""No retry in Slack is put off for longer."""
# an outcome that only a newer version knows may have changed the customer
HARMLESS = [outcome for outcome, meaning in OUTCOMES.items() if not meaning.effective]

ADD = insert(requests)
ADD_EVENT = insert(events)
ONE = select(requests).where(requests.c.id == bindparam("request_id"))
ONE_LOCKED = ONE.with_for_update()
SAVE = update(requests).where(requests.c.id == bindparam("request_id"))
EVENTS_OF = (
    select(events).where(events.c.request_id == bindparam("request_id")).order_by(events.c.number)
)
WAITS_FOR_RECHECK = func.coalesce(requests.c.outcome == Outcome.CLEARED, false())
"""A recheck may be a week away, and a clock that was set back puts it off by as much."""
OVERDUE = (
    select(requests)
    .where(
        (requests.c.due_at <= bindparam("now"))
        # the clock was set back: see `is_overdue`
        | (
            (requests.c.due_at > bindparam("too_far"))
            & (
                (requests.c.verdict.is_(None) & (requests.c.asked_at > bindparam("soon")))
                | ((requests.c.verdict == Verdict.CONFIRMED) & requests.c.outcome.is_(None))
                | (
                    (requests.c.due_at > bindparam("beyond_any_pause"))
                    & requests.c.verdict.is_not(None)
                    & ~WAITS_FOR_RECHECK
                )
            )
        )
    )
    .order_by(requests.c.due_at)
    .limit(OVERDUE_AT_A_TIME)
)
OTHERS = (
    select(requests)
    .where(
        requests.c.customer_id == bindparam("customer"),
        requests.c.id != bindparam("request_id"),
        requests.c.verdict == Verdict.CONFIRMED,
        requests.c.outcome.is_(None)
        | (
            requests.c.outcome.not_in(HARMLESS)
            & (func.coalesce(requests.c.settled_at, requests.c.decided_at) > bindparam("since"))
        ),
    )
    .order_by(func.coalesce(requests.c.settled_at, requests.c.decided_at).desc())
)
UNFINISHED = select(func.count()).where(
    requests.c.id.in_(bindparam("request_ids", expanding=True)),
    requests.c.verdict == Verdict.CONFIRMED,
    requests.c.outcome.is_(None),
)
FOLLOW_UP = (
    select(requests)
    .where(
        requests.c.customer_id == bindparam("customer"),
        requests.c.channel_id == bindparam("channel"),
        requests.c.thread_ts == bindparam("thread"),
        requests.c.id != bindparam("request_id"),
        # not the request that the thread belongs to
        requests.c.message_ts.is_(None) | (requests.c.message_ts != requests.c.thread_ts),
        requests.c.outcome.is_(None),
        requests.c.verdict.is_(None) | (requests.c.verdict == Verdict.CONFIRMED),
        # a refused request, which has no card, is never due
        requests.c.due_at.is_not(None),
    )
    .limit(1)
)
TAKE_THREAD = (
    update(requests)
    .where(
        requests.c.id == bindparam("request_id"),
        requests.c.posting_until.is_(None)
        | (requests.c.posting_until <= bindparam("now"))
        | (requests.c.posting_until > bindparam("too_far")),
    )
    .values(posting_until=bindparam("until"))
)
LEAVE_THREAD = (
    update(requests)
    .where(requests.c.id == bindparam("request_id"))
    .values(
        posting_until=None,
        mirrored_through=case(
            (requests.c.mirrored_through < bindparam("shown"), bindparam("shown")),
            else_=requests.c.mirrored_through,
        ),
    )
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
    # a refusal never gets a card
    posted = request.message_ts is not None or new_event.type is not EventType.REQUESTED
    details = new_event.details | {"row": fingerprint(row, posted=posted)}
    fingerprinted = replace(new_event, details=details)
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


def lock_customer(connection: Connection, request: Request) -> None:
    """Make other transactions about the same customer wait; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        customer_id = request.customer.customer_id
        connection.execute(select(func.pg_advisory_xact_lock(customer_id)))


def others_since(connection: Connection, request: Request, since: datetime) -> list[Request]:
    """What else was done for the customer after `since` or is being done, latest first."""
    values = {
        "customer": request.customer.customer_id,
        "request_id": request.id,
        "since": since,
    }
    return [request_of(row) for row in connection.execute(OTHERS, values).mappings()]


def open_follow_up(connection: Connection, request: Request) -> Request | None:
    """Another request in the same thread that is undecided or being executed."""
    values = {
        "customer": request.customer.customer_id,
        "channel": request.channel_id,
        "thread": request.thread_ts,
        "request_id": request.id,
    }
    row = connection.execute(FOLLOW_UP, values).mappings().one_or_none()
    return request_of(row) if row else None


def holds(connection: Connection, request: Request, new_event: NewEvent) -> bool:
    """Whether a request has exactly this event: its commit took effect, unlike the answer."""
    rows = connection.execute(EVENTS_OF, {"request_id": request.id}).mappings()
    wanted = (new_event.at, new_event.type, new_event.actor)
    return any((row["at"], row["type"], row["actor"]) == wanted for row in rows)


def is_overdue(request: Request, now: datetime, lease: timedelta) -> bool:
    """Whether somebody must look at a request now; `OVERDUE` is the same in SQL.

    It is also overdue if it is due later than any lease, pause or card's life can end: then the
    clock was set back.
    """
    if request.due_at is None or request.due_at <= now:
        return request.due_at is not None
    limits = clock_limits(now, lease)
    if request.due_at <= limits["too_far"]:
        return False
    if request.verdict is None:
        return request.asked_at > limits["soon"]
    working = request.verdict is Verdict.CONFIRMED and request.outcome is None
    waits_for_recheck = request.outcome is Outcome.CLEARED
    beyond_any_pause = request.due_at > limits["beyond_any_pause"]
    return working or (beyond_any_pause and not waits_for_recheck)


def clock_limits(now: datetime, lease: timedelta) -> dict[str, datetime]:
    """The parameters of `OVERDUE`: how late a lease or a pause that starts now can end.

    They leave room for the clocks of several instances.
    """
    return {
        "now": now,
        "soon": now + lease,
        "too_far": now + 2 * lease,
        "beyond_any_pause": now + 2 * lease + MAX_PAUSE,
    }


def save(connection: Connection, request: Request) -> None:
    """Save the columns of a request that may change."""
    connection.execute(SAVE, changing_row(request) | {"request_id": request.id})


def history_of(connection: Connection, request: Request) -> RequestHistory:
    """The request with all its events."""
    rows = connection.execute(EVENTS_OF, {"request_id": request.id}).mappings()
    return RequestHistory(request, tuple(map(event_of, rows)))
