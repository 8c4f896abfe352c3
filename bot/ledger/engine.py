"""The database: SQLite or PostgreSQL, opened, migrated, and used off the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, column, create_engine, event, inspect, select, table
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bot.ledger.executor import ANSWERS_WITHIN_S, CONNECTIONS, Job, Pool, Runner, SingleWriter, Work
from bot.ledger.schema import REVISION

T = TypeVar("T")

ROWS_AT_A_TIME = 1000

WAITS_FOR_A_LOCK_S = 1
"""Who comes while another waits for the lock waits behind it: both must fit into the answer."""
CONNECTS_WITHIN_S = 2


class LedgerUnavailable(Exception):
    """The database did not do it: gone, locked, full, silent or refusing.

    Nothing was written, unless it is `uncertain`: then it fell silent or went in the middle, which
    may have been the very moment of the commit. Whoever must not write twice looks first.
    """

    def __init__(self, why: str, *, uncertain: bool = False) -> None:
        super().__init__(why)
        self.uncertain = uncertain


class SchemaMismatch(Exception):
    """The ledger is of another version than this bot."""


def open_engine(url: str, *, reads_only: bool = False) -> Engine:
    """An engine for `sqlite:///…` or `postgres://…` as hosts print it; connects to nothing yet.

    One that `reads_only` leaves the writers of a SQLite file alone, and makes no file.
    Raises: LedgerUnavailable where it should read a file that is not there.
    """
    if url.startswith("sqlite:"):
        if reads_only and not Path(url.removeprefix("sqlite:///")).is_file():
            raise LedgerUnavailable(f"there is no ledger at {url.removeprefix('sqlite:///')}")
        return _sqlite(url, reads_only=reads_only)
    _scheme, rest = url.split("://", 1)
    # an instance that vanished in a transaction must not keep a row from the others
    limits = (
        f"-c lock_timeout={WAITS_FOR_A_LOCK_S}s -c statement_timeout=2s"
        " -c idle_in_transaction_session_timeout=5s"
    )
    # whoever only reads keeps nothing from anybody, and may page through a million rows
    options = "-c default_transaction_read_only=on" if reads_only else limits
    return create_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={"connect_timeout": CONNECTS_WITHIN_S, "options": options},
    )


def _sqlite(url: str, *, reads_only: bool) -> Engine:
    begin = "BEGIN" if reads_only else "BEGIN IMMEDIATE"
    engine = create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": WAITS_FOR_A_LOCK_S},
    )

    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-transaction-control:
    # the driver's own BEGIN comes late, and a reader that turns writer can't wait for the lock
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's own
        connection.isolation_level = None
        if reads_only:
            # whatever somebody wrote into a text, it is read: a copy's bytes stay as they are
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        _require_file(connection)
        connection.exec_driver_sql(begin)

    return engine


def _require_file(connection: Connection) -> None:
    """SQLite goes on writing into a file that was deleted or replaced, and nobody reads it then."""
    name = connection.engine.url.database or ":memory:"
    if name == ":memory:":
        return
    found = None
    with suppress(FileNotFoundError):
        status = os.stat(name)  # noqa: PTH116  # a Path costs three times as much
        found = (status.st_dev, status.st_ino)
    if found is None or connection.info.setdefault("file", found) != found:
        # the next transaction opens it anew
        connection.invalidate()
        gone = FileNotFoundError(f"{name} is gone or was replaced")
        raise OperationalError(None, None, gone)


def migrate(engine: Engine) -> None:
    """Bring the ledger to this bot's version.

    Raises: SchemaMismatch where a newer bot wrote it; LedgerUnavailable.
    """
    # a second's worth of imports that a start on an up-to-date ledger need not pay
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "bot:ledger/migrations")
    config.set_main_option("path_separator", "os")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            if connection.dialect.name == "postgresql":
                # a migration may take its time, unlike a click
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
                # instances that start together take turns; any constant serves
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7051)")
            command.upgrade(config, "head")
    except CommandError:
        raise SchemaMismatch(_mismatch(engine)) from None
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def require_current(engine: Engine) -> None:
    """Refuse a ledger of another version.

    Raises: SchemaMismatch; LedgerUnavailable.
    """
    found = version(engine)
    if found != REVISION:
        raise SchemaMismatch(_mismatch(engine))


def version(engine: Engine) -> str | None:
    """The version of the ledger, None where there is no ledger yet.

    Raises: LedgerUnavailable.
    """
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            versions = table("alembic_version", column("version_num"))
            return connection.execute(select(versions.c.version_num)).scalar_one_or_none()
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def _mismatch(engine: Engine) -> str:
    found = version(engine)
    if found is not None and found > REVISION:
        return (
            f"the ledger is of version {found}, newer than this bot's {REVISION}: upgrade the bot"
        )
    return (
        f"the ledger is of version {found}, this bot's is {REVISION}: run `python -m bot migrate`"
    )


@contextmanager
def streaming(engine: Engine) -> Iterator[Connection]:
    """A connection whose rows come a thousand at a time. Raises: LedgerUnavailable."""
    try:
        with engine.connect() as connection:
            yield connection.execution_options(yield_per=ROWS_AT_A_TIME)
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def reason(error: SQLAlchemyError) -> str:
    """Why it failed: the driver's first line; the statement and its values stay out of it."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


class Database:
    """Runs transactions for the event loop; each is a plain function of a connection.

    Each must leave nothing behind but rows: where a shared commit fails, it is run once more.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runner: Runner = (
            SingleWriter(engine) if engine.dialect.name == "sqlite" else Pool(engine)
        )

    async def run(self, work: Work[T]) -> T:
        """Do `work` in one transaction and return what it returned, once that is on disk.

        Raises: LedgerUnavailable; whatever `work` raises, which undoes the transaction.
        """
        job = Job(work)
        self._runner.submit(job)
        watch = job.loop.call_later(ANSWERS_WITHIN_S, job.expire)
        try:
            return await job.future
        except TimeoutError:
            why = "the database did not answer in time"
            raise LedgerUnavailable(why, uncertain=job.began) from None
        except SQLAlchemyError as error:
            broke = isinstance(error, DBAPIError) and error.connection_invalidated
            raise LedgerUnavailable(reason(error), uncertain=broke) from error
        finally:
            # where whoever waits is cancelled, the job still has to end
            if job.ended:
                watch.cancel()

    async def close(self) -> None:
        """Finish what was begun, then let the connections go."""
        await asyncio.to_thread(self._runner.close)
        self._engine.dispose()
