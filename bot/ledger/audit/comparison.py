"""Compares the ledger with the log lines of its events: finds what the ledger alone can't show.

Each line names its event, the event's hash and the ledger's running count (`events.id`). So logs
and ledger must agree on all three; and an event that has no line, though the logs cover it, is
somebody else's, or its line was lost.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, RowMapping, select

from bot.ledger.audit.verify import columns, object_of, time_of
from bot.ledger.database.engine import streaming
from bot.ledger.tables import events
from bot.ledger.witness import MESSAGE

MARGIN = timedelta(minutes=1)
"""At the ends of the logs: a line is later than its event, and by another machine's clock."""
NO_LINE = "no line in the logs of that time"
TO_RULE_OUT = (
    "An event without a line was written by somebody else, or its line was lost. To rule that out,"
    " give the logs of all instances and the files before and after these, look for what the log"
    " service dropped, and ask whom the event names, or read its thread in Slack."
)
_EVENTS = select(*(each for each in columns(events) if each.name not in ("details", "previous")))
_Line = tuple[str, int | None]
"""The hash and the count of an event."""


class NotReadable(Exception):
    """A file of logs can't be read."""


def bot_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The bot's lines of a file or a pipe; what a log service puts before each is ignored.

    Raises: NotReadable.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                own = object_of(line[max(line.find("{"), 0) :])
                if own is not None and isinstance(own.get("event"), str):
                    yield own
    except OSError as error:
        raise NotReadable(f"{path}: can't be read: {error.strerror}") from None


@dataclass(slots=True)
class LoggedEvents:
    """What log lines say of each request's events, by number.

    `doubtful` are events, with their hash, whose commit was uncertain. `restated` are those that
    have no line but that of a start, which logs the last events again. `counts` and `times` are the
    first and the last of all lines; None if no line says. `without` are the files that have no such
    line.
    """

    lines: dict[str, dict[int, set[_Line]]] = field(default_factory=dict)
    doubtful: set[tuple[str, int, str]] = field(default_factory=set)
    restated: set[tuple[str, int]] = field(default_factory=set)
    events: int = 0
    counts: tuple[int, int] | None = None
    times: tuple[datetime, datetime] | None = None
    without: list[Path] = field(default_factory=list)

    def add(self, line: dict[str, Any]) -> None:
        """Add one line. Raises: KeyError, TypeError, ValueError, OverflowError: wrong fields."""
        request_id, number, digest = str(line["request_id"]), int(line["number"]), line["hash"]
        if not isinstance(digest, str):
            raise TypeError("hash")
        if line.get("uncertain"):
            self.doubtful.add((request_id, number, digest))
            return
        known = self.lines.setdefault(request_id, {}).setdefault(number, set())
        if line.get("again"):
            self.restated |= set() if known else {(request_id, number)}
        else:
            self.restated.discard((request_id, number))
        self.events += not known
        count = line.get("count")  # the lines of `heads` have none
        known.add((digest, None if count is None else int(count)))
        if count is not None:
            first, last = self.counts or (int(count), int(count))
            self.counts = min(first, int(count)), max(last, int(count))

    def cover(self, line: dict[str, Any]) -> None:
        """Note the time of any line of the bot."""
        try:
            at = time_of(line.get("timestamp"))
        except (ValueError, OverflowError):
            return
        begin, end = self.times or (at, at)
        self.times = min(begin, at), max(end, at)

    def covers(self, count: int, at: datetime | None) -> bool:
        """Whether an event of this count and time would have a line in these logs.

        Counts grow with time: an event is beyond an end of the logs only if both say so, as far as
        the lines hold them.
        """
        before = after = True
        if self.counts:
            before, after = count < self.counts[0], count > self.counts[1]
        if self.times and at is not None:
            begin, end = self.times
            before, after = before and at < begin + MARGIN, after and at > end - MARGIN
        return not (before or after)


def read(paths: Iterable[Path]) -> LoggedEvents:
    """Read logs as JSON lines; of every other line than the events' only the time counts.

    Raises: NotReadable.
    """
    found = LoggedEvents()
    for path in paths:
        event = None
        try:
            for line in bot_lines(path):
                found.cover(line)
                if line["event"] == MESSAGE:
                    event = line
                    found.add(line)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise NotReadable(f"{path}: a `{MESSAGE}` line lacks its fields") from None
        if event is None:
            found.without.append(path)
    return found


def compare(engine: Engine, logs: LoggedEvents) -> Generator[str, None, None]:
    """Yield one line for each request that contradicts the logs: the first of its events.

    Raises: LedgerUnavailable.
    """
    unseen = dict(logs.lines)
    query = _EVENTS.order_by(events.c.request_id, events.c.number)
    with streaming(engine) as connection:
        rows = connection.execute(query).mappings()
        for request_id, group in groupby(rows, key=lambda row: row["request_id"]):
            # a number of another type is for `verify` to name
            chain = {row["number"]: row for row in group if isinstance(row["number"], int)}
            logged = unseen.pop(request_id, {})
            if problem := next(_problems(chain, logged, logs), None):
                yield f"request {request_id}, event {problem}"
    for request_id, logged in sorted(unseen.items()):
        yield f"request {request_id}: removed; the logs have its events up to {max(logged)}"


def _problems(
    chain: dict[int, RowMapping], logged: dict[int, set[_Line]], logs: LoggedEvents
) -> Iterator[str]:
    """The contradictions between a request's events in the ledger and in the logs."""
    for number in sorted(chain.keys() | logged.keys()):
        row, lines = chain.get(number), logged.get(number)
        if row is None:
            yield f"{number}: set back; the logs have its events up to {max(logged)}"
        elif lines is None:
            doubtful = (row["request_id"], number, row["hash"]) in logs.doubtful
            if not doubtful and logs.covers(row["id"], _time_of(row)):
                yield f"{number}: {NO_LINE}"
        elif {digest for digest, _count in lines} != {row["hash"]}:
            yield f"{number}: not the event that was logged"
        elif others := {count for _digest, count in lines if count is not None} - {row["id"]}:
            yield f"{number}: counted as {row['id']}, in the logs as {min(others)}"


def restated(engine: Engine, logs: LoggedEvents) -> tuple[int, str]:
    """How many events of the logs' time only a start has logged, and the first of them.

    Raises: LedgerUnavailable.
    """
    number, first = 0, ""
    if not (logs.times and logs.restated):
        return number, first
    with streaming(engine) as connection:
        for row in connection.execute(_EVENTS.order_by(events.c.id)).mappings():
            at = _time_of(row)
            if (row["request_id"], row["number"]) in logs.restated and at and at >= logs.times[0]:
                number += 1
                first = first or f"request {row['request_id']}, event {row['number']}"
    return number, first


def _time_of(row: RowMapping) -> datetime | None:
    try:
        return time_of(row["at"])
    except ValueError:
        return None
