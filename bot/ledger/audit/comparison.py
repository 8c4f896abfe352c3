"""Compares the ledger with the log lines of its events: finds what the ledger alone can't show."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, RowMapping, select

from bot.ledger.audit.log_files import NotReadable, bot_lines
from bot.ledger.database.engine import streaming
from bot.ledger.schema import events, requests
from bot.ledger.witness import MESSAGE

MAX_COUNT = 2**63 - 1
"""The largest number that a database counts to."""


@dataclass(slots=True)
class LoggedEvents:
    """What log lines say: the hashes of each request's events, by number.

    `doubtful` are events whose commit was uncertain; `first` and `last` are the counts that the
    lines reach from and to; `without` are the files that have no such line.
    """

    hashes: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    doubtful: set[tuple[str, int]] = field(default_factory=set)
    events: int = 0
    first: int | None = None
    last: int | None = None
    without: list[Path] = field(default_factory=list)

    def add(self, line: dict[str, Any]) -> None:
        """Add one line. Raises: KeyError, TypeError, ValueError, OverflowError: wrong fields."""
        request_id, number, digest = str(line["request_id"]), int(line["number"]), line["hash"]
        if not isinstance(digest, str):
            raise TypeError("hash")
        if line.get("uncertain"):
            self.doubtful.add((request_id, number))
            return
        known = self.hashes.setdefault(request_id, {}).setdefault(number, set())
        self.events += not known
        known.add(digest)
        count = line.get("count")
        if isinstance(count, int) and 0 <= count <= MAX_COUNT:
            self.first = count if self.first is None else min(self.first, count)
            self.last = count if self.last is None else max(self.last, count)

    def has_line(self, request_id: str, number: int) -> bool:
        """Whether any line, even an uncertain one, is about this event."""
        event = (request_id, number)
        return number in self.hashes.get(request_id, {}) or event in self.doubtful


def read(paths: Iterable[Path]) -> LoggedEvents:
    """Read logs as JSON lines; every other line is ignored.

    Raises: NotReadable.
    """
    found = LoggedEvents()
    for path in paths:
        event = None
        try:
            for line in bot_lines(path):
                if line["event"] == MESSAGE:
                    event = line
                    found.add(line)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise NotReadable(f"{path}: a `{MESSAGE}` line lacks its fields") from None
        if event is None:
            found.without.append(path)
    return found


def compare(engine: Engine, logs: LoggedEvents) -> Generator[str, None, None]:
    """Yield one line for each request that contradicts the logs.

    Raises: LedgerUnavailable.
    """
    unseen = dict(logs.hashes)
    query = select(events.c.request_id, events.c.number, events.c.hash).order_by(
        events.c.request_id, events.c.number
    )
    with streaming(engine) as connection:
        rows = connection.execute(query).mappings()
        for request_id, chain in groupby(rows, key=lambda row: row["request_id"]):
            logged = unseen.pop(request_id, {})
            stored = {row["number"]: row["hash"] for row in chain}
            if problem := _problem(stored, logged):
                yield f"request {request_id}{problem}"
    for request_id, logged in sorted(unseen.items()):
        yield f"request {request_id}: removed; the logs have its events up to {max(logged)}"


def unlogged(engine: Engine, logged: LoggedEvents) -> tuple[int, str]:
    """How many events have no line though the logs have earlier and later ones; and the first."""
    if logged.first is None:
        return 0, ""
    query = (
        select(events.c.request_id, events.c.number)
        .where(events.c.id.between(logged.first, logged.last))
        .order_by(events.c.id)
    )
    number, first = 0, ""
    with streaming(engine) as connection:
        for row in connection.execute(query).mappings():
            if not logged.has_line(row["request_id"], row["number"]):
                number += 1
                first = first or f"request {row['request_id']}, event {row['number']}"
    return number, first


def heads(engine: Engine) -> Generator[str, None, None]:
    """The last hash of each request as JSON lines, which `read` takes like log lines.

    Raises: LedgerUnavailable.
    """
    query = select(requests.c.id, requests.c.events, requests.c.head).order_by(requests.c.id)
    with streaming(engine) as connection:
        for row in connection.execute(query).mappings():
            yield json.dumps(_head(row))


def _head(row: RowMapping) -> dict[str, Any]:
    return {
        "event": MESSAGE,
        "request_id": row["id"],
        "number": row["events"],
        "hash": row["head"],
    }


def _problem(stored: dict[int, str], logged: dict[int, set[str]]) -> str:
    """The first contradiction between a request's events in the ledger and in the logs."""
    for number, hashes in sorted(logged.items()):
        if number not in stored:
            return f", event {number}: set back; the logs have its events up to {max(logged)}"
        if hashes != {stored[number]}:
            return f", event {number}: not the event that was logged"
    return ""
