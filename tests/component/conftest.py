"""Fixtures: the ledger's classes on an empty database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.ledger.database.engine import Database, open_engine
from bot.ledger.leases import Leases
from bot.ledger.store import Ledger
from tests.support.ledger import create


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    create(database_url)
    opened = Database(open_engine(database_url))
    yield opened
    await opened.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)
