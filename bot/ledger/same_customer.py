"""What else is done for a card's customers: one thing at a time for a customer.

These functions run inside a transaction that their caller began. The ledger's own count of events
says what came first: a clock can be set back, and instances' clocks differ.
"""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    bindparam,
    exists,
    func,
    select,
)

from bot.domain.meanings import OUTCOMES
from bot.domain.models import Card, EventType, Request, Verdict
from bot.ledger.database.statements import Statement
from bot.ledger.mapping import request_of
from bot.ledger.schema import card_id_of_row, events, requests

# an outcome that only a newer version knows may have changed the customer
IS_EFFECTIVE = and_(
    *(requests.c.outcome != outcome for outcome, m in OUTCOMES.items() if not m.effective)
)
CUSTOMERS_OF_CARD = select(requests.c.customer_id).where(card_id_of_row == bindparam("card_id"))
_changed_at = func.coalesce(requests.c.settled_at, requests.c.decided_at)
_since = events.alias("since")


def _has_changed_after(event: ScalarSelect[int]) -> ColumnElement[bool]:
    """Whether a request changed its customer after an event, or may have, or is being executed."""
    came_later = exists().where(
        events.c.request_id == requests.c.id,
        # an outcome's event has the outcome's name
        events.c.type == requests.c.outcome,
        events.c.id > func.coalesce(event, 0),
    )
    return and_(
        requests.c.verdict == Verdict.CONFIRMED,
        requests.c.outcome.is_(None) | (IS_EFFECTIVE & came_later),
    )


_asked = select(_since.c.id).where(
    _since.c.request_id == bindparam("card_id"), _since.c.number == 1
)
_last_of_type = select(func.max(_since.c.id)).where(
    _since.c.request_id == bindparam("request_id"), _since.c.type == bindparam("since")
)
OTHERS = Statement(
    select(requests)
    .where(
        requests.c.customer_id.in_(CUSTOMERS_OF_CARD),
        card_id_of_row != bindparam("card_id"),
        _has_changed_after(_asked.scalar_subquery()),
    )
    .order_by(_changed_at.desc())
)
CHANGED_SINCE = Statement(
    select(requests)
    .where(
        requests.c.customer_id == bindparam("customer"),
        requests.c.id != bindparam("request_id"),
        _has_changed_after(_last_of_type.scalar_subquery()),
    )
    .order_by(_changed_at.desc())
)
FIRST_OF_CARD = requests.alias("first_of_card")
FOLLOW_UP = (
    select(requests)
    .where(
        requests.c.customer_id.in_(bindparam("customers", expanding=True)),
        requests.c.channel_id == bindparam("channel"),
        requests.c.thread_ts == bindparam("thread"),
        card_id_of_row != bindparam("card_id"),
        # not the request that the thread belongs to
        requests.c.message_ts.is_(None) | (requests.c.message_ts != requests.c.thread_ts),
        requests.c.outcome.is_(None),
        requests.c.verdict.is_(None) | (requests.c.verdict == Verdict.CONFIRMED),
        # a refused request, or a card that could not be posted, is never due
        requests.c.due_at.is_not(None)
        | requests.c.card_id.in_(
            select(FIRST_OF_CARD.c.id).where(FIRST_OF_CARD.c.due_at.is_not(None))
        ),
    )
    .limit(1)
)


def lock_customers(connection: Connection, card: Card) -> None:
    """Make other transactions about the same customers wait; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        # in one order everywhere, so that two cards can't wait for each other
        for customer_id in sorted({r.customer.customer_id for r in card.requests}):
            connection.execute(select(func.pg_advisory_xact_lock(customer_id)))


def others_since_asked(connection: Connection, card: Card) -> list[Request]:
    """What other cards did for a card's customers since it was asked or are doing, latest first."""
    return [request_of(row) for row in OTHERS.rows(connection, {"card_id": card.id})]


def changed_since(connection: Connection, request: Request) -> list[Request]:
    """What else was done for a request's customer since its outcome, or is being done.

    Without an outcome, since its verdict; without a verdict, since it was asked. Latest first.
    """
    since = request.outcome or request.verdict or EventType.REQUESTED
    values = {
        "customer": request.customer.customer_id,
        "request_id": request.id,
        "since": since,
    }
    return [request_of(row) for row in CHANGED_SINCE.rows(connection, values)]


def open_follow_up(connection: Connection, card: Card) -> Request | None:
    """A request of another card in the same thread that is undecided or being executed."""
    values = {
        "customers": [request.customer.customer_id for request in card.requests],
        "channel": card.first.channel_id,
        "thread": card.first.thread_ts,
        "card_id": card.id,
    }
    row = connection.execute(FOLLOW_UP, values).mappings().one_or_none()
    return request_of(row) if row else None
