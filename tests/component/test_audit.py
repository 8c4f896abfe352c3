"""Exporting the ledger for auditors, and verifying that nobody changed it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import Engine, insert, text

from bot.__main__ import main
from bot.app.audit import moment
from bot.domain.models import (
    Customer,
    EventType,
    HubSpotIds,
    Outcome,
    Request,
)
from bot.domain.policy import Decision
from bot.ledger.audit.export import (
    BOM,
    FORMULA,
    MAX_LINE,
    Filter,
    Row,
    as_csv,
    as_json,
    as_table,
    read,
)
from bot.ledger.audit.verify import verify
from bot.ledger.database.engine import open_engine
from bot.ledger.hash_chain import canonical_json, chained, digest, fingerprint, place_on_card
from bot.ledger.rows import request_of, request_row
from bot.ledger.tables import events, requests
from tests.support.hostile import CARD, NOON, STOLEN_BIKES, TEXTS
from tests.support.ledger import create
from tests.support.names import ALICE, BOB
from tests.support.rights import open_folder, without_rights
from tests.support.stage import on_postgresql, on_sqlite
from tests.support.steps import Process, process

COLUMNS = (
    *("at", "customer_id", "customer", "event", "who", "who_name", "vid", "company_id", "why"),
    *("kind", "request_id", "channel_id", "card_id", "details"),
)
FIRST = replace(CARD, id="a" * 32)
SECOND = replace(
    FIRST,
    id="b" * 32,
    customer=Customer(3100025, HubSpotIds(5151, None)),
    requester=BOB,
    reason="",
    asked_at=NOON + timedelta(days=1),
    expires_at=NOON + timedelta(days=1, minutes=15),
)


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of an empty ledger, on SQLite only."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    create(url)
    return url


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Process]:
    """A process that writes the ledger."""
    async with process(url) as opened:
        yield opened


@pytest.fixture
def reader(url: str) -> Iterator[Engine]:
    """The ledger as `audit` opens it."""
    engine = open_engine(url, read_only=True)
    yield engine
    engine.dispose()


async def ask(ledger: Process, *card: Request) -> None:
    """Ask for a card at the time that it says."""
    ledger.now = card[0].asked_at
    await ledger.ask(*card)


async def complete(ledger: Process, request: Request) -> None:
    """Four events, a minute apart: requested, denied to Alice, confirmed by Bob, cleared."""
    minute = timedelta(minutes=1)
    await ask(ledger, request)
    ledger.now += minute
    why = Decision(allowed=False, why="Two people are needed.")
    await ledger.confirm(request.id, ALICE, judge=lambda _request, _other: why)
    ledger.now += minute
    await ledger.confirm(request.id, BOB)
    ledger.now += minute
    await ledger.record(Outcome.CLEARED, {"vid": 101, "company_id": 202, "status": 200})


@pytest.fixture
async def two(ledger: Process) -> None:
    """Two requests on two days: the first completed, the second undecided."""
    await complete(ledger, FIRST)
    await ask(ledger, SECOND)


def change(url: str, statement: str) -> None:
    """Change the database as somebody with its password could."""
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
    """Run `python -m bot audit …`; returns its exit code, stdout and stderr."""
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
def test_events_are_oldest_first_and_say_who_did_what_when_and_why(reader: Engine) -> None:
    rows = list(read(reader, Filter()))
    summary = [(r["at"][:16], r["customer_id"], r["event"], r["who"], r["why"]) for r in rows]
    assert summary == [
        ("2026-11-23T12:00", 2554529, "requested", "U0ALICE", "moved to the new portal"),
        ("2026-11-23T12:01", 2554529, "decision_denied", "U0ALICE", "Two people are needed."),
        ("2026-11-23T12:02", 2554529, "confirmed", "U0BOB", ""),
        ("2026-11-23T12:03", 2554529, "cleared", "", ""),
        ("2026-11-24T12:00", 3100025, "requested", "U0BOB", ""),
    ]


@pytest.mark.usefixtures("two")
def test_an_event_has_its_ids_its_request_and_other_details(reader: Engine) -> None:
    rows = list(read(reader, Filter()))
    assert rows[3] == {
        "at": "2026-11-23T12:03:00.000000Z",
        "customer_id": 2554529,
        "customer": "Stolen Bikes",
        "event": "cleared",
        "who": "",
        "who_name": "",
        "vid": 101,
        "company_id": 202,
        "why": "",
        "kind": "unlatch",
        "request_id": "a" * 32,
        "channel_id": "C0BILLING",
        "card_id": "a" * 32,
        "details": {"status": 200},
    }
    assert rows[1]["details"] == {"verdict": "confirmed"}
    assert rows[2]["details"] == {"team": "T0SANDBOX"}


@on_sqlite
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), 5),
        (Filter(customer_id=2554529), 4),
        (Filter(customer_id=3100025), 1),
        (Filter(customer_id=1), 0),
        (Filter(who="U0ALICE"), 4),
        (Filter(who="U0BOB"), 5),
        (Filter(who="U0NOBODY"), 0),
        (Filter(since=NOON + timedelta(minutes=2)), 3),
        (Filter(until=NOON + timedelta(minutes=2)), 2),
        (Filter(since=moment("2026-11-24")), 1),
        (Filter(until=moment("2026-11-23", end=True)), 4),
        (Filter(since=moment("2026-11-23"), until=moment("2026-11-24", end=True)), 5),
        (Filter(since=moment("2026-11-25")), 0),
        (Filter(customer_id=2554529, who="U0BOB", since=moment("2026-11-23T12:02")), 2),
    ],
    ids=str,
)
def test_filters_select_the_events(reader: Engine, wanted: Filter, expected: int) -> None:
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
def test_a_date_is_a_day_in_utc_and_a_time_is_exact(value: str, end: bool, at: datetime) -> None:  # noqa: FBT001  # parametrized
    assert moment(value, end=end) == at


@pytest.mark.parametrize(
    "value",
    [
        *("", "today", "23.11.2026", "2026-13-01", "9999-12-31"),
        *("0001-01-01T00:00+05:00", "9999-12-31T23:00-05:00"),
    ],
)
def test_an_invalid_date_is_refused(value: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be a date or time like 2026-11-23"):
        moment(value, end=True)


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_an_invalid_date_exits_2_and_shows_an_example(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", option, "yesterday"])
    assert ended.value.code == 2
    assert "must be a date or time like 2026-11-23" in capsys.readouterr().err


@pytest.mark.usefixtures("two")
def test_json_has_one_object_per_line(run: Audit) -> None:
    code, out, err = run("--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(rows)) == (0, "", 5)
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["vid"] == 101


@pytest.mark.usefixtures("two")
def test_csv_has_a_header_and_one_line_per_event(run: Audit) -> None:
    code, out, err = run("--csv")
    header, *rows = read_csv(out)
    assert (code, err, len(rows)) == (0, "", 5)
    assert header == list(COLUMNS)
    assert rows[0][:8] == [
        *("2026-11-23T12:00:00.000000Z", "2554529", "Stolen Bikes"),
        *("requested", "U0ALICE", "", "101", "202"),
    ]


@pytest.mark.usefixtures("two")
def test_the_tables_columns_are_aligned(run: Audit) -> None:
    code, out, err = run()
    header, *lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 5)
    shown = [
        name.upper() for name in COLUMNS if name not in ("at", "kind", "channel_id", "card_id")
    ]
    assert sorted(header.split()) == sorted(["AT", "(UTC)", *shown])
    assert {line.index("a" * 32) for line in lines[:4]} == {header.index("REQUEST_ID")}
    assert lines[3].startswith("2026-11-23 12:03:00  2554529      Stolen Bikes            cleared")
    assert lines[3].endswith(f'{"a" * 32}  {{"status": 200}}')


@pytest.mark.usefixtures("two")
def test_command_line_filters_can_be_combined(run: Audit) -> None:
    arguments = ("--customer", "2554529", "--who", "U0BOB", "--since", "2026-11-23")
    _code, out, _err = run("--json", *arguments, "--until", "2026-11-23")
    found = [json.loads(line)["event"] for line in out.splitlines()]
    assert found == ["requested", "decision_denied", "confirmed", "cleared"]


@on_sqlite
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=str)
@pytest.mark.usefixtures("two")
def test_no_rows_mean_no_output_a_note_and_exit_code_0(run: Audit, form: list[str]) -> None:
    nothing = (0, "", "The ledger has no event that fits.\n")
    assert run(*form, "--customer", "999") == nothing


@pytest.mark.usefixtures("two")
def test_who_shows_what_came_of_a_confirmation(run: Audit) -> None:
    _code, out, _err = run("--json", "--who", "U0BOB", "--customer", "2554529")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(r["event"], r["who"], r["vid"]) for r in rows[-2:]] == [
        ("confirmed", "U0BOB", None),
        ("cleared", "", 101),
    ]


@pytest.fixture
async def stopped_card(ledger: Process) -> tuple[Request, Request]:
    """A card of customers 2554529 and 3100025, on which Carl pressed **Stop**."""
    first = replace(CARD, id="a" * 32, card_id="a" * 32, card_size=2)
    second = replace(first, id="b" * 32, position=2, customer=Customer(3100025, CARD.customer.ids))
    await ask(ledger, first, second)
    await ask(ledger, replace(CARD, id="c" * 32))
    ledger.now += timedelta(minutes=1)
    await ledger.note(first.id, EventType.STOP_REQUESTED, "U0CARL")
    return first, second


async def test_who_shows_the_whole_card_that_somebody_stopped(
    stopped_card: tuple[Request, Request], reader: Engine
) -> None:
    first, second = stopped_card
    rows = list(read(reader, Filter(who="U0CARL")))
    assert sorted(row["request_id"] for row in rows) == [first.id, first.id, second.id]


@pytest.mark.usefixtures("stopped_card")
async def test_each_customer_of_a_card_shows_who_stopped_it(reader: Engine) -> None:
    rows = list(read(reader, Filter(customer_id=3100025)))
    assert [(row["event"], row["who"], row["customer_id"]) for row in rows] == [
        ("requested", "U0ALICE", 3100025),
        ("stop_requested", "U0CARL", 2554529),
    ]


async def test_unfinished_shows_what_was_confirmed_and_has_no_outcome(
    ledger: Process, reader: Engine
) -> None:
    await complete(ledger, FIRST)
    for request in (SECOND, replace(SECOND, id="c" * 32)):
        await ask(ledger, request)
    await ledger.confirm(SECOND.id, ALICE)
    rows = list(read(reader, Filter(unfinished=True)))
    assert {row["request_id"] for row in rows} == {SECOND.id}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--who", "bob"], "must be a Slack member id, like U0123ABC"),
        (["--who", "u0bob"], "must be a Slack member id, like U0123ABC"),
        (["--verify", "--unfinished"], "the whole ledger: leave out --unfinished"),
        (["--verify", "--customer", "1"], "the whole ledger: leave out --customer"),
        (["--heads", "--since", "2026-01-01", "--who", "U1"], "leave out --since and --who"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--since must be before --until"),
    ],
    ids=" ".join,
)
def test_options_that_would_be_ignored_or_match_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], wrong: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    assert ended.value.code == 2
    assert wrong in capsys.readouterr().err


@pytest.mark.parametrize("customer_id", ["9" * 19, "-1", "٣٤", "x"], ids=ascii)
def test_an_invalid_customer_id_exits_2(
    customer_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", f"--customer={customer_id}"])
    assert ended.value.code == 2
    assert "must be a customer id, at most 18 digits" in capsys.readouterr().err


@on_sqlite
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--verify"]], ids=str)
async def test_lone_surrogates_in_fusebills_texts_break_no_format(
    run: Audit, ledger: Process, form: list[str]
) -> None:
    await ask(ledger, FIRST)
    await ledger.confirm(FIRST.id)
    await ledger.record(Outcome.REFUSED, {"texts": ["half \ud83d of \udead it"]})
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


def read_csv(exported: str) -> list[list[str]]:
    """The cells as a spreadsheet gets them, which takes the byte order mark away."""
    assert exported.startswith(BOM) or not exported
    return list(csv.reader(io.StringIO(exported.removeprefix(BOM), newline="")))


@given(st.lists(ROWS, max_size=3))
def test_no_csv_cell_begins_with_a_formula(rows: list[Row]) -> None:
    read_back = read_csv("\n".join(as_csv(rows)))
    cells = [cell for line in read_back for cell in line]
    assert not [cell for cell in cells if cell.lstrip().startswith(FORMULA)]
    assert all(cell.isprintable() for cell in cells)


GUARD = re.compile(r"(^|;\s*)'")
"""It also stands where a reader that splits at `;` would begin a cell."""


@given(st.lists(ROWS, max_size=3))
def test_a_csv_reader_gets_every_cell_in_its_column(rows: list[Row]) -> None:
    read_back = read_csv("\n".join(as_csv(rows)))
    assert len(read_back) == (len(rows) + 1 if rows else 0)
    for row, cells in zip(rows, read_back[1:], strict=False):
        for value, cell in zip(row.values(), cells, strict=True):
            if isinstance(value, str) and value.isprintable():
                assert GUARD.sub(r"\1", cell) == GUARD.sub(r"\1", value)


@given(st.lists(ROWS, max_size=3))
def test_every_json_row_is_one_line_with_the_same_values(rows: list[Row]) -> None:
    assert [json.loads(line) for line in "\n".join(as_json(rows)).splitlines()] == [
        # JSON joins two adjacent surrogates into one character
        json.loads(json.dumps(row))
        for row in rows
    ]


@given(st.lists(ROWS, max_size=3))
def test_the_table_has_no_control_characters_and_no_broken_lines(rows: list[Row]) -> None:
    lines = list(as_table(rows))
    assert len(lines) == (len(rows) + 1 if rows else 0)
    assert all(line.isprintable() and len(line) <= MAX_LINE for line in lines)


def test_closing_the_pipe_early_causes_no_traceback(file_url: str) -> None:
    fill(file_url, 3000)
    finished = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m bot audit --json | head -n 1'],
        env=os.environ | {"DATABASE_URL": file_url},
        capture_output=True,
        check=True,
        text=True,
    )
    assert len(finished.stdout.splitlines()) == 1
    assert finished.stderr == ""


def fill(
    url: str, count: int, events_each: int = 1, *, why: str = "no", at_a_time: int = 1000
) -> None:
    """Insert many requests in bulk."""
    engine = open_engine(url)
    for start in range(0, count, at_a_time):
        rows: list[dict[str, Any]] = []
        chains: list[dict[str, Any]] = []
        for number in range(start, min(start + at_a_time, count)):
            row = request_row(replace(FIRST, id=f"{number:032x}", is_open=True))
            chains.extend(chain(row, events_each, why))
            rows.append(row)
        with engine.begin() as connection:
            connection.execute(insert(requests), rows)
            connection.execute(insert(events), chains)
    engine.dispose()


def chain(row: dict[str, Any], count: int, why: str) -> Iterator[dict[str, Any]]:
    """A chain of events, which the request's row then ends with: asked, then denied decisions."""
    asked = {"reason": row["reason"], "row": fingerprint(row, posted=True)}
    for number in range(count):
        type_ = EventType.DECISION_DENIED if number else EventType.REQUESTED
        details = canonical_json({"why": why} if number else asked)
        event = chained(row, NOON, type_, "U0ALICE", details)
        row |= {"events": event["number"], "head": event["hash"]}
        yield event


