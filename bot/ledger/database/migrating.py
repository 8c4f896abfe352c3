"""Brings the database to this bot's version, and says which version it has."""

from __future__ import annotations

import stamina
import structlog
from sqlalchemy import Connection, Engine, column, inspect, select, table
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from bot.environment import this_bot
from bot.ledger.database.engine import LedgerUnavailable, reason
from bot.ledger.tables import REVISION

log = structlog.get_logger(__name__)

MIGRATION_LOCK_TIMEOUT_S = 60
TABLE_LOCK_TIMEOUT_MS = 300
FIRST_RETRY = 2
"""The number of the attempt after the one that met a lock."""
LOCK_NOT_AVAILABLE = "55P03"
"""The SQLSTATE of a statement that waited for a lock as long as it may."""


class SchemaMismatch(Exception):
    """The ledger has another version than this bot needs."""


def migrate(engine: Engine, *, timeout_s: float = MIGRATION_LOCK_TIMEOUT_S) -> None:
    """Upgrade the ledger to this bot's version; waits for others' locks as long as `timeout_s`.

    Raises: SchemaMismatch if a newer bot wrote the ledger; LedgerUnavailable.
    """
    # these imports take a second, which a start on an up-to-date ledger does not need
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "bot:ledger/migrations")
    config.set_main_option("path_separator", "os")
    try:
        for attempt in stamina.retry_context(
            on=_is_locked, attempts=None, timeout=timeout_s, wait_max=1.0
        ):
            if attempt.num == FIRST_RETRY:
                log.warning("waiting for another session that holds the ledger, perhaps an audit")
            with attempt, engine.begin() as connection:
                config.attributes["connection"] = connection
                if connection.dialect.name == "postgresql":
                    # a migration may take longer than a click
                    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                    _limit_lock(connection, round(1000 * timeout_s))
                    # instances that start together take turns; the number is arbitrary
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7051)")
                    # while this waits for a table, perhaps until an audit ends that somebody reads
                    # in a pager, everything that a running bot asks waits behind it
                    _limit_lock(connection, TABLE_LOCK_TIMEOUT_MS)
                command.upgrade(config, "head")
    except CommandError:
        raise SchemaMismatch(_mismatch(engine)) from None
    except SQLAlchemyError as error:
        held = "another session holds the ledger, perhaps an audit: end it, then try again"
        raise LedgerUnavailable(held if _is_locked(error) else reason(error)) from error


def _limit_lock(connection: Connection, timeout_ms: int) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeout_ms}ms'")


def _is_locked(error: Exception) -> bool:
    """Whether another process holds a lock, perhaps for its own migration or an audit."""
    if not isinstance(error, OperationalError):
        return False
    taken = getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE
    return taken or "database is locked" in str(error.orig)


def require_current(engine: Engine) -> None:
    """Check that the ledger has this bot's version. Raises: SchemaMismatch; LedgerUnavailable."""
    found = version(engine)
    if found != REVISION:
        raise SchemaMismatch(_mismatch(engine))


def version(engine: Engine) -> str | None:
    """The ledger's version, None if there is no ledger yet. Raises: LedgerUnavailable."""
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
        return f"the ledger has version {found}, newer than this bot's {REVISION}: upgrade the bot"
    has = f"the ledger has version {found}" if found else "there is no ledger in this database yet"
    return f"{has}, this bot needs version {REVISION}: run `{this_bot('migrate')}`"
