"""The ledger's SQL: functions that run inside a transaction that their caller began.

The statements are built at import, since building one costs more than running it. Those that take
no list of values are compiled once as well: see `statements`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    select,
    update,
)

from bot.domain.models import (
    Card,
    CardHistory,
    Event,
    EventType,
    NewEvent,
    Outcome,
    Request,
    RequestHistory,
    Verdict,
)
from bot.ledger import witness
from bot.ledger.database.statements import Row, Statement
from bot.ledger.hash_chain import chained, fingerprint, place_on_card
from bot.ledger.mapping import changing_row, event_of, event_row, request_of, request_row
from bot.ledger.schema import card_id_of_row, events, requests

OVERDUE_AT_A_TIME = 100
MAX_PAUSE = timedelta(hours=1)
"""No retry in Slack is put off for longer."""
IS_TO_BE_EXECUTED = and_(requests.c.verdict == Verdict.CONFIRMED, requests.c.outcome.is_(None))
_SHOWN_BY_NOW = case(
    (requests.c.mirrored_through < bindparam("shown"), bindparam("shown")),
    else_=requests.c.mirrored_through,
)
"""What a thread shows never becomes less, whoever notes it first."""
_ONE = select(requests).where(requests.c.id == bindparam("request_id"))
_CARD = select(requests).where(card_id_of_row == bindparam("card_id")).order_by(requests.c.position)

ADD = Statement(insert(requests))
ADD_EVENT = Statement(insert(events))
ONE = Statement(_ONE)
ONE_LOCKED = Statement(_ONE.with_for_update())
CARD = Statement(_CARD)
CARD_LOCKED = Statement(_CARD.with_for_update())
SAVE = Statement(update(requests).where(requests.c.id == bindparam("request_id")))
EVENTS_OF = Statement(
    select(events).where(events.c.request_id == bindparam("request_id")).order_by(events.c.number)
)
OF_CARD = select(requests.c.id).where(card_id_of_row == bindparam("card_id"))
EVENTS_OF_CARD = Statement(
    select(events)
    .where(events.c.request_id.in_(OF_CARD))
    .order_by(events.c.request_id, events.c.number)
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
                | IS_TO_BE_EXECUTED
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
UNFINISHED = select(func.count()).where(
    requests.c.id.in_(bindparam("request_ids", expanding=True)),
    IS_TO_BE_EXECUTED,
)
TAKE_THREAD = Statement(
    update(requests)
    .where(
        requests.c.id == bindparam("request_id"),
        requests.c.posting_until.is_(None)
        | (requests.c.posting_until <= bindparam("now"))
        | (requests.c.posting_until > bindparam("too_far")),
    )
    .values(posting_until=bindparam("until"))
)
LEAVE_THREAD = Statement(
    update(requests)
    .where(requests.c.id == bindparam("request_id"))
    .values(
        posting_until=None,
        mirrored_through=_SHOWN_BY_NOW,
    )
)
MARK_SHOWN = Statement(
    update(requests)
    .where(
        requests.c.id == bindparam("request_id"),
        requests.c.claim == bindparam("held"),
        requests.c.events == bindparam("drawn"),
    )
    .values(
        due_at=bindparam("next_at"),
        mirrored_through=_SHOWN_BY_NOW,
    )
)
"""Applies only if nobody has claimed the request or added an event since it was drawn."""
SHOWN = Statement(
    select(requests.c.mirrored_through)
    .where(card_id_of_row == bindparam("card_id"))
    .order_by(requests.c.position)
)
RENEW = Statement(
    update(requests)
    .where(requests.c.id == bindparam("request_id"), requests.c.claim == bindparam("held"))
    .values(due_at=bindparam("until"))
)
STOPPING = Statement(
    select(events.c.id).where(
        events.c.request_id == bindparam("card_id"),
        events.c.type == EventType.STOP_REQUESTED,
    )
)
LONGEST_DUE = select(func.min(requests.c.due_at)).where(requests.c.due_at.is_not(None))
WAITING = select(func.count()).where(requests.c.due_at.is_not(None), requests.c.verdict.is_(None))


def find(connection: Connection, request_id: str) -> Request | None:
    """The request as it is now, None if there is none."""
    row = ONE.row(connection, {"request_id": request_id})
    return request_of(row) if row else None


def find_card(connection: Connection, card_id: str) -> Card | None:
    """The card as it is now, None if there is none."""
    return _card(CARD.rows(connection, {"card_id": card_id}))


def lock_card(connection: Connection, card_id: str) -> Card:
    """Read a card and lock its rows until the transaction ends. Raises: KeyError."""
    card = _card(CARD_LOCKED.rows(connection, {"card_id": card_id}))
    if card is None:
        raise KeyError(card_id)
    return card


def _card(rows: Sequence[Row]) -> Card | None:
    requests = tuple(map(request_of, rows))
    return Card(requests) if requests else None


def add(connection: Connection, card: Card, new_events: Sequence[NewEvent]) -> Card:
    """Insert a card's requests, each with its first event, which vouches for the row."""
    rows = [request_row(request) for request in card.requests]
    first_events = [
        chained(request, _vouching(request, row, event))
        for request, row, event in zip(card.requests, rows, new_events, strict=True)
    ]
    pairs = list(zip(rows, first_events, strict=True))
    ADD.many(connection, [row | {"events": e.number, "head": e.hash} for row, e in pairs])
    _add_events(connection, first_events)
    return _with_heads(card.requests, first_events)


