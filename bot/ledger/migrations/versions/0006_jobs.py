"""Keep what is still to be done in a table of jobs, in place of the clocks of each request.

The old columns are dropped on purpose: a process of an older version then fails at once, instead of
working beside the new one on the same requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
OLDER_VERSION = "an older version"
"""The holder of work that an older version may still be doing, until its lease ends."""
USUAL_RECHECK = timedelta(hours=1)
OLD_INDEXES = ("requests_due", "requests_stale")
OLD_COLUMNS = ("due_at", "claim", "deliveries", "mirrored_through", "posting_until")


def upgrade() -> None:
    """Turn the clocks of each request into jobs of its card."""
    _create()
    connection = op.get_bind()
    old, jobs = _old_requests(), _jobs()
    card_id = sa.func.coalesce(old.c.card_id, old.c.id)
    waits = sa.select(card_id).where(
        old.c.due_at.is_not(None), old.c.verdict.is_(None), old.c.position == 1
    )
    connection.execute(old.update().where(card_id.in_(waits)).values(is_open=sa.true()))
    connection.execute(
        old.update()
        .where(old.c.position == 1, old.c.card_size == 1)
        .values(shown_events=old.c.mirrored_through)
    )
    unfinished = sa.or_(
        old.c.due_at.is_not(None),
        sa.and_(old.c.verdict.is_not(None), old.c.mirrored_through < old.c.events),
    )
    of_many = sa.select(old.c.card_id).where(old.c.card_size > 1)
    cards = sa.select(card_id).where(sa.or_(unfinished, old.c.id.in_(of_many)))
    query = sa.select(old).where(card_id.in_(cards)).order_by(card_id, old.c.position)
    rows = connection.execute(query).mappings().all()
    for card, requests in groupby(rows, key=lambda row: row["card_id"] or row["id"]):
        found = list(requests)
        if len(found) > 1:
            shown = _shown_events(connection, found)
            connection.execute(old.update().where(old.c.id == card).values(shown_events=shown))
        for job in _jobs_of(found):
            connection.execute(jobs.insert().values(card_id=card, **job))
    for index in OLD_INDEXES:
        op.drop_index(index, "requests")
    for column in OLD_COLUMNS:
        op.drop_column("requests", column)


def downgrade() -> None:
    """Turn the jobs back into clocks, and drop them; what an older bot does not know is lost."""
    op.add_column("requests", sa.Column("due_at", MOMENT))
    op.add_column("requests", sa.Column("posting_until", MOMENT))
    for name in ("claim", "deliveries", "mirrored_through"):
        column = sa.Column(name, sa.Integer, nullable=False, server_default="0")
        op.add_column("requests", column)
    connection = op.get_bind()
    old, jobs = _old_requests(), _jobs()
    decided = old.update().where(old.c.verdict.is_not(None)).values(claim=1)
    connection.execute(decided)
    # whoever decided these may have called
    held = sa.select(jobs.c.card_id).where(jobs.c.kind == "work")
    card_id = sa.func.coalesce(old.c.card_id, old.c.id)
    connection.execute(old.update().where(card_id.in_(held)).values(claim=2))
    connection.execute(old.update().values(mirrored_through=old.c.events))
    unfinished = sa.select(jobs.c.card_id).where(jobs.c.kind.in_(["show", "work"]))
    is_unfinished = sa.or_(old.c.is_open, card_id.in_(unfinished))
    of_cards = sa.select(card_id).where(is_unfinished).distinct()
    for found in connection.execute(of_cards).scalars().all():
        _show_the_rest(connection, old, found)
    # the earliest time last
    for job in connection.execute(sa.select(jobs).order_by(jobs.c.due_at.desc())).mappings().all():
        _set_clock(connection, old, job)
    _recreate_old_indexes()
    op.drop_column("requests", "is_open")
    op.drop_column("requests", "shown_events")
    op.drop_table("acts")
    op.drop_table("jobs")


def _create() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("card_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("due_at", MOMENT),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("holder", sa.String(32)),
        sa.Column("held_until", MOMENT),
        sa.Column("takes", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.UniqueConstraint("card_id", "kind"),
        sqlite_autoincrement=True,
    )
    _partial_index("jobs_due", "jobs", ["kind", "due_at"], "due_at IS NOT NULL")
    _partial_index("jobs_held", "jobs", ["holder"], "holder IS NOT NULL")
    op.create_table(
        "acts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("card_id", sa.String(32), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("came_of_it", sa.String(16), nullable=False),
    )
    op.create_index("acts_by_time", "acts", ["at"])
    is_open = sa.Column("is_open", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("requests", is_open)
    shown = sa.Column("shown_events", sa.Integer, nullable=False, server_default="0")
    op.add_column("requests", shown)


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=only, postgresql_where=only)


def _recreate_old_indexes() -> None:
    _partial_index("requests_due", "requests", ["due_at"], "due_at IS NOT NULL")
    stale = "due_at IS NULL AND verdict IS NOT NULL AND mirrored_through < events"
    _partial_index("requests_stale", "requests", ["asked_at"], stale)


def _old_requests() -> sa.TableClause:
    names = ("id", "card_id", "verdict", "outcome", "undone_by", "message_ts")
    numbers = ("position", "card_size", "events", "claim", "deliveries", "mirrored_through")
    times = ("due_at", "posting_until", "expires_at", "settled_at")
    return sa.table(
        "requests",
        *(sa.column(name, sa.String) for name in names),
        *(sa.column(name, sa.Integer) for name in (*numbers, "shown_events")),
        *(sa.column(name, MOMENT) for name in times),
        sa.column("is_open", sa.Boolean),
    )


def _jobs() -> sa.TableClause:
    return sa.table(
        "jobs",
        *(sa.column(name, sa.String) for name in ("card_id", "kind", "holder")),
        *(sa.column(name, sa.Integer) for name in ("takes", "attempts", "wanted")),
        *(sa.column(name, MOMENT) for name in ("due_at", "set_at", "held_until")),
    )


def _jobs_of(requests: list[Any]) -> Iterator[dict[str, object]]:
    """What is still to be done for a card, from the clocks of its requests."""
    new: dict[str, object] = {
        "set_at": _now(),
        "holder": None,
        "held_until": None,
        "takes": 0,
        "attempts": 0,
        "wanted": 1,
    }
    of_card = _jobs_of_decided if requests[0]["verdict"] else _jobs_of_undecided
    for job in of_card(requests):
        yield new | job


def _jobs_of_undecided(requests: list[Any]) -> Iterator[dict[str, object]]:
    first = requests[0]
    if first["due_at"] is None:
        return
    if first["message_ts"] is None:
        yield {"kind": "post", "due_at": first["due_at"]}
        return
    yield {"kind": "expire", "due_at": first["expires_at"]}
    if _utc(first["due_at"]) < _utc(first["expires_at"]):
        yield {"kind": "remind", "due_at": first["due_at"]}


def _jobs_of_decided(requests: list[Any]) -> Iterator[dict[str, object]]:
    first = requests[0]
    to_do = [r for r in requests if r["verdict"] == "confirmed" and r["outcome"] is None]
    shows_all = all(r["mirrored_through"] >= r["events"] for r in requests)
    tried = first["deliveries"]
    cleared = [r for r in requests if _waits_for_recheck(r)]
    if cleared:
        # a card that Slack shows has only its recheck left
        own = [r["due_at"] for r in cleared]
        usual = [_stored(_utc(r["settled_at"]) + USUAL_RECHECK) for r in cleared]
        yield {"kind": "recheck", "due_at": min(own if shows_all and not to_do else usual)}
    if to_do:
        ends = max((_utc(r["due_at"]) for r in to_do if r["due_at"]), default=_utc(_now()))
        held = {"holder": OLDER_VERSION, "held_until": _stored(ends)}
        yield held | {"kind": "work", "due_at": _now(), "takes": 1}
        return
    # if it was tried before, nothing tells a pause from the time of the recheck
    waiting = () if tried or not shows_all else cleared
    clocks = [r["due_at"] for r in requests if r["due_at"] and r not in waiting]
    if clocks:
        yield {"kind": "show", "due_at": min(clocks), "attempts": tried}
    elif not shows_all and first["message_ts"] is not None and tried:
        # given up until a restart
        yield {"kind": "show", "due_at": None, "attempts": tried}


def _waits_for_recheck(request: Any) -> bool:  # noqa: ANN401  # a row
    """Whether a cleared customer is still to be looked at: as long as its request has a clock."""
    cleared = request["outcome"] == "cleared" and request["undone_by"] is None
    return bool(cleared and request["due_at"] and request["settled_at"])


def _shown_events(connection: sa.Connection, requests: list[Any]) -> int:
    """How many of a card's events, from the first on, its thread shows without a gap."""
    shown = {r["id"]: r["mirrored_through"] for r in requests}
    events = sa.table(
        "events", sa.column("id", ID), sa.column("request_id"), sa.column("number", sa.Integer)
    )
    query = sa.select(events.c.request_id, events.c.number).where(
        events.c.request_id.in_(list(shown))
    )
    count = 0
    for request_id, number in connection.execute(query.order_by(events.c.id)):
        if number > shown[request_id]:
            break
        count += 1
    return count


