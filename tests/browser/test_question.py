"""What somebody sees whose text is not certain: the choice of columns, and of customers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab, Theme, Visit
from tests.browser.picture import picture
from tests.browser.test_form import OVERFLOWING

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES: list[tuple[int, int, Theme]] = [(1200, 840, "dark"), (380, 800, "light")]
ROWS = (
    "Stolen Bikes\t2554529\t1337\n"
    "Maple & Pine Joinery\t3100025\t3100042\n"
    "Quiet Street Dental\t3100033\t3100066"
)


async def keep(tab: Tab, name: str) -> None:
    """Keep a picture in the folder that SCREENSHOTS names, if it is set."""
    if folder := os.environ.get("SCREENSHOTS"):
        image = await picture(tab.page)
        (Path(folder) / f"{name}.png").write_bytes(image)


async def pasted(visit: Visit, rows: str, reason: str = "moved to the new portal") -> Tab:
    """Alice's tab, in which she sent the form of `/unlatch many` with these rows."""
    alice = await visit.tab()
    await alice.say("/unlatch many")
    await alice.page.get_by_role("textbox", name="Stax Bill IDs").fill(rows)
    await alice.page.get_by_role("textbox", name="Reason").fill(reason)
    await alice.page.get_by_test_id("modal").get_by_role("button", name="Ask").click()
    return alice


async def test_the_same_form_asks_for_the_column_and_keeps_the_text(visit: Visit) -> None:
    alice = await pasted(visit, ROWS)
    menu = alice.page.get_by_role("combobox", name="Which column holds the customers?")
    await expect(menu).to_be_focused()
    await expect(alice.page.get_by_role("textbox", name="Stax Bill IDs")).to_have_value(ROWS)
    for width, height, theme in SIZES:
        await alice.resize(width, height, theme)
        assert await alice.page.evaluate(OVERFLOWING) == []
        await keep(alice, f"column-{theme}-{width}")
    await alice.page.get_by_test_id("modal").get_by_role("button", name="Ask").click()
    await expect(menu).to_have_attribute("aria-invalid", "true")
    await expect(alice.page.get_by_test_id("modal")).to_contain_text("required field")
    await menu.select_option(label="2554529, 3100025, 3100033")
    await alice.page.get_by_test_id("modal").get_by_role("button", name="Ask").click()
    await expect(alice.page.get_by_test_id("modal")).to_be_hidden()
    await expect(alice.card).to_contain_text("Unlatch 3 customers?")


async def test_the_question_names_each_customer_on_its_button(visit: Visit) -> None:
    visit.sandbox.fusebill.customers[1337] = {
        **visit.sandbox.fusebill.customers[3100025],
        "id": 1337,
    }
    visit.sandbox.fusebill.customers[2554529]["reference"] = "0001337"
    alice = await visit.tab()
    await alice.say("/unlatch 0001337 moved to the new portal")
    first, other = (
        alice.page.get_by_role("button", name=name)
        for name in ("Stolen Bikes (2554529)", "Maple & Pine Joinery (1337)")
    )
    for width, height, theme in SIZES:
        await alice.resize(width, height, theme)
        await expect(first).to_be_visible()
        await expect(other).to_be_visible()
        await keep(alice, f"question-{theme}-{width}")
    await first.click()
    await expect(alice.card).to_contain_text("Unlatch Stolen Bikes (2554529)?")
