"""A tablet or a phone, where an open thread covers the channel, and who writes beside a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.browser.conftest import OpenVisit, Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_thread(tab: Tab) -> None:
    """Decide about a customer, and open the thread of its card."""
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
    """Bring the customers into sight: on a phone they are in the menu."""
    menu = tab.page.get_by_test_id("menu")
    if await menu.is_visible():
        await menu.click()


async def seen(place: Locator) -> None:
    """Expect a place to be on the screen, and nothing to hide it."""
    await expect(place).to_be_visible()
    await expect(place).to_be_in_viewport(ratio=1)


async def test_a_customer_that_is_used_leads_to_the_message_box(covered: Tab) -> None:
    await open_menu(covered)
    await covered.customer(3100025).get_by_test_id("use").click()
    await expect(covered.thread).to_be_hidden()
    await expect(covered.page.locator("#composer-text")).to_be_focused()
    await expect(covered.page.locator("#composer-text")).to_have_value("/unlatch 3100025 ")


async def test_the_channels_name_leads_to_the_channel(covered: Tab) -> None:
    await open_menu(covered)
    await covered.page.locator("#channel-link").click()
    await expect(covered.thread).to_be_hidden()
    await expect(covered.page.locator("#composer-text")).to_be_visible()


async def test_the_skip_link_leads_to_the_message_box(covered: Tab) -> None:
    await covered.page.get_by_role("link", name="Skip to the message box").focus()
    await covered.page.keyboard.press("Enter")
    await expect(covered.page.locator("#composer-text")).to_be_focused()
    await expect(covered.page.locator("#composer-text")).to_be_in_viewport(ratio=1)


async def test_that_slack_is_down_is_said_over_the_thread(covered: Tab) -> None:
    await open_menu(covered)
    await covered.page.get_by_test_id("slack-down").click()
    banner = covered.page.get_by_test_id("slack-banner")
    await seen(banner)
    if await covered.page.get_by_test_id("menu").is_visible():
        await covered.page.keyboard.press("Escape")
    await expect(covered.thread).to_be_visible()
    await seen(banner)


async def test_a_lost_sandbox_and_what_went_wrong_are_said_over_the_thread(covered: Tab) -> None:
    slack, page = covered.sandbox.slack, covered.page
    await slack.__aexit__()
    await seen(page.get_by_test_id("reconnecting"))
    await open_menu(covered)
    await page.get_by_test_id("slack-down").click()
    wrong = page.get_by_test_id("problem")
    await expect(wrong).to_have_text("The sandbox does not answer. Is it still running?")
    await seen(wrong)
    if await page.get_by_test_id("menu").is_visible():
        await page.keyboard.press("Escape")
    await expect(covered.thread).to_be_visible()
    await seen(wrong)
    await slack.__aenter__()
    await expect(page.get_by_test_id("reconnecting")).to_be_hidden()
    await expect(wrong).to_be_hidden()


async def test_beside_a_thread_customers_and_channel_leave_it_open(alice: Tab) -> None:
    await open_thread(alice)
    await alice.customer(3100025).get_by_test_id("use").click()
    await alice.page.locator("#channel-link").click()
    await expect(alice.thread).to_be_visible()


async def test_escape_closes_the_thread_but_not_on_somebody_who_writes(alice: Tab) -> None:
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


async def test_a_thread_that_a_new_sandbox_does_not_know_is_closed(alice: Tab) -> None:
    await open_thread(alice)
    workspace = alice.sandbox.slack.workspace
    for message in workspace.everything("C0BILLING"):
        workspace.delete_message("C0BILLING", message.ts)
    await expect(alice.thread).to_be_hidden()
    await expect(alice.page.locator("#composer-text")).to_be_focused()
