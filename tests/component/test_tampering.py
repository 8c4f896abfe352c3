"""What somebody who can write to the database can do, and what finds it: docs/audit.md's table.

Each row is done by hand, in SQL, by somebody who knows how hashes are computed. `--verify` alone
can't find what fits together; kept logs find it, since they can't be changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import pytest
from sqlalchemy import Connection, Engine, delete, insert, update

from bot.domain.models import Customer, HubSpotIds
from bot.ledger import decide_steps
from bot.ledger.people import Act
from bot.ledger.tables import events, requests
from bot.ledger.witness import log_again
from bot.ops import logs
from tests.support.by_hand import FORGED, chain, events_of, forge, rewrite, row_of
from tests.support.hostile import CARD, NOON
from tests.support.names import ALICE, BOB
from tests.support.stage import on_sqlite
from tests.support.steps import Process, process

pytestmark = on_sqlite
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DONE = replace(CARD, id="a" * 32)
WAITING = replace(DONE, id="b" * 32, customer=Customer(3100025, HubSpotIds(5151, None)))


# The ledger and its logs


@pytest.fixture
async def kept(database_url: str, engine: Engine, tmp_path: Path) -> Path:  # noqa: ARG001  # exists
    """The kept logs of a ledger with two requests: one confirmed, one that waits.

    They cover an hour before and after; all that happened is in between.
    """
    path = tmp_path / "bot.log"
    with path.open("w") as stream:
        log_into(stream)
        async with process(database_url) as ledger:
            await write(ledger)
    path.write_text("\n".join(covering(path, NOON - HOUR, NOON + HOUR)) + "\n")
    return path


def log_into(stream: TextIO) -> None:
    logs.configure("INFO", "json")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)


async def write(ledger: Process) -> None:
    ledger.now = NOON
    for request in (DONE, WAITING):
        await ledger.ask(request)
    ledger.now += MINUTE
    await ledger.confirm(DONE.id, BOB)
    await ledger.run(decide_steps.refused, DONE.id, ALICE, "too late", Act("presses"))


def covering(path: Path, begin: datetime, end: datetime) -> Iterator[str]:
    """The lines as of the day of the events, between the bot's first and last words."""
    yield json.dumps({"event": "listening", "level": "info", "timestamp": f"{begin:%FT%T}Z"})
    for line in path.read_text().splitlines():
        yield json.dumps(json.loads(line) | {"timestamp": f"{NOON:%FT%T}Z"})
    yield json.dumps({"event": "stopped", "level": "info", "timestamp": f"{end:%FT%T}Z"})


Audit = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def audit(command: Callable[..., tuple[int, str]]) -> Audit:
    """`python -m bot audit --verify …`: its exit code and lines."""

    def run(*arguments: object) -> tuple[int, list[str]]:
        code, printed = command("audit", "--verify", *arguments)
        return code, printed.splitlines()

    return run


# By hand


def add(connection: Connection, at: datetime = NOON + 5 * MINUTE, **columns: Any) -> None:
    """Add a request that nobody made, a copy of the one that waits."""
    forge(connection, WAITING.id, at, **columns)


def change_an_event(connection: Connection) -> None:
    where = (events.c.request_id == DONE.id) & (events.c.number == 2)
    connection.execute(update(events).where(where).values(actor=ALICE.user_id))


def remove_an_event(connection: Connection) -> None:
    connection.execute(delete(events).where(events.c.request_id == DONE.id, events.c.number == 3))


def insert_an_event(connection: Connection) -> None:
    row, own = row_of(connection, DONE.id), events_of(connection, DONE.id)
    own.append({**own[-1], "id": 1_000})
    chain(row, own)
    connection.execute(insert(events), own[-1])


def renumber_an_event(connection: Connection) -> None:
    where = (events.c.request_id == DONE.id) & (events.c.number == 3)
    connection.execute(update(events).where(where).values(number=4))


def change_a_row(connection: Connection) -> None:
    connection.execute(
        update(requests).where(requests.c.id == WAITING.id).values(customer_id=2554529)
    )


def remove_a_request(connection: Connection) -> None:
    connection.execute(delete(events).where(events.c.request_id == DONE.id))
    connection.execute(delete(requests).where(requests.c.id == DONE.id))


def set_a_request_back(connection: Connection) -> None:
    row, own = row_of(connection, DONE.id), events_of(connection, DONE.id)
    rewrite(connection, row, own[:2])


def compute_hashes_anew(connection: Connection) -> None:
    row, own = row_of(connection, DONE.id), events_of(connection, DONE.id)
    own[1]["actor"] = row["decider_id"] = ALICE.user_id
    rewrite(connection, row, own)


def add_an_event(connection: Connection) -> None:
    row, own = row_of(connection, DONE.id), events_of(connection, DONE.id)
    own.append({**own[-1], "id": 1_000})
    rewrite(connection, row, own)


def add_a_request(connection: Connection) -> None:
    add(connection)


def add_a_request_counted_below_the_logs(connection: Connection) -> None:
    add(connection, count=-7)


def add_a_request_counted_above_the_logs(connection: Connection) -> None:
    add(connection, count=1_000_000)


def add_a_request_of_an_earlier_time(connection: Connection) -> None:
    add(connection, NOON - 100 * HOUR)


def add_a_request_of_a_later_time_counted_below(connection: Connection) -> None:
    add(connection, NOON + 100 * HOUR, count=-7)


def add_a_request_within_the_logs_counts(connection: Connection) -> None:
    connection.execute(update(events).where(events.c.id == 1).values(id=-1))
    add(connection, NOON - 100 * HOUR, count=1)


