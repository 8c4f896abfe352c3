"""Fixtures: processes that run steps on an empty database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import Engine

from bot.ledger.database.engine import Database, open_engine
from tests.support.steps import Process


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
