"""The database: shared commits, migrations, and what happens when it is not there."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, select, text

from bot.ledger.engine import (
    Database,
    LedgerUnavailable,
    SchemaMismatch,
    migrate,
    open_engine,
    require_current,
    version,
)
from bot.ledger.executor import CONNECTIONS
from bot.ledger.schema import REVISION, metadata
from tests.support import postgresql
from tests.support.proxy import Proxy

ACK_S = 3.0


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    opened = open_engine(database_url)
    migrate(opened)
    with opened.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note VARCHAR PRIMARY KEY)"))
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


async def down(database: Database) -> str:
    """Why the database did not do it; in time for an ack."""
    began = monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        await database.run(lambda connection: note(connection, "lost"))
    assert monotonic() - began < ACK_S
    return str(caught.value)


async def test_one_that_fails_does_not_fail_those_that_share_its_commit(database: Database) -> None:
    def fails(connection: Connection) -> None:
        note(connection, "undone")
        raise ValueError("mine alone")

    kept = [f"{number:02}" for number in range(40)]
    jobs = [database.run(lambda connection, value=value: note(connection, value)) for value in kept]  # type: ignore[misc]  # a default
    jobs.insert(20, database.run(fails))
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results if result] == [ValueError]
    assert await database.run(notes) == kept


async def test_one_that_breaks_a_rule_of_the_database_fails_alone(database: Database) -> None:
    values = ["a", "b", "a", "c"]
    jobs = [
        database.run(lambda connection, value=value: note(connection, value))  # type: ignore[misc]  # a default
        for value in values
    ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(isinstance(result, LedgerUnavailable) for result in results) == 1
    assert await database.run(notes) == ["a", "b", "c"]


async def test_what_was_begun_is_finished_before_the_database_closes(engine: Engine) -> None:
    database = Database(engine)
    job = asyncio.create_task(database.run(lambda connection: note(connection, "kept")))
    await asyncio.sleep(0)
    await database.close()
    await job
    with engine.connect() as connection:
        assert notes(connection) == ["kept"]


async def test_the_migrations_make_what_the_schema_says(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE notes"))
        found = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
    assert found == []
    assert version(engine) == REVISION


async def test_two_that_migrate_at_once_take_turns(database_url: str) -> None:
    engines = [open_engine(database_url), open_engine(database_url)]
    await asyncio.gather(*(asyncio.to_thread(migrate, engine) for engine in engines))
    assert [version(engine) for engine in engines] == [REVISION, REVISION]
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("step", [migrate, require_current])
async def test_a_ledger_of_a_newer_bot_is_refused(engine: Engine, step: object) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
    with pytest.raises(SchemaMismatch, match=r"version 9000, newer than this bot's .*: upgrade"):
        step(engine)  # type: ignore[operator]  # a function of an engine


async def test_a_ledger_that_was_never_made_says_how_to_make_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(SchemaMismatch, match="run `python -m bot migrate`"):
        require_current(engine)
    engine.dispose()


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """Somebody else holds everything that a transaction needs."""
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


async def test_a_locked_database_says_so_in_time_to_each_who_waits(
    database: Database, database_url: str
) -> None:
    with locked(database_url):
        first = asyncio.create_task(down(database))
        await asyncio.sleep(0.3)
        reasons = await asyncio.gather(first, *(down(database) for _ in range(20)))
    assert all("lock" in reason or "in time" in reason for reason in reasons), reasons
    await database.run(lambda connection: note(connection, "kept"))
    assert await database.run(notes) == ["kept"]


async def test_a_full_disk_says_so_and_loses_nothing_that_was_written(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note VARCHAR PRIMARY KEY)"))
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


async def test_a_ledger_file_that_was_deleted_is_not_written_to_in_vain(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note VARCHAR PRIMARY KEY)"))
    database = Database(engine)
    file.rename(tmp_path / "elsewhere.db")
    assert "is gone or was replaced" in await down(database)
    (tmp_path / "elsewhere.db").rename(file)
    await database.run(lambda connection: note(connection, "kept"))
    await database.close()
    assert sqlite3.connect(file).execute("SELECT count(*) FROM notes").fetchone() == (1,)


async def test_a_postgresql_that_went_away_is_missed_in_time_and_found_again(
    postgresql_server: str, postgresql_url: str
) -> None:
    database = Database(open_engine(postgresql_url))
    await asyncio.gather(*(database.run(lambda c: c.execute(select(1)).scalar()) for _ in range(8)))
    postgresql.go_away(postgresql_server, postgresql_url)
    await down(database)
    postgresql.come_back(postgresql_server, postgresql_url)
    assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
    await database.close()


async def test_a_restarted_postgresql_costs_nobody_a_click(
    postgresql_server: str, postgresql_url: str
) -> None:
    database = Database(open_engine(postgresql_url))
    await asyncio.gather(*(database.run(lambda c: c.execute(select(1)).scalar()) for _ in range(8)))
    postgresql.go_away(postgresql_server, postgresql_url)
    postgresql.come_back(postgresql_server, postgresql_url)
    assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
    await database.close()


async def test_a_postgresql_that_falls_silent_is_hung_up_on(postgresql_url: str) -> None:
    opens, url = postgresql.proxied(postgresql_url)
    async with Proxy(opens) as proxy:
        database = Database(open_engine(url.format(port=proxy.port)))
        await asyncio.gather(*(database.run(wait_a_little) for _ in range(CONNECTIONS)))
        proxy.freeze()
        await asyncio.gather(*(down(database) for _ in range(2 * CONNECTIONS)))
        # the server's other connections are as good as ever
        assert await database.run(lambda c: c.execute(select(1)).scalar()) == 1
        await database.close()


def wait_a_little(connection: Connection) -> None:
    """Long enough for others to need connections of their own."""
    connection.execute(text("SELECT pg_sleep(0.2)"))


async def test_an_instance_that_vanished_in_a_transaction_gives_its_row_back(
    postgresql_url: str,
) -> None:
    engine = open_engine(postgresql_url)
    with engine.connect() as connection:
        setting = text("SELECT current_setting('idle_in_transaction_session_timeout')")
        assert connection.execute(setting).scalar() == "5s"
    engine.dispose()
