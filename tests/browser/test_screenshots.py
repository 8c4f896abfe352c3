"""Takes pictures; with SCREENSHOTS=<folder>, keeps them there, and the README's in place."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import QUICK, OpenVisit, Theme, Visit
from tests.browser.picture import picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOLDER = Path(__file__).parents[2] / "bot" / "sandbox" / "screenshots"
MAX_BYTES = 100_000
# a customer may be held back for as long as a picture takes
PATIENT = replace(QUICK, execution_s=60.0, fusebill_write_s=60.0, progress_every_s=0.5)
SHOTS = [("light", 1200, 840), ("dark", 1200, 840), ("light", 380, 800)]
README = {
    "card-light.png",
    "result-dark.png",
    "many-progress-light-1200.png",
    "many-form-dark-1200.png",
}


async def test_the_readmes_screenshots_are_small(open_visit: OpenVisit, tmp_path: Path) -> None:
    card, result = tmp_path / "card-light.png", tmp_path / "result-dark.png"
    async with open_visit(width=1200, height=840) as visit:
        alice = await visit.tab()
        await alice.ask("/unlatch 2554529 moved to the new portal")
        card.write_bytes(await picture(alice.page))
        await alice.page.emulate_media(color_scheme="dark")
        await alice.page.get_by_test_id("be-U0BOB").check()
        await alice.press("Unlatch Stolen Bikes")
        await alice.card.get_by_test_id("replies").click()
        await expect(alice.thread).to_contain_text("Unlatched")
        await alice.page.mouse.move(0, 0)
        result.write_bytes(await picture(alice.page))
    keep([card, result])


@pytest.mark.parametrize(("theme", "width", "height"), SHOTS)
async def test_the_pictures_of_a_card_of_many_are_small(
    open_visit: OpenVisit, tmp_path: Path, theme: Theme, width: int, height: int
) -> None:
    def shot(name: str) -> Path:
        return tmp_path / f"many-{name}-{theme}-{width}.png"

    async with open_visit(width=width, height=height, theme=theme, timing=PATIENT) as visit:
        alice = await visit.tab()
        latched = [
            str(number)
            for number, customer in visit.sandbox.fusebill.customers.items()
            if customer["hubSpotId"] or customer["hubSpotCompanyId"]
        ]
        await alice.say("/unlatch many")
        form = alice.page.get_by_role("dialog")
        await form.get_by_role("textbox").first.fill("\n".join(latched))
        shot("form").write_bytes(await picture(alice.page))
        await form.get_by_role("button", name="Cancel").click()
        await expect(form).to_have_count(0)
        await alice.ask(f"/unlatch {', '.join(latched)}, 424242 moved to the new portal")
        shot("card").write_bytes(await picture(alice.page))
        release = held_after(visit, 8)
        await alice.press(f"Unlatch {len(latched)} customers")
        await expect(alice.button("Stop")).to_be_visible()
        await expect(alice.card).to_contain_text(f"8 of {len(latched)}")
        await alice.card.evaluate("card => card.scrollIntoView({block: 'start'})")
        shot("progress").write_bytes(await picture(alice.page))
        release.set()
        await expect(alice.card).to_contain_text(f"{len(latched)} unlatched", timeout=30_000)
        await alice.idle()
        await alice.card.scroll_into_view_if_needed()
        shot("result").write_bytes(await picture(alice.page))
    keep([shot(name) for name in ("form", "card", "progress", "result")])


def held_after(visit: Visit, calls: int) -> asyncio.Event:
    """Let Fusebill hold back all but the first calls that unlatch, until the event is set."""
    release, begun = asyncio.Event(), count(1)

    async def hold(operation: str) -> None:
        if operation == "unlatch_customer" and next(begun) > calls:
            await release.wait()

    visit.sandbox.fusebill.before = hold
    return release


def keep(pictures: list[Path]) -> None:
    """Check the size, and put those of the README into the repository if that is asked for."""
    sizes = {path.name: path.stat().st_size for path in pictures}
    assert max(sizes.values()) < MAX_BYTES, sizes
    if folder := os.environ.get("SCREENSHOTS"):
        for path in pictures:
            shutil.copy(path, (FOLDER if path.name in README else Path(folder)) / path.name)
