"""From `/unlatch` to the result, as people see it on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenVisit, Tab, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")


def latched(tab: Tab) -> tuple[object, object]:
    """The HubSpot ids of Stolen Bikes in the simulated Fusebill."""
    customer = tab.sandbox.fusebill.customers[2554529]
    return customer["hubSpotId"], customer["hubSpotCompanyId"]


async def test_a_customer_can_be_unlatched_with_the_mouse_alone(alice: Tab) -> None:
    await alice.customer(2554529).get_by_test_id("use").click()
    await alice.page.get_by_test_id("send").click()
    await expect(alice.card).to_contain_text("Unlatch Stolen Bikes (2554529)?")
    await alice.idle()
    await alice.press("Unlatch Stolen Bikes")
    await expect(alice.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    await expect(alice.card).to_contain_text("By @Alice")
    await expect(alice.customer(2554529)).to_contain_text("not latched")
    assert latched(alice) == (None, None)
    await alice.page.get_by_test_id("reset").click()
    await expect(alice.customer(2554529)).to_contain_text("contact 101")


async def test_a_customer_can_be_unlatched_with_the_keyboard_alone(alice: Tab) -> None:
    keyboard = alice.page.keyboard
    await keyboard.press("Tab")
    await keyboard.press("Enter")  # "Skip to the message box"
    await expect(alice.page.locator("#composer-text")).to_be_focused()
    await keyboard.type("/unl")
    await keyboard.press("Enter")  # accepts the completion
    await keyboard.type("2554529 moved")
    await keyboard.press("Enter")
    await expect(alice.button("Cancel")).to_be_visible()
    await alice.idle()
    await keyboard.press("Shift+Tab")
    await keyboard.press("Shift+Tab")
    await expect(alice.button("Unlatch Stolen Bikes")).to_be_focused()
    await keyboard.press("Enter")
    await expect(alice.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    assert latched(alice) == (None, None)


async def test_cancel_leaves_the_customer_latched_and_moves_the_focus_to_the_card(
    alice: Tab,
) -> None:
    await alice.ask()
    await alice.button("Cancel").focus()
    await alice.page.keyboard.press("Enter")
    await expect(alice.card).to_contain_text("Cancelled")
    await expect(alice.card).to_be_focused()
    await expect(alice.card).to_contain_text("By @Alice")
    await expect(alice.button("Unlatch Stolen Bikes")).to_have_count(0)
    assert latched(alice) == (101, 202)


async def test_a_card_expires_after_the_time_in_the_environment(
    open_visit: OpenVisit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLATCH_EXPIRES_AFTER_S", "1")
    async with open_visit() as visit:
        alice = await visit.tab()
        await alice.ask()
        await expect(alice.card).to_contain_text("Nobody decided in time")
        await expect(alice.button("Unlatch Stolen Bikes")).to_have_count(0)


async def test_a_guest_who_clicks_is_refused_in_an_ephemeral(visit: Visit) -> None:
    alice, guest = await visit.tab(), await visit.tab("U0GUEST")
    await alice.ask()
    await guest.press("Unlatch Stolen Bikes")
    await expect(guest.ephemeral).to_contain_text("People from other organisations may not confirm")
    await expect(guest.ephemeral).to_contain_text("Only visible to you")
    await expect(alice.ephemeral).to_have_count(0)
    assert latched(alice) == (101, 202)


async def test_the_bar_changes_the_viewer_and_so_the_ephemerals_also_after_a_reload(
    alice: Tab,
) -> None:
    await alice.say("/unlatch")
    await expect(alice.ephemeral).to_be_visible()
    await alice.page.get_by_test_id("be-U0BOB").check()
    await expect(alice.ephemeral).to_have_count(0)
    await alice.ask()
    await expect(alice.card).to_contain_text("Asked by @Bob")
    await alice.page.reload()
    await expect(alice.page.get_by_test_id("be-U0BOB")).to_be_checked()
    await expect(alice.button("Unlatch Stolen Bikes")).to_be_visible()


async def test_the_thread_opens_from_its_replies_and_escape_restores_the_focus(
    alice: Tab,
) -> None:
    await alice.ask()
    await alice.press("Unlatch Stolen Bikes")
    replies = alice.card.get_by_test_id("replies")
    await expect(replies).to_contain_text("1 reply")
    await replies.focus()
    await alice.page.keyboard.press("Enter")
    await expect(alice.thread).to_contain_text("@Alice asked")
    await expect(alice.thread).to_contain_text("Fusebill: HTTP 200")
    await expect(alice.page.get_by_test_id("thread-close")).to_be_focused()
    await alice.page.keyboard.press("Escape")
    await expect(alice.thread).to_be_hidden()
    await expect(replies).to_be_focused()


async def test_the_two_person_rule_is_a_switch_of_the_page(alice: Tab) -> None:
    rule = alice.page.get_by_test_id("two-person")
    await rule.check()
    await expect(rule).to_be_enabled()
    await alice.ask()
    await expect(alice.card).to_contain_text("Somebody else has to confirm.")
    await alice.press("Unlatch Stolen Bikes")
    await expect(alice.ephemeral).to_contain_text("needs somebody else to confirm")
    await rule.uncheck()
    await expect(rule).to_be_enabled()
    await alice.ask("/unlatch 3100033 moved")
    await expect(alice.card).not_to_contain_text("Somebody else has to confirm.")
