"""What auditors read out of the ledger, and how they know that nobody rewrote it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import Engine, insert, text

from bot.__main__ import main
from bot.domain.models import (
    Customer,
    Event,
    EventType,
    HubSpotIds,
    NewEvent,
    Outcome,
    Request,
    Verdict,
)
from bot.domain.policy import Decision
from bot.ledger.engine import Database, migrate, open_engine
from bot.ledger.export import COLUMNS, FORMULA, Row, Wanted, as_csv, as_json, as_table, moment, read
from bot.ledger.hash_chain import digest, fingerprint
from bot.ledger.mapping import event_of, event_row, request_of, request_row
from bot.ledger.schema import events, requests
from bot.ledger.store import Ledger
from bot.ledger.verify import verify
from tests.support.hostile import CARD, NOON, STOLEN_BIKES, TEXTS
from tests.support.names import ALICE, BOB

FIRST = replace(CARD, id="a" * 32, due_at=NOON + timedelta(minutes=15))
SECOND = replace(
    FIRST,
    id="b" * 32,
    customer=Customer(3100025, HubSpotIds(5151, None)),
    requester=BOB,
    reason="",
    asked_at=NOON + timedelta(days=1),
    expires_at=NOON + timedelta(days=1, minutes=15),
    due_at=NOON + timedelta(days=1, minutes=15),
)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger on SQLite, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def url(database_url: str, empty_file: Path) -> str:
    """An empty ledger on each kind of database."""
    if database_url.startswith("sqlite:"):
        shutil.copy(empty_file, database_url.removeprefix("sqlite:///"))
    return database_url


@pytest.fixture
def file_url(tmp_path: Path, empty_file: Path) -> str:
    """An empty ledger on SQLite alone."""
    shutil.copy(empty_file, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    database = Database(open_engine(url))
    yield Ledger(database)
    await database.close()


@pytest.fixture
def reader(url: str) -> Iterator[Engine]:
    """The ledger as `audit` opens it."""
    engine = open_engine(url, reads_only=True)
    yield engine
    engine.dispose()


def asked(request: Request) -> NewEvent:
    details: dict[str, object] = {
        "kind": request.kind,
        "customer_id": request.customer.customer_id,
        "channel_id": request.channel_id,
        "reason": request.reason,
        "vid": request.customer.ids.vid,
        "company_id": request.customer.ids.company_id,
    }
    return NewEvent(request.asked_at, EventType.REQUESTED, request.requester.user_id, details)


async def settle(ledger: Ledger, request: Request) -> None:
    """Four events a minute apart: asked, refused to the requester, confirmed by Bob, cleared."""
    await ledger.add(request, asked(request))

    async def decide(minute: int, who: Any, why: str) -> Request:
        at = request.asked_at + timedelta(minutes=minute)
        confirmed = NewEvent(at, EventType.CONFIRMED, who.user_id, {})
        gate = await ledger.decide(
            request.id,
            Verdict.CONFIRMED,
            confirmed,
            decider=who,
            due_at=at,
            judge=lambda _request, _overtaken: Decision(allowed=not why, why=why),
        )
        return gate.request

    await decide(1, ALICE, "Two people are needed.")
    decided = await decide(2, BOB, "")
    at = request.asked_at + timedelta(minutes=3)
    cleared = NewEvent(at, EventType.CLEARED, "", {"vid": 101, "company_id": 202, "status": 200})
    await ledger.record(decided, cleared, outcome=Outcome.CLEARED, settled_at=at, due_at=None)


@pytest.fixture
async def two(ledger: Ledger) -> None:
    """Two requests on two days: the first settled, the second waiting."""
    await settle(ledger, FIRST)
    await ledger.add(SECOND, asked(SECOND))


def change(url: str, statement: str) -> None:
    """Somebody with the database's password."""
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def audit(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *arguments: str,
) -> tuple[int, str, str]:
    """`python -m bot audit …`: its exit code, output and errors."""
    monkeypatch.setenv("DATABASE_URL", url)
    code = main(["audit", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


Audit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Audit:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: audit(url, monkeypatch, capsys, *arguments)


@pytest.mark.usefixtures("two")
def test_events_are_read_oldest_first_with_whom_what_when_and_why(reader: Engine) -> None:
    rows = list(read(reader, Wanted()))
    told = [(r["at"][:16], r["customer_id"], r["event"], r["who"], r["why"]) for r in rows]
    assert told == [
        ("2026-11-23T12:00", 2554529, "requested", "U0ALICE", "moved to the new portal"),
        ("2026-11-23T12:01", 2554529, "decision_denied", "U0ALICE", "Two people are needed."),
        ("2026-11-23T12:02", 2554529, "confirmed", "U0BOB", ""),
        ("2026-11-23T12:03", 2554529, "cleared", "", ""),
        ("2026-11-24T12:00", 3100025, "requested", "U0BOB", ""),
    ]


@pytest.mark.usefixtures("two")
def test_an_event_shows_its_ids_its_request_and_whatever_else_is_known(reader: Engine) -> None:
    rows = list(read(reader, Wanted()))
    assert rows[3] == {
        "at": "2026-11-23T12:03:00.000000Z",
        "customer_id": 2554529,
        "event": "cleared",
        "who": "",
        "vid": 101,
        "company_id": 202,
        "why": "",
        "kind": "unlatch",
        "request_id": "a" * 32,
        "channel_id": "C0BILLING",
        "details": {"status": 200},
    }
    assert rows[1]["details"] == {"verdict": "confirmed"}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), 5),
        (Wanted(customer_id=2554529), 4),
        (Wanted(customer_id=3100025), 1),
        (Wanted(customer_id=1), 0),
        (Wanted(who="U0ALICE"), 2),
        (Wanted(who="U0BOB"), 2),
        (Wanted(who="U0NOBODY"), 0),
        (Wanted(since=NOON + timedelta(minutes=2)), 3),
        (Wanted(until=NOON + timedelta(minutes=2)), 2),
        (Wanted(since=moment("2026-11-24")), 1),
        (Wanted(until=moment("2026-11-23", end=True)), 4),
        (Wanted(since=moment("2026-11-23"), until=moment("2026-11-24", end=True)), 5),
        (Wanted(since=moment("2026-11-25")), 0),
        (Wanted(customer_id=2554529, who="U0BOB", since=moment("2026-11-23T12:02")), 1),
    ],
    ids=str,
)
def test_only_what_is_wanted_is_read(reader: Engine, wanted: Wanted, expected: int) -> None:
    assert len(list(read(reader, wanted))) == expected