@on_sqlite
@pytest.mark.parametrize(
    "change_fields",
    [
        lambda stored: stored | {"tier": "Gold"},
        lambda stored: {name: stored[name] for name in stored if name != "email"},
    ],
    ids=["one more", "one less"],
)
@pytest.mark.parametrize("posted", [True, False], ids=["posted", "not posted"])
def test_a_customer_with_other_fields_than_todays_verifies(
    url: str, run: Audit, change_fields: Callable[[dict[str, Any]], dict[str, Any]], *, posted: bool
) -> None:
    row = request_row(replace(FIRST, is_open=True))
    row["customer"] = json.dumps(change_fields(json.loads(row["customer"])))
    vouched = {"row": fingerprint(row, posted=posted), "card": place_on_card(row)}
    event = chained(row, NOON, EventType.REQUESTED, "U0ALICE", canonical_json(vouched))
    row |= {"events": 1, "head": event["hash"]}
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(requests), row)
        connection.execute(insert(events), event)
    engine.dispose()
    assert run("--verify")[0] == 0
    change(url, "UPDATE requests SET customer = replace(customer, 'Stolen', 'Other')")
    assert run("--verify") == (1, f"{A}: its own row was changed\n", "")


@on_sqlite
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("details", ['{"why":"x"} ', '{"why":"y","why":"x"}', "[]", "oops", "{"])
def test_details_that_were_hashed_as_another_text_are_named(
    url: str, run: Audit, details: str
) -> None:
    change(url, f"UPDATE events SET details = '{details}' {OF_A} AND number = 2")
    assert run("--verify") == (1, f"{A}, event 2: changed\n", "")


