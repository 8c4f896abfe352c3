"""Writes a ledger as the bot does, step by step, for tests of what reads it: audit and logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from bot.domain.models import NewEvent, Outcome, Person, Request, Verdict
from bot.domain.policy import Decision
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.store import Ledger


class Writing:
    """The steps of a request; each is a transaction of the bot's own, at the time of its event."""

    def __init__(self, database: Database) -> None:
        self._ledger = Ledger(database)

    async def ask(self, request: Request, asked: NewEvent) -> None:
        """Add a request whose card waits for a decision until it expires."""
        await self._ledger.add(replace(request, due_at=request.expires_at), asked)

    async def confirm(
        self, request: Request, confirmed: NewEvent, who: Person, *, denied: str = ""
    ) -> None:
        """Confirm a request, or be `denied` to, and why."""
        await self._ledger.decide(
            request.id,
            Verdict.CONFIRMED,
            confirmed,
            decider=who,
            due_at=confirmed.at,
            judge=lambda _request, _other: Decision(allowed=not denied, why=denied),
        )

    async def note(self, request: Request, event: NewEvent) -> None:
        """Add an event that changes nothing else."""
        await self._ledger.record(request, event, fenced=False)

    async def finish(self, request: Request, event: NewEvent, outcome: Outcome) -> None:
        """Record an outcome; nothing is left to do then."""
        await self._ledger.record(
            request, event, fenced=False, outcome=outcome, settled_at=event.at, due_at=None
        )


@asynccontextmanager
async def writing(database_url: str) -> AsyncIterator[Writing]:
    """Opens a ledger to write into; it exists."""
    database = Database(open_engine(database_url))
    try:
        yield Writing(database)
    finally:
        await database.close()
