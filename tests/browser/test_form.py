"""The form that declines a request, as people see and use it on the page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Tab, Theme, Visit
from tests.browser.test_layout import WIDE

pytestmark = pytest.mark.asyncio(loop_scope="session")

OVERFLOWING = """() => [...document.querySelectorAll("#modal, #modal *")]
  .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth)
  .map((node) => `${node.tagName} ${node.id}: ${node.scrollWidth} in ${node.clientWidth} px`)"""
INSIDE = "() => document.getElementById('modal').contains(document.activeElement)"
CONTRAST = """(node) => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = (colour) => {
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    const parts = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = getComputedStyle(document.getElementById("modal")).backgroundColor;
  const [one, other] = [light(getComputedStyle(node).color), light(ground)];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


SIZES: list[tuple[int, int, Theme]] = [
    (380, 760, "dark"),
    (380, 360, "light"),
    (1280, 800, "dark"),
]


def form(tab: Tab) -> Locator:
    return tab.page.get_by_test_id("modal")


def reason(tab: Tab) -> Locator:
    return tab.page.get_by_role("textbox", name="Reason")


async def declining(visit: Visit) -> Tab:
    """Bob's tab, in which he pressed Cancel on Alice's card."""
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.ask()
    await bob.page.bring_to_front()
    await bob.press("Cancel")
    await expect(form(bob)).to_be_visible()
    return bob


def answer(visit: Visit, body: dict[str, Any]) -> None:
    """Show in the open form what the bot would have answered."""
    [shown] = visit.sandbox.slack.views.all()
    visit.sandbox.slack.views.answer(shown.id, json.dumps(body), failed=False)


async def test_the_form_has_its_title_what_it_is_about_and_an_optional_input(
    visit: Visit,
) -> None:
    bob = await declining(visit)
    await expect(bob.page.get_by_role("dialog", name="Decline this request?")).to_be_visible()
    await expect(form(bob)).to_contain_text("Customer: Stolen Bikes (2554529)")
    await expect(form(bob)).to_contain_text("Asked by @Alice")
    await expect(form(bob)).to_contain_text("Reason (optional)")
    await expect(reason(bob)).to_have_attribute("maxlength", "500")
    await expect(bob.page.get_by_role("button", name="Decline")).to_be_visible()
    await expect(form(bob).get_by_test_id("unknown-block")).to_have_count(0)
    alice = await visit.tab()
    await expect(alice.card).to_be_visible()
    await expect(form(alice)).to_be_hidden()


async def test_a_form_sent_with_the_keyboard_closes_and_the_card_shows_the_reason_as_text(
    visit: Visit,
) -> None:
    bob = await declining(visit)
    await expect(reason(bob)).to_be_focused()
    await bob.page.keyboard.type("<img src=x onerror=alert(1)>")
    await expect(form(bob)).to_contain_text("472")
    await bob.page.keyboard.press("Control+Enter")
    await expect(form(bob)).to_be_hidden()
    await expect(bob.card).to_contain_text("Declined: Stolen Bikes (2554529)")
    await expect(bob.card).to_contain_text(": <img src=x onerror=alert(1)>")
    await expect(bob.card).to_contain_text("By @Bob")
    await expect(bob.page.locator("#app img[src=x]")).to_have_count(0)


async def test_the_focus_stays_inside(visit: Visit) -> None:
    bob = await declining(visit)
    for key in ["Tab"] * 8 + ["Shift+Tab"] * 16:
        await bob.page.keyboard.press(key)
        # the browser's own controls may come between, but nothing of the page behind
        behind = await bob.page.evaluate("() => document.activeElement !== document.body")
        assert not behind or await bob.page.evaluate(INSIDE)
    await bob.page.keyboard.press("Tab")
    await expect(form(bob)).to_be_visible()


async def test_a_closed_form_decides_nothing_and_the_focus_returns(visit: Visit) -> None:
    bob = await declining(visit)
    await reason(bob).fill("wrong customer")
    await bob.page.keyboard.press("Escape")
    await expect(form(bob)).to_be_hidden()
    await expect(bob.button("Cancel")).to_be_focused()
    await bob.press("Cancel")
    await bob.page.get_by_test_id("modal-close").click()
    await expect(form(bob)).to_be_hidden()
    await expect(bob.button("Cancel")).to_be_focused()
    await expect(bob.button("Unlatch Stolen Bikes")).to_be_visible()


async def test_an_error_is_shown_beside_its_input_and_what_was_typed_is_kept(
    visit: Visit,
) -> None:
    bob = await declining(visit)
    await reason(bob).fill("wrong customer")
    answer(visit, {"response_action": "errors", "errors": {"reason": "Press Decline again."}})
    error = form(bob).get_by_test_id("modal-error")
    await expect(error).to_have_text("Press Decline again.")
    await expect(reason(bob)).to_have_value("wrong customer")
    await expect(reason(bob)).to_have_attribute("aria-invalid", "true")
    await expect(reason(bob)).to_have_accessible_description(
        "Press Decline again. Everybody in the channel can read it."
    )
    await expect(reason(bob)).to_be_focused()


async def test_who_comes_too_late_reads_in_the_form_who_was_quicker(visit: Visit) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.ask()
    await bob.press("Cancel")
    await reason(bob).fill("wrong customer")
    await alice.press("Unlatch Stolen Bikes")
    await expect(alice.card).to_contain_text("Unlatched")
    await expect(reason(bob)).to_have_value("wrong customer")
    await bob.page.get_by_role("button", name="Decline").click()
    await expect(form(bob)).to_contain_text("was confirmed by @Alice")
    await expect(bob.page.get_by_test_id("modal-submit")).to_be_hidden()
    await bob.page.get_by_test_id("modal-close").click()
    await expect(form(bob)).to_be_hidden()


async def test_a_bot_that_does_not_answer_is_slacks_trouble_and_the_form_stays(
    visit: Visit,
) -> None:
    bob = await declining(visit)
    visit.sandbox.slack.request_url = "http://127.0.0.1:9/slack/events"
    await reason(bob).fill("wrong customer")
    await bob.page.get_by_role("button", name="Decline").click()
    await expect(bob.page.get_by_test_id("modal-problem")).to_contain_text("trouble connecting")
    await expect(reason(bob)).to_have_value("wrong customer")


async def test_the_form_fits_every_size_and_is_readable_in_both_themes(visit: Visit) -> None:
    alice, bob = await visit.tab(), await visit.tab("U0BOB")
    await alice.ask(f"/unlatch 3100058 {'w' * 300}")
    await bob.press("Cancel")
    await expect(form(bob)).to_be_visible()
    answer(visit, {"response_action": "errors", "errors": {"reason": "y" * 200}})
    await expect(form(bob).get_by_test_id("modal-error")).to_be_visible()
    for width, height, theme in SIZES:
        await bob.resize(width, height, theme)
        assert await bob.page.evaluate(OVERFLOWING) == []
        assert await bob.page.evaluate(WIDE) == []
        for name in ("Decline", "Back"):
            button = bob.page.get_by_role("button", name=name, exact=True)
            await expect(button).to_be_in_viewport(ratio=1)
        for shown in ("#modal-title", ".modal-error", ".modal-hint", ".modal-optional"):
            assert await form(bob).locator(shown).first.evaluate(CONTRAST) >= 4.5, shown
