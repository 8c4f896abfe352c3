"""The page's parts for many customers at once: picking them, progress, buttons side by side."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from bot.sandbox.page.api import CHANNEL_ID
from tests.browser.conftest import OpenVisit, Tab
from tests.browser.posting import button, post, section
from tests.browser.test_layout import WIDE
from tests.browser.test_table import CONTRAST, table

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_ORDER = (
    "2554529, 3100025, 3100033, 3100042, 3100058, 3100066, "
    "3100071, 3100084, 3100090, 3100105, 3100112, 3100128"
)
CURSOR = "(box) => [box.selectionStart, box.selectionEnd, box.value.length]"
BOXES = "(nodes) => nodes.map((node) => node.getBoundingClientRect().toJSON())"


def picker(tab: Tab) -> Locator:
    return tab.page.get_by_test_id("use-latched")


def box(tab: Tab) -> Locator:
    return tab.page.locator("#composer-text")


def leave_latched(tab: Tab, count: int) -> None:
    """Unlatch all but the first customers that are latched."""
    customers = tab.sandbox.fusebill.customers.values()
    latched = [row for row in customers if row["hubSpotId"] or row["hubSpotCompanyId"]]
    for row in latched[count:]:
        row.update(hubSpotId=None, hubSpotCompanyId=None)
    tab.sandbox.slack.page_changed()


async def test_one_button_puts_every_latched_id_into_the_message_box(alice: Tab) -> None:
    await alice.page.get_by_role("button", name="Use all 12 latched", exact=True).click()
    await expect(box(alice)).to_have_value(f"/unlatch {IN_ORDER} ")
    await expect(box(alice)).to_be_focused()
    start, end, length = await box(alice).evaluate(CURSOR)
    assert start == end == length
    await expect(alice.page.get_by_test_id("completion")).to_have_count(0)
    await alice.page.keyboard.type("moved")
    await expect(box(alice)).to_have_value(f"/unlatch {IN_ORDER} moved")


async def test_only_who_is_still_latched_is_picked_and_fewer_than_two_are_no_batch(
    alice: Tab,
) -> None:
    leave_latched(alice, 2)
    await expect(picker(alice)).to_have_text("Use all 2 latched")
    await picker(alice).click()
    await expect(box(alice)).to_have_value("/unlatch 2554529, 3100025 ")
    leave_latched(alice, 1)
    await expect(picker(alice)).to_be_disabled()
    await expect(picker(alice)).to_have_text("Use all latched")
    alice.sandbox.fusebill.reset()
    await expect(picker(alice)).to_be_enabled()


def working(done: int) -> list[dict[str, Any]]:
    """A card that shows how far the work is, as a bar and in words."""
    bar = "█" * (done // 5) + "░" * (10 - done // 5)
    stop = {"type": "actions", "elements": [button("Stop", "stop"), button("More", "more")]}
    return [section(f"{bar} {done} of 50, 1 not done"), table(f"{done} done"), stop]


async def test_progress_leaves_focus_and_the_sideways_scroll_alone(open_visit: OpenVisit) -> None:
    async with open_visit(width=380, height=760) as visit:
        alice = await visit.tab()
        post(alice, *working(0))
        drawn = alice.card.get_by_test_id("table")
        await drawn.evaluate("node => node.scrollTo(150, 0)")
        await alice.button("Stop").focus()
        workspace = alice.sandbox.slack.workspace
        (message,) = workspace.messages(CHANNEL_ID)
        for done in (1, 25, 50):
            workspace.update(CHANNEL_ID, message.ts, f"{done} of 50", working(done))
            await expect(alice.card).to_contain_text(f"{done} of 50")
            await expect(alice.button("Stop")).to_be_focused()
        await expect(drawn).to_have_js_property("scrollLeft", 150)


async def test_buttons_stand_side_by_side_and_wrap_on_a_phone(open_visit: OpenVisit) -> None:
    async with open_visit(width=380, height=760, theme="dark") as visit:
        alice = await visit.tab()
        short = [button("Undo…", "undo"), button("Check again", "check")]
        long = [
            button("Unlatch 47 customers", "go", style="primary"),
            button("Cancel and leave all of them as they are", "no"),
        ]
        post(
            alice,
            {"type": "actions", "elements": short},
            {"type": "actions", "elements": long},
        )
        drawn = alice.card.get_by_role("button")
        await expect(drawn).to_have_count(4)
        undo, check, go, cancel = await drawn.evaluate_all(BOXES)
        assert undo["top"] == check["top"]
        assert undo["right"] < check["left"]
        assert go["bottom"] < cancel["top"]
        assert cancel["right"] <= 380
        assert await alice.page.evaluate(WIDE) == []
        for each in await drawn.all():
            assert await each.evaluate(CONTRAST) > 4.5
