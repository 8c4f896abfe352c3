"""The message box, and the error line below it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_command_is_completed_with_a_customer(alice: Tab) -> None:
    box = alice.page.locator("#composer-text")
    await box.press_sequentially("/unlatch 31000")
    options = alice.page.get_by_test_id("completion")
    await expect(options.first).to_contain_text("Harbour Light Coffee")
    await options.filter(has_text="Quiet Street Dental").click()
    await expect(box).to_have_value("/unlatch 3100033 ")


async def test_a_command_of_another_app_stays_in_the_box_with_an_error_for_its_typist(
    alice: Tab,
) -> None:
    await alice.say("/remind me")
    await expect(alice.page.get_by_test_id("problem")).to_contain_text("/remind is not a command")
    await expect(alice.page.locator("#composer-text")).to_have_value("/remind me")
    await alice.page.get_by_test_id("be-U0BOB").check()
    await expect(alice.page.get_by_test_id("problem")).to_be_hidden()


async def test_the_slash_button_begins_a_command_and_keeps_a_draft(alice: Tab) -> None:
    box, slash = alice.page.locator("#composer-text"), "Type a command"
    await alice.page.get_by_role("button", name=slash).click()
    await expect(box).to_have_value("/")
    await expect(alice.page.get_by_test_id("completion").first).to_be_visible()
    await box.fill("Is anybody there")
    await alice.page.get_by_role("button", name=slash).click()
    await expect(box).to_have_value("Is anybody there")
    await expect(box).to_be_focused()


async def test_what_a_person_types_is_shown_literally(alice: Tab) -> None:
    for typed in ("<@U0BOB>, hello", "<!channel>", "a &lt; b & c", "<https://a.example|this>"):
        await alice.say(typed)
        await expect(alice.card.locator(".content")).to_have_text(typed)
        await expect(alice.card.locator(".content .mention")).to_have_count(0)
