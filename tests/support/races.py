"""Two processes at one card: the states that it can be in, and the steps that they can take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from sqlalchemy import Connection, delete, select, update

from bot.domain.models import Card, EventType, Kind as RequestKind, Outcome, Person, Verdict
from bot.domain.outcomes import Result
from bot.ledger import ask_steps, decide_steps, due_jobs, jobs, rows, work_steps
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.decide_steps import Decided
from bot.ledger.jobs import Job, Kind, LostHold
from bot.ledger.people import Act
from bot.ledger.tables import jobs as job_table
from bot.ledger.work_steps import Looked
from bot.ops.tasks import BackgroundTasks
from bot.requests.runner import Runner
from bot.settings import Timing
from tests.support.names import ALICE, BOB
from tests.support.steps import LIFE, REQUEST, card_of

HOUR = timedelta(hours=1)
_customers = count(1_000_000, 10)


class Side:
    """A process that runs steps; what they leave held, it keeps and does not begin."""

    def __init__(self, database: Database, name: str) -> None:
        self.person = Person(f"U0{name}", "T0SANDBOX")
        self._tasks = BackgroundTasks()
        self.runner = Runner(database, self._tasks, Timing(), asyncio.Event())
        self.runner.handle(dict.fromkeys(Kind, self._keep))
        self._held: dict[tuple[str, str], Job] = {}
        self.run = self.runner.run

    def held(self, card_id: str, kind: Kind) -> Job:
        """The last job of a card that was left held. Raises: KeyError."""
        return self._held[card_id, kind]

    async def settled(self) -> None:
        """Wait until what was left held is known."""
        while len(self._tasks):  # noqa: ASYNC110  # each is over at once
            await asyncio.sleep(0)

    async def _keep(self, job: Job) -> None:
        self._held[job.card_id, job.kind] = job


@dataclass(slots=True)
class Scene:
    """A new card of two customers, of which one side may hold a job, and the other side.

    `undo` is the card that undoes it, if there is one, and `beside` one for the same customers.
    """

    holder: Side
    other: Side
    card: Card = field(init=False)
    undo: Card | None = None
    beside: Card | None = None

    def __post_init__(self) -> None:
        """Customers that no other scene has."""
        customer = replace(REQUEST.customer, customer_id=next(_customers))
        self.card = Card(
            tuple(card_of(2, replace(REQUEST, id=f"f{uuid4().hex[1:]}", customer=customer)))
        )

    @property
    def id(self) -> str:
        return self.card.id

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.card.requests]

    def job(self, kind: Kind) -> Job:
        """The card's job of a kind that the holder holds."""
        return self.holder.held(self.id, kind)

    async def now(self) -> Card:
        """The card as it is now."""
        found = await self.other.runner.read(lambda c: rows.read(c, self.id))
        assert found is not None
        return found

    async def left(self) -> frozenset[str]:
        """What is still to be done for the card and its undo, and forget it."""

        def work(connection: Connection) -> frozenset[str]:
            names = {self.id: "", self.undo.id if self.undo else "": "undo: "}
            found = connection.execute(select(job_table)).mappings().all()
            connection.execute(delete(job_table))
            return frozenset(
                f"{names[row['card_id']]}{row['kind']}{'' if row['due_at'] else ', parked'}"
                for row in found
                if row["card_id"] in names
            )

        return await self.other.runner.read(work)


@asynccontextmanager
async def sides(database_url: str) -> AsyncIterator[tuple[Side, Side]]:
    """Two processes, each with its own connections."""
    async with AsyncExitStack() as stack:
        opened = []
        for name in ("ONE", "TWO"):
            database = Database(open_engine(database_url))
            stack.push_async_callback(database.close)
            opened.append(Side(database, name))
        yield opened[0], opened[1]


def _act() -> Act:
    return Act(uuid4().hex)


async def _hold(scene: Scene, kind: Kind, card_id: str = "") -> None:
    """Let the holder hold a job of the card now."""
    await scene.holder.run(jobs.Transaction.set, card_id or scene.id, kind, here=True)


async def asked(scene: Scene, life: timedelta = LIFE) -> None:
    """Its card is not posted yet."""
    result = await scene.holder.run(ask_steps.asked, scene.card, _act(), life)
    assert isinstance(result, Card)
    scene.card = result
    await scene.holder.settled()


async def opened(scene: Scene, life: timedelta = LIFE) -> None:
    """It waits for a decision, and its people are about to be reminded."""
    await asked(scene, life)
    expires_at = scene.card.first.expires_at
    ts = f"1.{next(_customers)}"
    job = scene.job(Kind.POST)
    scene.card, _ = await scene.holder.run(ask_steps.posted, job, ts, expires_at, reminds=True)
    await _hold(scene, Kind.REMIND)
    await scene.holder.settled()


