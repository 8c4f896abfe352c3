"""The ledger's clock besides expiry and leases: reminders, rechecks, and what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from bot.domain.clock import is_worth_a_reminder
from bot.domain.models import EventType, NewEvent, Outcome, Request, RequestHistory, Verdict
from bot.ledger import queries, same_customer
from bot.ledger.database.engine import Database
from bot.ledger.leases import LostClaim
from bot.ledger.mapping import event_of, request_of
from bot.ledger.schema import events, requests

MAX_OPEN = 1000
"""Rows: a card of many customers that is being executed has one for each."""

OPEN = (
    select(requests)
    .where(
        requests.c.due_at.is_not(None),
        requests.c.outcome.is_(None),
        (requests.c.verdict.is_(None) & (requests.c.expires_at > bindparam("now")))
        | (requests.c.verdict == Verdict.CONFIRMED),
    )
    # by the clock's index: those of a long history that are not due are never read
    .order_by(requests.c.due_at)
    .limit(MAX_OPEN)
)
DECLINED = select(events).where(
    events.c.request_id.in_(bindparam("request_ids", expanding=True)),
    events.c.type == EventType.DECLINED,
)


@dataclass(frozen=True, slots=True)
class Recheck:
    """What came of a recheck.

    `history` has the new event; without one, another request has changed the customer since this
    one, or `is_running`.
    """

    history: RequestHistory | None
    is_running: bool = False


class DueRequests:
    """Every method is one transaction and raises LedgerUnavailable if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, now: datetime) -> Sequence[Request]:
        """The cards that wait for a decision and the work under way, oldest first.

        A row that can't be read is skipped: the sweep logs it.
        """

        def work(connection: Connection) -> Sequence[Request]:
            found: list[Request] = []
            for row in connection.execute(OPEN, {"now": now}).mappings():
                with suppress(ValueError, TypeError, LookupError):
                    found.append(request_of(row))
            one_a_card = {request.card_id: request for request in reversed(found)}
            return sorted(one_a_card.values(), key=lambda request: request.asked_at)

        return await self._database.run(work)

    async def decline_reasons(self, request_ids: Sequence[str]) -> dict[str, str]:
        """Why requests were declined, by id; a request without a reason is left out."""

        def work(connection: Connection) -> dict[str, str]:
            rows = connection.execute(DECLINED, {"request_ids": list(request_ids)}).mappings()
            why = {e.request_id: str(e.details.get("why", "")) for e in map(event_of, rows)}
            return {request_id: reason for request_id, reason in why.items() if reason}

        return await self._database.run(work) if request_ids else {}

    async def claim_reminder(
        self, request: Request, now: datetime, *, notifies: bool
    ) -> Request | None:
        """Record that a waiting card's people are reminded now, and set the clock to its expiry.

        None if another instance was faster, or if the reminder makes no sense any more: it is too
        late, or nobody is to be notified.
        """

        def work(connection: Connection) -> Request | None:
            current = queries.lock(connection, request.id)
            same = (current.claim, current.due_at) == (request.claim, request.due_at)
            if current.verdict or not same:
                return None
            waiting = replace(current, due_at=current.expires_at)
            if not notifies or not is_worth_a_reminder(current, now):
                queries.save(connection, waiting)
                return None
            reminded = NewEvent(now, EventType.REMINDED, "", {})
            return queries.append(connection, waiting, reminded)

        return await self._database.run(work)

    async def record_recheck(self, request: Request, event: NewEvent, due_at: datetime) -> Recheck:
        """Record what a cleared customer looks like, unless a later request may have changed it.

        Raises: LostClaim.
        """

        def work(connection: Connection) -> Recheck:
            current = queries.lock(connection, request.id)
            if current.claim != request.claim:
                raise LostClaim(request.id)
            later = same_customer.changed_since(connection, current)
            if later or current.undone_by or current.outcome is not Outcome.CLEARED:
                return Recheck(None, is_running=any(other.outcome is None for other in later))
            # posting starts anew, with all its attempts
            looked_at = replace(current, due_at=due_at, publish_attempts=0)
            changed = queries.append(connection, looked_at, event)
            return Recheck(queries.history_of(connection, changed))

        return await self._database.run(work)
