"""Keeps the URLs through which Slack takes an answer for one person.

They are kept here and not in memory, because a bot that was killed must still be able to tell the
people whose card it can't update. They are worth something to a thief for half an hour, so they are
in no event, no log and no export, and they are deleted as soon as they are used, not needed any
more, or expired. These functions run inside a step's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select

from bot.domain.models import Person
from bot.ledger.database.statements import Statement, clock
from bot.ledger.tables import response_urls

LIFETIME = timedelta(minutes=29)
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


def remember(connection: Connection, card_id: str, person: Person, url: str, now: datetime) -> None:
    """Keep a response URL while it works."""
    values = {"request_id": card_id, "user_id": person.user_id, "url": url}
    _REMEMBER.execute(connection, values | {"expires_at": now + LIFETIME})


def of_card(connection: Connection, card_id: str) -> Sequence[ResponseUrl]:
    """The URLs of the people of a card that still work, newest first."""
    rows = _OF_CARD.rows(connection, {"card_id": card_id, "now": clock(connection)})
    return [ResponseUrl(row["id"], row["user_id"], row["url"]) for row in rows]


def forget(connection: Connection, urls: Sequence[ResponseUrl]) -> None:
    """Delete URLs that were used or that Slack no longer takes."""
    connection.execute(_FORGET, {"ids": [url.id for url in urls]})


def forget_all(connection: Connection, card_id: str) -> None:
    """Delete a card's URLs: everybody can see its result now."""
    _FORGET_CARD.execute(connection, {"request": card_id})


def forget_expired(connection: Connection, now: datetime) -> None:
    """Delete the URLs that Slack no longer takes."""
    _FORGET_EXPIRED.execute(connection, {"now": now})