@on_sqlite
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("details", ["[]", "oops", "{", "7"])
def test_a_text_that_is_no_event_is_named_even_with_its_hash(
    url: str, run: Audit, details: str
) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        last = events.select().where(events.c.request_id == FIRST.id, events.c.number == 4)
        row = dict(connection.execute(last).mappings().one()) | {"details": details}
        forged = digest(row)
        where = events.c.id == row["id"]
        connection.execute(events.update().where(where).values(details=details, hash=forged))
        connection.execute(requests.update().where(requests.c.id == FIRST.id).values(head=forged))
    engine.dispose()
    assert run("--verify") == (1, f"{A}, event 4: changed\n", "")


def growth_mb(work: Callable[[], object]) -> float:
    """By how much this process's memory grew at its peak during `work`, C buffers included."""
    status = Path("/proc/self/status")

    def kilobytes(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])

    Path("/proc/self/clear_refs").write_text("5")  # resets the peak: man 5 proc
    before = kilobytes("VmRSS")
    work()
    return (kilobytes("VmHWM") - before) / 1024


@on_sqlite
def test_memory_stays_bounded_on_a_large_ledger(url: str) -> None:
    fill(url, 50, 75, why="x" * 12_000, at_a_time=5)
    engine = open_engine(url, read_only=True)
    # the ledger holds 45 MB
    assert growth_mb(lambda: sum(1 for _line in as_json(read(engine, Filter())))) < 20
    assert growth_mb(lambda: list(verify(engine))) < 20
    engine.dispose()


