"""Several tabs at once: each follows what the others do, and none takes anything from another."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONNECTIONS_OF_A_HOST = 6


async def put(tab: Tab, *, out_of_sight: bool) -> None:
    """Let a tab think that another one covers it; a browser without a screen shows them all."""
    await tab.page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        out_of_sight,
    )


async def test_another_tab_follows_without_a_reload(visit: Visit) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.ask("/unlatch 3100025 closed")
    await expect(bob.card).to_contain_text("Unlatch Maple & Pine Joinery (3100025)?")
    await alice.press("Unlatch customer")
    await expect(bob.card).to_contain_text("Unlatched: Maple & Pine Joinery (3100025)")
    await expect(bob.customer(3100025)).to_contain_text("not latched")


async def test_tabs_out_of_sight_leave_the_browsers_connections_to_the_one_in_sight(
    visit: Visit,
) -> None:
    covered = []
    for _ in range(CONNECTIONS_OF_A_HOST):
        covered.append(await visit.tab())
        await put(covered[-1], out_of_sight=True)
    first, last = covered[0], await visit.tab("U0BOB")
    await last.ask()
    await expect(first.card).to_have_count(0)
    await put(first, out_of_sight=False)
    await expect(first.card).to_contain_text("Unlatch Stolen Bikes (2554529)?")
    await expect(first.page.get_by_test_id("reconnecting")).to_be_hidden()


async def test_who_writes_keeps_the_draft_and_the_focus_while_another_tab_is_busy(
    visit: Visit,
) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    box = alice.page.locator("#composer-text")
    await box.press_sequentially("/unlatch 3100025 cl")
    await box.evaluate("node => node.setSelectionRange(3, 5)")
    await bob.ask()
    await bob.press("Unlatch customer")
    await expect(alice.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    await expect(box).to_be_focused()
    await expect(box).to_have_value("/unlatch 3100025 cl")
    assert await box.evaluate("node => [node.selectionStart, node.selectionEnd]") == [3, 5]


async def test_a_focused_button_stays_focused_while_another_tab_is_busy(visit: Visit) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.ask()
    await alice.button("Cancel").focus()
    await bob.say("Wait a moment")
    await expect(alice.card).to_contain_text("Wait a moment")
    cancel = alice.page.locator("#messages").get_by_role("button", name="Cancel")
    await expect(cancel).to_be_focused()
