"""The database: shared commits, migrations, and outages."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, make_url, select, text
from structlog.testing import capture_logs

from bot.ledger.database.engine import (
    LOCK_TIMEOUT_S,
    Database,
    LedgerUnavailable,
    open_engine,
    require_writable,
)
from bot.ledger.database.executor import CONNECTIONS, MAX_SHARED_COMMIT
from bot.ledger.database.migrating import SchemaMismatch, migrate, require_current, version
from bot.ledger.tables import REVISION, metadata
from tests.support import postgresql
from tests.support.older import migrate_to
from tests.support.proxy import Proxy

ACK_TIMEOUT_S = 3.0


def add_notes(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note VARCHAR PRIMARY KEY)"))


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    opened = open_engine(database_url)
    add_notes(opened)
    yield opened
    opened.dispose()


@pytest.fixture
async def database(engine: Engine) -> AsyncIterator[Database]:
    opened = Database(engine)
    yield opened
    await opened.close()


def note(connection: Connection, value: str) -> None:
    connection.execute(text("INSERT INTO notes VALUES (:value)"), {"value": value})


def notes(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT note FROM notes ORDER BY note")).scalars())


async def failure(database: Database) -> str:
    """The error of a transaction that has to fail in time for an ack."""
    began = monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        await database.run(lambda connection: note(connection, "lost"))
    assert monotonic() - began < ACK_TIMEOUT_S
    return str(caught.value)


async def test_a_failing_job_does_not_fail_jobs_that_share_its_commit(database: Database) -> None:
    def fails(connection: Connection) -> None:
        note(connection, "rolled back")
        raise ValueError("only this job")

    kept = [f"{number:02}" for number in range(40)]
    jobs = [database.run(lambda connection, value=value: note(connection, value)) for value in kept]  # type: ignore[misc]  # the default binds the value
    jobs.insert(20, database.run(fails))
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results if result] == [ValueError]
    assert await database.run(notes) == kept


async def test_a_job_that_violates_a_constraint_fails_alone(database: Database) -> None:
    values = ["a", "b", "a", "c"]
    jobs = [
        database.run(lambda connection, value=value: note(connection, value))  # type: ignore[misc]  # the default binds the value
        for value in values
    ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(isinstance(result, LedgerUnavailable) for result in results) == 1
    assert await database.run(notes) == ["a", "b", "c"]


@pytest.fixture
async def sqlite_ledger(tmp_path: Path) -> AsyncIterator[Database]:
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(engine)
    opened = Database(engine)
    yield opened
    await opened.close()


async def test_what_a_click_waits_for_goes_before_other_work(sqlite_ledger: Database) -> None:
    order: list[str] = []
    submitted = threading.Event()
    first = sqlite_ledger.run(lambda _connection: submitted.wait())
    drawn = [sqlite_ledger.run(lambda _connection: order.append("drawn")) for _ in range(40)]
    clicked = sqlite_ledger.run(lambda _connection: order.append("clicked"), urgent=True)
    jobs = asyncio.gather(first, *drawn, clicked)
    await asyncio.sleep(0)
    submitted.set()
    await jobs
    assert order.index("clicked") <= MAX_SHARED_COMMIT


async def test_clicks_never_keep_other_work_waiting(sqlite_ledger: Database) -> None:
    order: list[str] = []
    # each click is being handled until the next one has arrived
    arrived = [threading.Event() for _ in range(21)]

    def click(number: int, _connection: Connection) -> None:
        arrived[number + 1].wait()
        order.append("clicked")

    drawing = asyncio.create_task(sqlite_ledger.run(lambda _connection: order.append("drawn")))
    clicks = []
    for number in range(20):
        click_is_handled = sqlite_ledger.run(partial(click, number), urgent=True)
        clicks.append(asyncio.create_task(click_is_handled))
        await asyncio.sleep(0.01)
        arrived[number].set()
    arrived[20].set()
    await asyncio.gather(drawing, *clicks)
    assert order.index("drawn") < 5


async def test_closing_finishes_the_submitted_jobs(engine: Engine) -> None:
    database = Database(engine)
    job = asyncio.create_task(database.run(lambda connection: note(connection, "kept")))
    await asyncio.sleep(0)
    await database.close()
    await job
    with engine.connect() as connection:
        assert notes(connection) == ["kept"]


# SQLAlchemy can't read the index of an expression back from SQLite; test_indexes uses it
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
async def test_the_migrations_create_exactly_the_schema(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE notes"))
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
    assert differences == []
    assert version(engine) == REVISION


async def test_two_instances_can_migrate_at_once(database_url: str) -> None:
    engines = [open_engine(database_url), open_engine(database_url)]
    await asyncio.gather(*(asyncio.to_thread(migrate, engine) for engine in engines))
    assert [version(engine) for engine in engines] == [REVISION, REVISION]
    for engine in engines:
        engine.dispose()


async def test_a_migration_that_waits_for_an_audit_keeps_no_click_waiting(
    postgresql_url: str,
) -> None:
    migrate_to(postgresql_url, "0001")
    engine = open_engine(postgresql_url)
    with psycopg.connect(postgresql_url) as audit, capture_logs() as logs:
        audit.execute("SELECT count(*) FROM requests")
        migrating = asyncio.create_task(asyncio.to_thread(migrate, engine))
        await asyncio.sleep(1.0)
        with psycopg.connect(
            postgresql_url, options=f"-c lock_timeout={LOCK_TIMEOUT_S}s", autocommit=True
        ) as click:
            ends_at = monotonic() + 2.0
            while monotonic() < ends_at:
                await asyncio.to_thread(click.execute, "SELECT count(*) FROM requests")
        assert not migrating.done()
    said = [each["event"] for each in logs]
    assert said.count("waiting for another session that holds the ledger, perhaps an audit") == 1
    await migrating
    assert version(engine) == REVISION
    engine.dispose()


async def test_a_migration_that_waited_in_vain_says_for_what(postgresql_url: str) -> None:
    migrate_to(postgresql_url, "0001")
    engine = open_engine(postgresql_url)
    with psycopg.connect(postgresql_url) as audit:
        audit.execute("SELECT count(*) FROM requests")
        with pytest.raises(LedgerUnavailable, match="another session holds the ledger, perhaps an"):
            migrate(engine, timeout_s=0.5)
    engine.dispose()


async def test_a_migration_waits_for_a_process_that_holds_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    engine = open_engine(url)
    migrating = asyncio.create_task(asyncio.to_thread(migrate, engine))
    await asyncio.sleep(LOCK_TIMEOUT_S + 1.0)
    assert not migrating.done()
    other.execute("COMMIT")
    other.close()
    await migrating
    assert version(engine) == REVISION
    engine.dispose()


@pytest.mark.parametrize("step", [migrate, require_current])
async def test_a_ledger_of_a_newer_bot_is_refused(engine: Engine, step: object) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    with pytest.raises(SchemaMismatch, match=r"version 9000, newer than this bot's .*: upgrade"):
        step(engine)  # type: ignore[operator]  # one of the two functions


async def test_a_missing_ledger_says_how_to_create_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(
        SchemaMismatch,
        match=r"^there is no ledger in this database yet, .* `python -m bot migrate`",
    ):
        require_current(engine)
    engine.dispose()


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """Another client holds a lock that every transaction needs."""
    if database_url.startswith("sqlite"):
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.rollback()
        other.close()
        return
    with psycopg.connect(database_url) as server:
        server.execute("LOCK TABLE notes")
        yield
        server.rollback()


async def test_a_locked_database_fails_every_waiting_job_in_time(
    database: Database, database_url: str
) -> None:
    with locked(database_url):
        first = asyncio.create_task(failure(database))
        await asyncio.sleep(0.3)
        failures = await asyncio.gather(first, *(failure(database) for _ in range(20)))
    assert all("lock" in text or "in time" in text for text in failures), failures
    await database.run(lambda connection: note(connection, "kept"))
    assert await database.run(notes) == ["kept"]


async def test_a_full_disk_fails_the_job_and_loses_nothing_written(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    add_notes(engine)
    database = Database(engine)
    await database.run(lambda connection: note(connection, "before"))

    def limit(connection: Connection, pages: int) -> None:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    await database.run(lambda connection: limit(connection, 1))
    with pytest.raises(LedgerUnavailable, match="full"):
        await database.run(lambda connection: note(connection, "x" * 100_000))
    await database.run(lambda connection: limit(connection, 1000))
    await database.run(lambda connection: note(connection, "later"))
    assert await database.run(notes) == ["before", "later"]
    await database.close()


async def test_a_job_fails_if_the_ledger_file_was_moved_away(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{file}")
    add_notes(engine)
    database = Database(engine)
    file.rename(tmp_path / "elsewhere.db")
    assert "is gone or was replaced" in await failure(database)
    (tmp_path / "elsewhere.db").rename(file)
    await database.run(lambda connection: note(connection, "kept"))
    await database.close()
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)


async def test_a_ledger_that_was_moved_away_comes_back_with_what_only_its_wal_has(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{file}")
    add_notes(engine)
    database = Database(engine)
    # a reader, such as a backup, so that no closed connection empties the WAL into the file
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("SELECT count(*) FROM notes").fetchone()
        file.rename(tmp_path / "elsewhere.db")
        assert "is gone or was replaced" in await failure(database)
        assert await failure(database) == f"there is no ledger at {file}"
        assert not file.exists()
        (tmp_path / "elsewhere.db").rename(file)
        await database.run(lambda connection: note(connection, "kept"))
    await database.close()


async def test_a_postgresql_outage_fails_jobs_in_time_and_ends_by_itself(
    postgresql_server: str, postgresql_url: str
) -> None:
    database = Database(open_engine(postgresql_url))
    await asyncio.gather(*(database.run(lambda c: c.execute(select(1)).scalar()) for _ in range(8)))
    postgresql.go_away(postgresql_server, postgresql_url)
    await failure(database)
    postgresql.come_back(postgresql_server, postgresql_url)
    assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
    await database.close()


async def test_a_restarted_postgresql_fails_no_job(
    postgresql_server: str, postgresql_url: str
) -> None:
    database = Database(open_engine(postgresql_url))
    await asyncio.gather(*(database.run(lambda c: c.execute(select(1)).scalar()) for _ in range(8)))
    postgresql.go_away(postgresql_server, postgresql_url)
    postgresql.come_back(postgresql_server, postgresql_url)
    assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
    await database.close()


async def test_a_silent_postgresql_connection_is_cut_in_time(postgresql_url: str) -> None:
    opens, url = postgresql.proxied(postgresql_url)
    async with Proxy(opens) as proxy:
        database = Database(open_engine(url.format(port=proxy.port)))
        await asyncio.gather(*(database.run(wait_a_little) for _ in range(CONNECTIONS)))
        proxy.freeze()
        await asyncio.gather(*(failure(database) for _ in range(2 * CONNECTIONS)))
        # new connections work
        assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
        await database.close()


def wait_a_little(connection: Connection) -> None:
    """Take long enough that each of several concurrent jobs needs its own connection."""
    connection.execute(text("SELECT pg_sleep(0.2)"))


async def test_a_dead_instances_transaction_ends_after_five_seconds(
    postgresql_url: str,
) -> None:
    engine = open_engine(postgresql_url)
    with engine.connect() as connection:
        setting = text("SELECT current_setting('idle_in_transaction_session_timeout')")
        assert connection.execute(setting).scalar() == "5s"
    engine.dispose()


def modes(folder: Path) -> dict[str, int]:
    """The permissions of SQLite's files."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.glob("ledger.db*")}


