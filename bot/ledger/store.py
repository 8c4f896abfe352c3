"""Stores requests and their events: what was asked, decided and done.

Cards and threads are drawn from the ledger, never the other way round. A change of a request and
its event are one transaction. Events are only ever inserted, and their hashes form a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection, RowMapping, select, update

from bot.domain.models import (
    EventType,
    NewEvent,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.domain.policy import ALLOWED, Decision
from bot.ledger import queries
from bot.ledger.engine import Database, LedgerUnavailable
from bot.ledger.mapping import COLUMNS, request_of
from bot.ledger.schema import requests

log = structlog.get_logger(__name__)

MAX_RETRY_DELAY_S = 0.5
"""A decision that fails faster than this is tried once more: both fit into Slack's 3 s."""


class LostClaim(Exception):
    """Another worker has claimed the request: the holder of the old claim must stop."""


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The result of an attempt to decide a request.

    `taken`: the verdict is now in the ledger. If not, `decision` says why this person may not
    decide; if `decision` allows it, the request was already decided or has expired.
    """

    request: Request
    taken: bool
    decision: Decision = ALLOWED


Judge = Callable[[Request, bool], Decision]
"""Applies the policy: may this person decide the request?

The second argument says whether the request was overtaken: it is a follow-up, and after it was
asked another request for the same customer was confirmed and took effect, or may still.
"""


def _allow(_request: Request, _overtaken: bool) -> Decision:  # noqa: FBT001  # a Judge
    return ALLOWED


class Ledger:
    """Requests and events in SQLite or PostgreSQL.

    Every method is one transaction and raises LedgerUnavailable if the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unreadable: set[object] = set()

    async def add(self, request: Request, new_event: NewEvent) -> Request:
        """Insert a request and its first event, which holds the fingerprint of the row."""
        return await self._database.run(lambda c: queries.add(c, request, new_event))

    async def get(self, request_id: str) -> Request | None:
        """The request as it is now, None if there is none."""
        return await self._database.run(lambda c: queries.find(c, request_id))

    async def request_history(self, request_id: str) -> RequestHistory:
        """The request with all its events. Raises: KeyError."""

        def work(connection: Connection) -> RequestHistory:
            request = queries.find(connection, request_id)
            if request is None:
                raise KeyError(request_id)
            return queries.history_of(connection, request)

        return await self._database.run(work)

    async def decide(
        self,
        request_id: str,
        verdict: Verdict,
        new_event: NewEvent,
        *,
        decider: Person | None,
        due_at: datetime,
        judge: Judge = _allow,
    ) -> DecisionResult:
        """The gate: record the verdict if there is none yet and `judge` allows it.

        A click counts only before the card expires, an expiry only after. `due_at` is the deadline
        of the worker that acts on the verdict. Raises: KeyError if there is no such request.
        """

        def work(connection: Connection, *, again: bool = False) -> DecisionResult:
            request = queries.lock(connection, request_id)
            ours = (request.verdict, request.decided_at, request.decider)
            if again and ours == (verdict, new_event.at, decider):
                return DecisionResult(request, taken=True)
            in_time = request.due_at is not None and request.due_at > new_event.at
            if request.verdict or request.due_at is None or in_time is (verdict is Verdict.EXPIRED):
                return DecisionResult(request, taken=False)
            overtaken = verdict is Verdict.CONFIRMED and queries.was_overtaken(connection, request)
            decision = judge(request, overtaken)
            if not decision.allowed:
                denial = replace(
                    new_event,
                    type=EventType.DECISION_DENIED,
                    details={"verdict": verdict, "why": decision.why},
                )
                denied = queries.append(connection, request, denial)
                return DecisionResult(denied, taken=False, decision=decision)
            decided = replace(
                request,
                verdict=verdict,
                decider=decider,
                decided_at=new_event.at,
                due_at=due_at,
                claim=request.claim + 1,
            )
            return DecisionResult(queries.append(connection, decided, new_event), taken=True)

        began = monotonic()
        try:
            return await self._database.run(work)
        except LedgerUnavailable:
            if monotonic() - began > MAX_RETRY_DELAY_S:
                raise
            # the connection broke: the commit may have succeeded, so the second try looks first
            return await self._database.run(partial(work, again=True))

    async def overdue(self, now: datetime) -> Sequence[Request]:
        """The requests whose `due_at` has passed, longest overdue first.

        A row that can't be read is logged and skipped.
        """

        def work(connection: Connection) -> Sequence[Request]:
            rows = connection.execute(queries.OVERDUE, {"now": now}).mappings()
            return [request for row in rows if (request := self._readable(row))]

        return await self._database.run(work)

    async def reclaim(
        self, request: Request, now: datetime, due_at: datetime
    ) -> RequestHistory | None:
        """Claim a request whose lease has run out; None if another worker was faster."""

        def work(connection: Connection) -> RequestHistory | None:
            current = queries.lock(connection, request.id)
            if current.claim != request.claim or current.due_at is None or current.due_at > now:
                return None
            reclaimed = replace(current, claim=current.claim + 1, due_at=due_at)
            if current.verdict is Verdict.CONFIRMED and current.outcome is None:
                details: dict[str, object] = {"claim": reclaimed.claim}
                reclaimed = queries.append(
                    connection, reclaimed, NewEvent(now, EventType.RECLAIMED, "", details)
                )
            else:
                reclaimed = replace(reclaimed, publish_attempts=current.publish_attempts + 1)
                queries.save(connection, reclaimed)
            return queries.history_of(connection, reclaimed)

        return await self._database.run(work)

    async def record(
        self,
        request: Request,
        new_event: NewEvent,
        *,
        fenced: bool = True,
        **changes: Any,  # noqa: ANN401  # fields of Request
    ) -> RequestHistory:
        """Append an event and change the request's fields, as the worker that holds its claim.

        Raises: LostClaim if another worker has claimed the request since; never if not `fenced`.
        """

        def work(connection: Connection) -> RequestHistory:
            current = queries.lock(connection, request.id)
            if fenced and current.claim != request.claim:
                raise LostClaim(request.id)
            changed = queries.append(connection, replace(current, **changes), new_event)
            return queries.history_of(connection, changed)

        return await self._database.run(work)

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
        request: Request,
        shown: int,
        *,
        due_at: datetime | None = None,
        failure: NewEvent | None = None,
    ) -> None:
        """Give the request back until `due_at`, or for good (None).

        If it has new events since it was drawn, it stays due by the end of its lease instead.
        `shown` is the number of the last event that the thread is known to show (0 if unknown);
        `failure` is the event for a message that Slack will never take. Raises: LostClaim.
        """

        def work(connection: Connection) -> None:
            current = queries.lock(connection, request.id)
            if current.claim != request.claim:
                raise LostClaim(request.id)
            if due_at is None and current.events > request.events:
                # this older drawing may have replaced a newer one on the card
                again_at = current.due_at or request.due_at
            else:
                again_at = due_at
            released = replace(
                current,
                last_posted_event=max(shown, current.last_posted_event),
                due_at=again_at,
            )
            if failure:
                queries.append(connection, released, failure)
            else:
                queries.save(connection, released)

        await self._database.run(work)

    async def recent_requests(self, customer_id: int | None, limit: int = 10) -> Sequence[Request]:
        """The last requests with a card, newest first, of one customer or all (None)."""
        query = select(requests).where(requests.c.message_ts.is_not(None))
        if customer_id is not None:
            query = query.where(requests.c.customer_id == customer_id)
        query = query.order_by(requests.c.asked_at.desc()).limit(limit)

        def work(connection: Connection) -> Sequence[Request]:
            return [request_of(row) for row in connection.execute(query).mappings()]

        return await self._database.run(work)

    async def open_follow_up(self, request: Request) -> Request | None:
        """Another request in the same thread that is undecided or being executed."""
        values = {
            "customer": request.customer.customer_id,
            "channel": request.channel_id,
            "thread": request.thread_ts,
            "request_id": request.id,
        }

        def work(connection: Connection) -> Request | None:
            row = connection.execute(queries.FOLLOW_UP, values).mappings().one_or_none()
            return request_of(row) if row else None

        return await self._database.run(work)

    async def waiting(self) -> int:
        """How many cards are undecided."""
        return await self._database.run(lambda c: int(c.execute(queries.WAITING).scalar_one()))

    async def longest_due(self) -> datetime | None:
        """The earliest `due_at`: in the past, if the sweep has not come to that request yet."""
        return await self._database.run(lambda c: c.execute(queries.LONGEST_DUE).scalar())

    def _readable(self, row: RowMapping) -> Request | None:
        try:
            return request_of(row)
        except (ValueError, TypeError, LookupError):
            if row["id"] not in self._unreadable:
                log.error("a request's row can't be read: see audit --verify", request_id=row["id"])  # noqa: TRY400  # the row matters, not where reading failed
            self._unreadable.add(row["id"])
            return None

    async def ping(self) -> None:
        """Check that the database answers. Raises: LedgerUnavailable."""
        await self._database.run(lambda connection: connection.execute(select(1)).scalar())