def _set_clock(connection: sa.Connection, old: sa.TableClause, job: Any) -> None:  # noqa: ANN401  # a row
    """Let the requests of a job's card be due when the job is."""
    of_card = sa.func.coalesce(old.c.card_id, old.c.id) == job["card_id"]
    first = sa.and_(of_card, old.c.position == 1)
    if job["kind"] == "show":
        connection.execute(old.update().where(first).values(deliveries=job["attempts"]))
    if job["due_at"] is None:
        return
    due, due_at = first, job["due_at"]
    if job["kind"] == "work":
        due = sa.and_(of_card, old.c.verdict == "confirmed", old.c.outcome.is_(None))
        # whoever holds it may still be calling
        due_at = job["held_until"] or due_at
    elif job["kind"] == "recheck":
        due = sa.and_(of_card, old.c.outcome == "cleared", old.c.undone_by.is_(None))
    connection.execute(old.update().where(due).values(due_at=due_at))


def _show_the_rest(connection: sa.Connection, old: sa.TableClause, card_id: str) -> None:
    """An older version shows the events of each request from a number on."""
    events = sa.table(
        "events", sa.column("id", ID), sa.column("request_id"), sa.column("number", sa.Integer)
    )
    rows = (
        connection.execute(
            sa.select(old).where(sa.func.coalesce(old.c.card_id, old.c.id) == card_id)
        )
        .mappings()
        .all()
    )
    ids = [row["id"] for row in rows]
    shown = next((row["shown_events"] for row in rows if row["position"] == 1), 0)
    in_order = sa.select(events.c.request_id).where(events.c.request_id.in_(ids))
    told = list(connection.execute(in_order.order_by(events.c.id).limit(shown)).scalars())
    for request_id in ids:
        through = told.count(request_id)
        connection.execute(
            old.update().where(old.c.id == request_id).values(mirrored_through=through)
        )


def _now() -> datetime:
    return _stored(datetime.now(UTC))


def _stored(moment: datetime) -> datetime:
    """A time as the ledger stores it: in SQLite as UTC without a zone."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    return moment.astimezone(UTC).replace(tzinfo=None) if sqlite else moment


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