async def expired(scene: Scene) -> None:
    """Nobody decided it in time."""
    await opened(scene, timedelta())


async def working(scene: Scene) -> None:
    """It was confirmed, and the holder works on it."""
    await opened(scene)
    await confirm(scene, scene.holder)
    await scene.holder.settled()


async def abandoned(scene: Scene) -> None:
    """It was confirmed, and the holder's hold is over."""
    await working(scene)
    over = datetime.now(UTC) - timedelta(seconds=1)
    mine = update(job_table).where(job_table.c.card_id == scene.id)
    await scene.other.runner.read(lambda c: c.execute(mine.values(held_until=over)))


async def cleared(scene: Scene) -> None:
    """It was done; the holder draws it, and looks at the customers again."""
    await working(scene)
    await record(scene, scene.holder)
    await _hold(scene, Kind.RECHECK)
    await scene.holder.settled()


async def unknown(scene: Scene) -> None:
    """Nobody knows what came of it."""
    await working(scene)
    results = dict.fromkeys(scene.ids, Result(Outcome.UNKNOWN))
    await scene.holder.run(work_steps.recorded, scene.job(Kind.WORK), results, HOUR)
    await scene.holder.settled()


async def undoing(scene: Scene) -> None:
    """It was done, and the holder works on its undo."""
    await cleared(scene)
    scene.undo = undo_of(await scene.now())
    result = await scene.holder.run(ask_steps.asked, scene.undo, _act(), LIFE)
    assert isinstance(result, Card)
    ts = f"1.{next(_customers)}"
    await scene.holder.run(
        decide_steps.decided, scene.undo.id, Verdict.CONFIRMED, BOB, _act(), message_ts=ts
    )
    await scene.holder.settled()


async def beside_work(scene: Scene) -> None:
    """It waits for a decision, and the holder works on another card for the same customers."""
    await opened(scene)
    scene.beside = _same_again(scene.card)
    await scene.holder.run(ask_steps.asked, scene.beside, _act(), LIFE)
    await scene.holder.run(
        decide_steps.decided, scene.beside.id, Verdict.CONFIRMED, BOB, _act(), message_ts="1.2"
    )
    await scene.holder.settled()


async def overtaken(scene: Scene) -> None:
    """It waits for a decision, though the customers were changed since; nobody noted that yet."""
    await beside_work(scene)
    await record_beside(scene, scene.holder)


def _same_again(card: Card) -> Card:
    """Another card that unlatches the same customers."""
    again = undo_of(card).requests
    return Card(tuple(replace(r, kind=RequestKind.UNLATCH, undoes=None) for r in again))


def undo_of(card: Card) -> Card:
    """A card that undoes another."""
    first = uuid4().hex
    return Card(
        tuple(
            replace(
                request,
                id=uuid4().hex if request.position > 1 else first,
                card_id=first,
                kind=RequestKind.RELATCH,
                message_ts=None,
                verdict=None,
                decider=None,
                decided_at=None,
                outcome=None,
                settled_at=None,
                undoes=request.id,
                shown_events=0,
                events=(),
            )
            for request in card.requests
        )
    )


Step = Callable[[Scene, Side], Awaitable[object]]
"""What a side does; what needs a hold is done by the holder. Returns what came of it."""


async def confirm(scene: Scene, side: Side) -> object:
    return _told(await side.run(decide_steps.decided, scene.id, Verdict.CONFIRMED, BOB, _act()))


async def press_again(scene: Scene, side: Side) -> object:
    """The same press as Slack delivers it once more."""
    act = Act(f"pressed {scene.id}"[:64])
    return _told(await side.run(decide_steps.decided, scene.id, Verdict.CONFIRMED, BOB, act))


async def cancel(scene: Scene, side: Side) -> object:
    return _told(await side.run(decide_steps.decided, scene.id, Verdict.CANCELLED, ALICE, _act()))


async def expire(scene: Scene, side: Side) -> object:
    return _told(await side.run(decide_steps.decided, scene.id, Verdict.EXPIRED))


async def refuse(scene: Scene, side: Side) -> object:
    return await side.run(decide_steps.refused, scene.id, side.person, "not on the list", _act())


async def post(scene: Scene, _side: Side) -> object:
    expires_at = scene.card.first.expires_at
    job = scene.job(Kind.POST)
    now, _ = await scene.holder.run(ask_steps.posted, job, "1.1", expires_at, reminds=True)
    return now.first.message_ts


