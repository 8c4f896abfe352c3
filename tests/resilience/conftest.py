"""What several of the failure tests start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stage import Stage, stage


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on each kind of database; see `on_sqlite` and `on_postgresql`."""
    async with stage(database_url, tmp_path) as opened:
        # many races in one minute must not wait for its end
        opened.fusebill.calls_per_minute = 100_000
        yield opened
