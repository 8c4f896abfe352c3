"""At every size and in both themes, nothing overflows or moves by itself."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenVisit, Theme, Visit
from tests.browser.posting import button, post, section
from tests.support.names import CUSTOMERS

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDE = """() => [...document.querySelectorAll("html, .scroller, #sidebar, #sidebar ul, .topbar")]
  .filter((node) => node.scrollWidth > node.clientWidth)
  .map((node) => `${node.tagName} ${node.id}: ${node.scrollWidth} in ${node.clientWidth} px`)"""
SHIFTED = """() => [...document.querySelectorAll("html, body, #app, .channel")]
  .filter((node) => node.scrollTop || node.scrollHeight > node.clientHeight)
  .map((node) => `${node.tagName} ${node.id}: ${node.scrollHeight} in ${node.clientHeight} px`)"""


SIZES: list[tuple[int, Theme]] = [(380, "dark"), (768, "light"), (1440, "dark")]


async def test_nothing_overflows(visit: Visit) -> None:
    alice = await visit.tab()
    await alice.ask(f"/unlatch 3100058 {'w' * 300}")
    await alice.press("Cancel")
    await alice.card.get_by_test_id("replies").click()
    for width, theme in SIZES:
        await alice.resize(width, 760, theme)
        await expect(alice.thread).to_be_in_viewport(ratio=1)
        assert await alice.page.evaluate(WIDE) == []
    await alice.page.get_by_test_id("thread-close").click()
    await alice.say("/unlatch 999")
    await expect(alice.ephemeral).to_be_visible()
    post(
        alice,
        section("A customer by its side " * 3, accessory=button("Use this one", "use")),
        {
            "type": "actions",
            "elements": [button("A button with a long label", f"a{n}") for n in range(4)],
        },
    )
    await expect(alice.button("Use this one")).to_be_visible()
    for width, theme in SIZES:
        await alice.resize(width, 760, theme)
        assert await alice.page.evaluate(WIDE) == []


async def test_the_skip_link_does_not_shift_the_page(open_visit: OpenVisit) -> None:
    async with open_visit(width=380, height=760) as visit:
        alice = await visit.tab()
        for customer_id in CUSTOMERS[:2]:
            await alice.ask(f"/unlatch {customer_id} moved")
        await alice.page.get_by_role("link", name="Skip to the message box").focus()
        await alice.page.keyboard.press("Enter")
        await expect(alice.page.locator("#composer-text")).to_be_focused()
        assert await alice.page.evaluate(SHIFTED) == []
        await expect(alice.page.locator("#menu-button, #people").last).to_be_in_viewport(ratio=1)
