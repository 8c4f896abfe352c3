"""Keeps what people did, what they are called, and how to answer them.

Slack delivers again what was not acknowledged in time, and people press twice. So each step keeps
the act that it was for, with what came of it, in its own transaction: the same act again changes
nothing. Acts are kept for a day.

Events and requests name people by ids alone. The names that Slack's payloads carry stand in a table
of their own that no hash covers, so that a person can be forgotten while `audit --verify` finds
nothing changed. A row is written in the step in which somebody acts under a name that is new; a
process remembers the names that it wrote or found, so the usual step writes none.

The URLs through which Slack takes an answer for one person are kept here and not in memory, because
a bot that was killed must still be able to tell the people whose card it can't update. They are
worth something to a thief for half an hour, so they are in no log and no export, and they are
deleted as soon as they are used or not needed any more, and within minutes once they expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    String,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from bot.domain.models import Card, EventType, Person, Verdict
from bot.domain.plain_text import printable
from bot.domain.values import value
from bot.ledger import rows
from bot.ledger.database.engine import LedgerUnavailable, reason
from bot.ledger.database.statements import Statement, clock
from bot.ledger.jobs import Transaction
from bot.ledger.tables import Moment, acts, names, requests, response_urls

ACT_KEPT = timedelta(days=1)
_ACT = Statement(select(acts).where(acts.c.id == bindparam("act")))
_KEEP = Statement(insert(acts))
_FORGET_DECIDED = Statement(
    delete(acts)
    .where(acts.c.id == bindparam("act"))
    # what was written meanwhile, by the other half of a double click, is a conflict instead
    .where(~exists().where(requests.c.id == acts.c.card_id, requests.c.is_open))
)
_FORGET_OLD = Statement(delete(acts).where(acts.c.at <= bindparam("until")))


@value
class Act:
    """What a person did, as Slack identifies it: delivered again, it is the same act.

    `while_open` is something that several acts share, such as the button of a double click: while
    the card that it led to waits for a decision, another such act is the same.
    """

    id: str
    while_open: str = ""


@value
class Repeated:
    """What an act led to, in a word, and its card as it is now: what is told if it is repeated.

    The words are `asked`, `refused`, `taken`, `late`, `denied`, `stopped`, `nothing` and `checked`.
    """

    came_of_it: str
    card: Card

    def why_refused(self, person: Person, verdict: Verdict | None = None) -> str:
        """Why the person was refused, the `verdict` if it was one; else empty."""
        if self.came_of_it not in ("refused", "denied"):
            return ""
        told = (
            str(event.details.get("why", ""))
            for event in reversed(self.card.first.events)
            if event.type in (EventType.ASK_DENIED, EventType.DECISION_DENIED)
            and event.actor == person.user_id
            and event.details.get("verdict") in (None, verdict)
        )
        return next(told, "")


def repeated(tx: Transaction, act: Act) -> Repeated | None:
    """What the same act led to before, or one that shares `while_open`; None if it is the first."""
    found = _ACT.row(tx.connection, {"act": act.id})
    shared = None
    if found is None and act.while_open:
        found = shared = _ACT.row(tx.connection, {"act": act.while_open})
    card = rows.read(tx.connection, found["card_id"]) if found else None
    if found is None or card is None or (shared and not card.first.is_open):
        return None
    return Repeated(found["came_of_it"], card)


def came_of(tx: Transaction, act: Act) -> str:
    """What came of the same act before; empty if this is the first time."""
    found = _ACT.row(tx.connection, {"act": act.id})
    return str(found["came_of_it"]) if found else ""


def keep_act(tx: Transaction, act: Act | None, card_id: str, came_of_it: str) -> None:
    """Keep what came of an act; nothing if it was nobody's."""
    if act is None:
        return
    kept = {"card_id": card_id, "at": tx.now, "came_of_it": came_of_it}
    _KEEP.execute(tx.connection, {"id": act.id, **kept})
    # a refusal leads to no card that waits, and the one of another such act may wait
    if act.while_open and came_of_it == "asked":
        _FORGET_DECIDED.execute(tx.connection, {"act": act.while_open})
        _KEEP.execute(tx.connection, {"id": act.while_open, **kept})


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


@value
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
    found = _OF_CARD.rows(connection, {"card_id": card_id, "now": clock(connection)})
    return [ResponseUrl(row["id"], row["user_id"], row["url"]) for row in found]


def forget_urls(connection: Connection, urls: Sequence[ResponseUrl]) -> None:
    """Delete URLs that were used or that Slack no longer takes."""
    connection.execute(_FORGET, {"ids": [url.id for url in urls]})


def forget_urls_of(connection: Connection, card_id: str) -> None:
    """Delete a card's URLs: everybody can see its result now."""
    _FORGET_CARD.execute(connection, {"request": card_id})


def forget_old(tx: Transaction) -> None:
    """Forget acts of more than a day ago, and the URLs that Slack no longer takes.

    It reads both tables as a whole, so it is for now and then: an index of their times would be
    written with each act and each URL.
    """
    _FORGET_OLD.execute(tx.connection, {"until": tx.now - ACT_KEPT})
    _FORGET_EXPIRED.execute(tx.connection, {"now": tx.now})
