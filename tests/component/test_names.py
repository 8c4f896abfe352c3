"""Names beside ids in the audit: as they were known when something happened, and forgotten."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bot.__main__ import main
from bot.domain.models import Customer, EventType as E, Outcome, Person, Request, Verdict
from bot.domain.outcomes import Result
from bot.domain.policy import Decision
from bot.ledger import ask_steps, decide_steps, work_steps
from bot.ledger.audit.export import BOM, FORMULA, MAX_LINE
from bot.ledger.jobs import Kind, Transaction
from bot.ledger.people import Act
from bot.ledger.tables import names
from bot.ledger.work_steps import Looked
from tests.resilience.test_versions import INTERRUPTED, copied
from tests.support.ledger import broken, create, reading
from tests.support.names import BIKES, CONFIRM, UNDO
from tests.support.older import FIRST, LAST, OldCard, write
from tests.support.stage import on_sqlite
from tests.support.steps import NOW, REQUEST, Process, card_of
from tests.support.world import OpenWorld, World

Row = dict[str, Any]
Audit = Callable[..., str]
MINUTE = timedelta(minutes=1)
ALICE = Person("U0ALICE", "T0SANDBOX", name="alice")
BOB = Person("U0BOB", "T0PARTNER", name="bob")
NO = Decision(allowed=False, why="Two people are needed.")


@pytest.fixture
def audit(command: Callable[..., tuple[int, str]]) -> Audit:
    """Runs `audit`, or another command, on the ledger; returns what it printed."""

    def run(*arguments: str, called: str = "audit") -> str:
        code, printed = command(called, *arguments)
        assert code == 0, printed
        return printed

    return run


def rows(audit: Audit, *arguments: str) -> list[Row]:
    return [json.loads(line) for line in audit("--json", *arguments).splitlines()]


def people(audit: Audit) -> list[tuple[str, str, str]]:
    return [(row["event"], row["who"], row["who_name"]) for row in rows(audit) if row["who"]]


def rename(world: World, user_id: str, name: str) -> None:
    users = world.slack.workspace.users
    users[user_id] = replace(users[user_id], name=name)


async def test_whoever_acts_is_named_as_slack_named_them_then(
    open_world: OpenWorld, database_url: str, audit: Audit
) -> None:
    async with open_world(database_url=database_url) as world:
        card = await world.ask()
        await world.press("U0BOB", card, CONFIRM)
        rename(world, "U0BOB", "robert")
        await world.press("U0BOB", card, UNDO)
        another = await world.ask("3100025 left us")
        rename(world, "U0BOB", "rob")
        await world.decline("U0BOB", another, "not this one")
    assert await asyncio.to_thread(people, audit) == [
        ("requested", "U0ALICE", "alice"),
        ("confirmed", "U0BOB", "bob"),
        ("requested", "U0BOB", "robert"),
        ("requested", "U0ALICE", "alice"),
        ("declined", "U0BOB", "rob"),
    ]
    assert {(row["customer_id"], row["customer"]) for row in rows(audit)} == {
        (BIKES, "Stolen Bikes"),
        (3100025, "Maple & Pine Joinery"),
    }


async def test_a_name_is_kept_once_however_often_somebody_acts(
    open_world: OpenWorld, database_url: str
) -> None:
    for _start in range(2):
        async with open_world(database_url=database_url) as world:
            for customer_id in (BIKES, 3100025):
                await world.press("U0BOB", await world.ask(f"{customer_id} left"), CONFIRM)
    assert sorted(kept(database_url)) == [("U0ALICE", "alice"), ("U0BOB", "bob")]


def kept(database_url: str) -> list[tuple[str, str]]:
    with reading(database_url) as connection:
        found = connection.execute(select(names.c.user_id, names.c.name).order_by(names.c.id))
        return [(user_id, name) for user_id, name in found]


async def test_a_name_whose_transaction_failed_is_kept_by_the_next(
    one: Process, database_url: str
) -> None:
    def fails(tx: Transaction) -> None:
        decide_steps.decided(tx, REQUEST.id, Verdict.CONFIRMED, BOB)
        raise LookupError

    await one.ask(replace(REQUEST, requester=ALICE))
    await one.post()
    with pytest.raises(LookupError):
        await one.run(fails)
    assert kept(database_url) == [("U0ALICE", "alice")]
    await one.confirm(person=BOB)
    assert kept(database_url) == [("U0ALICE", "alice"), ("U0BOB", "bob")]


async def decided(one: Process, *, judge: Any = lambda _request, _other: NO) -> None:
    await one.ask()
    await one.post()
    await one.confirm(person=BOB, judge=judge)


async def refused(one: Process) -> None:
    await one.ask()
    await one.run(decide_steps.refused, REQUEST.id, BOB, "not here", Act("presses"))


async def refused_to_ask(one: Process) -> None:
    denied = replace(REQUEST, requester=BOB)
    await one.run(ask_steps.refused_to_ask, denied, NO, Act("types"))


async def stopped(one: Process) -> None:
    await one.confirmed()
    await one.run(decide_steps.stopped, REQUEST.id, BOB, Act("presses"))


async def looked_again(one: Process) -> None:
    await one.confirmed()
    await one.record(Outcome.UNKNOWN)
    found = {REQUEST.id: Result(Outcome.CLEARED)}
    await one.run(work_steps.looked_again, REQUEST.id, BOB, found, timedelta())


@pytest.mark.parametrize("act", [decided, refused, refused_to_ask, stopped, looked_again])
async def test_every_act_keeps_the_name_of_who_did_it(
    one: Process, database_url: str, act: Callable[[Process], Awaitable[None]]
) -> None:
    await act(one)
    assert kept(database_url) == [("U0BOB", "bob")]


async def test_a_forgotten_person_has_no_name_any_more_and_no_hash_is_broken(
    one: Process, database_url: str, audit: Audit
) -> None:
    await one.ask(replace(REQUEST, requester=ALICE))
    await one.post()
    for name in ("bob", "robert"):
        await one.confirm(person=replace(BOB, name=name), judge=lambda _request, _other: NO)
        one.now += MINUTE
    printed = await asyncio.to_thread(audit, "U0BOB", called="forget")
    assert printed == "Names of U0BOB that were deleted: 2. The id stays: hashes cover it.\n"
    assert people(audit) == [
        ("requested", "U0ALICE", "alice"),
        ("decision_denied", "U0BOB", ""),
        ("decision_denied", "U0BOB", ""),
    ]
    assert broken(database_url) == []
    assert audit("U0BOB", called="forget").startswith("Names of U0BOB that were deleted: 0.")
    await one.confirm(person=BOB)
    assert people(audit)[1:] == [
        ("decision_denied", "U0BOB", ""),
        ("decision_denied", "U0BOB", ""),
        ("confirmed", "U0BOB", "bob"),
    ]


def test_only_an_id_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["forget", "bob"])
    assert ended.value.code == 2
    assert "must be a Slack member id, like U0123ABC" in capsys.readouterr().err


@pytest.mark.parametrize("version", [FIRST, LAST])
def test_what_an_older_version_wrote_has_customers_names_and_none_of_people(
    database_url: str, audit: Audit, version: str
) -> None:
    card = OldCard("a" * 32, ((E.CONFIRMED, E.CLEARED),), shown=(3,))
    write(database_url, version, [card], datetime.now(UTC))
    create(database_url)
    assert people(audit) == [("requested", "U0ALICE", ""), ("confirmed", "U0BOB", "")]
    [line] = rows(audit, "--summary")
    assert (line["customer"], line["result"]) == ("Stolen Bikes", "cleared")
    assert (line["asked_by"], line["decided_by"]) == ("U0ALICE", "U0BOB")
    assert (line["asked_by_name"], line["decided_by_name"]) == ("", "")


def test_each_request_of_a_released_versions_ledger_has_a_line(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = copied(INTERRUPTED, tmp_path)
    create(url)
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["audit", "--json"]) == 0
    requests = {json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()}
    assert main(["audit", "--summary", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["request_id"] for line in lines} == requests
    assert len(lines) == len(requests)
    assert all(line["result"] for line in lines)


HOSTILE = [
    "Doe, Jane",
    'says "yes"',
    "two\nlines",
    "=cmd|'/c calc'!A0",
    "\t=1+1",
    "x; @SUM(1)",
    "\x1b[31mred\x07",
    "nul \x00 and half \ud83d",
    "עברית \u202e backwards",
    "n" * 300,
]


@on_sqlite
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_a_hostile_name_breaks_no_form(one: Process, audit: Audit, name: str) -> None:
    customer = replace(REQUEST.customer, company_name=name.replace("\x00", ""))
    await one.ask(replace(REQUEST, customer=customer, requester=replace(ALICE, name=name)))
    for more in ((), ("--summary",)):
        printed = audit("--csv", *more)
        _header, *cells = csv.reader(io.StringIO(printed.removeprefix(BOM), newline=""))
        assert len(cells) == printed.count("\n") - 1 == 1
        assert not [cell for cell in cells[0] if cell.lstrip().startswith(FORMULA)]
        lines = audit(*more).splitlines()
        assert all(line.isprintable() and len(line) <= MAX_LINE for line in lines)
        assert len(lines) == 2
        assert len(rows(audit, *more)) == 1


def requests_of_a_day() -> Iterator[Request]:
    for number, letter in enumerate("abcdefg"):
        asked_at = NOW + number * timedelta(hours=1)
        yield replace(
            REQUEST,
            id=letter * 32,
            requester=ALICE,
            customer=replace(REQUEST.customer, customer_id=100 + number),
            asked_at=asked_at,
            expires_at=asked_at + timedelta(minutes=15),
        )


@pytest.fixture
async def a_day(one: Process) -> None:
    """A request of each kind of result, an hour apart."""
    cleared, again, declined, waits, unposted, denied, confirmed = requests_of_a_day()
    for request in (cleared, again):
        one.now = request.asked_at
        await one.ask(request)
        await one.post(f"{request.customer.customer_id}.1")
        one.now += MINUTE
        await one.confirm(request.id, BOB)
        await one.record(Outcome.CLEARED, recheck_after=MINUTE)
    one.now += 2 * MINUTE
    [recheck] = [job for job in await one.take(Kind.RECHECK) if job.card_id == again.id]
    await one.run(work_steps.rechecked, recheck, {again.id: Looked(E.LATCHED_AGAIN)})
    one.now = declined.asked_at
    await one.ask(declined)
    await one.post("102.1")
    await one.run(decide_steps.decided, declined.id, Verdict.DECLINED, BOB)
    one.now = waits.asked_at
    await one.ask(waits)
    one.now = unposted.asked_at
    await one.ask(unposted)
    await one.run(ask_steps.not_posted, one.held[Kind.POST], "no such channel")
    one.now = denied.asked_at
    nobody = replace(denied, requester=BOB, customer=Customer(105))
    await one.run(ask_steps.refused_to_ask, nobody, NO, Act("types"))
    one.now = confirmed.asked_at
    await one.ask(confirmed)
    await one.confirm(confirmed.id, BOB)


@pytest.mark.usefixtures("a_day")
def test_the_summary_has_a_line_for_each_request(audit: Audit) -> None:
    assert [
        (row["customer_id"], row["result"], row["asked_by_name"], row["decided_by_name"])
        for row in rows(audit, "--summary")
    ] == [
        (100, "cleared", "alice", "bob"),
        (101, "cleared, latched_again", "alice", "bob"),
        (102, "declined", "alice", "bob"),
        (103, "waiting", "alice", ""),
        (104, "delivery_failed", "alice", ""),
        (105, "ask_denied", "bob", ""),
        (106, "confirmed", "alice", "bob"),
    ]


@on_sqlite
@pytest.mark.usefixtures("a_day")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--customer", "102"], [102]),
        (["--who", "U0BOB"], [100, 101, 102, 105, 106]),
        (["--since", "2026-11-23T13:00", "--until", "2026-11-23T15:00"], [101, 102]),
        (["--unfinished"], [106]),
    ],
    ids=str,
)
def test_filters_select_the_lines_of_a_summary(
    audit: Audit, arguments: list[str], found: list[int]
) -> None:
    assert [row["customer_id"] for row in rows(audit, "--summary", *arguments)] == found


@pytest.mark.usefixtures("a_day")
def test_a_summary_reads_as_a_table(audit: Audit) -> None:
    header, first, *_others = audit("--summary").splitlines()
    assert header.split() == [
        *("AT", "(UTC)", "CUSTOMER_ID", "CUSTOMER", "RESULT"),
        *("ASKED_BY", "ASKED_BY_NAME", "DECIDED_BY", "DECIDED_BY_NAME", "REQUEST_ID", "WHY"),
    ]
    assert first.split()[:5] == ["2026-11-23", "12:00:00", "100", "Stolen", "Bikes"]
    assert first.split()[6:11] == ["cleared", "U0ALICE", "alice", "U0BOB", "bob"]


async def test_a_summary_has_each_customer_of_a_card(one: Process, audit: Audit) -> None:
    first, second = card_of(2)
    await one.confirmed(first, second)
    await one.run(decide_steps.stopped, first.id, BOB, Act("presses"))
    ids = (first.customer.customer_id, second.customer.customer_id)
    for each in ids:
        [row] = rows(audit, "--summary", "--customer", str(each))
        assert (row["customer_id"], row["result"], row["card_id"]) == (each, "stopped", first.id)


@pytest.mark.usefixtures("one", "audit")
def test_a_summary_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--summary", "--customer", "1"]) == 0
    assert capsys.readouterr() == ("", "The ledger has no request that fits.\n")


@pytest.mark.usefixtures("audit")
async def test_csv_is_utf_8_whatever_the_terminal_shows(one: Process) -> None:
    await one.ask(replace(REQUEST, reason="déménagé ✓"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    with redirect_stdout(out):
        assert main(["audit", "--csv"]) == 0
    out.seek(0)
    printed = out.buffer.read()
    assert printed.startswith(b"\xef\xbb\xbfat,")
    assert "déménagé ✓" in printed.decode()
