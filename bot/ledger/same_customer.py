"""What else is done for a card's customers: one thing at a time for a customer.

These functions run inside a step's transaction. The ledger's own count of events says what came
first: a clock can be set back, and instances' clocks differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

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

from bot.domain.meanings import OUTCOMES, is_done
from bot.domain.models import Card, EventType, Kind, Request, Verdict
from bot.ledger.database.statements import Statement, run
from bot.ledger.rows import ROWS_OF_CARD, AnyRow, LockedCard, request_of, requests_of
from bot.ledger.tables import card_id_of, card_id_of_row, events, requests

# an outcome that only a newer version knows may have changed the customer
IS_EFFECTIVE = requests.c.outcome.not_in([o for o, m in OUTCOMES.items() if not m.effective])
IS_DONE = requests.c.outcome.in_([o for o, m in OUTCOMES.items() if m.is_done])
IS_TO_BE_EXECUTED = and_(requests.c.verdict == Verdict.CONFIRMED, requests.c.outcome.is_(None))
_CUSTOMERS_OF_CARD = select(requests.c.customer_id).where(card_id_of_row == bindparam("card_id"))
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
_mine = requests.alias("mine")
_IS_SAME_CUSTOMER = and_(
    card_id_of(_mine) == bindparam("card_id"),
    requests.c.customer_id == _mine.c.customer_id,
    card_id_of_row != bindparam("card_id"),
)
"""Of the requests of other cards, those for the customers of a card."""
_own_change = (
    select(func.max(_since.c.id))
    .where(
        _since.c.request_id == _mine.c.id,
        # an outcome, a verdict and their events have the same names
        _since.c.type == func.coalesce(_mine.c.outcome, _mine.c.verdict, EventType.REQUESTED),
    )
    .correlate(_mine)
)
SINCE_ASKED = Statement(
    select(requests)
    .where(_IS_SAME_CUSTOMER, _has_changed_after(_asked.scalar_subquery()))
    .order_by(_changed_at.desc())
)
CHANGED_SINCE = (
    select(requests, _mine.c.id.label("mine"))
    .where(
        _mine.c.id.in_(bindparam("request_ids", expanding=True)),
        requests.c.customer_id == _mine.c.customer_id,
        requests.c.id != _mine.c.id,
        _has_changed_after(_own_change.scalar_subquery()),
    )
    .order_by(_changed_at.desc())
)
WAITING = (
    select(card_id_of_row)
    .where(
        requests.c.customer_id.in_(_CUSTOMERS_OF_CARD.where(IS_DONE)),
        requests.c.is_open,
        requests.c.outcome.is_(None),
    )
    .distinct()
    .order_by(card_id_of_row)
)
_others = requests.alias("others")
OTHERS_WAIT = exists().where(
    _others.c.customer_id == requests.c.customer_id,
    _others.c.is_open,
    _others.c.outcome.is_(None),
)
CARD_LOCKED_WITH_OTHERS = Statement(
    ROWS_OF_CARD.add_columns(OTHERS_WAIT.label("others_wait")).with_for_update(
        key_share=True, of=requests
    )
)
"""The rows of a decided card, locked, and whether other cards wait for each of its customers."""
FOLLOW_UP = (
    select(requests)
    .where(
        requests.c.customer_id.in_(bindparam("customers", expanding=True)),
        requests.c.channel_id == bindparam("channel"),
        requests.c.thread_ts == bindparam("thread"),
        card_id_of_row != bindparam("card_id"),
        # not the request that the thread belongs to
        requests.c.message_ts.is_(None) | (requests.c.message_ts != requests.c.thread_ts),
        requests.c.is_open | IS_TO_BE_EXECUTED,
    )
    .limit(1)
)
OF_THREAD = select(card_id_of_row).where(
    requests.c.customer_id.in_(bindparam("customers", expanding=True)),
    requests.c.channel_id == bindparam("channel"),
    requests.c.message_ts == bindparam("thread"),
)
UNDER_WAY = Statement(
    select(requests).where(
        _IS_SAME_CUSTOMER,
        IS_TO_BE_EXECUTED | (requests.c.settled_at > bindparam("sent_since")),
    )
)
OF_IDS = select(requests).where(requests.c.id.in_(bindparam("request_ids", expanding=True)))
OUTCOMES_OF = select(requests.c.id, requests.c.outcome, requests.c.undone_by).where(
    requests.c.id.in_(bindparam("request_ids", expanding=True))
)
EVENTS_OF = (
    select(events)
    .where(events.c.request_id.in_(bindparam("request_ids", expanding=True)))
    .order_by(events.c.id)
)


def lock_customers(connection: Connection, customer_ids: Iterable[int]) -> None:
    """Make other transactions about the same customers wait; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        # in one order everywhere, so that two cards can't wait for each other; in one statement
        ids = sorted(set(customer_ids))
        lock = "SELECT pg_advisory_xact_lock(id) FROM unnest(%(ids)s::bigint[]) AS id"
        run(connection, lock, {"ids": ids}).fetchall()


