"""Logs that were kept elsewhere witness for the ledger: they show what it can't show alone."""

from __future__ import annotations

import gzip
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event, select, text
from sqlalchemy.exc import OperationalError

from bot.domain.models import Card, Customer, EventType, HubSpotIds
from bot.ledger import ask_steps, decide_steps, rows
from bot.ledger.database.engine import Database, LedgerUnavailable, open_engine
from bot.ledger.jobs import Transaction
from bot.ledger.people import Act, Repeated
from bot.ledger.tables import events, requests
from bot.ledger.witness import log_again
from bot.ops import logs
from tests.support import postgresql
from tests.support.by_hand import events_of, rewrite, row_of
from tests.support.damage import ADDS_AN_EVENT
from tests.support.hostile import CARD, NOON
from tests.support.ledger import create
from tests.support.names import ALICE, BOB
from tests.support.proxy import Proxy
from tests.support.stage import stage
from tests.support.steps import Process, process

FIRST = replace(CARD, id="a" * 32)
SECOND = replace(FIRST, id="b" * 32, customer=Customer(3100025, HubSpotIds(5151, None)))
LATER = NOON + timedelta(minutes=1)
GOOD = "Nothing was changed in what the ledger holds: requests: 2, events: 4."
ALONE = "Only --against finds a request that was removed with all its events."


def witnessed(number: int) -> list[str]:
    """What a comparison without findings says."""
    return [GOOD, f"Everything that the files have is in the ledger: events: {number}."]


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """The bot's log as it is shipped."""
    path = tmp_path / "bot.log"
    logs.configure("INFO", "json")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    with path.open("w") as stream:
        handler.setStream(stream)
        yield path


@pytest.fixture
async def ledger(database_url: str, engine: Engine, log_file: Path) -> AsyncIterator[Process]:  # noqa: ARG001  # exists, and logs into it
    """A ledger with two requests: the first was confirmed and refused to Alice, in three events."""
    async with process(database_url) as ledger:
        ledger.now = NOON
        for request in (FIRST, SECOND):
            await ledger.ask(request)
        ledger.now = LATER
        await ledger.confirm(FIRST.id, BOB)
        await ledger.run(decide_steps.refused, FIRST.id, ALICE, "too late", Act("presses"))
        yield ledger


