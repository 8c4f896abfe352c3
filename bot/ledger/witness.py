"""Logs each event once it is committed, so that logs kept elsewhere can witness for the ledger.

Somebody who can write to the database can remove a request with all its events, set it back, or
compute its hashes anew, and the ledger alone can't show it. They can't do it to logs that were
shipped elsewhere: `audit.comparison` compares the two.

So each event must get its line. One whose commit was uncertain gets a line that says so, and one
without doubt as soon as a later transaction finds it. A bot that is killed between a commit and its
lines can't write them any more: the next start logs the last events again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Connection, Engine, RowMapping, event, select

from bot.ledger.tables import events

log = structlog.get_logger(__name__)

MESSAGE = "ledger event"
"""The text of each such log line. Auditors keep these lines for years: never rename its fields."""
LAST_EVENTS = 200
"""More than a process can have committed, and not logged, when it is killed."""
RESOLVED_AFTER_S = 60.0
"""PostgreSQL may still be at a commit whose answer was lost, but not as long as this."""

_LOGGED = ("request_id", "number", "type", "actor", "hash")
_COLUMNS = tuple(events.c[name] for name in (*_LOGGED, "id"))
Row = Mapping[str, Any] | RowMapping


@dataclass(slots=True)
class _Transaction:
    """The events of a transaction, as rows."""

    inserted: list[Row] = field(default_factory=list)
    committing: bool = False


_uncertain: WeakKeyDictionary[Engine, deque[tuple[Row, float]]] = WeakKeyDictionary()
"""The events whose commit failed, perhaps after it, and when (monotonic, in seconds)."""


def watch_commits(engine: Engine) -> None:
    """Have `witnessed` know which transactions had begun to commit when they failed."""
    _uncertain[engine] = deque()
    event.listen(engine, "commit", _on_commit)


@contextmanager
def witnessed(connection: Connection) -> Iterator[None]:
    """Around one transaction: logs its events if it commits, none if it is rolled back.

    If the commit itself fails, nobody knows whether it took place; those lines say so.
    """
    transaction = connection.info["transaction"] = _Transaction()
    engine = connection.engine
    try:
        yield
    except BaseException:
        if transaction.committing:
            _log(transaction.inserted, uncertain=True)
            now = monotonic()
            _uncertain[engine].extend((each, now) for each in transaction.inserted)
        raise
    else:
        _log(transaction.inserted)


def saw(connection: Connection, new: Mapping[str, Any], count: int) -> None:
    """Note that an event (a row) was inserted, and the count that the database gave it."""
    if transaction := connection.info.get("transaction"):
        transaction.inserted.append({**new, "id": count})


def log_again(connection: Connection) -> None:
    """Log the last events once more, for the bot's start; the lines say `again`.

    A bot that was killed may have committed them without their lines.
    """
    last = select(*_COLUMNS).order_by(events.c.id.desc()).limit(LAST_EVENTS)
    _log(reversed(connection.execute(last).mappings().all()), again=True)


def _on_commit(connection: Connection) -> None:
    transaction: _Transaction | None = connection.info.get("transaction")
    if transaction is None:
        return
    if _uncertain[connection.engine]:
        _resolve(connection, transaction)
    transaction.committing = True


def _resolve(connection: Connection, current: _Transaction) -> None:
    """Log the events whose commit was uncertain and that are there; forget them, or old ones.

    What the current transaction inserts once more is not there yet, and gets its line from that.
    """
    pending = _uncertain[connection.engine]
    taken: list[tuple[Row, float]] = []
    with suppress(IndexError):  # other threads commit, too
        while True:
            taken.append(pending.popleft())
    inserted = {each["hash"] for each in current.inserted}
    wanted = {row["hash"]: (row, at) for row, at in taken if row["hash"] not in inserted}
    requests = {row["request_id"] for row, _at in taken}
    query = select(*_COLUMNS).where(events.c.request_id.in_(requests))
    try:
        for row in connection.execute(query).mappings().all():
            if wanted.pop(row["hash"], None):
                _log([row])
    finally:
        oldest = monotonic() - RESOLVED_AFTER_S
        pending.extend(each for each in wanted.values() if each[1] > oldest)


def _log(rows: Iterable[Row], **flags: bool) -> None:
    for row in rows:
        logged = {name: row[name] for name in _LOGGED} | {"type": str(row["type"])}
        log.info(MESSAGE, **logged, count=row["id"], **flags)
