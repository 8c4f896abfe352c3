"""Takes the README's screenshots; with SCREENSHOTS=1, replaces those in the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenVisit
from tests.browser.picture import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOLDER = Path(__file__).parents[2] / "bot" / "sandbox" / "screenshots"
MAX_BYTES = 120_000


async def test_the_readmes_screenshots_are_small(open_visit: OpenVisit, tmp_path: Path) -> None:
    card, result = tmp_path / "card-light.png", tmp_path / "result-dark.png"
    async with open_visit(width=1200, height=840) as visit:
        alice = await visit.tab()
        await alice.ask("/unlatch 2554529 moved to the new portal")
        card.write_bytes(await picture(alice.page))
        await alice.page.emulate_media(color_scheme="dark")
        await alice.page.get_by_test_id("be-U0BOB").check()
        await alice.press("Unlatch customer")
        await alice.card.get_by_test_id("replies").click()
        await expect(alice.thread).to_contain_text("Unlatched")
        await alice.page.mouse.move(0, 0)
        result.write_bytes(await picture(alice.page))
    sizes = [path.stat().st_size for path in (card, result)]
    assert max(sizes) < MAX_BYTES, sizes
    if os.environ.get("SCREENSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        for path in (card, result):
            shutil.copy(path, FOLDER / path.name)
