"""What is still to be done for a card: a row of one table, held by the process that does it.

Nothing else in the ledger has a clock. A step sets and removes jobs in the transaction that makes
them due or needless, so nothing is forgotten and nothing is done for a state that has passed (a
transactional outbox, as of River, Oban or procrastinate). A process holds a job for a while and
renews that; when it dies, the hold ends and any process takes the job over. A process that was only
slow finds that out at its next write: `(id, takes)` is the fence, and each take counts `takes` up.

Time is the database's, except for one thing: before a call outside, the process also looks at a
deadline of its own that goes on while the machine sleeps (`Job.require_held`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    String,
    bindparam,
    delete,
    select,
    text,
    update,
)

from bot.domain.models import Card
from bot.ledger.database.statements import Row, Statement, clock
from bot.ledger.tables import Moment, jobs


class Kind(StrEnum):
    """What a job does."""

    POST = "post"  # post the card of a request that has none yet
    REMIND = "remind"  # remind the people to notify of a card that still waits
    EXPIRE = "expire"  # end a card that nobody decided
    WORK = "work"  # do what a card was confirmed for
    SHOW = "show"  # draw a posted card and its thread as the ledger has them
    RECHECK = "recheck"  # read cleared customers once more
    OVERTAKE = "overtake"  # close the cards that wait for customers that this one has changed


class LostHold(Exception):
    """Another process holds the job, or may: the old holder must stop."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.kind} of {job.card_id}")


@dataclass(slots=True, eq=False)
class Job:
    """A job that this process holds.

    `attempts` are failures in Slack (show), or holds that lapsed (work). `wanted` is how often it
    was set when the card was last read: if it was set again since, there is more to do. `deadline`
    is when the hold ends, in seconds of a clock that counts suspend; `taken_at` is the database's
    time when it was taken, and `began` the same on that clock. `card` is the card as the step left
    it that set the job for the `set_with_card`th time, until somebody takes it from here; None if
    the job was taken later.
    `previous` is the process that held it then, if it was another one. `changed` is set when a step
    of this process sets the job again, `done` when it is no longer run.
    """

    id: int
    takes: int
    kind: str
    card_id: str
    attempts: int
    wanted: int
    deadline: float
    taken_at: datetime
    began: float
    card: Card | None = None
    previous: str | None = None
    set_with_card: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def take_card(self) -> Card | None:
        """The card as the last step left it that set the job, once; None if it has to be read."""
        card, self.card = self.card, None
        if card is not None:
            self.wanted = self.set_with_card
        return card

    def now(self) -> datetime:
        """The database's time, as far as this process can know it without asking."""
        return self.taken_at + timedelta(seconds=seconds() - self.began)

    def set_again(self, job: Job) -> None:
        """Note that the job was set again, by a step that left the card as `job` has it."""
        self.card, self.set_with_card = job.card, job.wanted
        self.attempts = 0
        self.changed.set()

    def require_held(self) -> None:
        """Check that the hold has not ended, by this machine's clock. Raises: LostHold."""
        if seconds() >= self.deadline:
            raise LostHold(self)


def seconds() -> float:
    """A clock that never goes back, and goes on while the machine or the process sleeps."""
    # Linux alone has it; elsewhere a suspended machine is not noticed
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_TIMES = [bindparam(name, type_=Moment) for name in ("due_at", "now", "held_until")]
SET = Statement(
    text("""
INSERT INTO jobs (card_id, kind, due_at, set_at, holder, held_until, takes, attempts, wanted)
VALUES (:card_id, :kind, :due_at, :now, :holder, :held_until, :takes, 0, 1)
ON CONFLICT (card_id, kind) DO UPDATE SET
  due_at = CASE WHEN jobs.due_at < excluded.due_at THEN jobs.due_at ELSE excluded.due_at END,
  set_at = excluded.set_at,
  attempts = 0,
  wanted = jobs.wanted + 1,
  takes = CASE WHEN jobs.holder IS NULL OR jobs.held_until <= :now
    THEN jobs.takes + excluded.takes ELSE jobs.takes END,
  held_until = CASE WHEN jobs.holder IS NULL OR jobs.held_until <= :now
    THEN excluded.held_until ELSE jobs.held_until END,
  holder = CASE WHEN jobs.holder IS NULL OR jobs.held_until <= :now
    THEN excluded.holder ELSE jobs.holder END
RETURNING id, card_id, kind, takes, wanted, holder
""")
    .bindparams(*_TIMES)
    .columns(
        id=BigInteger, card_id=String, kind=String, takes=Integer, wanted=Integer, holder=String
    )
)
REMOVE = Statement(
    delete(jobs).where(jobs.c.card_id == bindparam("card_id"), jobs.c.kind == bindparam("kind"))
)
_IS_MINE = (jobs.c.id == bindparam("job_id")) & (jobs.c.takes == bindparam("held"))
END = Statement(delete(jobs).where(_IS_MINE))
END_AS_SEEN = Statement(delete(jobs).where(_IS_MINE, jobs.c.wanted == bindparam("seen")))
EXTEND = Statement(update(jobs).where(_IS_MINE).values(held_until=bindparam("until")))
PUT_OFF = Statement(
    update(jobs)
    .where(_IS_MINE)
    .values(
        due_at=bindparam("again_at"),
        attempts=bindparam("failures"),
        set_at=bindparam("now"),
        holder=None,
        held_until=None,
    )
)
FENCE = Statement(select(jobs).where(_IS_MINE))
FIND = Statement(
    select(jobs).where(jobs.c.card_id == bindparam("card_id"), jobs.c.kind == bindparam("job_kind"))
)


