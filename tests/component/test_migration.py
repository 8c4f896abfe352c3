"""Ledgers of 0.1.0 and 1.0.0, in every state: their clocks become jobs, and clocks again.

Then what later revisions change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, inspect, select

from bot.domain.models import EventType as E
from bot.ledger.tables import acts, jobs, requests, response_urls
from bot.ledger.work_steps import OLDER_VERSION
from tests.support import postgresql
from tests.support.by_hand import writing
from tests.support.ledger import broken, create, reading
from tests.support.older import FIRST, LAST, OldCard, Row, Story, clocks, migrate_to, write

NOW = datetime.now(UTC)
LEASE_ENDS = NOW + timedelta(seconds=20)
LEASE_ENDED = NOW - timedelta(minutes=1)
EXPIRES = NOW + timedelta(minutes=10)
SOON = NOW + timedelta(minutes=4)
LATER = NOW + timedelta(minutes=50)
USUAL = NOW + timedelta(minutes=59)
"""An hour after it was cleared."""
DROPPED = {"acts_by_time", "response_urls_by_expiry", "jobs_held"}
"""The indexes that 0008 drops."""
Due = Mapping[str, datetime | None]


@dataclass(frozen=True, slots=True)
class State:
    """A card as an older version left it, and what is still to be done for it after the upgrade.

    `shown` is how many of the card's events its thread shows. `versions` are the revisions whose
    bot could leave it so.
    """

    card: OldCard
    due: Due
    is_open: bool = False
    shown: int = 0
    tries: int = 0
    versions: Sequence[str] = (FIRST, LAST)


def one(*story: E, due: datetime | None = None, shown: int = 0, **more: Any) -> OldCard:
    """A card of one customer."""
    return OldCard("", (story,), (due,), (shown,), **more)


def many(
    *stories: Story, due: datetime | None = None, shown: Sequence[int] = (), **more: Any
) -> OldCard:
    """A card of many customers, all due at the same time."""
    size = len(stories)
    return OldCard("", stories, (due,) * size, shown or (0,) * size, **more)


CLEARED = (E.CONFIRMED, E.CLEARED)
REFUSED = (E.CONFIRMED, E.REFUSED)
NEW = (LAST,)
STATES = {
    "asked, without a card yet": State(
        one(due=LEASE_ENDS, is_posted=False), {"post": LEASE_ENDS}, is_open=True, versions=NEW
    ),
    "waits": State(one(due=EXPIRES), {"expire": EXPIRES}, is_open=True),
    "waits, with a reminder ahead": State(
        one(due=SOON), {"expire": EXPIRES, "remind": SOON}, is_open=True, versions=NEW
    ),
    "waits, was reminded": State(
        one(E.REMINDED, due=EXPIRES), {"expire": EXPIRES}, is_open=True, versions=NEW
    ),
    "waits, somebody was refused": State(
        one(E.DECISION_DENIED, due=EXPIRES, shown=2), {"expire": EXPIRES}, is_open=True, shown=2
    ),
    "many wait": State(
        OldCard("", ((), ()), (EXPIRES, None), (0, 0)),
        {"expire": EXPIRES},
        is_open=True,
        versions=NEW,
    ),
    "confirmed": State(one(E.CONFIRMED, due=LEASE_ENDS), {"work": LEASE_ENDS}),
    "confirmed, by a process that died": State(
        one(E.CONFIRMED, due=LEASE_ENDED), {"work": LEASE_ENDED}
    ),
    "confirmed, was taken over": State(
        one(E.CONFIRMED, E.RECLAIMED, due=LEASE_ENDS), {"work": LEASE_ENDS}
    ),
    "many confirmed": State(
        many(*[(E.CONFIRMED,)] * 3, due=LEASE_ENDS), {"work": LEASE_ENDS}, versions=NEW
    ),
    "many partly done": State(
        many(CLEARED, REFUSED, (E.CONFIRMED,), due=LEASE_ENDS),
        {"work": LEASE_ENDS, "recheck": USUAL},
        versions=NEW,
    ),
    "many stopped": State(
        many((E.CONFIRMED, E.STOP_REQUESTED), (E.CONFIRMED, E.STOPPED), due=LEASE_ENDS),
        {"work": LEASE_ENDS},
        versions=NEW,
    ),
    "finished and shown": State(one(*REFUSED, shown=3), {}, shown=3),
    "finished, not shown yet": State(one(*REFUSED, due=LEASE_ENDS), {"show": LEASE_ENDS}),
    "cleared, not shown yet": State(
        one(*CLEARED, due=LEASE_ENDS), {"show": LEASE_ENDS, "recheck": USUAL}
    ),
    "finished, Slack does not take it": State(
        one(*REFUSED, due=SOON, tries=3), {"show": SOON}, tries=3
    ),
    "cleared, Slack does not take the card, but the thread": State(
        one(*CLEARED, due=SOON, shown=3, tries=2),
        {"show": SOON, "recheck": SOON},
        shown=3,
        tries=2,
        versions=NEW,
    ),
    "finished, given up": State(one(*REFUSED, E.DELIVERY_FAILED, tries=7), {"show": None}, tries=7),
    "finished, the channel is gone": State(one(*REFUSED, E.DELIVERY_FAILED, shown=4), {}, shown=4),
    "cleared, waits for its recheck": State(
        one(*CLEARED, due=LATER, shown=3), {"recheck": LATER}, shown=3, versions=NEW
    ),
    "cleared and looked at again": State(
        one(*CLEARED, E.RECHECKED, shown=3), {}, shown=3, versions=NEW
    ),
    "many cleared, wait for their recheck": State(
        many(CLEARED, CLEARED, due=LATER, shown=(3, 3)), {"recheck": LATER}, shown=6, versions=NEW
    ),
    "many finished, the thread lacks some": State(
        many(REFUSED, REFUSED, due=SOON, shown=(3, 1), tries=1),
        {"show": SOON},
        shown=3,
        tries=1,
        versions=NEW,
    ),
    "many given up, the thread lacks some": State(
        many(REFUSED, REFUSED, shown=(3, 1), tries=1),
        {"show": None},
        shown=3,
        tries=1,
        versions=NEW,
    ),
    "declined": State(one(E.DECLINED, shown=2), {}, shown=2, versions=NEW),
    "declined, not shown yet": State(
        one(E.DECLINED, due=LEASE_ENDS), {"show": LEASE_ENDS}, versions=NEW
    ),
    "cancelled": State(one(E.CANCELLED, shown=2), {}, shown=2),
    "expired": State(one(E.EXPIRED, shown=2), {}, shown=2),
    "expired, not shown yet": State(one(E.EXPIRED, due=LEASE_ENDS), {"show": LEASE_ENDS}),
    "refused to ask": State(one(is_posted=False, is_denied=True), {}),
    "never posted": State(one(E.DELIVERY_FAILED, is_posted=False), {}, versions=NEW),
    "undone": State(one(*CLEARED, E.UNDONE, shown=4, undone_by="f" * 32), {}, shown=4),
    "undone, not shown yet": State(
        one(*CLEARED, E.UNDONE, due=LEASE_ENDS, shown=3, undone_by="f" * 32),
        {"show": LEASE_ENDS},
        shown=3,
    ),
    "unknown": State(one(E.CONFIRMED, E.UNKNOWN, shown=3), {}, shown=3),
}


def id_of(name: str) -> str:
    return md5(name.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Migrated:
    """A ledger with the states of a version: after the upgrade, and after that was taken back."""

    problems: Sequence[str]
    rows: Mapping[str, Row]
    jobs: Mapping[str, Sequence[Row]]
    before: Mapping[str, Row]
    after: Mapping[str, Row]
    events: Mapping[str, int]


Ledgers = Mapping[str, Migrated]
"""One of each version."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledgers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledgers]:
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("old")
        yield {each: _migrated(f"sqlite:///{folder}/{each}.db", each) for each in (FIRST, LAST)}
        return
    server = request.getfixturevalue("postgresql_server")
    with postgresql.database(server) as first, postgresql.database(server) as last:
        yield {FIRST: _migrated(first, FIRST), LAST: _migrated(last, LAST)}


