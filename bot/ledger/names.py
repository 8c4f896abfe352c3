"""Keeps the names of people as Slack's payloads carried them, and since when.

Events and requests name people by ids alone, and hashes cover those. The names stand in a table of
their own that no hash covers, so that a person can be forgotten while `audit --verify` finds
nothing changed. A row is written in the transaction of a step in which somebody acts under a name
that is new; a process remembers the names that it wrote or found, so the usual step writes none.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Engine, String, Text, bindparam, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from bot.domain.models import Person
from bot.domain.plain_text import printable
from bot.ledger.database.engine import LedgerUnavailable, reason
from bot.ledger.database.statements import Statement
from bot.ledger.jobs import Transaction
from bot.ledger.tables import Moment, names

MAX_LENGTH = 80
_WHO, _NAME = bindparam("who", type_=String), bindparam("now_called", type_=Text)
_KNOWN = select(names.c.name).where(names.c.user_id == _WHO)
_LAST = _KNOWN.order_by(names.c.at.desc(), names.c.id.desc()).limit(1).scalar_subquery()
_IF_NEW = select(_WHO, _NAME, bindparam("now", type_=Moment)).where(
    func.coalesce(_LAST, "") != _NAME
)
_ADD = Statement(insert(names).from_select(["user_id", "name", "at"], _IF_NEW))


def note(tx: Transaction, person: Person) -> None:
    """Keep the name under which somebody acts now, if it is new."""
    if not person.name or tx.names.get(person.user_id) == person.name:
        return
    values = {"who": person.user_id, "now_called": printable(person.name)[:MAX_LENGTH]}
    _ADD.execute(tx.connection, values | {"now": tx.now})
    tx.new_names[person.user_id] = person.name


def name_at(user_id: ColumnElement[str], at: ColumnElement[object]) -> ColumnElement[str | None]:
    """A person's name as it was known at a time."""
    known = select(names.c.name).where(names.c.user_id == user_id, names.c.at <= at)
    return known.order_by(names.c.at.desc(), names.c.id.desc()).limit(1).scalar_subquery()


def forget(engine: Engine, user_id: str) -> int:
    """Delete all names of a person; returns how many there were. Raises: LedgerUnavailable."""
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # else the file keeps the text until something else needs its place
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            return connection.execute(names.delete().where(names.c.user_id == user_id)).rowcount
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error
