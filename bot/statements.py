"""The ledger's statements, made once: making one costs more than running it."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from bot.schema import events, requests

OVERDUE_AT_A_TIME = 100

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
