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
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

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


class LostHold(Exception):
    """Another process holds the job, or may: the old holder must stop."""


@dataclass(slots=True, eq=False)
class Job:
    """A job that this process holds.

    `attempts` are failures in Slack (show), or holds that lapsed (work). `wanted` is how often it
    was set when the card was last read: if it was set again since, there is more to do. `deadline`
    is when the hold ends, in seconds of a clock that counts suspend; `taken_at` is the database's
    time when it was taken, and `began` the same on that clock. `card` is the card as the step left
    it that set the job, until somebody takes it from here; None if the job was taken later.
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
    set_with_card: int = field(init=False)
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

    def __post_init__(self) -> None:
        """How often the job was set when the card was as it is here."""
        self.set_with_card = self.wanted

    def set_again(self, job: Job) -> None:
        """Note that the job was set again, by a step that left the card as `job` has it."""
        self.card, self.set_with_card = job.card, job.wanted
        self.attempts = 0
        self.changed.set()

    def require_held(self) -> None:
        """Check that the hold has not ended, by this machine's clock. Raises: LostHold."""
        if seconds() >= self.deadline:
            raise LostHold(f"{self.kind} of {self.card_id}")


def seconds() -> float:
    """A clock that never goes back, and goes on while the machine or the process sleeps."""
    # Linux alone has it; elsewhere a suspended machine is not noticed
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


