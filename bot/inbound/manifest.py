"""Builds the Slack app manifest (schema v2).

Source: docs.slack.dev/reference/app-manifest
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from bot.domain.commands import COMMAND

EVENTS_PATH = "/slack/events"
NAME = "Unlatch"
MAX_NAME_LENGTH = 35
MAX_COMMAND_LENGTH = 32
USAGE_HINT = (
    "<Stax Bill ID>, … [reason] | many | move <id> to … | find <text> | history [id] | pending"
    " | help"
)


def scopes(*, user_groups: bool) -> list[str]:
    """The fewest scopes that the bot needs; with `user_groups`, also to read user groups (S…)."""
    required = ["chat:write", "chat:write.public", "commands"]
    return [*required, "usergroups:read"] if user_groups else required


def manifest(
    url: str | None, *, user_groups: bool = False, command: str = COMMAND, name: str = NAME
) -> dict[str, Any]:
    """The manifest for HTTP at `url` (https://host), or for Socket Mode if `url` is None.

    With another `command` and `name`, a test app can stand beside the real one in a workspace.
    """
    # whoever copies the address from Slack's settings copies the path, too
    host = url.rstrip("/").removesuffix(EVENTS_PATH) if url else ""
    address = {"url": host + EVENTS_PATH} if url else {}
    interactivity = {"request_url": address["url"]} if url else {}
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {
            "name": name,
            "description": "Unlatches a Fusebill customer from its HubSpot contact and company",
            "background_color": "#1d3557",
        },
        "features": {
            "bot_user": {"display_name": _handle(name), "always_online": True},
            "slash_commands": [
                {
                    "command": command,
                    "description": "Unlatch a Fusebill customer from HubSpot",
                    "usage_hint": USAGE_HINT,
                    "should_escape": False,
                    **address,
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": scopes(user_groups=user_groups)}},
        "settings": {
            "interactivity": {"is_enabled": True, **interactivity},
            "org_deploy_enabled": False,
            "socket_mode_enabled": url is None,
            "token_rotation_enabled": False,
        },
    }


def creation_link(described: dict[str, Any]) -> str:
    """The page at Slack that creates the app which a manifest describes, filled in.

    Source: docs.slack.dev/app-manifests/configuring-apps-with-app-manifests#sharing-manifests
    """
    compact = json.dumps(described, separators=(",", ":"))
    return f"https://api.slack.com/apps?new_app=1&manifest_json={quote(compact, safe='')}"


def _handle(name: str) -> str:
    """The bot user's name: Slack allows a to z, 0 to 9, `-`, `_` and `.` in it."""
    return re.sub("[^a-z0-9._-]+", "-", name.lower()).strip("-") or NAME.lower()
