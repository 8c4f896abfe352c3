"""Opens the database (SQLite or PostgreSQL) and runs transactions on it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bot.ledger.database.executor import (
    CONNECTIONS,
    TIMEOUT_S,
    Pending,
    Pool,
    SingleWriter,
    Work,
)
from bot.ledger.database.statements import run
from bot.ledger.witness import watch_commits

T = TypeVar("T")

ROWS_AT_A_TIME = 1000
LOCK_TIMEOUT_S = 1
"""Short, since a transaction may wait behind another that waits for a lock, all within one ack."""
CONNECT_TIMEOUT_S = 2
PRIVATE = 0o600
"""Only the owner may read and write."""


class LedgerUnavailable(Exception):
    """The transaction failed: the database is down, locked, full, silent, or refused it.

    Nothing was written, unless `uncertain` is set: then the connection or the disk failed, or the
    time was up, after the work had begun, perhaps during the commit. A caller that must not write
    twice reads first.
    """

    def __init__(self, why: str, *, uncertain: bool = False) -> None:
        super().__init__(why)
        self.uncertain = uncertain


def open_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine for `sqlite:///…`, `postgres://…` or `postgresql://…`; does not connect yet.

    With `read_only` it never blocks a SQLite writer and creates no file that stays; a copy may
    be where nothing can be created.
    Raises: LedgerUnavailable if `read_only` is set and the SQLite file does not exist.
    """
    if file := sqlite_file(url):
        if read_only and not file.is_file():
            raise LedgerUnavailable(f"there is no ledger at {file.absolute()}")
        return _sqlite(url, file, read_only=read_only)
    _scheme, rest = url.split("://", 1)
    # an instance that dies in a transaction must not keep its row locked for the others
    limits = (
        f"-c lock_timeout={LOCK_TIMEOUT_S}s -c statement_timeout=2s"
        " -c idle_in_transaction_session_timeout=5s"
    )
    # a reader blocks nobody, and may page through a million rows
    options = "-c default_transaction_read_only=on" if read_only else limits
    # a database may have its own defaults, and times are read as ISO text
    options += " -c datestyle=ISO,YMD -c timezone=UTC"
    # libpq would drop what the admin set, such as the schema that this bot's ledger is in
    options = f"{_options(url)} {options}".strip()
    engine = create_engine(
        f"postgresql+psycopg://{rest}",
        # by position, as SQLite's driver takes parameters
        paramstyle="format",
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": options,
            # a pooler such as pgbouncer gives each transaction another connection, which may not
            # know what was prepared: psycopg.org/psycopg3/docs/advanced/prepare.html
            "prepare_threshold": None,
        },
    )

    # the driver would send a BEGIN of its own before the first statement, and wait for the answer
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's type
        connection.autocommit = True

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        begun = run(connection, "BEGIN; SELECT clock_timestamp()")
        begun.nextset()
        connection.info["now"] = begun.fetchone()[0]

    return engine


def _options(url: str) -> str:
    """The session's options from the URL, else from libpq's own variable."""
    given = make_url(url).query.get("options", os.environ.get("PGOPTIONS", ""))
    return given if isinstance(given, str) else " ".join(given)


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite ledger, without the URL's parameters; None for PostgreSQL."""
    return Path(make_url(url).database or "") if url.startswith("sqlite:") else None


def _sqlite(url: str, file: Path, *, read_only: bool) -> Engine:
    name, begin = str(file), "BEGIN" if read_only else "BEGIN IMMEDIATE"
    was_opened = False
    engine = create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": LOCK_TIMEOUT_S},
    )

    @event.listens_for(engine, "do_connect")
    def on_do_connect(
        dialect: Dialect, _record: object, names: list[str], options: dict[str, Any]
    ) -> DBAPIConnection:
        nonlocal was_opened
        if not read_only:
            if not was_opened:
                create_private(file)
            elif not file.exists():
                # a new file would let SQLite delete the -wal, with what only that has, of a ledger
                # that was moved away and may come back
                raise sqlite3.OperationalError(f"there is no ledger at {file.absolute()}")
        elif is_kept(file):
            names[:] = [f"{file.absolute().as_uri()}?immutable=1"]
            options["uri"] = True
        with opening(file):
            connection = dialect.connect(*names, **options)
        was_opened = True
        return connection

    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-transaction-control:
    # the driver begins late, and a transaction that reads before it writes can't wait for the lock
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's type
        connection.isolation_level = None
        if read_only:
            # text that is not UTF-8 must not stop an audit; no PRAGMA may change the file
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        else:
            with opening(file):
                connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        """SQLite keeps writing to a file that was deleted or replaced; those writes are lost."""
        found = None
        with suppress(FileNotFoundError):
            status = os.stat(name)  # noqa: PTH116  # a Path costs three times as much
            found = (status.st_dev, status.st_ino)
        if found is None or connection.info.setdefault("file", found) != found:
            # the next transaction opens a new connection
            connection.invalidate()
            gone = FileNotFoundError(f"{name} is gone or was replaced")
            raise OperationalError(None, None, gone)
        run(connection, begin)

    return engine