def test_a_missing_ledger_is_reported_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = audit(f"sqlite:///{tmp_path}/typo.db", monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert f"there is no ledger at {tmp_path}/typo.db" in err
    assert not list(tmp_path.iterdir())


def test_reading_does_not_block_writing(file_url: str) -> None:
    fill(file_url, 2000)
    engine = open_engine(file_url, read_only=True)
    rows = read(engine, Filter())
    next(rows)
    change(file_url, "UPDATE requests SET reason = 'written meanwhile'")
    assert sum(1 for _row in rows) == 1999
    engine.dispose()


def test_a_reader_has_no_timeouts_on_postgresql(
    postgresql_url: str,
) -> None:
    engine = open_engine(postgresql_url, read_only=True)
    with engine.connect() as connection:
        limits = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("idle_in_transaction_session_timeout", "statement_timeout")
        ]
    engine.dispose()
    assert limits == ["0", "0"]


@pytest.mark.usefixtures("two")
def test_an_unchanged_ledger_verifies(run: Audit) -> None:
    code, out, err = run("--verify")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Nothing was changed in what the ledger holds: requests: 2, events: 5.",
        "Only --against finds a request that was removed with all its events.",
    ]


def test_an_empty_ledger_verifies(reader: Engine) -> None:
    assert list(verify(reader)) == []


