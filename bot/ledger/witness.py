"""Logs each event once it is committed, so that logs kept elsewhere can witness for the ledger.

Somebody who can write to the database can remove a request with all its events, set it back, or
compute its hashes anew, and the ledger alone can't show it. They can't do it to logs that were
shipped elsewhere: `comparison` compares the two.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Executable, event

from bot.ledger.schema import events

log = structlog.get_logger(__name__)

MESSAGE = "ledger event"
"""The text of each such log line. Auditors keep these lines for years: never rename its fields."""


class Witness:
    """Watches an engine, and logs the events of each transaction after its commit."""

    def __init__(self, engine: Engine) -> None:
        # each transaction runs in one thread
        self._transaction = threading.local()
        event.listen(engine, "after_execute", self._on_execute)
        event.listen(engine, "commit", self._on_commit)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around one transaction: logs its events if it commits, none if it is rolled back.

        If the commit itself fails, nobody knows whether it took place; those lines say so.
        """
        state = self._transaction
        state.inserted, state.committing = [], False
        try:
            yield
        except BaseException:
            if state.committing:
                self._write(state.inserted, uncertain=True)
            raise
        else:
            self._write(state.inserted)
        finally:
            state.inserted = []

    def _on_execute(  # SQLAlchemy calls it like this
        self,
        _connection: Connection,
        statement: Executable,
        many: list[dict[str, Any]],
        values: dict[str, Any],
        _options: object,
        result: Any,  # noqa: ANN401  # of the statement's kind
    ) -> None:
        if not (statement.is_insert and getattr(statement, "table", None) is events):
            return
        inserted = getattr(self._transaction, "inserted", None)
        if inserted is None:
            return
        rows = [*many, *([values] if values else [])]
        count = result.inserted_primary_key[0] if len(rows) == 1 else None
        inserted.extend((row, count) for row in rows)

    def _on_commit(self, _connection: Connection) -> None:
        self._transaction.committing = True

    def _write(
        self, inserted: list[tuple[dict[str, Any], int | None]], *, uncertain: bool = False
    ) -> None:
        doubt = {"uncertain": True} if uncertain else {}
        for row, count in inserted:
            log.info(
                MESSAGE,
                request_id=row["request_id"],
                number=row["number"],
                type=str(row["type"]),
                actor=row["actor"],
                hash=row["hash"],
                count=count,
                **doubt,
            )