def _migrated(url: str, revision: str) -> Migrated:
    cards = [
        OldCard(id_of(name), *_fields(state.card))
        for name, state in STATES.items()
        if revision in state.versions
    ]
    write(url, revision, cards, NOW)
    before = clocks(url)
    create(url)
    with reading(url) as connection:
        rows = {row["id"]: row for row in _rows(connection, requests)}
        found: dict[str, list[Row]] = {}
        for job in _rows(connection, jobs):
            found.setdefault(job["card_id"], []).append(job)
    problems = broken(url)
    migrate_to(url, revision)
    events = {request_id: row["events"] for request_id, row in rows.items()}
    return Migrated(problems, rows, found, before, clocks(url), events)


def _fields(card: OldCard) -> tuple[Any, ...]:
    return tuple(getattr(card, name) for name in OldCard.__match_args__[1:])


def _rows(connection: Connection, table: Any) -> list[Row]:  # a table
    return [dict(row) for row in connection.execute(select(table)).mappings()]


each_state = pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for name, state in STATES.items() for version in state.versions],
)


@pytest.mark.parametrize("version", [FIRST, LAST])
def test_an_upgrade_keeps_every_hash(ledgers: Ledgers, version: str) -> None:
    assert ledgers[version].problems == []


@each_state
def test_what_is_still_to_be_done_becomes_jobs(ledgers: Ledgers, version: str, name: str) -> None:
    state, found = STATES[name], ledgers[version].jobs.get(id_of(name), [])
    assert {job["kind"]: job["held_until"] or job["due_at"] for job in found} == state.due
    held = [job for job in found if job["holder"]]
    assert [job["kind"] for job in held] == (["work"] if "work" in state.due else [])
    assert sum(job["attempts"] for job in found if job["kind"] == "show") == state.tries


