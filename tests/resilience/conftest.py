"""What several of the failure tests start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stage import Stage, stage
from tests.support.world import add_customers


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage with all of CUSTOMERS, for cards of many; a module may have its own."""
    async with stage(database_url, tmp_path) as opened:
        add_customers(opened.fusebill)
        yield opened