async def unpost(scene: Scene, _side: Side) -> object:
    return await scene.holder.run(ask_steps.not_posted, scene.job(Kind.POST), "no such channel")


async def remind(scene: Scene, _side: Side) -> object:
    job = scene.job(Kind.REMIND)
    return bool(await scene.holder.run(work_steps.reminded, job, notifies=True))


async def begin(scene: Scene, _side: Side) -> object:
    return len(await scene.holder.run(work_steps.begun, scene.job(Kind.WORK), scene.ids))


async def record_one(scene: Scene, _side: Side) -> object:
    results = {scene.ids[0]: Result(Outcome.REFUSED)}
    await scene.holder.run(work_steps.recorded, scene.job(Kind.WORK), results, HOUR)
    return None


async def record(scene: Scene, _side: Side) -> object:
    results = dict.fromkeys(scene.ids, Result(Outcome.CLEARED))
    await scene.holder.run(work_steps.recorded, scene.job(Kind.WORK), results, HOUR)
    return None


async def stop(scene: Scene, side: Side) -> object:
    stopped = await side.run(decide_steps.stopped, scene.id, BOB, _act())
    return stopped.came_of_it == "stopped"


async def take_over(_scene: Scene, side: Side) -> object:
    """Take up work that was abandoned; it may end before that is noted."""
    taken = await side.run(due_jobs.take, Kind.WORK, 1, ())
    try:
        for job in taken:
            await side.run(work_steps.resumed, job, older_version=False)
    except LostHold:
        return 0
    return len(taken)


async def show(scene: Scene, _side: Side) -> object:
    """Draw the card until it is as the ledger has it."""
    job, drawn = scene.job(Kind.SHOW), False
    while not drawn:
        card = await scene.holder.run(work_steps.as_it_is, job)
        assert card is not None
        drawn = await scene.holder.run(work_steps.shown, job, len(card.events))
    return drawn


async def fail(scene: Scene, _side: Side) -> object:
    """Slack does not take the card now."""
    again_in = timedelta(minutes=1)
    job = scene.job(Kind.SHOW)
    return await scene.holder.run(work_steps.shown, job, 0, again_in)


async def lose_card(scene: Scene, _side: Side) -> object:
    """Slack no longer has the card."""
    job = scene.job(Kind.SHOW)
    return await scene.holder.run(work_steps.given_up, job, 0, "not found", gone=True)


async def press_late(scene: Scene, side: Side) -> object:
    return bool(await side.run(decide_steps.pressed_late, scene.id))


async def look_later(scene: Scene, _side: Side) -> object:
    """The customers have ids again, as the recheck shows."""
    again_at = datetime.now(UTC) + HOUR
    found = dict.fromkeys(scene.ids, Looked(EventType.LATCHED_AGAIN, {}, again_at))
    await scene.holder.run(work_steps.rechecked, scene.job(Kind.RECHECK), found)
    return None


async def undo(scene: Scene, side: Side) -> object:
    return type(await side.run(ask_steps.asked, undo_of(await scene.now()), _act(), LIFE)).__name__


async def record_undo(scene: Scene, _side: Side) -> object:
    await _record(scene, scene.undo, Outcome.RESTORED)
    return None


async def record_beside(scene: Scene, _side: Side) -> object:
    """The other card's customers are changed."""
    await _record(scene, scene.beside, Outcome.CLEARED)
    return None


async def _record(scene: Scene, card: Card | None, outcome: Outcome) -> None:
    assert card is not None
    job = scene.holder.held(card.id, Kind.WORK)
    results = {request.id: Result(outcome) for request in card.requests}
    await scene.holder.run(work_steps.recorded, job, results, HOUR)


async def overtake(scene: Scene, side: Side) -> object:
    """Note that the customers were changed since."""
    return bool(await side.run(decide_steps.overtaken, scene.id))


async def ask_again(scene: Scene, side: Side) -> object:
    """Check again: a new card for what the customers still have."""
    again = _same_again(await scene.now())
    return type(await side.run(ask_steps.asked, again, _act(), LIFE)).__name__


async def look_again(scene: Scene, side: Side) -> object:
    found = dict.fromkeys(scene.ids, Result(Outcome.CLEARED))
    looked = await side.run(work_steps.looked_again, scene.id, ALICE, found, HOUR)
    return looked is None


def _told(decided: Decided) -> object:
    return (decided.taken, decided.decision.why, decided.mismatch)


async def run(step: Step, scene: Scene, side: Side) -> object:
    """Take a step; returns what came of it, also that the hold was lost."""
    try:
        return await step(scene, side)
    except LostHold:
        return "hold lost"