def since_asked(
    connection: Connection, locked: LockedCard
) -> tuple[Mapping[str, Request], Request | None]:
    """What other cards did for a waiting card's customers since it was asked, or are doing.

    First what is known to have overtaken its requests, by their ids: the last change of each. Then
    what else it must not be confirmed after, or beside: what may have changed a customer, or is
    about to. Who is left out already is in neither.
    """
    found = SINCE_ASKED.rows(connection, {"card_id": locked.id})
    if not found:
        return {}, None
    others = [request_of(row) for row in found]
    waiting = {r.customer.customer_id: r for r in locked.card.requests if r.outcome is None}
    mine = {o.id: waiting[i] for o in others if (i := o.customer.customer_id) in waiting}
    # the latest is first
    by = {mine[o.id].id: o for o in reversed(others) if o.id in mine and is_done(o)}
    left = (o for o in others if o.id in mine and mine[o.id].id not in by)
    return by, next((o for o in left if not _can_wait(mine[o.id], o)), None)


def waiting_for_changed(connection: Connection, card_id: str) -> Sequence[str]:
    """The cards that wait for customers that a card is known to have changed."""
    return list(connection.execute(WAITING, {"card_id": card_id}).scalars())


def changed_since(
    connection: Connection, request_ids: Sequence[str]
) -> Mapping[str, Sequence[Request]]:
    """What else was done for the customer of each request since its outcome, or is being done.

    Without an outcome, since its verdict; without a verdict, since it was asked. Latest first; a
    request whose customer nothing has changed is left out.
    """
    found: dict[str, list[Request]] = {}
    values = {"request_ids": list(request_ids)}
    for row in connection.execute(CHANGED_SINCE, values).mappings():
        found.setdefault(row["mine"], []).append(request_of(row))
    return found


def overtakers(connection: Connection, request_ids: Sequence[str]) -> dict[str, Request]:
    """For each request, the last other one that changed its customer since, or may have."""
    found = changed_since(connection, request_ids)
    # an undo of the very request that came to nothing can be repeated
    others = {mine: [o for o in found[mine] if o.undoes != mine] for mine in found}
    return {mine: each[0] for mine, each in others.items() if each}


def are_as_read(connection: Connection, of_them: Sequence[Request]) -> bool:
    """Whether requests still have the outcomes that they had, and are undone no more than then."""
    found = connection.execute(OUTCOMES_OF, {"request_ids": [each.id for each in of_them]})
    now = {row.id: (row.outcome, row.undone_by) for row in found}
    return all(now.get(each.id) == (each.outcome, each.undone_by) for each in of_them)


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


def card_of_thread(connection: Connection, card: Card) -> str | None:
    """The id of the card in whose thread a card is; None if it has a thread of its own."""
    first = card.first
    if first.thread_ts in (None, first.message_ts):
        return None
    values = {
        "customers": [request.customer.customer_id for request in card.requests],
        "channel": first.channel_id,
        "thread": first.thread_ts,
    }
    found: str | None = connection.execute(OF_THREAD, values).scalar()
    return found


def awaited(connection: Connection, card: Card, sent_since: datetime) -> dict[str, list[str]]:
    """For each request of a card, by its id, those for its customer that it has to wait for.

    They are being executed, or a call of theirs was sent after `sent_since` and may still run.
    """
    lately = UNDER_WAY.rows(connection, {"card_id": card.id, "sent_since": sent_since})
    others = _not_over(connection, lately, sent_since)
    waits = {
        request.id: [
            other.id
            for other in others
            if other.customer.customer_id == request.customer.customer_id
        ]
        for request in card.requests
    }
    return {request_id: found for request_id, found in waits.items() if found}


def are_awaited(connection: Connection, request_ids: Sequence[str], sent_since: datetime) -> bool:
    """Whether one of these requests still has to be waited for."""
    these = connection.execute(OF_IDS, {"request_ids": list(request_ids)}).mappings().all()
    return bool(_not_over(connection, these, sent_since))


def _not_over(
    connection: Connection, rows: Sequence[AnyRow], sent_since: datetime
) -> list[Request]:
    """Those of the requests that are being executed, or whose calls may still run."""
    if not rows:
        return []
    events_of = connection.execute(EVENTS_OF, {"request_ids": [row["id"] for row in rows]})
    return [
        each
        for each in requests_of(rows, events_of.mappings())
        if each.is_to_be_executed or ((sent_at := unanswered_at(each)) and sent_at > sent_since)
    ]


def unanswered_at(request: Request) -> datetime | None:
    """When a call was sent, at the latest, of which nobody knows whether it still runs.

    None if Fusebill ended each. The evidence of an outcome says so; a process that was killed
    left none, so there it is when the call was about to be made.
    """
    kept = [(event.at, event.details.get("running_s")) for event in request.events]
    sent = [at - timedelta(seconds=ago) for at, ago in kept if isinstance(ago, int | float)]
    types = [event.type for event in request.events]
    if EventType.BEGUN in types:
        begun = types.index(EventType.BEGUN)
        killed = EventType.RECLAIMED in types[begun:]
        if killed or not any("calls" in event.details for event in request.events):
            sent.append(request.events[begun].at)
    return max(sent, default=None)


def _can_wait(request: Request, other: Request) -> bool:
    """Whether a request can be confirmed while another is executed, and wait for its end.

    Two that clear the same customer can: the second finds nothing left to clear. An undo can't.
    """
    return other.outcome is None and request.kind is other.kind is Kind.UNLATCH
