"""The ledger's rows as they stand, for whoever only reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, String, Table, cast
from sqlalchemy.exc import SQLAlchemyError

from bot.database import LedgerUnavailable, reason
from bot.schema import Moment

ROWS_AT_A_TIME = 1000


@contextmanager
def streaming(engine: Engine) -> Iterator[Connection]:
    """A connection whose rows come a thousand at a time. Raises: LedgerUnavailable."""
    try:
        with engine.connect() as connection:
            yield connection.execution_options(yield_per=ROWS_AT_A_TIME)
    except SQLAlchemyError as error:
        raise LedgerUnavailable(reason(error)) from error


def stored(table: Table, prefix: str = "") -> Iterator[ColumnElement[Any]]:
    """Columns as they stand, times as texts: one that is no time must not stop the reading."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


def time_of(stored: object) -> datetime:
    """A time as `stored` gives it: UTC, unless it says its zone. Raises: ValueError."""
    moment = datetime.fromisoformat(str(stored))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
