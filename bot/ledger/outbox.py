"""What waits to be shown in Slack: new cards, stale cards, and the URLs to answer one person.

A request is in the ledger before its card is posted. So a card without a row can't exist, a click
may be quicker than the note that the card was posted, and a bot that dies in between leaves a row
that the sweep takes up.

Response URLs are kept here and not in memory, because a bot that was killed must still be able to
tell the people whose card it can't update. They are worth something to a thief for half an hour, so
they are in no event, no log and no export, and they are deleted as soon as they are used, not
needed any more, or expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from bot.domain.meanings import VERDICTS
from bot.domain.models import Card, EventType, NewEvent, Person, Request
from bot.ledger import queries
from bot.ledger.database.engine import Database
from bot.ledger.database.statements import Statement
from bot.ledger.hash_chain import fingerprint
from bot.ledger.mapping import request_row
from bot.ledger.schema import requests, response_urls

URL_LIFETIME = timedelta(minutes=29)
"""Slack takes answers for 30 minutes: docs.slack.dev/interactivity/handling-user-interaction"""
JUST_DRAWN = timedelta(seconds=10)
"""A press so soon after the result was drawn may have crossed it on the way."""

_ENDING = [verdict for verdict, meaning in VERDICTS.items() if not meaning.executes]
_FINISHED = requests.c.outcome.is_not(None) | requests.c.verdict.in_(_ENDING)
_FORGET = delete(response_urls).where(response_urls.c.id.in_(bindparam("ids", expanding=True)))
_FORGET_REQUEST = Statement(
    delete(response_urls).where(response_urls.c.request_id == bindparam("request"))
)
_FORGET_EXPIRED = delete(response_urls).where(response_urls.c.expires_at <= bindparam("now"))
_REMEMBER = Statement(insert(response_urls))


@dataclass(frozen=True, slots=True)
class ResponseUrl:
    """A URL through which one person can be told something; `repr` does not show it."""

    id: int
    user_id: str
    url: str

    def __repr__(self) -> str:
        return f"ResponseUrl({self.id}, {self.user_id})"


class Outbox:
    """Every method is one transaction and raises LedgerUnavailable if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def renew(self, request: Request, due_at: datetime) -> None:
        """Keep a request whose card is on its way from the sweep until `due_at`."""
        renewed = (
            update(requests)
            .where(
                requests.c.id == request.id,
                requests.c.claim == request.claim,
                requests.c.message_ts.is_(None),
                requests.c.verdict.is_(None),
                requests.c.due_at.is_not(None),
            )
            .values(due_at=due_at)
        )
        await self._database.run(lambda connection: connection.execute(renewed).rowcount)

    async def posted(
        self,
        card_id: str,
        message_ts: str,
        expires_at: datetime,
        due_at: datetime,
        at: datetime,
    ) -> Card:
        """Note that a card was posted and when it expires; returns the card as it is now.

        `due_at` is its reminder or its expiry, whichever comes first.

        The first message of a card stays its message. Whoever posted another one, or one for a card
        that has ended meanwhile, sees that in the answer's `message_ts`. Raises: KeyError.
        """

        def work(connection: Connection) -> Card:
            card = queries.lock_card(connection, card_id)
            first = card.first
            ended = first.verdict is not None or first.due_at is None
            if ended or first.message_ts not in (None, message_ts):
                return card
            posted = [
                replace(
                    request,
                    message_ts=message_ts,
                    thread_ts=request.thread_ts or message_ts,
                    expires_at=expires_at,
                    due_at=due_at if request is first else None,
                )
                for request in card.requests
            ]
            if expires_at == first.expires_at:
                # the verdict's event will vouch for the card
                queries.save_all(connection, posted)
                return Card(tuple(posted))
            rows = map(request_row, posted)
            events = [
                NewEvent(at, EventType.POSTED, "", {"row": fingerprint(row, posted=True)})
                for row in rows
            ]
            return queries.append_all(connection, posted, events)

        return await self._database.run(work)

    async def end(self, request_id: str, why: str, at: datetime) -> bool:
        """End a request whose card can't be posted; False if it has a card or a verdict by now."""

        def work(connection: Connection) -> bool:
            current = queries.lock(connection, request_id)
            if current.verdict or current.message_ts or current.due_at is None:
                return False
            event = NewEvent(at, EventType.DELIVERY_FAILED, "", {"why": why})
            queries.append(connection, replace(current, due_at=None), event)
            forget_all(connection, request_id)
            return True

        return await self._database.run(work)

    async def hurry(self, card_id: str, now: datetime, lease: timedelta) -> bool:
        """Have a finished card drawn again now; False if it is open, shown or being drawn."""

        def work(connection: Connection) -> bool:
            card = queries.lock_card(connection, card_id)
            current = card.first
            if current.verdict is None or current.decided_at is None or not card.is_finished:
                return False
            posted = all(r.last_posted_event >= r.events for r in card.requests)
            shown = current.due_at is None and posted
            just_drawn = (current.settled_at or current.decided_at) > now - JUST_DRAWN
            being_drawn = current.due_at is not None and current.due_at <= now + lease
            if being_drawn or (shown and just_drawn):
                return False
            queries.save(connection, replace(current, due_at=now, publish_attempts=0))
            return True

        return await self._database.run(work)

    async def hurry_stale(
        self, now: datetime, lease: timedelta, request_ids: Sequence[str] | None = None
    ) -> None:
        """Have all finished requests drawn now that Slack does not show yet, or only some."""
        given_up = requests.c.due_at.is_(None) & requests.c.verdict.is_not(None)
        unposted = requests.c.mirrored_through < requests.c.events
        # what was shown at the first attempt waits for nothing but its recheck
        tried = requests.c.deliveries > 0
        # no worker's lease reaches so far
        paused = requests.c.due_at > now + lease
        only = [] if request_ids is None else [requests.c.id.in_(request_ids)]
        again = update(requests).values(due_at=now, deliveries=0)

        def work(connection: Connection) -> None:
            connection.execute(again.where(given_up, unposted, tried, _FINISHED, *only))
            connection.execute(again.where(paused, unposted | tried, _FINISHED, *only))
            # what the thread lacks of a card's other customers is posted with the first
            others = select(requests.c.card_id).where(given_up, unposted, requests.c.position > 1)
            connection.execute(
                again.where(requests.c.id.in_(others), given_up, tried, _FINISHED, *only)
            )

        await self._database.run(work)

    async def response_urls(self, request_id: str, now: datetime) -> Sequence[ResponseUrl]:
        """The URLs of the people of a request that still work, newest first."""
        query = (
            select(response_urls)
            .where(response_urls.c.request_id == request_id, response_urls.c.expires_at > now)
            .order_by(response_urls.c.id.desc())
        )

        def work(connection: Connection) -> Sequence[ResponseUrl]:
            rows = connection.execute(query).mappings()
            return [ResponseUrl(row["id"], row["user_id"], row["url"]) for row in rows]

        return await self._database.run(work)

    async def forget(self, urls: Sequence[ResponseUrl]) -> None:
        """Delete URLs that were used or that Slack no longer takes."""
        ids = [url.id for url in urls]
        await self._database.run(lambda connection: connection.execute(_FORGET, {"ids": ids}))


def remember(
    connection: Connection, request_id: str, person: Person, url: str, now: datetime
) -> None:
    """Keep a response URL while it works."""
    values = {"request_id": request_id, "user_id": person.user_id, "url": url}
    _REMEMBER.execute(connection, values | {"expires_at": now + URL_LIFETIME})


def forget_all(connection: Connection, request_id: str) -> None:
    """Delete a request's response URLs: everybody can see its result now."""
    _FORGET_REQUEST.execute(connection, {"request": request_id})


def forget_expired(connection: Connection, now: datetime) -> None:
    """Delete the response URLs that Slack no longer takes."""
    connection.execute(_FORGET_EXPIRED, {"now": now})
