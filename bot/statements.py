"""The ledger's statements, made once: making one costs more than running it."""

from __future__ import annotations

from sqlalchemy import bindparam, func, insert, select, update

from bot.models import Outcome, Verdict
from bot.schema import events, requests

OVERDUE_AT_A_TIME = 100
NOT_IN_VAIN = (Outcome.CLEARED, Outcome.RESTORED, Outcome.UNKNOWN)

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
        requests.c.outcome.is_(None) | requests.c.outcome.in_(NOT_IN_VAIN),
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
