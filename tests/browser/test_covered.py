"""An open thread: it covers the channel on a tablet or a phone, and is beside it on a desktop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.browser.conftest import OpenVisit, Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_thread(tab: Tab) -> None:
    """Cancel a request and open the thread of its card."""
    await tab.ask()
    await tab.press("Cancel")
    await tab.card.get_by_test_id("replies").click()
    await expect(tab.thread).to_be_visible()


@pytest_asyncio.fixture(loop_scope="session", params=[768, 380], ids=["tablet", "phone"])
async def covered(open_visit: OpenVisit, request: pytest.FixtureRequest) -> AsyncIterator[Tab]:
    """Alice's tab, where a thread covers the channel."""
    async with open_visit(width=request.param, height=800) as visit:
        alice = await visit.tab()
        await open_thread(alice)
        await expect(alice.page.locator("#composer-text")).to_be_hidden()
        yield alice


async def open_menu(tab: Tab) -> None:
    """Open the sidebar: on a phone it is behind the menu button."""
    menu = tab.page.get_by_test_id("menu")
    if await menu.is_visible():
        await menu.click()


async def expect_on_screen(element: Locator) -> None:
    """Expect an element to be visible and wholly in the viewport."""
    await expect(element).to_be_visible()
    await expect(element).to_be_in_viewport(ratio=1)


async def test_whatever_leads_to_the_channel_or_its_message_box_uncovers_it(covered: Tab) -> None:
    box = covered.page.locator("#composer-text")
    await open_menu(covered)
    await covered.customer(3100025).get_by_test_id("use").click()
    await expect(covered.thread).to_be_hidden()
    await expect(box).to_be_focused()
    await expect(box).to_have_value("/unlatch 3100025 ")
    await covered.card.get_by_test_id("replies").click()
    await expect(box).to_be_hidden()
    await covered.page.get_by_role("link", name="Skip to the message box").focus()
    await covered.page.keyboard.press("Enter")
    await expect(box).to_be_focused()
    await expect(box).to_be_in_viewport(ratio=1)
    await covered.card.get_by_test_id("replies").click()
    await open_menu(covered)
    await covered.page.locator("#channel-link").click()
    await expect(covered.thread).to_be_hidden()
    await expect(box).to_be_visible()


async def test_a_lost_connection_and_an_error_are_visible_above_the_thread(covered: Tab) -> None:
    slack, page = covered.sandbox.slack, covered.page
    await slack.__aexit__()
    await expect_on_screen(page.get_by_test_id("reconnecting"))
    await open_menu(covered)
    await page.get_by_test_id("slack-down").click()
    problem = page.get_by_test_id("problem")
    await expect(problem).to_have_text("The sandbox does not answer. Is it still running?")
    await expect_on_screen(problem)
    if await page.get_by_test_id("menu").is_visible():
        await page.keyboard.press("Escape")
    await expect(covered.thread).to_be_visible()
    await expect_on_screen(problem)
    await slack.__aenter__()
    await expect(page.get_by_test_id("reconnecting")).to_be_hidden()
    await expect(problem).to_be_hidden()


async def test_on_a_desktop_using_a_customer_leaves_the_thread_open(alice: Tab) -> None:
    await open_thread(alice)
    await alice.customer(3100025).get_by_test_id("use").click()
    await alice.page.locator("#channel-link").click()
    await expect(alice.thread).to_be_visible()


async def test_escape_closes_the_thread_but_not_while_somebody_types(alice: Tab) -> None:
    await open_thread(alice)
    box = alice.page.locator("#composer-text")
    await box.fill("A draft")
    await box.press("Escape")
    await expect(alice.thread).to_be_visible()
    await expect(box).to_be_focused()
    await alice.page.locator("#thread-scroller").focus()
    await alice.page.keyboard.press("Escape")
    await expect(alice.thread).to_be_hidden()
    await expect(box).to_have_value("A draft")