def modes_of_new(file: Path, folder: Path, umask: int) -> dict[str, int]:
    """The permissions that the files of a new ledger get in the folder where they are."""
    before = os.umask(umask)
    try:
        engine = open_engine(f"sqlite:///{file}")
        migrate(engine)
        with engine.connect():
            found = modes(folder)
        engine.dispose()
    finally:
        os.umask(before)
    return found


FOR_THE_OWNER = dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_sqlites_files_are_for_the_owner_alone_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    assert modes_of_new(tmp_path / "ledger.db", tmp_path, umask) == FOR_THE_OWNER


def test_the_files_behind_a_link_to_nothing_yet_are_for_the_owner_alone(tmp_path: Path) -> None:
    disk, app = tmp_path / "disk", tmp_path / "app"
    disk.mkdir()
    app.mkdir()
    (app / "current.db").symlink_to(disk / "ledger.db")
    (app / "link.db").symlink_to("current.db")
    assert modes_of_new(app / "link.db", disk, 0o022) == FOR_THE_OWNER
    assert sorted(file.name for file in app.iterdir()) == ["current.db", "link.db"]


async def test_a_ledger_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch(0o640)
    (tmp_path / "ledger.db").chmod(0o640)
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    engine.dispose()
    assert modes(tmp_path)["ledger.db"] == 0o640


