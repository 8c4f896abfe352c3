"""Runs the ledger's steps as processes of the bot do, at times that a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from bot.domain.models import (
    Card,
    Customer,
    EventType,
    HubSpotIds,
    Kind as RequestKind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.domain.outcomes import Result
from bot.domain.policy import ALLOWED, Decision
from bot.ledger import ask_steps, decide_steps, due_jobs, rows, work_steps
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.decide_steps import Decided
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.people import Act
from tests.support.names import ALICE

T = TypeVar("T")
P = ParamSpec("P")
Step = Callable[Concatenate[Transaction, P], T]

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LIFE = timedelta(minutes=15)
HOLD = timedelta(seconds=30)
LATER = NOW + HOLD + timedelta(seconds=1)
"""A hold that was taken `NOW` is over then."""
BOB = Person("U0BOB", "T0PARTNER")
TS = "1795476057.349284"
REQUEST = Request(
    id="a" * 32,
    kind=RequestKind.UNLATCH,
    customer=Customer(2554529, HubSpotIds(101, 434381295294), "Zoë", "Stolen Bikes 🚲", "2554530"),
    channel_id="C0BILLING",
    message_ts=None,
    thread_ts=None,
    requester=ALICE,
    reason="moved — “new” portal",
    asked_at=NOW,
    expires_at=NOW + LIFE,
)
NOT_LISTED = Decision(allowed=False, why="not on the list")


@dataclass(slots=True)
class Process:
    """One that runs steps on a ledger; what they leave held, it holds but does not begin.

    `now` is what the database's clock says. `held` has the last job of each kind.
    """

    database: Database
    holder: str
    now: datetime = NOW
    held: dict[str, Job] = field(default_factory=dict)

    async def run(self, step: Step[P, T], *args: P.args, **values: P.kwargs) -> T:
        """Run a step. Raises: LedgerUnavailable; what the step raises."""

        def work(connection: Connection) -> tuple[T, Transaction]:
            connection.info["now"] = self.now
            transaction = Transaction(connection, self.holder, HOLD)
            result = step(transaction, *args, **values)
            transaction.finish()
            return result, transaction

        result, transaction = await self.database.run(work)
        self.held |= {job.kind: job for job in transaction.held}
        return result

    async def take(self, kind: Kind, places: int = 10, running: Sequence[int] = ()) -> list[Job]:
        """Take what is due of a kind."""
        return await self.run(due_jobs.take, kind, places, running)

    async def set(
        self, card_id: str, kind: Kind, due_at: datetime | None = None, *, here: bool = False
    ) -> None:
        """Set a job in a step of its own."""
        await self.run(Transaction.set, card_id, kind, due_at, here=here)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        return await self.run(lambda tx: work(tx.connection))

    async def card(self, card_id: str = REQUEST.id) -> Card:
        """A card as it is now. Raises: LookupError if there is none."""
        card = await self.read(lambda connection: rows.read(connection, card_id))
        if card is None:
            raise LookupError(card_id)
        return card

    async def ask(self, *requests: Request) -> Card:
        """Ask for a card; `REQUEST` if none is given."""
        card = Card(requests or (REQUEST,))
        life = card.first.expires_at - card.first.asked_at
        result = await self.run(ask_steps.asked, card, Act(f"asks for {card.id}"), life)
        assert isinstance(result, Card)
        return result

    async def post(self, ts: str = TS, *, reminds: bool = False) -> Card:
        """Note that the card that was asked for last was posted in time."""
        job = self.held[Kind.POST]
        assert job.card is not None
        expires_at = job.card.first.expires_at
        card, _ = await self.run(ask_steps.posted, job, ts, expires_at, reminds=reminds)
        return card

    async def confirm(
        self,
        card_id: str = REQUEST.id,
        person: Person = BOB,
        act: Act | None = None,
        judge: decide_steps.Judge = lambda _request, _other: ALLOWED,
    ) -> Decided:
        """Press the card's button."""
        return await self.run(
            decide_steps.decided, card_id, Verdict.CONFIRMED, person, act, judge=judge
        )

    async def confirmed(self, *requests: Request, ts: str = TS) -> Job:
        """Ask for a card, post it and confirm it; returns its work."""
        card = await self.ask(*requests)
        await self.post(ts)
        assert (await self.confirm(card.id)).taken
        return self.held[Kind.WORK]

    async def record(
        self,
        outcome: Outcome = Outcome.CLEARED,
        details: Mapping[str, object] | None = None,
        recheck_after: timedelta = timedelta(),
    ) -> Card:
        """Record the same outcome of each request of the card whose work is held."""
        job = self.held[Kind.WORK]
        card = await self.card(job.card_id)
        result = Result(outcome, dict(details or {"status": 200}))
        results = {request.id: result for request in card.requests}
        return await self.run(work_steps.recorded, job, results, recheck_after)

    async def note(
        self, request_id: str, event: EventType, actor: str = "", **details: object
    ) -> None:
        """Add an event to a card's first request that changes nothing else."""

        def step(tx: Transaction) -> None:
            locked = rows.lock(tx, request_id)
            locked.append(locked.first, event, details, actor)

        await self.run(step)


def card_of(size: int, request: Request = REQUEST) -> list[Request]:
    """The requests of a card of many customers."""
    return [
        replace(
            request,
            id=request.id if position == 1 else f"{position:02}{request.id[2:]}",
            customer=replace(
                request.customer, customer_id=request.customer.customer_id + position - 1
            ),
            card_id=request.id,
            position=position,
            card_size=size,
        )
        for position in range(1, size + 1)
    ]


def not_listed(_request: Request, _other: Request | None) -> Decision:
    """Judges that the person is not on the list."""
    return NOT_LISTED


@asynccontextmanager
async def process(database_url: str, holder: str = "one") -> AsyncIterator[Process]:
    """A process on a ledger that exists."""
    database = Database(open_engine(database_url))
    try:
        yield Process(database, holder)
    finally:
        await database.close()
