"""Logs each event once it is committed, so that logs kept elsewhere can witness for the ledger.

Somebody who can write to the database can remove a request with all its events, set it back, or
compute its hashes anew, and the ledger alone can't show it. They can't do it to logs that were
shipped elsewhere: `audit.comparison` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, event

from bot.domain.models import Event

log = structlog.get_logger(__name__)

MESSAGE = "ledger event"
"""The text of each such log line. Auditors keep these lines for years: never rename its fields."""


@dataclass(slots=True)
class _Transaction:
    """The events of a transaction, each with the ledger's running count."""

    inserted: list[tuple[Event, int]] = field(default_factory=list)
    committing: bool = False


def watch_commits(engine: Engine) -> None:
    """Have `witnessed` know which transactions had begun to commit when they failed."""
    event.listen(engine, "commit", _on_commit)


@contextmanager
def witnessed(connection: Connection) -> Iterator[None]:
    """Around one transaction: logs its events if it commits, none if it is rolled back.

    If the commit itself fails, nobody knows whether it took place; those lines say so.
    """
    transaction = connection.info["transaction"] = _Transaction()
    try:
        yield
    except BaseException:
        if transaction.committing:
            _write(transaction, uncertain=True)
        raise
    else:
        _write(transaction)


def saw(connection: Connection, new: Event, count: int) -> None:
    """Note that an event was inserted, and the count that the database gave it."""
    if transaction := connection.info.get("transaction"):
        transaction.inserted.append((new, count))


def _on_commit(connection: Connection) -> None:
    if transaction := connection.info.get("transaction"):
        transaction.committing = True


def _write(transaction: _Transaction, *, uncertain: bool = False) -> None:
    doubt = {"uncertain": True} if uncertain else {}
    for inserted, count in transaction.inserted:
        log.info(
            MESSAGE,
            request_id=inserted.request_id,
            number=inserted.number,
            type=str(inserted.type),
            actor=inserted.actor,
            hash=inserted.hash,
            count=count,
            **doubt,
        )
