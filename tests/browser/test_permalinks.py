"""Links to messages: the page shows the message and opens no other page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from bot.sandbox.page.api import CHANNEL_ID
from tests.browser.conftest import OpenVisit, Tab
from tests.browser.posting import post, section

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def follow(tab: Tab, name: str) -> None:
    """Click the first link with this name in the channel; no tab may open."""
    tabs = len(tab.page.context.pages)
    await tab.page.locator("#messages").get_by_role("link", name=name).first.click()
    assert len(tab.page.context.pages) == tabs


async def test_a_permalink_shows_its_message(alice: Tab) -> None:
    await alice.ask()
    ts = alice.sandbox.slack.workspace.messages(CHANNEL_ID)[0].ts
    url = f"https://sandbox.slack.com/archives/{CHANNEL_ID}/p{ts.replace('.', '')}"
    for _ in range(3):
        post(alice, section("*A message*\n\n\n\n\n\n"))
    post(alice, section(f"<{url}|the card>"))
    await follow(alice, "the card")
    card = alice.page.locator(f"#messages [data-ts='{ts}']")
    await expect(card).to_be_focused()
    await expect(card).to_be_in_viewport()


@pytest.mark.parametrize("width", [380, 1280])
async def test_a_permalink_into_a_thread_opens_the_thread_at_the_card(
    open_visit: OpenVisit, width: int
) -> None:
    async with open_visit(width=width) as visit:
        alice = await visit.tab()
        await alice.ask()
        await alice.press("Unlatch Stolen Bikes")
        await expect(alice.card).to_contain_text("Unlatched")
        await alice.idle()
        await alice.press("Undo…")
        await expect(alice.card.get_by_test_id("replies")).to_contain_text("2 replies")
        await alice.idle()
        await alice.say("/unlatch history")
        await expect(alice.ephemeral.get_by_role("link", name="card")).to_have_count(2)
        # whatever is still drawn would take the link from under the mouse
        await alice.idle()
        await follow(alice, "card")
        undo = alice.thread.get_by_test_id("message").last
        await expect(undo).to_contain_text("Latch Stolen Bikes (2554529) again?")
        await expect(undo).to_be_focused()
        await expect(undo).to_be_in_viewport()


async def test_a_permalink_to_a_deleted_message_shows_an_error(alice: Tab) -> None:
    path = "p1700000000000200?thread_ts=17.01&cid=C"
    post(alice, section(f"<https://sandbox.slack.com/archives/{CHANNEL_ID}/{path}|the card>"))
    await follow(alice, "the card")
    await expect(alice.page.get_by_test_id("problem")).to_have_text(
        "That message is no longer there."
    )
    await expect(alice.thread).to_be_hidden()
