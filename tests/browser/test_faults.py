"""What people see when Fusebill or Slack fails, with the faults set on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from bot.sandbox.fusebill.simulator import KINDS
from bot.sandbox.runner import ANY_CALL, CHANGES
from tests.browser.conftest import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

READS = {
    "not_found": "Fusebill has no customer 2554529",
    "door": "Access denied by policy 7 (HTTP 403)",
    "hang": "Still reading customer 2554529",
}
CALLS = {
    2554529: ("late", "Cleared contact 101"),
    3100025: ("conflict", "while it is being synchronised. (HTTP 409)"),
    3100033: ("lost_before", "The bot doesn't know whether this was done"),
    3100066: ("many_errors", "+37 more"),
    3100090: ("slow", "Waiting for Fusebill"),
}


async def test_a_fault_set_on_the_page_is_what_a_read_meets(alice: Tab) -> None:
    for kind, said in READS.items():
        await alice.page.get_by_test_id("fault").select_option(kind)
        await alice.say("/unlatch 2554529 moved")
        await expect(alice.ephemeral).to_contain_text(said)


async def test_a_fault_set_on_the_page_is_what_a_call_meets(alice: Tab) -> None:
    fault = alice.page.get_by_test_id("fault")
    for customer_id, (kind, said) in CALLS.items():
        await fault.select_option("")
        await alice.ask(f"/unlatch {customer_id} moved")
        await fault.select_option(kind)
        await alice.press("Unlatch")
        await expect(alice.card).to_contain_text(said)


async def test_each_fault_on_the_page_is_one_that_fusebill_knows(alice: Tab) -> None:
    options = (
        await alice.page.get_by_test_id("fault")
        .locator("option")
        .evaluate_all("options => options.map((option) => option.value).filter(Boolean)")
    )
    assert {*options} == {*ANY_CALL, *CHANGES}
    assert {*options} <= {*KINDS}


async def test_the_page_shows_which_fault_is_set(alice: Tab) -> None:
    switch = alice.page.get_by_test_id("fault")
    await switch.select_option("not_found")
    await expect(switch).to_have_class("set")
    alice.sandbox.fusebill.behave()
    await expect(switch).to_have_value("")


async def test_what_slack_missed_while_it_was_down_is_posted_afterwards(
    alice: Tab,
) -> None:
    await alice.ask()
    await alice.page.get_by_test_id("slack-down").click()
    await expect(alice.page.get_by_test_id("slack-banner")).to_contain_text("for another 1")
    await alice.press("Unlatch Stolen Bikes")
    await expect(alice.customer(2554529)).to_contain_text("not latched")
    await expect(alice.button("Unlatch Stolen Bikes")).to_be_visible()
    await alice.page.get_by_test_id("slack-down").click()
    await expect(alice.page.get_by_test_id("slack-banner")).to_be_hidden()
    await expect(alice.card).to_contain_text("Unlatched: Stolen Bikes (2554529)")
    await expect(alice.card.get_by_test_id("replies")).to_contain_text("1 reply")
