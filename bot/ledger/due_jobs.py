"""Takes the jobs that are due, and renews what this process holds: for the runner.

A job that another process holds is left, and one whose row somebody has locked; so nothing waits
behind another's trouble.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import Integer, bindparam, select, update

from bot.ledger.database.statements import Row, Statement
from bot.ledger.jobs import EXTEND, Job, Kind, Transaction
from bot.ledger.tables import jobs

STEP_ENDS_WITHIN = timedelta(seconds=2.5)
"""After this, a step whose commit is uncertain starts none of its jobs any more."""
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
# a `Statement` would keep its text for each number of jobs
MINE = (
    select(jobs.c.id, jobs.c.takes)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), jobs.c.holder == bindparam("me"))
    .with_for_update(skip_locked=True)
)
SHOW_ALL = Statement(
    update(jobs)
    .where(jobs.c.kind == Kind.SHOW, jobs.c.holder.is_(None))
    .where(jobs.c.due_at.is_(None) | (jobs.c.attempts > 0))
    .values(due_at=bindparam("now"), set_at=bindparam("now"), attempts=0)
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
    job = tx.job(row | {"takes": row["takes"] + 1})
    if row["holder"] != tx.holder:
        job.previous = row["holder"]
    # the attempts at work are the holds that lapsed; at showing, Slack's failures
    job.attempts += job.kind == Kind.WORK and job.previous is not None
    return job


def renew(tx: Transaction, running: Sequence[Job]) -> set[int]:
    """Hold longer what this process still holds of these; returns the jobs' ids.

    A row that is locked is passed over: its step extends the hold, or ends the job.
    """
    found = tx.connection.execute(MINE, {"ids": [job.id for job in running], "me": tx.holder})
    held = {row.id: row.takes for row in found}
    mine = [job for job in running if held.get(job.id) == job.takes]
    until = tx.now + tx.hold
    if mine:
        rows = [{"job_id": job.id, "held": job.takes, "until": until} for job in mine]
        EXTEND.many(tx.connection, rows)
    return {job.id for job in mine}


def show_all_again(tx: Transaction) -> None:
    """Have drawn now what Slack did not take, or was given up."""
    SHOW_ALL.execute(tx.connection, {"now": tx.now})