@each_state
def test_only_what_waits_is_open(ledgers: Ledgers, version: str, name: str) -> None:
    state, rows = STATES[name], ledgers[version].rows
    card = [row for row in rows.values() if (row["card_id"] or row["id"]) == id_of(name)]
    assert {row["is_open"] for row in card} == {state.is_open}
    first = next(row for row in card if row["position"] == 1)
    assert first["shown_events"] == state.shown


@pytest.mark.parametrize("version", [FIRST, LAST])
def test_work_is_held_by_nobody_who_runs_until_the_old_lease_ends(
    ledgers: Ledgers, version: str
) -> None:
    [job] = ledgers[version].jobs[id_of("confirmed")]
    assert (job["holder"], job["held_until"], job["takes"]) == (OLDER_VERSION, LEASE_ENDS, 1)
    assert job["due_at"] <= datetime.now(UTC)


@each_state
def test_an_upgrade_that_is_taken_back_leaves_the_clocks(
    ledgers: Ledgers, version: str, name: str
) -> None:
    state, ledger, card_id = STATES[name], ledgers[version], id_of(name)
    card = [i for i, row in ledger.rows.items() if (row["card_id"] or row["id"]) == card_id]
    due = [ledger.after[each]["due_at"] for each in card if ledger.after[each]["due_at"]]
    assert min(due, default=None) == min((at for at in state.due.values() if at), default=None)
    for each in card:
        before, after = ledger.before[each], ledger.after[each]
        # whoever held it may still believe so
        assert after["claim"] >= min(before["claim"], 1)
        if "show" in state.due or "work" in state.due or state.is_open:
            # what was told out of order may be told again
            told = min(before["mirrored_through"], state.shown)
            assert told - 1 <= after["mirrored_through"] <= told
            assert after["deliveries"] == before["deliveries"]
        else:
            # nothing is drawn again that was shown
            assert after["mirrored_through"] == ledger.events[each]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An address without a ledger, on each kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new.db"
        return
    with postgresql.database(request.getfixturevalue("postgresql_server")) as url:
        yield url


def _indexes(url: str) -> dict[str, object]:
    """The columns of each index, and which rows it has."""
    with reading(url) as connection:
        tables = [
            inspect(connection).get_indexes(each.name) for each in (acts, response_urls, jobs)
        ]
    found = [index for of_table in tables for index in of_table]
    options = [index.get("dialect_options", {}) for index in found]
    rows = [{name: str(value) for name, value in each.items()} for each in options]
    return {
        str(index["name"]): (index["column_names"], which)
        for index, which in zip(found, rows, strict=True)
    }


def _kept(url: str) -> list[list[Row]]:
    with reading(url) as connection:
        return [_rows(connection, each) for each in (acts, response_urls, jobs)]


def test_an_upgrade_that_drops_indexes_and_is_taken_back_keeps_all_rows(new_url: str) -> None:
    write(new_url, LAST, [OldCard(id_of("waits"), due=(EXPIRES,))], NOW)
    migrate_to(new_url, "0007")
    url = {"request_id": id_of("waits"), "user_id": "U0BOB", "url": "…", "expires_at": SOON}
    act = {"card_id": id_of("waits"), "at": NOW, "came_of_it": "asked"}
    held = {"holder": "one", "held_until": SOON, "takes": 1}
    with writing(new_url) as connection:
        connection.execute(insert(acts), [act | {"id": f"{each:064}"} for each in range(500)])
        connection.execute(insert(response_urls), [url] * 500)
        connection.execute(jobs.update().values(held))
    indexes, kept = _indexes(new_url), _kept(new_url)
    create(new_url)
    assert {*indexes} - {*_indexes(new_url)} == DROPPED
    assert _kept(new_url) == kept
    migrate_to(new_url, "0007")
    assert (_indexes(new_url), _kept(new_url)) == (indexes, kept)


@pytest.mark.parametrize(("revision", "has_rowid"), [("0007", True), ("0008", False)])
def test_sqlite_stores_acts_by_their_ids_alone(
    tmp_path: Path, revision: str, *, has_rowid: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    create(url)
    migrate_to(url, revision)
    with reading(url) as connection:
        options = inspect(connection).get_table_options("acts")
    assert options.get("sqlite_with_rowid", True) is has_rowid
