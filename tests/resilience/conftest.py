"""What several of the failure tests start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import ledger
from tests.support.stage import Stage, stage


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger: on SQLite, or see `on_postgresql` and `on_both`.

    Most failures mean the same to either, and a card costs twice as much on PostgreSQL.
    """
    if getattr(request, "param", "sqlite") == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger.create(url)
    return url


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on an empty ledger."""
    async with stage(database_url, tmp_path) as opened:
        # many races in one minute must not wait for its end
        opened.fusebill.calls_per_minute = 100_000
        yield opened