A = f"request {'a' * 32}"
OF_A = f"WHERE request_id = '{'a' * 32}'"


@on_sqlite
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
        (
            f"""UPDATE events SET details = replace(details, '{{', '{{"why":"no",')
            {OF_A} AND number = 2""",
            f"{A}, event 2: changed",
        ),
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
                "decider_team_id = 'T0EVE'",
                "decider_team_id = NULL",
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
def test_verify_names_the_first_row_that_was_changed_or_removed(
    url: str, run: Audit, statement: str, expected: str
) -> None:
    change(url, statement)
    assert run("--verify") == (1, f"{expected}\n", "")


@on_sqlite
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "changed",
    ["expires_at = '2099-01-01 00:00:00.000000'", "is_open = false", "verdict = 'confirmed'"],
)
def test_verify_names_an_undecided_card_whose_life_was_changed(
    url: str, run: Audit, changed: str
) -> None:
    change(url, f"UPDATE requests SET {changed} WHERE id = '{'b' * 32}'")
    assert run("--verify") == (1, f"request {'b' * 32}: its own row was changed\n", "")


@pytest.mark.usefixtures("two")
def test_verify_names_a_decided_card_that_was_opened_again(url: str, run: Audit) -> None:
    change(url, f"UPDATE requests SET is_open = true WHERE id = '{'a' * 32}'")
    assert run("--verify") == (1, f"{A}: its own row was changed\n", "")