def count_some_events_lower(connection: Connection) -> None:
    connection.execute(update(events).where(events.c.id > 2).values(id=events.c.id - 1_000))


def exchange_two_counts(connection: Connection) -> None:
    for before, after in ((3, 0), (2, 3), (0, 2)):
        connection.execute(update(events).where(events.c.id == before).values(id=after))


def put_a_request_on_a_waiting_card(connection: Connection) -> None:
    add(connection, card_id=WAITING.id, position=2, card_size=1)


def put_a_request_on_a_card_and_say_so_on_both(connection: Connection) -> None:
    add(connection, card_id=WAITING.id, position=2, card_size=2)
    connection.execute(update(requests).where(requests.c.id == WAITING.id).values(card_size=2))


def add_a_request_without_events(connection: Connection) -> None:
    add(connection, count=1_000)
    connection.execute(delete(events).where(events.c.request_id == FORGED))
    nothing = {"events": 0, "head": ""}
    connection.execute(update(requests).where(requests.c.id == FORGED).values(nothing))


def put_a_request_in_the_place_of_a_waiting_one(connection: Connection) -> None:
    add(connection, card_id=WAITING.id)
    connection.execute(update(requests).where(requests.c.id == WAITING.id).values(card_id="e" * 32))


def add_a_request_from_before_the_logs(connection: Connection) -> None:
    add(connection, NOON - 100 * HOUR, count=-7)


def add_a_request_from_after_the_logs(connection: Connection) -> None:
    add(connection, NOON + 100 * HOUR)


Change = Callable[[Connection], None]

ALONE: dict[Change, str] = {
    change_an_event: "request a…, event 2: changed",
    remove_an_event: "request a…, event 3: missing",
    insert_an_event: "request a…, event 4: added",
    renumber_an_event: "request a…, event 3: missing",
    change_a_row: "request b…: its own row was changed",
    put_a_request_on_a_waiting_card: "card b…: 2 requests are on it, not 1",
    put_a_request_on_a_card_and_say_so_on_both: "request b…: its own row was changed",
    put_a_request_in_the_place_of_a_waiting_one: "request b…: its own row was changed",
    add_a_request_without_events: "request f…, event 1: missing",
}
"""Found by `--verify` alone."""
WITNESSED: dict[Change, str] = {
    remove_a_request: "request a…: removed; the logs have its events up to 3",
    set_a_request_back: "request a…, event 3: set back; the logs have its events up to 3",
    compute_hashes_anew: "request a…, event 2: not the event that was logged",
    add_an_event: "request a…, event 4: no line in the logs of that time",
    **dict.fromkeys(
        (
            add_a_request,
            add_a_request_counted_below_the_logs,
            add_a_request_counted_above_the_logs,
            add_a_request_of_an_earlier_time,
            add_a_request_of_a_later_time_counted_below,
        ),
        "request f…, event 1: no line in the logs of that time",
    ),
    add_a_request_within_the_logs_counts: "request a…, event 1: counted as -1, in the logs as 1",
    count_some_events_lower: "request a…, event 2: counted as -997, in the logs as 3",
    exchange_two_counts: "request a…, event 2: counted as 2, in the logs as 3",
}
"""Fits together, so that only logs find it."""
NEVER = (add_a_request_from_before_the_logs, add_a_request_from_after_the_logs)
"""Beyond what the logs cover: found with the logs of that time."""


def named(lines: list[str]) -> list[str]:
    """The lines, with ids of one repeated character cut short."""
    for each in (DONE.id, WAITING.id, FORGED):
        lines = [line.replace(each, f"{each[0]}…") for line in lines]
    return lines


def test_nothing_is_found_where_nobody_did_anything(audit: Audit, kept: Path) -> None:
    assert audit()[0] == 0
    assert audit("--against", kept)[0] == 0


@pytest.mark.parametrize("change", ALONE, ids=lambda change: change.__name__)
def test_the_ledger_alone_shows_what_does_not_fit_together(
    audit: Audit, engine: Engine, kept: Path, change: Change
) -> None:
    with engine.begin() as connection:
        change(connection)
    code, lines = audit()
    assert (code, ALONE[change] in named(lines)) == (1, True), lines
    assert audit("--against", kept)[0] == 1


@pytest.mark.parametrize("change", WITNESSED, ids=lambda change: change.__name__)
def test_kept_logs_show_what_fits_together(
    audit: Audit, engine: Engine, kept: Path, change: Change
) -> None:
    with engine.begin() as connection:
        change(connection)
    assert audit()[0] == 0
    code, lines = audit("--against", kept)
    assert (code, WITNESSED[change] in named(lines)) == (1, True), lines


@pytest.mark.parametrize("change", NEVER, ids=lambda change: change.__name__)
def test_nothing_shows_what_is_beyond_the_time_of_the_logs(
    audit: Audit, engine: Engine, kept: Path, change: Change
) -> None:
    with engine.begin() as connection:
        change(connection)
    assert audit()[0] == 0
    assert audit("--against", kept)[0] == 0
    later = kept.with_name("later.log")
    begin, end = NOON - 200 * HOUR, NOON + 200 * HOUR
    later.write_text("\n".join(covering(kept, begin, end)) + "\n")
    assert audit("--against", later)[0] == 1


def test_what_somebody_added_before_a_start_is_noted(
    audit: Audit, engine: Engine, kept: Path
) -> None:
    with engine.begin() as connection:
        add_a_request(connection)
    with kept.open("a") as stream, engine.connect() as connection:
        log_into(stream)
        log_again(connection)
    code, lines = audit("--against", kept)
    assert code == 0
    note = "Note: events that only a start of the bot has logged: 1, the first is request f…, event"
    assert named(lines)[0].startswith(note)
