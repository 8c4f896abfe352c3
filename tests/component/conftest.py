"""Fixtures: processes that run steps on an empty database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy import Engine

from bot.__main__ import main
from bot.ledger.database.engine import Database, open_engine
from tests.support.steps import Process

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(open_engine(database_url))
    yield opened
    await opened.close()


@pytest.fixture
def one(database: Database) -> Process:
    return Process(database, "one")


@pytest.fixture
def other(database: Database) -> Process:
    return Process(database, "other")


@pytest.fixture
def command(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command on the ledger; returns its exit code and what it printed, without the log."""
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main([*map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run
