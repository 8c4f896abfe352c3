"""A form with a large field into which people paste a column of a spreadsheet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import OpenVisit, Tab, Theme, Visit
from tests.browser.posting import section
from tests.browser.test_form import CONTRAST, OVERFLOWING
from tests.browser.test_layout import WIDE

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = [(380, 760, "light"), (380, 360, "dark"), (1280, 800, "light")]
PASTED = "\n".join(f"{3100000 + number}\tCompany {number}\tREF-{number}" for number in range(50))
COLUMN = "\n".join(str(3100000 + number) for number in range(50))
ERROR = (
    "Line 3 has no customer id: “Harbour Light Coffee”. Each line begins with the id of a customer."
)


def text_input(block_id: str, label: str, **more: object) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": block_id,
        "label": {"type": "plain_text", "text": label},
        "element": {"type": "plain_text_input", "action_id": "typed", **more},
    }


FORM: dict[str, Any] = {
    "type": "modal",
    "callback_id": "many",
    "title": {"type": "plain_text", "text": "Unlatch many"},
    "submit": {"type": "plain_text", "text": "Read them"},
    "blocks": [
        section("Paste up to 50 ids, or rows of a spreadsheet: the first id of each line counts."),
        text_input("ids", "Customers", multiline=True, max_length=3000),
        text_input("reason", "Reason", max_length=500),
    ],
}


async def form(visit: Visit) -> Tab:
    """A tab in which somebody has opened a form with a large field and a small one."""
    alice = await visit.tab()
    views = visit.sandbox.slack.views
    views.issue("trigger", "U0ALICE")
    views.open({"trigger_id": "trigger", "view": FORM})
    await expect(alice.page.get_by_role("dialog", name="Unlatch many")).to_be_visible()
    return alice


def customers(tab: Tab) -> Locator:
    return tab.page.get_by_role("textbox", name="Customers")


def refuse(visit: Visit) -> None:
    """Show in the open form that its large field is wrong."""
    [shown] = visit.sandbox.slack.views.all()
    refused = {"response_action": "errors", "errors": {"ids": ERROR}}
    visit.sandbox.slack.views.answer(shown.id, json.dumps(refused), failed=False)


async def test_a_large_field_grows_with_what_is_pasted_up_to_a_limit(visit: Visit) -> None:
    alice = await form(visit)
    heights = []
    for text in ("", "\n".join(COLUMN.splitlines()[:8]), COLUMN):
        await customers(alice).fill(text)
        heights.append(await customers(alice).evaluate("node => node.offsetHeight"))
    empty, eight_lines, fifty_lines = heights
    assert 100 < empty < eight_lines < fifty_lines < 400
    await expect(customers(alice)).to_have_value(COLUMN)


@pytest.mark.parametrize(("width", "height", "theme"), SIZES)
async def test_the_error_of_a_large_field_is_seen_beside_it_and_nothing_typed_is_lost(
    open_visit: OpenVisit, width: int, height: int, theme: Theme
) -> None:
    async with open_visit(width=width, height=height, theme=theme) as visit:
        alice = await form(visit)
        await alice.page.get_by_role("textbox", name="Reason").fill("moved portal")
        await customers(alice).fill(PASTED)
        await alice.page.locator("#modal-body").evaluate("node => node.scrollTo(0, 0)")
        refuse(visit)
        error = alice.page.locator("#modal-input-ids-error")
        await expect(error).to_have_text(ERROR)
        await expect(error).to_be_in_viewport(ratio=1)
        assert await error.evaluate(CONTRAST) >= 4.5
        await expect(customers(alice)).to_have_accessible_description(ERROR)
        await expect(customers(alice)).to_be_focused()
        await expect(customers(alice)).to_have_value(PASTED)
        await expect(alice.page.get_by_role("textbox", name="Reason")).to_have_value("moved portal")
        await expect(alice.page.get_by_role("button", name="Read them")).to_be_in_viewport(ratio=1)
        assert await alice.page.evaluate(WIDE) == []
        assert await alice.page.evaluate(OVERFLOWING) == []