@pytest.mark.usefixtures("two")
def test_no_hash_covers_when_something_is_done(url: str, run: Audit) -> None:
    change(url, "UPDATE jobs SET due_at = '2099-01-01 00:00:00.000000'")
    assert run("--verify")[0] == 0


@on_sqlite
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
def test_values_of_a_wrong_type_are_named_and_still_exported(
    url: str,
    run: Audit,
    changed: str,
    expected: str | None,
) -> None:
    fill(url, 2, 3)
    change(url, f"UPDATE {changed}")
    code, out, err = run("--verify")
    problem = f", {expected}" if expected else ": its own row was changed"
    assert out.splitlines() == [f"request {number:032x}{problem}" for number in range(2)]
    assert (code, err) == (1, "")
    code, out, err = run("--json")
    assert (code, err, len(out.splitlines())) == (0, "", 6)


@on_postgresql
@pytest.mark.parametrize("time", ["infinity", "0044-03-15 BC"])
def test_verify_names_a_time_that_python_cannot_represent(
    url: str,
    run: Audit,
    time: str,
) -> None:
    fill(url, 1, 3)
    change(url, f"UPDATE events SET at = '{time}' WHERE number = 2")
    code, out, err = run("--verify")
    assert (code, out, err) == (1, f"request {0:032x}, event 2: changed\n", "")
    code, out, err = run("--csv")
    assert (code, len(out.splitlines()), err) == (0, 4, "")


@on_postgresql
def test_the_databases_time_zone_does_not_matter(url: str, run: Audit) -> None:
    fill(url, 1, 3)
    name = url.partition("?")[0].rpartition("/")[2]
    change(url, f"ALTER DATABASE {name} SET timezone = 'America/St_Johns'")
    code, out, err = run("--verify")
    assert (code, err) == (0, ""), out
    _code, out, _err = run("--json")
    assert {json.loads(line)["at"] for line in out.splitlines()} == {"2026-11-23T12:00:00.000000Z"}


@pytest.mark.usefixtures("two")
def test_the_customer_id_column_beats_the_snapshot(url: str) -> None:
    change(url, "UPDATE requests SET customer = replace(customer, '2554529', '3100025')")
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection:
        row = connection.execute(requests.select()).mappings().first()
    engine.dispose()
    assert row is not None
    assert request_of(row).customer.customer_id == 2554529


