"""The page draws a table as Slack does: a header row, aligned columns, scrolled sideways."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from bot.sandbox.slack.validation.block_kit import problems
from tests.browser.conftest import OpenVisit, Tab, Theme
from tests.browser.posting import post
from tests.browser.test_layout import WIDE

pytestmark = pytest.mark.asyncio(loop_scope="session")

THEMES: tuple[Theme, ...] = ("light", "dark")
CONTRAST = """(node) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) =>
      part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (each) => {
    const colour = getComputedStyle(each).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? ground(each.parentElement) : colour;
  };
  const [one, other] = [getComputedStyle(node).color, ground(node)].map(luminance);
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


def raw(text: str) -> dict[str, Any]:
    return {"type": "raw_text", "text": text}


def rich(text: str, **style: bool) -> dict[str, Any]:
    words = {"type": "text", "text": text, "style": style}
    section = {"type": "rich_text_section", "elements": [words]}
    return {"type": "rich_text", "elements": [section]}


def table(outcome: str = "✅ unlatched") -> dict[str, Any]:
    titles = ["Id", "Company", "Reference", "Contact", "Company id", "Outcome"]
    rows = [
        [raw("2554529"), raw("Stolen Bikes"), raw("REF-7"), raw("101"), raw("202"), raw(outcome)],
        [
            raw("3100017"),
            raw("Königlich Bayerische Fahrradwerkstätten und Ersatzteile GmbH & Co. KG"),
            raw("REF-3100017"),
            {"type": "raw_number", "value": 9, "text": "9"},
            raw("20200"),
            raw("⚠️ not done, the ids changed"),
        ],
        [
            raw("3100025"),
            raw("אופניים גנובים"),
            raw("-"),
            raw("303"),
            raw("4"),
            rich("no", bold=True),
        ],
    ]
    right = {"align": "right"}
    return {
        "type": "table",
        "rows": [[raw(title) for title in titles], *rows],
        "column_settings": [right, {"is_wrapped": True}, None, right, right],
    }


async def posted(tab: Tab) -> Locator:
    """Post a table that Slack would take, and wait until it is drawn."""
    assert problems([table()]) == []
    post(tab, table())
    drawn = tab.card.get_by_test_id("table")
    await expect(drawn).to_be_visible()
    return drawn


async def test_the_first_row_is_the_header(alice: Tab) -> None:
    drawn = await posted(alice)
    await expect(drawn.get_by_role("columnheader")).to_have_text(
        ["Id", "Company", "Reference", "Contact", "Company id", "Outcome"]
    )
    await expect(drawn.get_by_role("row")).to_have_count(4)
    await expect(drawn.get_by_role("row").nth(1).get_by_role("cell")).to_have_text(
        ["2554529", "Stolen Bikes", "REF-7", "101", "202", "✅ unlatched"]
    )
    await expect(drawn.locator("td strong")).to_have_text("no")


async def test_on_a_phone_each_cell_is_legible_and_only_the_table_scrolls_by_keyboard(
    open_visit: OpenVisit,
) -> None:
    async with open_visit(width=380, height=760) as visit:
        alice = await visit.tab()
        drawn = await posted(alice)
        cells = await drawn.locator("th, td").all()
        for theme in THEMES:
            await alice.resize(380, 760, theme)
            assert min([await cell.evaluate(CONTRAST) for cell in cells]) > 4.5
        last = drawn.get_by_role("cell", name="✅ unlatched")
        await expect(last).not_to_be_in_viewport(ratio=1)
        await drawn.focus()
        for _ in range(15):
            await alice.page.keyboard.press("ArrowRight")
        await expect(last).to_be_in_viewport(ratio=0.9)
        assert await alice.page.evaluate(WIDE) == []


async def test_on_a_phone_the_ids_that_change_are_in_view(open_visit: OpenVisit) -> None:
    async with open_visit(width=380, height=760) as visit:
        alice = await visit.tab()
        await alice.ask("/unlatch 2554529, 3100033, 3100066, 3100090, 3100128 moved")
        drawn = alice.card.get_by_test_id("table")
        end = await drawn.evaluate("table => table.getBoundingClientRect().right")
        ids = await drawn.locator("tr > :nth-child(3)").evaluate_all(
            "cells => cells.map((cell) => cell.getBoundingClientRect().right)"
        )
        assert max(ids) < end