def try_to_write(connection: Connection) -> None:
    """Write a row as it is: a database that only answers, such as a standby, refuses this."""
    connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def require_writable(url: str) -> None:
    """Check that the ledger takes a write, and take it back.

    Raises: LedgerUnavailable.
    """
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            try_to_write(connection)
            connection.rollback()
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error
    finally:
        engine.dispose()


@contextmanager
def streaming(engine: Engine) -> Iterator[Connection]:
    """A connection that fetches rows a thousand at a time. Raises: LedgerUnavailable."""
    try:
        with engine.connect() as connection:
            yield connection.execution_options(yield_per=ROWS_AT_A_TIME)
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def reason(error: SQLAlchemyError) -> str:
    """The first line of the driver's message, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


UNRESOLVED = ("08007", "40003")
"""The SQLSTATEs of a transaction whose end the server itself does not know."""


def _may_have_committed(error: SQLAlchemyError) -> bool:
    """Whether a transaction that failed with this error may have taken effect all the same."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        # the commit may be in the WAL, though the disk reported an error when that was synced
        code: int = getattr(error.orig, "sqlite_errorcode", 0)
        unresolved = code & 0xFF == sqlite3.SQLITE_IOERR
    else:
        unresolved = getattr(error.orig, "sqlstate", None) in UNRESOLVED
    return unresolved or error.connection_invalidated


class Database:
    """Runs transactions without blocking the event loop; each is a function of a connection.

    The function may run twice, if a shared commit fails: it must have no effect but its rows.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        watch_commits(engine)
        self._runner = (SingleWriter if engine.dialect.name == "sqlite" else Pool)(engine)

    async def run(self, work: Work[T], *, urgent: bool = False) -> T:
        """Run `work` in one transaction; returns its result after the commit.

        On SQLite, which has one writer, an `urgent` one goes before others: a click waits for it.
        Raises: LedgerUnavailable; whatever `work` raises, after a rollback.
        """
        one = Pending(work, urgent=urgent)
        self._runner.submit(one)
        timer = one.loop.call_later(TIMEOUT_S, one.expire)
        try:
            return await one.future
        except TimeoutError:
            why = "the database did not answer in time"
            raise LedgerUnavailable(why, uncertain=one.began) from None
        except SQLAlchemyError as error:
            uncertain = one.began and _may_have_committed(error)
            raise LedgerUnavailable(reason(error), uncertain=uncertain) from error
        finally:
            # if the caller was cancelled, it still needs its timeout
            if one.ended:
                timer.cancel()

    async def close(self) -> None:
        """Finish what was submitted, then close the connections."""
        await asyncio.to_thread(self._runner.close)
        self._engine.dispose()


def create_private(file: Path) -> None:
    """Create the file for its owner alone, whatever the umask; of a link, the file that it names.

    SQLite gives its -wal and -shm files the same mode; a file that exists keeps its own.
    """
    # where it can't be created, opening it says why
    with suppress(OSError):
        # a link whose target does not exist yet counts as existing
        descriptor = os.open(file.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE)
        try:
            os.fchmod(descriptor, PRIVATE)
        finally:
            os.close(descriptor)


def is_kept(file: Path) -> bool:
    """Whether a ledger is a copy that nobody writes, where this user may not write either.

    SQLite reads a WAL file's database only if it can create the files beside it, or is told that
    the file can't change. Source: sqlite.org/wal.html, "Read-Only Databases"
    """
    # SQLite has its other files beside the one that a link names
    file = file.resolve()
    return not _may(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()


@contextmanager
def opening(file: Path) -> Iterator[None]:
    """Name the file or folder that is in the way; SQLite's own error names neither.

    Raises: sqlite3.Error.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "unable to open" in str(error) and (why := _in_the_way(file.absolute())):
            raise sqlite3.OperationalError(why) from error
        raise


def _in_the_way(file: Path) -> str | None:
    folder = file.parent
    if not _may(folder, os.F_OK):
        return f"there is no folder {folder}, or this user may not look into it"
    if _may(file, os.F_OK) and not _may(file, os.R_OK | os.W_OK):
        return f"this user may not read and write {file}"
    if not _may(folder, os.W_OK | os.X_OK):
        return f"this user may not create files in {folder}, which SQLite needs"
    return None


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