class Locked(Protocol):
    """A card whose rows a step has locked, as `bot.ledger.rows` has it."""

    @property
    def card(self) -> Card: ...

    def save(self) -> None: ...


@dataclass(slots=True)
class Transaction:
    """A transaction of one step: its connection, and the jobs that it sets and removes.

    Whoever runs the step ends it with `finish`, which writes the cards that the step has `locked`.

    `now` is the database's time when the transaction began. `again`: the same step has been tried
    before, and may have taken effect: then it sets its jobs again, since nobody has started them.

    The jobs are written last, in one order, so that two steps can't wait for each other. Those that
    are set `here` are held by this process from the start, unless another one holds them:
    `held` has them, with the card as the step leaves it.

    `names` are the names of people that this process knows to be in the ledger, by their ids, and
    `new_names` those that this transaction has added.
    """

    connection: Connection
    holder: str
    hold: timedelta
    again: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=seconds)
    held: list[Job] = field(default_factory=list)
    locked: list[Locked] = field(default_factory=list)
    new_names: dict[str, str] = field(default_factory=dict)
    now: datetime = field(init=False)
    _changes: dict[tuple[str, str], tuple[datetime, bool] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The time of a step is one time."""
        self.now = clock(self.connection)

    def set(
        self, card_id: str, kind: Kind, due_at: datetime | None = None, *, here: bool = False
    ) -> None:
        """Have a job done at a time, or now; one that is set already is done at the earlier."""
        self._changes[card_id, kind] = (due_at or self.now, here)

    def remove(self, card_id: str, *kinds: Kind) -> None:
        """Have jobs not done, whoever holds them."""
        for kind in kinds:
            self._changes[card_id, kind] = None

    def finish(self) -> None:
        """Write what the step has changed, and then the jobs."""
        for locked in self.locked:
            locked.save()
        changes = sorted(self._changes.items(), key=lambda item: item[0])
        removed = [{"card_id": each, "kind": kind} for (each, kind), set_ in changes if not set_]
        if removed:
            REMOVE.many(self.connection, removed)
        for (card_id, kind), change in changes:
            if change is None:
                continue
            due_at, here = change
            values = {
                "card_id": card_id,
                "kind": kind,
                "due_at": due_at,
                "now": self.now,
                "holder": self.holder if here else None,
                "held_until": self.now + self.hold if here else None,
                "takes": int(here),
            }
            row = SET.row(self.connection, values)
            if row and row["holder"] == self.holder:
                # the first card that it locks is the one that a step is about
                card = self.locked[0].card if self.locked else None
                self.held.append(self.job(row, card if card and card.id == card_id else None))

    def job(self, row: Row, card: Card | None = None) -> Job:
        """A job that this process holds since the transaction began, from its row."""
        return Job(
            id=row["id"],
            takes=row["takes"],
            kind=row["kind"],
            card_id=row["card_id"],
            attempts=row.get("attempts", 0),
            wanted=row["wanted"],
            deadline=self.began + self.hold.total_seconds(),
            taken_at=self.now,
            began=self.began,
            card=card,
            set_with_card=row["wanted"],
        )


def extend(tx: Transaction, job: Job) -> None:
    """Hold a job longer, if this process holds it. Raises: LostHold."""
    _write(tx, EXTEND, job, until=tx.now + tx.hold)


def end(tx: Transaction, job: Job) -> None:
    """Remove a job that is done, or needless. Raises: LostHold."""
    _write(tx, END, job)


def end_unless_set_again(tx: Transaction, job: Job) -> bool:
    """Remove a job that is done; false if it was set again since its card was read.

    Raises: LostHold.
    """
    values = {"job_id": job.id, "held": job.takes, "seen": job.wanted}
    if END_AS_SEEN.execute(tx.connection, values):
        return True
    require_held(tx, job)
    return False


def put_off(tx: Transaction, job: Job, again_in: timedelta | None) -> None:
    """Let a job go, to be taken again later, or never by itself. Raises: LostHold."""
    again_at = None if again_in is None else tx.now + again_in
    _write(tx, PUT_OFF, job, again_at=again_at, failures=job.attempts, now=tx.now)


def _write(tx: Transaction, statement: Statement, job: Job, **values: object) -> None:
    """Change the row of a job that this process holds. Raises: LostHold."""
    if not statement.execute(tx.connection, {"job_id": job.id, "held": job.takes, **values}):
        raise LostHold(job)


def require_held(tx: Transaction, job: Job) -> Row:
    """The job's row, if this process holds it. Raises: LostHold."""
    row = FENCE.row(tx.connection, {"job_id": job.id, "held": job.takes})
    if row is None:
        raise LostHold(job)
    return row


def find(tx: Transaction, card_id: str, kind: Kind) -> Row | None:
    """A card's job of a kind, whoever holds it; None if it is not set."""
    return FIND.row(tx.connection, {"card_id": card_id, "job_kind": kind})