@pytest.mark.parametrize(
    ("value", "end", "at"),
    [
        ("2026-11-23", False, datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23", True, datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-23T14:30", True, datetime(2026, 11, 23, 14, 30, tzinfo=UTC)),
        ("2026-11-23 14:30:05", False, datetime(2026, 11, 23, 14, 30, 5, tzinfo=UTC)),
        ("2026-11-23T14:30Z", False, datetime(2026, 11, 23, 14, 30, tzinfo=UTC)),
        ("2026-11-23T14:30+02:00", False, datetime(2026, 11, 23, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_date_is_a_day_in_utc_and_a_time_a_moment(value: str, end: bool, at: datetime) -> None:  # noqa: FBT001  # parametrized
    assert moment(value, end=end) == at


@pytest.mark.parametrize("value", ["", "today", "23.11.2026", "2026-13-01", "9999-12-31"])
def test_what_is_no_date_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(value, end=True)


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_wrong_date_is_told_with_an_example_and_exit_code_2(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", option, "yesterday"])
    assert ended.value.code == 2
    assert "wants a date or time like 2026-11-23" in capsys.readouterr().err


@pytest.mark.usefixtures("two")
def test_json_is_an_object_a_line(run: Audit) -> None:
    code, out, err = run("--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(rows)) == (0, "", 5)
    assert list(rows[0]) == list(COLUMNS[:1] + COLUMNS[1:])
    assert rows[0]["vid"] == 101


@pytest.mark.usefixtures("two")
def test_csv_has_a_header_and_a_line_an_event(run: Audit) -> None:
    code, out, err = run("--csv")
    header, *rows = csv.reader(io.StringIO(out))
    assert (code, err, len(rows)) == (0, "", 5)
    assert header == list(COLUMNS)
    assert rows[0][:6] == [
        *("2026-11-23T12:00:00.000000Z", "2554529", "requested", "U0ALICE", "101", "202")
    ]


@pytest.mark.usefixtures("two")
def test_the_table_has_its_columns_one_under_the_other(run: Audit) -> None:
    code, out, err = run()
    header, *lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 5)
    assert header.split() == [name.upper() for name in COLUMNS]
    assert {line.index("unlatch ") for line in lines} == {header.index("KIND")}
    assert lines[3].startswith("2026-11-23T12:03:00.000000Z  2554529       cleared")
    assert lines[3].endswith('C0BILLING     {"status": 200}')


@pytest.mark.usefixtures("two")
def test_filters_of_the_command_line_narrow_what_is_read(run: Audit) -> None:
    arguments = ("--customer", "2554529", "--who", "U0BOB", "--since", "2026-11-23")
    _code, out, _err = run("--json", *arguments, "--until", "2026-11-23")
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["confirmed"]


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=str)
@pytest.mark.usefixtures("two")
def test_no_rows_are_no_noise_and_no_failure(run: Audit, form: list[str]) -> None:
    assert run(*form, "--customer", "999") == (0, "", "")


@pytest.mark.parametrize("customer_id", ["9" * 19, "-1", "٣٤", "x"], ids=ascii)
def test_what_is_no_customer_id_is_told_and_not_looked_for(
    customer_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", f"--customer={customer_id}"])
    assert ended.value.code == 2
    assert "wants a customer id, at most 18 digits" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--verify"]], ids=str)
async def test_halves_of_characters_in_fusebills_words_stop_no_form(
    run: Audit, ledger: Ledger, form: list[str]
) -> None:
    new_event = asked(FIRST)
    new_event.details["texts"] = ["half \ud83d of \udead it"]
    await ledger.add(FIRST, new_event)
    code, out, err = run(*form)
    assert (code, err) == (0, "")
    assert out.encode()


CELLS: st.SearchStrategy[Any] = st.one_of(
    TEXTS,
    st.builds("".join, st.tuples(st.sampled_from([*FORMULA, " =", "\t@", "\r\n+"]), TEXTS)),
    st.integers(),
    st.none(),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
)
ROWS: st.SearchStrategy[Row] = st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELLS))


@given(st.lists(ROWS, max_size=3))
def test_no_cell_of_the_csv_begins_a_formula(rows: list[Row]) -> None:
    read_back = list(csv.reader(io.StringIO("\n".join(as_csv(rows)), newline="")))
    cells = [cell for line in read_back for cell in line]
    assert not [cell for cell in cells if cell.lstrip().startswith(FORMULA)]
    assert all(cell.isprintable() for cell in cells)


@given(st.lists(ROWS, max_size=3))
def test_a_csv_reader_finds_every_cell_where_it_belongs(rows: list[Row]) -> None:
    read_back = list(csv.reader(io.StringIO("\n".join(as_csv(rows)), newline="")))
    assert len(read_back) == (len(rows) + 1 if rows else 0)
    for row, cells in zip(rows, read_back[1:], strict=False):
        for value, cell in zip((row[name] for name in COLUMNS), cells, strict=True):
            if isinstance(value, str) and value.isprintable():
                assert cell.removeprefix("'") == value.removeprefix("'")


@given(st.lists(ROWS, max_size=3))
def test_every_row_of_the_json_is_one_line_that_says_what_it_was_given(rows: list[Row]) -> None:
    assert [json.loads(line) for line in "\n".join(as_json(rows)).splitlines()] == [
        # two halves of a character that follow each other are the character
        json.loads(json.dumps(row))
        for row in rows
    ]


@given(st.lists(ROWS, max_size=3))
def test_nothing_in_the_table_acts_on_the_terminal_or_breaks_a_line(rows: list[Row]) -> None:
    lines = list(as_table(rows))
    assert len(lines) == (len(rows) + 1 if rows else 0)
    assert all(line.isprintable() for line in lines)


def test_whoever_reads_only_the_first_line_gets_no_traceback(file_url: str) -> None:
    fill(file_url, 3000)
    ended = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m bot audit --json | head -n 1'],
        env=os.environ | {"DATABASE_URL": file_url},
        capture_output=True,
        check=True,
        text=True,
    )
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr == ""


def fill(
    url: str, count: int, events_each: int = 1, *, why: str = "no", at_a_time: int = 1000
) -> None:
    """Write many requests, quicker than the bot would."""
    engine = open_engine(url)
    for start in range(0, count, at_a_time):
        rows: list[dict[str, Any]] = []
        chains: list[dict[str, Any]] = []
        for number in range(start, min(start + at_a_time, count)):
            request = replace(FIRST, id=f"{number:032x}")
            chain = list(chained(request, events_each, why))
            rows.append(request_row(replace(request, events=events_each, head=chain[-1].hash)))
            chains.extend(event_row(event) for event in chain)
        with engine.begin() as connection:
            connection.execute(insert(requests), rows)
            connection.execute(insert(events), chains)
    engine.dispose()


def chained(request: Request, count: int, why: str) -> Iterator[Event]:
    """A request's first event and refusals after it, each with a hash over the one before."""
    previous = ""
    for number in range(1, count + 1):
        what, details = EventType.DECISION_DENIED, dict[str, object](why=why)
        if number == 1:
            what, details = EventType.REQUESTED, asked(request).details
            details = details | {"row": fingerprint(request_row(request))}
        event = Event(request.id, number, NOON, what, "U0ALICE", details, previous)
        previous = digest(event)
        yield replace(event, hash=previous)


def growth_mb(work: Callable[[], object]) -> float:
    """By how much this process grew at most while it did something: all of it, C's buffers too."""
    status = Path("/proc/self/status")

    def kilobytes(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])

    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak: man 5 proc
    before = kilobytes("VmRSS")
    work()
    return (kilobytes("VmHWM") - before) / 1024


def test_memory_stays_bounded_however_much_there_is_to_read(url: str) -> None:
    fill(url, 50, 300, why="x" * 3000, at_a_time=5)
    engine = open_engine(url, reads_only=True)
    # 45 MB in all
    assert growth_mb(lambda: sum(1 for _line in as_json(read(engine, Wanted())))) < 20
    assert growth_mb(lambda: list(verify(engine))) < 20
    engine.dispose()


def test_a_ledger_that_is_not_there_is_said_so_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = audit(f"sqlite:///{tmp_path}/typo.db", monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert "there is no ledger at" in err
    assert not list(tmp_path.iterdir())


def test_reading_leaves_the_bot_free_to_write(file_url: str) -> None:
    fill(file_url, 2000)
    engine = open_engine(file_url, reads_only=True)
    rows = read(engine, Wanted())
    next(rows)
    change(file_url, "UPDATE requests SET reason = 'written meanwhile'")
    assert sum(1 for _row in rows) == 1999
    engine.dispose()


def test_an_auditor_who_pauses_for_long_loses_no_connection(
    postgresql_url: str,
) -> None:
    engine = open_engine(postgresql_url, reads_only=True)
    with engine.connect() as connection:
        limits = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("idle_in_transaction_session_timeout", "statement_timeout")
        ]
    engine.dispose()
    assert limits == ["0", "0"]


@pytest.mark.usefixtures("two")
def test_a_ledger_that_nobody_touched_verifies(run: Audit) -> None:
    assert run("--verify") == (0, "Every event is there, as it was written.\n", "")


def test_an_empty_ledger_verifies(reader: Engine) -> None:
    assert list(verify(reader)) == []


A = f"request {'a' * 32}"
OF_A = f"WHERE request_id = '{'a' * 32}'"


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"UPDATE events SET actor = 'U0EVE' {OF_A} AND number = 3", f"{A}, event 3: changed"),
        (f"UPDATE events SET actor = 'U0EVE' {OF_A} AND number = 1", f"{A}, event 1: changed"),
        (f"UPDATE events SET details = '{{}}' {OF_A} AND number = 4", f"{A}, event 4: changed"),
        (f"UPDATE events SET details = '[1]' {OF_A} AND number = 2", f"{A}, event 2: changed"),
        (f"UPDATE events SET details = 'oops' {OF_A} AND number = 1", f"{A}, event 1: changed"),
        (
            f"UPDATE events SET at = '2026-11-23 11:00:00.000000' {OF_A} AND number = 2",
            f"{A}, event 2: changed",
        ),
        (f"UPDATE events SET type = 'expired' {OF_A} AND number = 3", f"{A}, event 3: changed"),
        (f"UPDATE events SET type = 'nonsense' {OF_A} AND number = 3", f"{A}, event 3: changed"),
        (f"UPDATE events SET hash = 'oops' {OF_A} AND number = 2", f"{A}, event 2: changed"),
        (f"UPDATE events SET previous = 'oops' {OF_A} AND number = 3", f"{A}, event 3: changed"),
        (f"UPDATE events SET number = 9 {OF_A} AND number = 4", f"{A}, event 4: missing"),
        (f"UPDATE requests SET events = 3 WHERE id = '{'a' * 32}'", f"{A}, event 4: added"),
        (f"DELETE FROM events {OF_A} AND number = 1", f"{A}, event 1: missing"),
        (f"DELETE FROM events {OF_A} AND number = 2", f"{A}, event 2: missing"),
        (f"DELETE FROM events {OF_A} AND number = 4", f"{A}, event 4: missing"),
        (f"DELETE FROM events {OF_A} AND number >= 3", f"{A}, event 3: missing"),
        (f"DELETE FROM events {OF_A}", f"{A}, event 1: missing"),
        *(
            (
                f"UPDATE requests SET {changed} WHERE id = '{'a' * 32}'",
                f"{A}: its own row was changed",
            )
            for changed in (
                "requester_id = 'U0EVE'",
                "kind = 'relatch'",
                "customer_id = 3100025",
                "channel_id = 'C0OTHER'",
                "reason = 'another'",
                "decider_id = 'U0EVE'",
                "verdict = 'cancelled'",
                "outcome = 'refused'",
                "customer = replace(customer, '101', '999')",
                "customer = replace(customer, '2554529', '3100025')",
                "customer = replace(customer, 'Stolen', 'Other')",
                "customer = 'oops'",
                """customer = '{"ids": null}'""",
                "message_ts = '1.1'",
                "thread_ts = NULL",
                "requester_team_id = 'T0EVE'",
                "asked_at = '2026-11-23 11:00:00.000000'",
                "expires_at = '2099-11-23 11:00:00.000000'",
                "decided_at = '2026-11-23 11:00:00.000000'",
                "settled_at = '2026-11-23 11:00:00.000000'",
                "settled_at = NULL",
                f"undoes = '{'b' * 32}'",
                f"undone_by = '{'b' * 32}'",
            )
        ),
    ],
    ids=lambda value: str(value).replace("a" * 32, "a")[:60],
)
def test_the_first_row_that_was_changed_or_is_missing_is_named(
    url: str, run: Audit, statement: str, expected: str
) -> None:
    change(url, statement)
    assert run("--verify") == (1, f"{expected}\n", "")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "changed", ["due_at = '2099-01-01 00:00:00.000000'", "due_at = NULL", "verdict = 'confirmed'"]
)
def test_a_waiting_card_that_was_made_to_live_longer_is_named(
    url: str, run: Audit, changed: str
) -> None:
    change(url, f"UPDATE requests SET {changed} WHERE id = '{'b' * 32}'")
    assert run("--verify") == (1, f"request {'b' * 32}: its own row was changed\n", "")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("requests SET events = 'abc'", "event 4: missing"),
        ("requests SET settled_at = x'00ff'", None),
        ("requests SET customer = x'00'", None),
        ("events SET previous = x'00' WHERE number = 2", "event 2: changed"),
        ("events SET actor = x'00' WHERE number = 2", "event 2: changed"),
        ("events SET type = x'00' WHERE number = 2", "event 2: changed"),
        ("events SET details = x'00' WHERE number = 2", "event 2: changed"),
    ],
)
def test_what_is_no_text_and_no_number_is_named_and_read_out_all_the_same(
    file_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: str,
    expected: str | None,
) -> None:
    fill(file_url, 2, 3)
    with sqlite3.connect(file_url.removeprefix("sqlite:///")) as connection:
        connection.execute(f"UPDATE {changed}")
    connection.close()
    code, out, err = audit(file_url, monkeypatch, capsys, "--verify")
    told = f", {expected}" if expected else ": its own row was changed"
    assert out.splitlines() == [f"request {number:032x}{told}" for number in range(2)]
    assert (code, err) == (1, "")
    code, out, err = audit(file_url, monkeypatch, capsys, "--json")
    assert (code, err, len(out.splitlines())) == (0, "", 6)