@on_sqlite
@pytest.mark.parametrize("option", [[], ["--verify"]], ids=str)
def test_a_ledger_without_its_tables_fails_with_one_line(
    url: str,
    run: Audit,
    option: list[str],
) -> None:
    change(url, "DROP TABLE events")
    code, out, err = run(*option)
    assert (code, out, err) == (1, "", "DATABASE_URL: no such table: events\n")


def test_reading_a_copy_does_not_change_its_bytes(
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


@pytest.mark.parametrize("option", ["--json", "--verify", "--heads"])
def test_a_copy_can_be_read_where_nothing_can_be_written(
    file_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    fill(file_url, 2)
    with open_folder() as folder:
        copy = folder / "a copy.db"
        opened = closing(sqlite3.connect(file_url.removeprefix("sqlite:///")))
        with opened as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        copy.chmod(0o444)
        folder.chmod(0o555)
        url = f"sqlite:///{copy}"
        audit(url, monkeypatch, capsys, option)  # loads every module first
        with without_rights():
            code, out, err = audit(url, monkeypatch, capsys, option)
    assert (code, err) == (0, "")
    assert out


async def test_events_are_sorted_by_time_not_by_insertion(ledger: Process, reader: Engine) -> None:
    await ask(ledger, SECOND)
    await ask(ledger, FIRST)
    assert [row["request_id"][0] for row in read(reader, Filter())] == ["a", "b"]


def test_a_formula_after_a_semicolon_is_escaped_too() -> None:
    row = dict.fromkeys(COLUMNS, "") | {"why": "x; =cmd|'/c calc'!A0"}
    cells = [cell for line in csv.reader(as_csv([row]), delimiter=";") for cell in line]
    assert not [cell for cell in cells if cell.lstrip(" ").startswith(FORMULA)]


def rehash(url: str, number: int, actor: str) -> None:
    """Change an event and its hash, as an attacker who knows the algorithm would."""
    engine = open_engine(url)
    with engine.begin() as connection:
        query = events.select().where(events.c.request_id == FIRST.id, events.c.number == number)
        forged = dict(connection.execute(query).mappings().one()) | {"actor": actor}
        new = {"actor": actor, "hash": digest(forged)}
        where = (events.c.request_id == FIRST.id) & (events.c.number == number)
        connection.execute(events.update().where(where).values(new))
    engine.dispose()


@on_sqlite
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_verify_names_an_event_that_was_rehashed(url: str, run: Audit, number: int) -> None:
    rehash(url, number, "U0EVE")
    assert run("--verify") == (1, f"{A}, event {number}: changed\n", "")


@pytest.mark.usefixtures("two")
def test_verify_names_the_first_changed_event_of_each_request(url: str, run: Audit) -> None:
    change(url, "UPDATE events SET actor = 'U0EVE'")
    code, out, _err = run("--verify")
    assert code == 1
    assert out.splitlines() == [f"{A}, event 1: changed", f"request {'b' * 32}, event 1: changed"]


@on_sqlite
def test_verify_names_a_deleted_request(url: str, run: Audit) -> None:
    fill(url, 2)
    # a connection that does not ask for foreign keys
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DELETE FROM requests WHERE id = ?", [f"{1:032x}"])
    code, out, _err = run("--verify")
    assert (code, out) == (1, f"request {1:032x}: its own row is missing\n")


@on_sqlite
@pytest.mark.parametrize("value", ["'oops'", "x'00ff'"])
def test_verify_names_an_unreadable_time(
    url: str,
    run: Audit,
    value: str,
) -> None:
    fill(url, 1, 3)
    change(url, f"UPDATE events SET at = {value} WHERE number = 2")
    code, out, _err = run("--verify")
    assert (code, out) == (1, f"request {0:032x}, event 2: changed\n")
    code, out, _err = run()
    assert (code, len(out.splitlines())) == (0, 4)


def test_the_first_requests_customer_is_the_one_of_the_journeys() -> None:
    assert FIRST.customer == STOLEN_BIKES
