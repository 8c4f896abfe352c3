"""Posts a test's own blocks as the bot."""

from __future__ import annotations

from typing import Any

from bot.sandbox.page.api import CHANNEL_ID
from tests.browser.conftest import Tab


def button(text: str, action_id: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": text},
        "value": "1",
        **more,
    }


def section(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def post(tab: Tab, *blocks: dict[str, Any]) -> None:
    """Post blocks as the bot."""
    workspace = tab.sandbox.slack.workspace
    workspace.post(CHANNEL_ID, workspace.bot.id, "A message", list(blocks))