def _vouching(request: Request, row: dict[str, Any], new_event: NewEvent) -> NewEvent:
    # a refusal never gets a card
    posted = request.message_ts is not None or new_event.type is not EventType.REQUESTED
    vouched = {"row": fingerprint(row, posted=posted), "card": place_on_card(row)}
    return replace(new_event, details=new_event.details | vouched)


def append(connection: Connection, request: Request, new_event: NewEvent) -> Request:
    """Append an event to a request's chain and save the request."""
    return append_all(connection, [request], [new_event]).first


def append_all(
    connection: Connection, changed: Sequence[Request], new_events: Sequence[NewEvent]
) -> Card:
    """Append an event to the chain of each of a card's requests, and save the requests."""
    chain = [chained(*pair) for pair in zip(changed, new_events, strict=True)]
    _add_events(connection, chain)
    appended = _with_heads(changed, chain)
    save_all(connection, appended.requests)
    return appended


def _add_events(connection: Connection, new: Sequence[Event]) -> None:
    for event in new:
        # one at a time: the witness needs the count that the database gives to each
        witness.saw(connection, event, ADD_EVENT.insert(connection, event_row(event)))


def _with_heads(requests: Sequence[Request], last_events: Sequence[Event]) -> Card:
    return Card(
        tuple(
            replace(request, events=event.number, head=event.hash)
            for request, event in zip(requests, last_events, strict=True)
        )
    )


def lock(connection: Connection, request_id: str) -> Request:
    """Read the request and lock its row until the transaction ends. Raises: KeyError."""
    row = ONE_LOCKED.row(connection, {"request_id": request_id})
    if row is None:
        raise KeyError(request_id)
    return request_of(row)


def holds(connection: Connection, request: Request, new_event: NewEvent) -> bool:
    """Whether a request has exactly this event: its commit took effect, unlike the answer."""
    rows = EVENTS_OF.rows(connection, {"request_id": request.id})
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
    waits_for_recheck = request.outcome is Outcome.CLEARED
    beyond_any_pause = request.due_at > limits["beyond_any_pause"]
    return request.is_to_be_executed or (beyond_any_pause and not waits_for_recheck)


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


def is_stopping(connection: Connection, card_id: str) -> bool:
    """Whether somebody stopped a card's work."""
    return STOPPING.row(connection, {"card_id": card_id}) is not None


def save(connection: Connection, request: Request) -> None:
    """Save the columns of a request that may change."""
    save_all(connection, [request])


def save_all(connection: Connection, changed: Sequence[Request]) -> None:
    """Save the columns of several requests that may change."""
    rows = [changing_row(request) | {"request_id": request.id} for request in changed]
    if rows:
        SAVE.many(connection, rows)


def history_of(connection: Connection, request: Request) -> RequestHistory:
    """The request with all its events."""
    rows = EVENTS_OF.rows(connection, {"request_id": request.id})
    return RequestHistory(request, tuple(map(event_of, rows)))


def card_history_of(connection: Connection, card: Card) -> CardHistory:
    """The card with all its events."""
    found: dict[str, list[Event]] = {request.id: [] for request in card.requests}
    for row in EVENTS_OF_CARD.rows(connection, {"card_id": card.id}):
        found[row["request_id"]].append(event_of(row))
    return CardHistory(tuple(RequestHistory(r, tuple(found[r.id])) for r in card.requests))