STEP_ENDS_WITHIN = timedelta(seconds=2.5)
"""After this, a step whose commit is uncertain starts none of its jobs any more."""
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
RETURNING id, takes, wanted, holder
""")
    .bindparams(*_TIMES)
    .columns(id=BigInteger, takes=Integer, wanted=Integer, holder=String)
)
REMOVE = Statement(
    delete(jobs).where(jobs.c.card_id == bindparam("card_id"), jobs.c.kind == bindparam("kind"))
)
_IS_MINE = (jobs.c.id == bindparam("job_id")) & (jobs.c.takes == bindparam("held"))
END = Statement(delete(jobs).where(_IS_MINE, jobs.c.wanted == bindparam("seen")))
END_ANYHOW = Statement(delete(jobs).where(_IS_MINE))
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
DUE = Statement(
    select(jobs)
    .where(
        jobs.c.kind == bindparam("job_kind"),
        # by itself: only then does SQLite use the index
        jobs.c.due_at.is_not(None),
        # else this machine's clock was set back
        (jobs.c.due_at <= bindparam("now")) | (jobs.c.set_at > bindparam("never_yet")),
        jobs.c.holder.is_(None)
        | ((jobs.c.holder == bindparam("me")) & (jobs.c.held_until <= bindparam("lost_by")))
        | (jobs.c.held_until <= bindparam("now"))
        | (jobs.c.held_until > bindparam("never_yet")),
    )
    .order_by(jobs.c.due_at)
    .limit(bindparam("places", type_=Integer))
    .with_for_update(skip_locked=True)
)
TAKE = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(
        holder=bindparam("me"),
        held_until=bindparam("until"),
        takes=bindparam("held"),
        attempts=bindparam("failures"),
    )
)
_MINE = (
    select(jobs.c.id, jobs.c.takes)
    .where(jobs.c.holder == bindparam("me"))
    .with_for_update(skip_locked=True)
)
MINE = Statement(_MINE)
_NOW_ALL = update(jobs).where(jobs.c.kind == Kind.SHOW, jobs.c.holder.is_(None))
SHOW_ALL = Statement(
    _NOW_ALL.where(jobs.c.due_at.is_(None) | (jobs.c.attempts > 0)).values(
        due_at=bindparam("now"), set_at=bindparam("now"), attempts=0
    )
)


@dataclass(slots=True)
class Transaction:
    """A transaction of one step: its connection, and the jobs that it sets and removes.

    `now` is the database's time when the transaction began. `again`: the same step has been tried
    before, and may have taken effect: then it sets its jobs again, since nobody has started them.

    The jobs are written last, in one order, so that two steps can't wait for each other. Those that
    are set `here` are held by this process from the start, unless another one holds them:
    `held` has them, with the card.
    """

    connection: Connection
    holder: str
    hold: timedelta
    again: bool = False
    began: float = field(default_factory=seconds)
    held: list[Job] = field(default_factory=list)
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

    def finish(self, card: Card | None = None) -> None:
        """Write the jobs; `card` is what those of the same card that are held begin with."""
        for (card_id, kind), change in sorted(self._changes.items(), key=lambda item: item[0]):
            if change is None:
                REMOVE.execute(self.connection, {"card_id": card_id, "kind": kind})
            else:
                own = card if card and card.id == card_id else None
                due_at, here = change
                self._set(card_id, kind, due_at, own, here=here)

    def _set(
        self, card_id: str, kind: str, due_at: datetime, card: Card | None, *, here: bool
    ) -> None:
        now = self.now
        values = {
            "card_id": card_id,
            "kind": kind,
            "due_at": due_at,
            "now": now,
            "holder": self.holder if here else None,
            "held_until": now + self.hold if here else None,
            "takes": int(here),
        }
        row = SET.row(self.connection, values)
        if row is None or row["holder"] != self.holder:
            return
        self.held.append(
            Job(
                id=row["id"],
                takes=row["takes"],
                kind=kind,
                card_id=card_id,
                attempts=0,
                wanted=row["wanted"],
                deadline=self.began + self.hold.total_seconds(),
                taken_at=now,
                began=self.began,
                card=card,
            )
        )


def take(tx: Transaction, kind: Kind, places: int, running: Collection[int]) -> list[Job]:
    """Take the jobs of a kind that are due, longest due first, as many as there are places.

    Those that another process holds are left, and those whose rows somebody has locked. A job that
    this process holds for a while and that is not `running` was lost on the way, by an uncertain
    commit: it is taken again.
    """
    now = tx.now
    values = {
        "job_kind": kind,
        "now": now,
        "never_yet": now + 2 * tx.hold,
        "me": tx.holder,
        "lost_by": now + tx.hold - min(STEP_ENDS_WITHIN, tx.hold / 3),
        "places": places + len(running),
    }
    due = [row for row in DUE.rows(tx.connection, values) if row["id"] not in running]
    taken = [_taken(tx, row) for row in due[:places]]
    if taken:
        mine = {"me": tx.holder, "until": now + tx.hold}
        rows = [{"job_id": j.id, "held": j.takes, "failures": j.attempts, **mine} for j in taken]
        TAKE.many(tx.connection, rows)
    return taken


def _taken(tx: Transaction, row: Row) -> Job:
    # the attempts at work are the holds that lapsed; at showing, Slack's failures
    lapsed = row["kind"] == Kind.WORK and row["holder"] not in (None, tx.holder)
    return Job(
        id=row["id"],
        takes=row["takes"] + 1,
        kind=row["kind"],
        card_id=row["card_id"],
        attempts=row["attempts"] + lapsed,
        wanted=row["wanted"],
        deadline=tx.began + tx.hold.total_seconds(),
        taken_at=tx.now,
        began=tx.began,
        previous=row["holder"] if row["holder"] != tx.holder else None,
    )


def renew(tx: Transaction, running: Sequence[Job]) -> set[int]:
    """Hold longer what this process still holds of these; returns the jobs' ids.

    A row that is locked is passed over: its step extends the hold, or ends the job.
    """
    held = {row["id"]: row["takes"] for row in MINE.rows(tx.connection, {"me": tx.holder})}
    mine = [job for job in running if held.get(job.id) == job.takes]
    until = tx.now + tx.hold
    if mine:
        rows = [{"job_id": job.id, "held": job.takes, "until": until} for job in mine]
        EXTEND.many(tx.connection, rows)
    return {job.id for job in mine}


def extend(tx: Transaction, job: Job) -> None:
    """Hold a job longer, if this process holds it. Raises: LostHold."""
    values = {"job_id": job.id, "held": job.takes, "until": tx.now + tx.hold}
    if not EXTEND.execute(tx.connection, values):
        raise LostHold(f"{job.kind} of {job.card_id}")


def end(tx: Transaction, job: Job, *, unless_set_again: bool = True) -> bool:
    """Remove a job that is done; false if it was set again since its card was read.

    Raises: LostHold.
    """
    values: dict[str, object] = {"job_id": job.id, "held": job.takes}
    if unless_set_again:
        if END.execute(tx.connection, values | {"seen": job.wanted}):
            return True
        require_held(tx, job)
        return False
    if not END_ANYHOW.execute(tx.connection, values):
        raise LostHold(f"{job.kind} of {job.card_id}")
    return True


def put_off(tx: Transaction, job: Job, again_at: datetime | None, *, attempts: int) -> None:
    """Let a job go, to be taken again at a time, or never by itself. Raises: LostHold."""
    values = {"job_id": job.id, "held": job.takes, "again_at": again_at, "failures": attempts}
    if not PUT_OFF.execute(tx.connection, values | {"now": tx.now}):
        raise LostHold(f"{job.kind} of {job.card_id}")


def require_held(tx: Transaction, job: Job) -> Row:
    """The job's row, if this process holds it. Raises: LostHold."""
    row = FENCE.row(tx.connection, {"job_id": job.id, "held": job.takes})
    if row is None:
        raise LostHold(f"{job.kind} of {job.card_id}")
    return row


def find(tx: Transaction, card_id: str, kind: Kind) -> Row | None:
    """A card's job of a kind, whoever holds it; None if it is not set."""
    return FIND.row(tx.connection, {"card_id": card_id, "job_kind": kind})


def show_all_again(tx: Transaction) -> None:
    """Have drawn now what Slack did not take, or was given up."""
    SHOW_ALL.execute(tx.connection, {"now": tx.now})
