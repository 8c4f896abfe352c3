"""How the page draws what the bot writes: emoji, and names that read from right to left."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from playwright.async_api import expect

import bot
from tests.browser.conftest import Tab
from tests.browser.posting import post

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOT = Path(bot.__file__).parent
SPRITE = BOT / "sandbox" / "page" / "static" / "emoji.svg"
WITH_EMOJI = (*BOT.glob("messages/**/*.py"), BOT / "domain" / "meanings.py")
EMOJI = re.compile(".\ufe0f|[\u2190-\u2bff\U0001f000-\U0001faff]")
# where each text is drawn in the header, in px from the left
PLACES = """(header, texts) => texts.map((text) => {
  const walker = document.createTreeWalker(header, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(text);
    if (at < 0) continue;
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + text.length);
    return range.getBoundingClientRect().left;
  }
})"""


async def test_the_page_draws_every_emoji_that_the_bot_sends(alice: Tab) -> None:
    source = "".join(path.read_text("utf-8") for path in WITH_EMOJI)
    # the parts of a progress bar and the arrow between ids are characters of every font
    emoji = sorted(set(EMOJI.findall(source)) - set("█░→"))
    assert len(emoji) > 10
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": "".join(emoji)}]}
    post(alice, {"type": "rich_text", "elements": [section]})
    await expect(alice.card.locator(".emoji-text")).to_have_text(emoji)
    drawn = await alice.card.locator(".emoji use").evaluate_all(
        "nodes => nodes.map((node) => node.getAttribute('href').split('#')[1])"
    )
    in_sprite = {node.get("id") for node in ET.parse(SPRITE).iter()}  # noqa: S314  # a file of ours
    assert set(drawn) <= in_sprite


async def test_a_name_from_right_to_left_does_not_move_the_id(alice: Tab) -> None:
    name = "Bikes גנובים 24"
    alice.sandbox.fusebill.customers[2554529]["companyName"] = name
    await alice.ask()
    header = alice.card.locator(".header")
    await expect(header).to_have_text(f"Unlatch 2554529 ({name})?")
    verb_x, id_x, name_x, end_x = await header.evaluate(PLACES, ["Unlatch", "2554529", name, "?"])
    assert verb_x < id_x < name_x < end_x
