"""The page: what it draws, what it announces, and what it must not execute."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab, Visit
from tests.browser.posting import post, section
from tests.support.names import CUSTOMERS

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=alert(1)> <script>alert(1)</script> & <!channel>"


async def test_every_block_that_the_bot_sends_is_known_and_nothing_is_loaded_from_elsewhere(
    visit: Visit,
) -> None:
    alice = await visit.tab()
    for text in ("help", "find a", "history", "3100017", "999", "abc"):
        await alice.say(f"/unlatch {text}")
    await alice.ask()
    await alice.press("Unlatch Stolen Bikes")
    await alice.card.get_by_test_id("replies").click()
    await expect(alice.thread).to_contain_text("Unlatched")
    await expect(alice.page.get_by_test_id("unknown-block")).to_have_count(0)
    assert {urlsplit(url).hostname for url in visit.requests} == {"127.0.0.1"}


async def test_unknown_blocks_and_elements_are_shown_as_errors(alice: Tab) -> None:
    post(
        alice,
        {"type": "video"},
        {"type": "section", "text": {"type": "html", "text": "x"}},
        {"type": "actions", "elements": [{"type": "datepicker", "action_id": "a"}]},
        {"type": "context", "elements": [{"type": "image"}]},
        {"type": "rich_text", "elements": [{"type": "rich_text_table"}]},
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "color"}]}],
        },
        {"type": "header"},
        section("and the rest is drawn"),
    )
    await expect(alice.card.locator(".error-box, .error-inline")).to_have_text(
        [
            "Unknown block “video”",
            "Unknown text object “html”",
            "Unknown block element “datepicker”",
            "Unknown context element “image”",
            "Unknown rich text element “rich_text_table”",
            "unknown rich text element “color”",
            "Unknown text object “undefined”",
        ]
    )
    await expect(alice.card).to_contain_text("and the rest is drawn")


async def test_markup_in_a_name_a_reason_a_message_and_an_error_is_text(alice: Tab) -> None:
    alice.sandbox.fusebill.customers[2554529]["companyName"] = HOSTILE
    alice.sandbox.slack.page_changed()
    await alice.ask(f"/unlatch 2554529 {HOSTILE}")
    await expect(alice.card).to_contain_text(f"{HOSTILE} (2554529)")
    await expect(alice.card).to_contain_text(f": {HOSTILE}")
    await expect(alice.customer(2554529)).to_contain_text(HOSTILE)
    await expect(alice.card.locator(".mention")).to_have_text(["@Alice"])
    alice.sandbox.fusebill.misbehave("hostile_error", text=HOSTILE)
    await alice.card.get_by_role("button", name="Unlatch").click()
    await expect(alice.card).to_contain_text(f"Fusebill: {HOSTILE}")
    await alice.say(HOSTILE)
    await expect(alice.card).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(alice.page.locator("#app :is(script, img[src=x])")).to_have_count(0)


async def test_the_page_allows_no_inline_scripts(visit: Visit) -> None:
    alice = await visit.tab()
    await alice.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = true'}))"
    )
    assert await alice.page.evaluate("window.ran") is None
    assert "Content Security Policy" in visit.errors.pop()


async def test_new_and_changed_messages_are_announced_politely(alice: Tab) -> None:
    region = alice.page.get_by_test_id("announcements")
    await expect(region).to_have_attribute("aria-live", "polite")
    await alice.ask()
    await expect(region).to_contain_text("unlatch: Unlatch Stolen Bikes (2554529)?")
    await alice.press("Cancel")
    await expect(region).to_contain_text("unlatch, changed: ")
    await alice.say("/unlatch")
    await expect(region).to_contain_text("unlatch, only visible to you: ")


async def test_a_chosen_theme_applies_to_all_tabs_and_is_remembered(visit: Visit) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.page.get_by_role("button", name="Switch to the dark theme").click()
    for tab in (alice, bob, await visit.tab()):
        await expect(tab.page.get_by_test_id("channel")).to_have_css(
            "background-color", "rgb(26, 29, 33)"
        )


async def test_new_messages_do_not_scroll_a_list_that_was_scrolled_up(
    alice: Tab,
) -> None:
    scroller, newer = alice.page.locator("#scroller"), alice.page.locator("#newer")
    for customer_id in CUSTOMERS[:3]:
        await alice.ask(f"/unlatch {customer_id} moved")
    await scroller.evaluate("node => { node.scrollTop = 0; }")
    await expect(newer).to_be_hidden()
    post(alice, section("News"))
    await expect(newer).to_be_visible()
    assert await scroller.evaluate("node => node.scrollTop") == 0
    await newer.click()
    await expect(alice.card).to_be_in_viewport()
