"""Keeps what people are called, and how to answer them: what is theirs, in no event and no hash.

Events and requests name people by ids alone. The names that Slack's payloads carry stand in a table
of their own that no hash covers, so that a person can be forgotten while `audit --verify` finds
nothing changed. A row is written in the step in which somebody acts under a name that is new; a
process remembers the names that it wrote or found, so the usual step writes none.

The URLs through which Slack takes an answer for one person are kept here and not in memory, because
a bot that was killed must still be able to tell the people whose card it can't update. They are
worth something to a thief for half an hour, so they are in no log and no export, and they are
deleted as soon as they are used, not needed any more, or expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    String,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from bot.domain.models import Person
from bot.domain.plain_text import printable
from bot.ledger.database.engine import LedgerUnavailable, reason
from bot.ledger.database.statements import Statement, clock
from bot.ledger.jobs import Transaction
from bot.ledger.tables import Moment, names, response_urls

MAX_NAME_LENGTH = 80
_WHO, _NAME = bindparam("who", type_=String), bindparam("now_called", type_=Text)
_KNOWN = select(names.c.name).where(names.c.user_id == _WHO)
_LAST = _KNOWN.order_by(names.c.at.desc(), names.c.id.desc()).limit(1).scalar_subquery()
_IF_NEW = select(_WHO, _NAME, bindparam("now", type_=Moment)).where(
    func.coalesce(_LAST, "") != _NAME
)
_ADD_NAME = Statement(insert(names).from_select(["user_id", "name", "at"], _IF_NEW))


def note_name(tx: Transaction, person: Person) -> None:
    """Keep the name under which somebody acts now, if it is new."""
    if not person.name or tx.names.get(person.user_id) == person.name:
        return
    values = {"who": person.user_id, "now_called": printable(person.name)[:MAX_NAME_LENGTH]}
    _ADD_NAME.execute(tx.connection, values | {"now": tx.now})
    tx.new_names[person.user_id] = person.name


def name_at(user_id: ColumnElement[str], at: ColumnElement[object]) -> ColumnElement[str | None]:
    """A person's name as it was known at a time."""
    known = select(names.c.name).where(names.c.user_id == user_id, names.c.at <= at)
    return known.order_by(names.c.at.desc(), names.c.id.desc()).limit(1).scalar_subquery()


def forget_names(engine: Engine, user_id: str) -> int:
    """Delete all names of a person; returns how many there were. Raises: LedgerUnavailable."""
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # else the file keeps the text until something else needs its place
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            return connection.execute(names.delete().where(names.c.user_id == user_id)).rowcount
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


URL_LIFETIME = timedelta(minutes=29)
"""Slack takes answers for 30 minutes: docs.slack.dev/interactivity/handling-user-interaction"""

_FORGET = delete(response_urls).where(response_urls.c.id.in_(bindparam("ids", expanding=True)))
_FORGET_CARD = Statement(
    delete(response_urls).where(response_urls.c.request_id == bindparam("request"))
)
_FORGET_EXPIRED = Statement(
    delete(response_urls).where(response_urls.c.expires_at <= bindparam("now"))
)
_REMEMBER = Statement(insert(response_urls))
_OF_CARD = Statement(
    select(response_urls)
    .where(
        response_urls.c.request_id == bindparam("card_id"),
        response_urls.c.expires_at > bindparam("now"),
    )
    .order_by(response_urls.c.id.desc())
)


@dataclass(frozen=True, slots=True)
class ResponseUrl:
    """A URL through which one person can be told something; `repr` does not show it."""

    id: int
    user_id: str
    url: str

    def __repr__(self) -> str:
        return f"ResponseUrl({self.id}, {self.user_id})"


def remember_url(tx: Transaction, card_id: str, person: Person, url: str) -> None:
    """Keep a response URL while it works."""
    values = {"request_id": card_id, "user_id": person.user_id, "url": url}
    _REMEMBER.execute(tx.connection, values | {"expires_at": tx.now + URL_LIFETIME})


def urls_of(connection: Connection, card_id: str) -> Sequence[ResponseUrl]:
    """The URLs of the people of a card that still work, newest first."""
    rows = _OF_CARD.rows(connection, {"card_id": card_id, "now": clock(connection)})
    return [ResponseUrl(row["id"], row["user_id"], row["url"]) for row in rows]


def forget_urls(connection: Connection, urls: Sequence[ResponseUrl]) -> None:
    """Delete URLs that were used or that Slack no longer takes."""
    connection.execute(_FORGET, {"ids": [url.id for url in urls]})


def forget_urls_of(connection: Connection, card_id: str) -> None:
    """Delete a card's URLs: everybody can see its result now."""
    _FORGET_CARD.execute(connection, {"request": card_id})


def forget_expired_urls(connection: Connection, now: datetime) -> None:
    """Delete the URLs that Slack no longer takes."""
    _FORGET_EXPIRED.execute(connection, {"now": now})
