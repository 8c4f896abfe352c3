"""Reads what is listed and measured: past and open requests, and what is still to be done.

Nothing is changed here, but for what `history` has drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from bot.domain import meanings
from bot.domain.meanings import OUTCOMES
from bot.domain.models import Card, EventType, Request, Verdict
from bot.ledger import same_customer
from bot.ledger.database.statements import Statement, clock
from bot.ledger.jobs import Kind, Transaction
from bot.ledger.rows import event_of, request_of, requests_of
from bot.ledger.tables import card_id_of_row, events, jobs, requests

MAX_OPEN = 1000
"""Rows: a card of many customers that is being executed has one for each."""

# none of these is ever given up; with that, an index has them
_HAS_TIME = jobs.c.due_at.is_not(None)
_UNDER_WAY = select(jobs.c.card_id).where(
    jobs.c.kind.in_([Kind.POST, Kind.EXPIRE, Kind.WORK]), _HAS_TIME
)
OPEN = (
    select(requests)
    .where(
        # by their jobs: a long history is never read
        card_id_of_row.in_(_UNDER_WAY),
        (requests.c.is_open & (requests.c.expires_at > bindparam("now")))
        | same_customer.IS_TO_BE_EXECUTED,
    )
    .order_by(requests.c.asked_at)
    .limit(MAX_OPEN)
)
KNOWN = Statement(
    select(requests)
    .where(
        requests.c.customer_id.in_(bindparam("customers", expanding=True)),
        requests.c.message_ts.is_not(None),
        # an open card may have left the customer out
        (
            requests.c.is_open
            & requests.c.outcome.is_(None)
            & (requests.c.expires_at > bindparam("now"))
        )
        | requests.c.outcome.in_([each for each, meaning in OUTCOMES.items() if meaning.effective]),
    )
    .order_by(requests.c.asked_at),
    "customers",
)
_OF_REQUESTS = events.c.request_id.in_(bindparam("request_ids", expanding=True))
LATER = Statement(
    select(events).where(_OF_REQUESTS, events.c.type.in_([*meanings.LATER])).order_by(events.c.id),
    "request_ids",
)
DECLINED = Statement(
    select(events).where(_OF_REQUESTS, events.c.type == EventType.DECLINED), "request_ids"
)
WAITING = select(func.count()).where(jobs.c.kind.in_([Kind.POST, Kind.EXPIRE]), _HAS_TIME)
LONGEST_DUE = select(func.min(jobs.c.due_at)).where(
    _HAS_TIME, jobs.c.holder.is_(None) | (jobs.c.held_until <= bindparam("now"))
)
NOT_SHOWN = Statement(
    select(jobs.c.card_id).where(
        jobs.c.kind == Kind.SHOW, jobs.c.card_id.in_(bindparam("cards", expanding=True))
    ),
    "cards",
)


def recent(connection: Connection, customer_id: int | None, limit: int = 10) -> Sequence[Request]:
    """The last requests with a card, newest first, of one customer; or of all, one a card."""
    query = select(requests).where(requests.c.message_ts.is_not(None))
    if customer_id is not None:
        query = query.where(requests.c.customer_id == customer_id)
    else:
        query = query.where(requests.c.position == 1)
    found = connection.execute(query.order_by(requests.c.asked_at.desc()).limit(limit))
    return [request_of(row) for row in found.mappings()]


def history(
    tx: Transaction, customer_id: int | None
) -> tuple[Sequence[Request], Mapping[str, str]]:
    """The last requests as `recent` has them, and why some were declined, by their ids.

    Those that Slack does not show as they are, are drawn now.
    """
    found = recent(tx.connection, customer_id)
    cards = [request.card_id for request in found]
    for row in NOT_SHOWN.rows(tx.connection, {"cards": cards}) if cards else ():
        tx.set(row["card_id"], Kind.SHOW)
    declined = [request.id for request in found if request.verdict is Verdict.DECLINED]
    why = DECLINED.rows(tx.connection, {"request_ids": declined}) if declined else ()
    reasons = {row["request_id"]: str(event_of(row).details.get("why", "")) for row in why}
    return found, {request_id: reason for request_id, reason in reasons.items() if reason}


def known(connection: Connection, card: Card) -> Sequence[Request]:
    """What is known of a card's customers: of each its last change, and the last waiting card."""
    customers = sorted(request.customer.customer_id for request in card.requests)
    values = {"customers": customers, "now": clock(connection)}
    found = KNOWN.rows(connection, values)
    last = {(row["customer_id"], row["is_open"]): row for row in found}
    ids = [row["id"] for row in last.values()]
    later = LATER.rows(connection, {"request_ids": ids}) if ids else ()
    return requests_of([*last.values()], later)


def still_open(connection: Connection) -> Sequence[Request]:
    """The first request of each card that waits for a decision or is worked on, oldest first.

    A row that can't be read is skipped: whoever takes its job logs it.
    """
    found: list[Request] = []
    for row in connection.execute(OPEN, {"now": clock(connection)}).mappings():
        with suppress(ValueError, TypeError, LookupError):
            found.append(request_of(row))
    one_a_card = {request.card_id: request for request in reversed(found)}
    return sorted(one_a_card.values(), key=lambda request: request.asked_at)


def waiting(connection: Connection) -> int:
    """How many cards wait for a decision."""
    return int(connection.execute(WAITING).scalar_one())


def overdue_s(connection: Connection) -> float:
    """For how many seconds the job that has been due longest waits for somebody to take it."""
    now = clock(connection)
    due_at: datetime | None = connection.execute(LONGEST_DUE, {"now": now}).scalar()
    return max((now - due_at).total_seconds(), 0.0) if due_at else 0.0
