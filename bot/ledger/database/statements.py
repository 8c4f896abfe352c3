"""Runs the ledger's statements on the database's driver, compiled once for each database.

SQLAlchemy defines the tables, builds the statements, opens the connections and owns the
transactions. To run a statement through it costs several times what the driver takes, since it
prepares each execution and each result anew. A click waits for that, so the statements of a click
are compiled to SQL text at their first use, and run on SQLAlchemy's own connection to the driver.
Types are converted as the tables declare them, and errors are SQLAlchemy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    TextualSelect,
    Update,
)
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Values = Mapping[str, Any]
Row = dict[str, Any]
Converter = Callable[[Any], Any]
Core = Select[Any] | TextualSelect | Insert | Update | Delete


class Statement:
    """A statement that is compiled once for each database.

    Each execution must name the same parameters. Those in `lists` are for `IN`: each length that
    comes up is compiled once.
    Every method raises SQLAlchemy's DBAPIError if the database fails.
    """

    def __init__(self, core: Core, *lists: str) -> None:
        self.core = core
        self._lists = lists
        self._compiled: dict[object, _Compiled] = {}

    def rows(self, connection: Connection, values: Values) -> list[Row]:
        """All rows, by the names of their columns."""
        compiled = self._for(connection, values)
        cursor = run(connection, compiled.sql, compiled.bind(values))
        return [compiled.read(row) for row in cursor.fetchall()]

    def row(self, connection: Connection, values: Values) -> Row | None:
        """The first row, None if there is none."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def execute(self, connection: Connection, values: Values) -> int:
        """Run a statement that changes rows; returns how many it changed."""
        compiled = self._for(connection, values)
        changed: int = run(connection, compiled.sql, compiled.bind(values)).rowcount
        return changed

    def insert(self, connection: Connection, several: Sequence[Values]) -> list[int]:
        """Insert rows, at least one; returns the `id` that the database gave to each."""
        if connection.dialect.name != "sqlite":
            # SQLAlchemy adds RETURNING for a key that PostgreSQL generates
            return self.many(connection, several, returning=True)
        compiled = self._for(connection, several[0])
        return [run(connection, compiled.sql, compiled.bind(each)).lastrowid for each in several]

    def many(
        self, connection: Connection, several: Sequence[Values], *, returning: bool = False
    ) -> list[int]:
        """Run the statement once for each of several, at least one, in one round trip.

        Returns the first value that each returns, where PostgreSQL's driver is told that it does.
        """
        compiled = self._for(connection, several[0])
        bound = [compiled.bind(values) for values in several]
        cursor: Any = connection.connection.cursor()
        given: list[int] = []
        try:
            if not returning:
                cursor.executemany(compiled.sql, bound)
                return given
            cursor.executemany(compiled.sql, bound, returning=True)
            given.append(cursor.fetchone()[0])
            while cursor.nextset():
                given.append(cursor.fetchone()[0])
        except connection.dialect.loaded_dbapi.Error as error:
            raise _translated(connection, compiled.sql, error) from error
        else:
            return given

    def _for(self, connection: Connection, values: Values) -> _Compiled:
        dialect = connection.dialect
        key: object = dialect.name
        if self._lists:
            key = (key, *(len(values[name]) for name in self._lists))
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _Compiled(self.core, dialect, values)
        return compiled


class _Compiled:
    """A statement as one database's driver takes it."""

    def __init__(self, core: Core, dialect: Dialect, values: Values) -> None:
        compiled: SQLCompiler = core.compile(dialect=dialect, column_keys=list(values))
        expanded = compiled.construct_expanded_state(dict(values))
        self.sql = expanded.statement
        lists = expanded.parameter_expansion
        writers = dict(_writers(compiled.bind_names, dialect))
        self._fixed = {
            name: writers[name](value) if name in writers else value
            for name, value in compiled.params.items()
            if name not in values
        }
        for name in lists.keys() & self._fixed.keys():
            self._fixed |= zip(lists[name], self._fixed[name], strict=True)
        self._lists = [(name, lists[name]) for name in lists.keys() - self._fixed.keys()]
        self._names = expanded.positiontup or []
        self._writers = [
            (index, writers[name])
            for index, name in enumerate(self._names)
            if name in writers and name not in self._fixed
        ]
        columns = getattr(core, "exported_columns", ())
        self._columns = [column.name for column in columns]
        self._readers = _readers([(column.name, column.type) for column in columns], dialect)

    def bind(self, values: Values) -> Sequence[Any]:
        """The parameters of one execution, in the order of the driver."""
        if self._fixed or self._lists:
            values = {**self._fixed, **values}
            for name, names in self._lists:
                values |= zip(names, values[name], strict=True)
        bound = [*map(values.__getitem__, self._names)]
        for index, write in self._writers:
            bound[index] = write(bound[index])
        return bound

    def read(self, row: Sequence[Any]) -> Row:
        """A row of the driver with the values that the tables declare."""
        found = dict(zip(self._columns, row, strict=True))
        for name, read in self._readers:
            found[name] = read(found[name])
        return found


def run(connection: Connection, sql: str, parameters: Sequence[Any] | Values = ()) -> Any:  # noqa: ANN401  # the driver's cursor
    """Run SQL text on the driver; returns its cursor. Raises: DBAPIError."""
    # `driver_connection` says the same of both drivers, four calls later
    driver: Any = connection.connection.dbapi_connection
    try:
        return driver.execute(sql, parameters)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, error) from error


def clock(connection: Connection) -> datetime:
    """The time when the transaction began: the database's, or on SQLite this machine's.

    Two instances on one PostgreSQL agree on what is due, whatever their own clocks say.
    """
    now: datetime | None = connection.info.get("now")
    return datetime.now(UTC) if now is None else now.astimezone(UTC)


def _translated(connection: Connection, sql: str, error: Any) -> StatementError:  # noqa: ANN401  # the driver's error
    """The driver's error as SQLAlchemy raises it; a connection that is lost is given up."""
    dialect = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if lost:
        connection.invalidate(error)
    translated: StatementError = DBAPIError.instance(
        sql,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )
    return translated


def _writers(
    binds: Mapping[BindParameter[Any], str], dialect: Dialect
) -> list[tuple[str, Converter]]:
    found = ((n, b.type.dialect_impl(dialect).bind_processor(dialect)) for b, n in binds.items())
    return [(name, converter) for name, converter in found if converter]


def _readers(
    columns: Sequence[tuple[str, TypeEngine[Any]]], dialect: Dialect
) -> list[tuple[str, Converter]]:
    found = ((n, t.dialect_impl(dialect).result_processor(dialect, None)) for n, t in columns)
    return [(name, converter) for name, converter in found if converter]