@pytest.mark.parametrize("moment_", ["infinity", "0044-03-15 BC"])
def test_a_time_that_only_postgresql_knows_is_named(
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment_: str,
) -> None:
    fill(postgresql_url, 1, 3)
    change(postgresql_url, f"UPDATE events SET at = '{moment_}' WHERE number = 2")
    code, out, err = audit(postgresql_url, monkeypatch, capsys, "--verify")
    assert (code, out, err) == (1, f"request {0:032x}, event 2: changed\n", "")
    code, out, err = audit(postgresql_url, monkeypatch, capsys, "--csv")
    assert (code, len(out.splitlines()), err) == (0, 4, "")


def test_a_database_that_lives_in_another_zone_changes_no_time(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(postgresql_url, 1, 3)
    name = postgresql_url.partition("?")[0].rpartition("/")[2]
    change(postgresql_url, f"ALTER DATABASE {name} SET timezone = 'America/St_Johns'")
    code, out, err = audit(postgresql_url, monkeypatch, capsys, "--verify")
    assert (code, err) == (0, ""), out
    _code, out, _err = audit(postgresql_url, monkeypatch, capsys, "--json")
    assert {json.loads(line)["at"] for line in out.splitlines()} == {"2026-11-23T12:00:00.000000Z"}


@pytest.mark.usefixtures("two")
def test_a_row_that_says_another_customer_than_its_snapshot_is_about_that_one(url: str) -> None:
    change(url, "UPDATE requests SET customer = replace(customer, '2554529', '3100025')")
    engine = open_engine(url, reads_only=True)
    with engine.connect() as connection:
        row = connection.execute(requests.select()).mappings().first()
    engine.dispose()
    assert row is not None
    assert request_of(row).customer.customer_id == 2554529


@pytest.mark.parametrize("option", [[], ["--verify"]], ids=str)
def test_a_ledger_without_its_tables_ends_with_one_line(
    file_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
) -> None:
    change(file_url, "DROP TABLE events")
    code, out, err = audit(file_url, monkeypatch, capsys, *option)
    assert (code, out, err) == (1, "", "DATABASE_URL: no such table: events\n")


def test_reading_a_copy_leaves_it_the_same_to_the_last_byte(
    file_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(file_url, 2)
    copy = tmp_path / "copy.db"
    with sqlite3.connect(file_url.removeprefix("sqlite:///")) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    connection.close()
    before = copy.read_bytes()
    code, _out, _err = audit(f"sqlite:///{copy}", monkeypatch, capsys)
    assert code == 0
    assert copy.read_bytes() == before
    assert not copy.with_name("copy.db-wal").exists()


async def test_what_was_written_late_is_read_where_it_belongs(
    ledger: Ledger, reader: Engine
) -> None:
    await ledger.add(SECOND, asked(SECOND))
    await ledger.add(FIRST, asked(FIRST))
    assert [row["request_id"][0] for row in read(reader, Wanted())] == ["a", "b"]


def test_a_formula_behind_a_semicolon_is_defused_too() -> None:
    row = dict.fromkeys(COLUMNS, "") | {"why": "x; =cmd|'/c calc'!A0"}
    cells = [cell for line in csv.reader(as_csv([row]), delimiter=";") for cell in line]
    assert not [cell for cell in cells if cell.lstrip(" ").startswith(FORMULA)]


def rehash(url: str, number: int, actor: str) -> None:
    """Change an event and give it a fitting hash, as somebody would who knows how."""
    engine = open_engine(url)
    with engine.begin() as connection:
        query = events.select().where(events.c.request_id == FIRST.id, events.c.number == number)
        event = event_of(connection.execute(query).mappings().one())
        forged = replace(event, actor=actor)
        row = event_row(replace(forged, hash=digest(forged)))
        where = (events.c.request_id == FIRST.id) & (events.c.number == number)
        connection.execute(events.update().where(where).values(row))
    engine.dispose()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_row_that_was_hashed_anew_is_named_all_the_same(
    url: str, run: Audit, number: int
) -> None:
    rehash(url, number, "U0EVE")
    assert run("--verify") == (1, f"{A}, event {number}: changed\n", "")


@pytest.mark.usefixtures("two")
def test_of_each_request_the_first_such_row_is_named(url: str, run: Audit) -> None:
    change(url, "UPDATE events SET actor = 'U0EVE'")
    code, out, _err = run("--verify")
    assert code == 1
    assert out.splitlines() == [f"{A}, event 1: changed", f"request {'b' * 32}, event 1: changed"]


def test_events_whose_request_was_deleted_are_named(
    file_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(file_url, 2)
    with sqlite3.connect(file_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM requests WHERE id = ?", [f"{1:032x}"])
    connection.close()
    code, out, _err = audit(file_url, monkeypatch, capsys, "--verify")
    assert (code, out) == (1, f"request {1:032x}: its own row is missing\n")


@pytest.mark.parametrize("value", ["'oops'", "x'00ff'"])
def test_a_time_that_cannot_be_read_is_named(
    file_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    fill(file_url, 1, 3)
    with sqlite3.connect(file_url.removeprefix("sqlite:///")) as connection:
        connection.execute(f"UPDATE events SET at = {value} WHERE number = 2")
    connection.close()
    code, out, _err = audit(file_url, monkeypatch, capsys, "--verify")
    assert (code, out) == (1, f"request {0:032x}, event 2: changed\n")
    code, out, _err = audit(file_url, monkeypatch, capsys)
    assert (code, len(out.splitlines())) == (0, 4)


def test_the_customer_of_the_first_request_is_the_one_of_the_journeys() -> None:
    assert FIRST.customer == STOLEN_BIKES