def written(log_file: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    return [line for line in lines if line["event"] == "ledger event"]


Audit = Callable[..., tuple[int, str]]


@pytest.fixture
def audit(command: Audit) -> Audit:
    """`python -m bot audit …`: its exit code and output."""
    return partial(command, "audit")


@pytest.mark.usefixtures("ledger")
def test_each_event_is_one_log_line_with_its_hash_and_the_ledgers_count(
    log_file: Path, engine: Engine
) -> None:
    names = ("request_id", "number", "type", "actor", "hash", "count")
    columns = (*(events.c[name] for name in names[:-1]), events.c.id)
    with engine.connect() as connection:
        stored = connection.execute(select(*columns).order_by(events.c.id)).all()
    lines = written(log_file)
    assert [tuple(line[name] for name in names) for line in lines] == [tuple(row) for row in stored]
    assert [line["count"] for line in lines] == [1, 2, 3, 4]
    assert {line["level"] for line in lines} == {"info"}


@pytest.mark.usefixtures("ledger")
async def test_an_event_whose_transaction_failed_is_not_logged(
    engine: Engine, log_file: Path
) -> None:
    before = written(log_file)

    def fails(connection: Connection) -> None:
        tx = Transaction(connection, "", timedelta())
        locked = rows.lock(tx, SECOND.id)
        locked.append(locked.first, EventType.EXPIRED, {})
        tx.finish()
        raise ZeroDivisionError

    database = Database(engine)
    with pytest.raises(ZeroDivisionError):
        await database.run(fails)
    await database.close()
    assert written(log_file) == before


async def test_an_event_whose_commit_has_no_answer_gets_its_line_once_it_is_known(
    postgresql_url: str, log_file: Path
) -> None:
    opens, url = postgresql.proxied(postgresql_url)
    async with Proxy(opens) as proxy, process(url.format(port=proxy.port)) as ledger:
        proxy.loses_answer_to = ADDS_AN_EVENT
        await ask_twice(ledger)
    assert_resolved(log_file)


async def ask_twice(ledger: Process) -> None:
    """Ask in a transaction whose end nobody knows, and once more, as the bot then does."""
    with pytest.raises(LedgerUnavailable) as raised:
        await ledger.ask(FIRST)
    assert raised.value.uncertain
    act = Act(f"asks for {FIRST.id}")

    async def ask() -> object:
        return await ledger.run(ask_steps.asked, Card((FIRST,)), act, timedelta(minutes=15))

    try:
        again = await ask()
    except LedgerUnavailable:
        # the first took effect in between, so this one was refused as a duplicate
        again = await ask()
    # the latter if it took place after all
    assert isinstance(again, Card | Repeated)


def assert_resolved(log_file: Path) -> None:
    """A line says that the commit was uncertain, and a second one that it took place."""
    doubtful, known = written(log_file)
    assert (doubtful["request_id"], doubtful["uncertain"]) == (FIRST.id, True)
    names = ("request_id", "number", "type", "actor", "hash", "count")
    assert [known[name] for name in names] == [doubtful[name] for name in names]
    assert "uncertain" not in known, "as soon as the second try has found it"


def fail_next_commit(engine: Engine, code: int, *, takes_effect: bool) -> None:
    """Let SQLite's next commit report an error of the disk, before or after it took effect."""

    def fails(connection: Connection) -> None:
        event.remove(engine, "commit", fails)
        if takes_effect:
            driver: Any = connection.connection.driver_connection
            driver.execute("COMMIT")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise OperationalError("COMMIT", None, error)

    event.listen(engine, "commit", fails)


@pytest.fixture
async def on_sqlite(tmp_path: Path, log_file: Path) -> AsyncIterator[tuple[Engine, Process]]:  # noqa: ARG001  # logs into it
    """An empty ledger on SQLite, with a process that writes it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    create(url)
    opened = open_engine(url)
    database = Database(opened)
    yield opened, Process(database, "one")
    await database.close()


async def test_an_event_whose_commit_met_a_broken_disk_gets_its_line_once_it_is_known(
    on_sqlite: tuple[Engine, Process], log_file: Path
) -> None:
    opened, ledger = on_sqlite
    fail_next_commit(opened, sqlite3.SQLITE_IOERR_FSYNC, takes_effect=True)
    await ask_twice(ledger)
    assert_resolved(log_file)


async def test_a_commit_that_failed_and_was_tried_again_has_one_line_without_doubt(
    on_sqlite: tuple[Engine, Process], log_file: Path
) -> None:
    opened, ledger = on_sqlite
    fail_next_commit(opened, sqlite3.SQLITE_IOERR_WRITE, takes_effect=False)
    await ask_twice(ledger)
    await ledger.card()
    doubtful, second = written(log_file)
    assert (doubtful["uncertain"], doubtful["count"]) == (True, 1)
    assert ("uncertain" not in second, second["count"]) == (True, 1)


def remove(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(delete(events).where(events.c.request_id == FIRST.id))
        connection.execute(delete(requests).where(requests.c.id == FIRST.id))


def set_back(engine: Engine) -> None:
    """Make the first request undecided again, with a chain that is sound."""
    nothing = dict.fromkeys(("verdict", "decider_id", "decider_team_id", "decided_at"))
    with engine.begin() as connection:
        row = row_of(connection, FIRST.id) | nothing | {"is_open": True}
        rewrite(connection, row, events_of(connection, FIRST.id)[:1])


def recompute(engine: Engine) -> None:
    """Let Alice have confirmed: change the events and compute the chain anew."""
    with engine.begin() as connection:
        row = row_of(connection, FIRST.id) | {"decider_id": ALICE.user_id}
        own = events_of(connection, FIRST.id)
        own[1]["actor"] = ALICE.user_id
        rewrite(connection, row, own)


TAMPERING: dict[Callable[[Engine], None], str] = {
    remove: f"request {FIRST.id}: removed; the logs have its events up to 3",
    set_back: f"request {FIRST.id}, event 2: set back; the logs have its events up to 3",
    recompute: f"request {FIRST.id}, event 2: not the event that was logged",
}


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
@pytest.mark.usefixtures("ledger")
def test_logs_find_what_the_ledger_alone_cannot_show(
    audit: Audit, engine: Engine, log_file: Path, tamper: Callable[[Engine], None]
) -> None:
    tamper(engine)
    code, printed = audit("--verify")
    assert (code, printed.splitlines()[1:]) == (0, [ALONE])
    code, printed = audit("--verify", "--against", log_file)
    assert (code, printed.splitlines()) == (1, [TAMPERING[tamper]])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: line,
        lambda line: f"Nov 25 03:04:05 host unlatch-bot[7]: {line}",
        lambda line: f"2026-11-25T03:04:05+00:00 app[web.1]: {line}",
        lambda line: f"2026-11-25T03:04:05.123456789Z stderr F {line}",
    ],
    ids=["plain", "syslog", "heroku", "kubernetes"],
)
@pytest.mark.usefixtures("ledger")
def test_logs_are_read_behind_what_a_service_puts_before_each_line_and_other_lines_are_ignored(
    audit: Audit, engine: Engine, log_file: Path, wrap: Callable[[str], str]
) -> None:
    shipped = ["Starting…", "{", '["ledger event"]', *map(wrap, log_file.read_text().splitlines())]
    kept = log_file.with_name("bot.log.1")
    kept.write_text("\n".join(shipped))
    code, printed = audit("--verify", "--against", kept)
    assert (code, printed.splitlines()) == (0, witnessed(4))
    remove(engine)
    assert audit("--verify", "--against", kept)[0] == 1


@pytest.mark.usefixtures("ledger")
def test_logs_can_come_through_a_pipe(audit: Audit, log_file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=[log_file.read_bytes()])
    writer.start()
    code, printed = audit("--verify", "--against", pipe)
    writer.join()
    assert (code, printed.splitlines()) == (0, witnessed(4))


@pytest.mark.usefixtures("ledger")
def test_a_file_without_any_event_is_named(audit: Audit, log_file: Path, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.log"
    quiet.write_text('{"event": "listening"}\n')
    code, printed = audit("--verify", "--against", quiet, log_file)
    note = f"Note: {quiet} has no `ledger event` line."
    assert (code, printed.splitlines()) == (0, [note, *witnessed(4)])


@pytest.mark.usefixtures("ledger")
def test_a_count_that_no_database_reaches_is_a_contradiction(audit: Audit, log_file: Path) -> None:
    line = written(log_file)[0] | {"count": 10**30}
    with log_file.open("a") as file:
        file.write(json.dumps(line) + "\n")
    code, printed = audit("--verify", "--against", log_file)
    found = f"request {FIRST.id}, event 1: counted as 1, in the logs as 1{'0' * 30}"
    assert (code, printed.splitlines()) == (1, [found])


@pytest.mark.usefixtures("ledger")
def test_the_same_line_twice_is_no_finding(audit: Audit, log_file: Path) -> None:
    log_file.write_text(log_file.read_text() * 2)
    code, printed = audit("--verify", "--against", log_file)
    assert (code, printed.splitlines()) == (0, witnessed(4))


@pytest.mark.usefixtures("ledger")
def test_files_of_several_instances_are_read_together(
    audit: Audit, log_file: Path, tmp_path: Path
) -> None:
    first, *rest = log_file.read_text().splitlines(keepends=True)
    one, other = tmp_path / "1.log", tmp_path / "2.log"
    one.write_text(first)
    other.write_text("".join(rest))
    code, printed = audit("--verify", "--against", one, other)
    assert (code, printed.splitlines()) == (0, witnessed(4))


@pytest.mark.usefixtures("ledger")
def test_an_event_without_a_line_is_a_finding_that_says_how_to_rule_out_a_lost_line(
    audit: Audit, log_file: Path
) -> None:
    lines = log_file.read_text().splitlines(keepends=True)
    log_file.write_text("".join([lines[0], *lines[2:]]))
    code, printed = audit("--verify", "--against", log_file)
    found, how = printed.splitlines()
    assert code == 1
    assert found == f"request {SECOND.id}, event 1: no line in the logs of that time"
    assert how.startswith("An event without a line was written by somebody else, or its line was")
    assert "To rule that out, give the logs of all instances" in how


def killed_and_started(engine: Engine, log_file: Path, *, lost: int) -> Path:
    """The kept logs of a bot that was killed before it had written its `lost` last lines."""
    begun = {"event": "listening", "level": "info", "timestamp": f"{NOON:%FT%T}Z"}
    before = log_file.read_text().splitlines(keepends=True)
    with engine.connect() as connection:
        log_again(connection)
    after = log_file.read_text().splitlines(keepends=True)[len(before) :]
    kept = log_file.with_name("kept.log")
    kept.write_text("".join([json.dumps(begun) + "\n", *before[:-lost], *after]))
    return kept


@pytest.mark.usefixtures("ledger")
def test_a_kill_between_commit_and_line_accuses_nobody(
    audit: Audit, engine: Engine, log_file: Path
) -> None:
    kept = killed_and_started(engine, log_file, lost=2)
    restated = written(kept)[2:]
    assert [line["count"] for line in restated] == [1, 2, 3, 4]
    assert all(line["again"] for line in restated)
    code, printed = audit("--verify", "--against", kept)
    note, *good = printed.splitlines()
    assert (code, good) == (0, witnessed(4))
    assert note.startswith(
        "Note: events that only a start of the bot has logged: 2,"
        f" the first is request {FIRST.id}, event 2."
    )


async def test_the_bot_logs_the_last_events_again_as_it_starts(tmp_path: Path) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        bot = await staged.start()
        await staged.ask()
        await bot.kill()
        before = written(tmp_path / "bot.log")
        await staged.start()
        after = written(tmp_path / "bot.log")[len(before) :]
    assert before
    assert not any("again" in line for line in before)
    assert all(line["again"] for line in after)
    assert [line["hash"] for line in after] == [line["hash"] for line in before]


@pytest.mark.usefixtures("ledger")
def test_an_uncertain_line_accuses_nobody(audit: Audit, log_file: Path) -> None:
    line = written(log_file)[0]
    doubtful = line | {"request_id": "c" * 32, "uncertain": True}
    with log_file.open("a") as file:
        file.write(json.dumps(doubtful) + "\n")
    code, _printed = audit("--verify", "--against", log_file)
    assert code == 0


@pytest.mark.usefixtures("ledger")
def test_logs_without_events_prove_nothing(audit: Audit, tmp_path: Path) -> None:
    empty = tmp_path / "other.log"
    empty.write_text('{"event": "listening"}\n')
    code, printed = audit("--verify", "--against", empty)
    assert code == 1
    assert "no `ledger event` lines" in printed
    assert GOOD not in printed


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (gzip.compress(b"x" * 9999), "no `ledger event` lines. Are they unpacked"),
        (b'{"event": "ledger event", "number": 1}\n', "lacks its fields"),
        (
            b'{"event": "ledger event", "request_id": "a", "number": 1e999, "hash": ""}\n',
            "lacks its fields",
        ),
    ],
    ids=["missing", "packed", "other fields", "no number"],
)
@pytest.mark.usefixtures("ledger")
def test_logs_that_cannot_be_read_are_one_line_and_exit_code_1(
    audit: Audit, tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "kept.log"
    if content is not None:
        path.write_bytes(content)
    code, printed = audit("--verify", "--against", path)
    assert (code, len(printed.splitlines())) == (1, 1)
    assert why in printed
    assert printed.startswith((str(path), "The files have no"))


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
@pytest.mark.usefixtures("ledger")
def test_kept_heads_witness_without_any_logs(
    audit: Audit, engine: Engine, tmp_path: Path, tamper: Callable[[Engine], None]
) -> None:
    code, printed = audit("--heads")
    heads = {line["request_id"]: line for line in map(json.loads, printed.splitlines())}
    assert (code, {key: line["number"] for key, line in heads.items()}) == (
        0,
        {FIRST.id: 3, SECOND.id: 1},
    )
    kept = tmp_path / "heads"
    kept.write_text(printed)
    assert audit("--verify", "--against", kept)[0] == 0
    tamper(engine)
    code, printed = audit("--verify", "--against", kept)
    assert code == 1
    assert printed.startswith(f"request {FIRST.id}")


def test_against_without_verify_is_refused(audit: Audit, engine: Engine, log_file: Path) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar()
    with pytest.raises(SystemExit) as ended:
        audit("--against", log_file)
    assert ended.value.code == 2