async def test_a_sqlite_url_may_have_a_timeout_for_reading_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db?timeout=5"
    writer = open_engine(url)
    migrate(writer)
    reader = open_engine(url, read_only=True)
    assert version(reader) == REVISION
    reader.dispose()
    writer.dispose()


async def test_a_write_that_is_only_tried_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    before = (tmp_path / "ledger.db").read_bytes()
    require_writable(url)
    assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_ledger_that_takes_no_writes_is_not_writable(postgresql_url: str) -> None:
    require_writable(postgresql_url)
    postgresql.read_only(postgresql_url)
    with pytest.raises(LedgerUnavailable, match="read-only transaction"):
        require_writable(postgresql_url)


def test_a_session_sets_the_form_of_its_times_itself(postgresql_url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        for default in ("datestyle = 'SQL, DMY'", "timezone = 'Asia/Kathmandu'"):
            admin.execute(f"ALTER DATABASE {name} SET {default}")
    for read_only in (False, True):
        opened = open_engine(postgresql_url, read_only=read_only)
        with opened.connect() as connection:
            shown = [
                connection.execute(text(f"SHOW {each}")).scalar()
                for each in ("datestyle", "timezone")
            ]
        opened.dispose()
        assert shown == ["ISO, YMD", "UTC"]


@pytest.mark.parametrize("where", ["url", "variable"])
def test_the_admins_schema_is_used_and_the_bots_limits_stay(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA ledger_of_staging")
    theirs = "-c search_path=ledger_of_staging -c lock_timeout=0"
    url = postgresql_url
    if where == "url":
        url += f"{'&' if '?' in url else '?'}options={quote(theirs)}"
    else:
        monkeypatch.setenv("PGOPTIONS", theirs)
    opened = open_engine(url)
    migrate(opened)
    with opened.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relnamespace::regnamespace::text FROM pg_class"
                " WHERE oid = to_regclass('requests')"
            )
        ).scalar()
        limit = connection.execute(text("SHOW lock_timeout")).scalar()
    opened.dispose()
    assert (found, limit) == ("ledger_of_staging", "1s")


def test_the_next_of_several_servers_is_tried(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    alive = url.query.get("host") or f"{url.host}:{url.port or 5432}"
    # the first takes no connections
    hosts = {**url.query, "host": ("127.0.0.1:1", str(alive))}
    several = url.set(host=None, port=None, query=hosts)
    engine = open_engine(several.render_as_string(hide_password=False))
    migrate(engine)
    assert version(engine) == REVISION
    engine.dispose()
