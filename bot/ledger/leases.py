"""Who holds a request, until when, and who may take it over.

A bot can be killed at any point, so nobody holds a request for good. Its worker holds a lease,
which ends at `due_at`, and renews it while the work lasts. When the lease has run out, the sweep of
any instance may claim the request, which counts `claim` up. Then the old worker, which may only
have been slow, can't write any more (LostClaim). Who posts in a card's thread holds a lease of its
own, so that no two instances post the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, RowMapping, update

from bot.domain.models import Card, CardHistory, EventType, NewEvent, Request
from bot.ledger import outbox, queries
from bot.ledger.database.engine import Database
from bot.ledger.mapping import COLUMNS, request_of
from bot.ledger.schema import requests

log = structlog.get_logger(__name__)


class LostClaim(Exception):
    """Another worker has claimed the request: the holder of the old claim must stop."""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A card, and the ids of those of its requests that were claimed."""

    history: CardHistory
    mine: frozenset[str]


class Leases:
    """Every method is one transaction and raises LedgerUnavailable if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unreadable: set[object] = set()

    async def overdue(self, now: datetime, lease: timedelta) -> Sequence[Request]:
        """The requests whose `due_at` has passed, longest overdue first.

        Also those that are due later than a `lease` or a card's life can end: then the clock was
        set back. A row that can't be read is logged and skipped.
        """
        limits = queries.clock_limits(now, lease)

        def work(connection: Connection) -> Sequence[Request]:
            outbox.forget_expired(connection, now)
            rows = connection.execute(queries.OVERDUE, limits).mappings()
            return [request for row in rows if (request := self._readable(row))]

        return await self._database.run(work)

    async def reclaim(
        self, requests: Sequence[Request], now: datetime, due_at: datetime
    ) -> Reclaimed | None:
        """Claim requests of one card whose lease has run out, those that nobody claimed meanwhile.

        None if another worker was faster.
        """
        claims = {request.id: request.claim for request in requests}

        def work(connection: Connection) -> Reclaimed | None:
            card = queries.lock_card(connection, requests[0].card_id)
            mine = [
                current
                for current in card.requests
                if current.claim == claims.get(current.id)
                and queries.is_overdue(current, now, due_at - now)
            ]
            claimed = {request.id: _reclaimed(connection, request, now, due_at) for request in mine}
            if not claimed:
                return None
            card = Card(tuple(claimed.get(request.id, request) for request in card.requests))
            return Reclaimed(queries.card_history_of(connection, card), frozenset(claimed))

        return await self._database.run(work)

    async def renew(self, requests: Sequence[Request], due_at: datetime) -> None:
        """Extend the lease of those requests whose claim this worker still holds."""
        rows = [{"request_id": r.id, "held": r.claim, "until": due_at} for r in requests]
        # who only draws a card once more holds none of it
        if rows:
            await self._database.run(lambda c: queries.RENEW.many(c, rows))

    async def change(self, request: Request, **changes: Any) -> Request:  # noqa: ANN401  # fields of Request
        """Change a request's fields without an event: for the clock and the outbox.

        Raises: LostClaim.
        """

        def work(connection: Connection) -> Request:
            done = connection.execute(
                update(requests)
                .where(requests.c.id == request.id, requests.c.claim == request.claim)
                .values({COLUMNS.get(field, field): value for field, value in changes.items()})
            )
            if done.rowcount != 1:
                raise LostClaim(request.id)
            return replace(request, **changes)

        return await self._database.run(work)

    async def release(
        self,
        card: Card,
        shown: Sequence[int],
        mine: Collection[str],
        *,
        due_at: datetime | None = None,
        next_at: Mapping[str, datetime] | None = None,
        failure: NewEvent | None = None,
        final: bool = False,
    ) -> None:
        """Give the requests `mine` of a card back, and have the card drawn again at `due_at`.

        If that is None, nothing is left to post. Then each is due at its `next_at`, or never again.
        If the card has new events since it was drawn, it stays due by the end of its lease instead.
        `shown` has, for each request, the number of the last event that the thread is known to show
        (0 if unknown); `failure` is the event for a message that Slack did not take; if that is
        `final`, nothing is left to show. Raises: LostClaim if another worker has the card.
        """

        def work(connection: Connection) -> None:
            if due_at is None and failure is None and card.first.id in mine:
                next_of_first = (next_at or {}).get(card.first.id)
                if _mark_shown(connection, card, shown, next_of_first):
                    return
            now = queries.lock_card(connection, card.id)
            if now.first.claim != card.first.claim:
                raise LostClaim(card.id)
            stale = due_at is None and now.events > card.events
            # this older drawing may have replaced a newer one on the card
            again_at = _end_of_lease(card, mine) if stale else due_at
            released = [
                replace(
                    current,
                    last_posted_event=max(through, current.last_posted_event),
                    due_at=_due_after(
                        current,
                        again_at,
                        next_at or {},
                        mine=current.id in mine and current.claim == drawn.claim,
                        stale=stale,
                    ),
                )
                for current, drawn, through in zip(now.requests, card.requests, shown, strict=True)
            ]
            if released[0].due_at is None:
                outbox.forget_all(connection, card.id)
            changed = [
                each
                for each, current in zip(released, now.requests, strict=True)
                if each != current
            ]
            queries.save_all(connection, changed)
            if failure is None:
                return
            failed = queries.append(connection, released[0], failure)
            if final and not stale:
                posted = [replace(r, last_posted_event=r.events) for r in (failed, *released[1:])]
                queries.save_all(connection, posted)

        await self._database.run(work)

    async def take_thread(
        self, card: Card, now: datetime, lease: timedelta
    ) -> Sequence[int] | None:
        """Claim a card's thread for a `lease`, to post what it lacks; None if it is taken.

        Returns, for each request, the number of the last event that the thread shows.
        """
        limits = queries.clock_limits(now, lease)
        values = {"request_id": card.id, "now": now, "until": now + lease}

        def work(connection: Connection) -> Sequence[int] | None:
            values["too_far"] = limits["too_far"]
            if queries.TAKE_THREAD.execute(connection, values) != 1:
                return None
            rows = queries.SHOWN.rows(connection, {"card_id": card.id})
            return [row["mirrored_through"] for row in rows]

        return await self._database.run(work)

    async def leave_thread(self, card: Card, shown: Sequence[int]) -> None:
        """Give the thread back; `shown` has the last event of each request that it shows now."""
        rows = [
            {"request_id": request.id, "shown": through}
            for request, through in zip(card.requests, shown, strict=True)
        ]
        await self._database.run(lambda c: queries.LEAVE_THREAD.many(c, rows))

    def _readable(self, row: RowMapping) -> Request | None:
        try:
            return request_of(row)
        except (ValueError, TypeError, LookupError):
            if row["id"] not in self._unreadable:
                log.error("a request's row can't be read: see audit --verify", request_id=row["id"])  # noqa: TRY400  # the row matters, not where reading failed
            self._unreadable.add(row["id"])
            return None


def _reclaimed(
    connection: Connection, request: Request, now: datetime, due_at: datetime
) -> Request:
    reclaimed = replace(request, claim=request.claim + 1, due_at=due_at)
    if request.is_to_be_executed:
        details: dict[str, object] = {"claim": reclaimed.claim}
        event = NewEvent(now, EventType.RECLAIMED, "", details)
        return queries.append(connection, reclaimed, event)
    reclaimed = replace(reclaimed, publish_attempts=request.publish_attempts + 1)
    queries.save(connection, reclaimed)
    return reclaimed


def _mark_shown(
    connection: Connection, card: Card, shown: Sequence[int], next_at: datetime | None
) -> bool:
    """Release a finished card of one request in one statement; false if it is anything else."""
    if len(card.requests) > 1 or not card.is_finished:
        return False
    first = card.first
    values = {"request_id": first.id, "held": first.claim, "drawn": first.events}
    values |= {"shown": shown[0], "next_at": next_at}
    if not queries.MARK_SHOWN.execute(connection, values):
        return False
    if next_at is None:
        outbox.forget_all(connection, card.id)
    return True


def _due_after(
    current: Request,
    again_at: datetime | None,
    next_at: Mapping[str, datetime],
    *,
    mine: bool,
    stale: bool,
) -> datetime | None:
    """When a request is due once its card was drawn, if it has to be drawn again at `again_at`."""
    if current.is_to_be_executed:
        # a card can be drawn while its customers are under way: their worker keeps its lease
        return current.due_at
    due_at = next_at.get(current.id) if mine else current.due_at
    if current.position > 1 or again_at is None:
        return due_at
    # the first is due for the whole card, whoever holds it
    if mine:
        return (current.due_at or again_at) if stale else again_at
    return min(again_at, due_at or again_at)


def _end_of_lease(card: Card, mine: Collection[str]) -> datetime | None:
    return max((r.due_at for r in card.requests if r.id in mine and r.due_at), default=None)
