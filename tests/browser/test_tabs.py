"""Several tabs at once: each shows what the others do, and none disturbs another."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONNECTIONS_PER_HOST = 6


async def set_hidden(tab: Tab, *, hidden: bool) -> None:
    """Make a tab believe that it is hidden or visible; a headless browser shows them all."""
    await tab.page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_hidden_tabs_leave_the_browsers_connections_to_the_visible_one(
    visit: Visit,
) -> None:
    hidden_tabs = []
    for _ in range(CONNECTIONS_PER_HOST):
        hidden_tabs.append(await visit.tab())
        await set_hidden(hidden_tabs[-1], hidden=True)
    first, last = hidden_tabs[0], await visit.tab("U0BOB")
    await last.ask()
    await expect(first.card).to_have_count(0)
    await set_hidden(first, hidden=False)
    await expect(first.card).to_contain_text("Unlatch Stolen Bikes (2554529)?")
    await expect(first.page.get_by_test_id("reconnecting")).to_be_hidden()


async def test_more_visible_tabs_than_connections_are_all_up_to_date(visit: Visit) -> None:
    tabs = [await visit.tab() for _ in range(CONNECTIONS_PER_HOST + 1)]
    await tabs[-1].ask()
    for tab in tabs:
        await expect(tab.card).to_contain_text("Unlatch Stolen Bikes (2554529)?")
    await tabs[-1].press("Unlatch Stolen Bikes")
    for tab in tabs:
        await expect(tab.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    assert len([url for url in visit.requests if url.endswith("/page/events")]) == 1


async def test_a_draft_and_its_focus_survive_the_updates_of_another_tab(
    visit: Visit,
) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    box = alice.page.locator("#composer-text")
    await box.press_sequentially("/unlatch 3100025 cl")
    await box.evaluate("node => node.setSelectionRange(3, 5)")
    await bob.ask()
    await bob.press("Unlatch Stolen Bikes")
    await expect(alice.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("/unlatch 3100025 cl")
    assert await box.evaluate("node => [node.selectionStart, node.selectionEnd]") == [3, 5]
