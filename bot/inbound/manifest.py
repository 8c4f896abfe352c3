"""Builds the Slack app manifest (schema v2).

Source: docs.slack.dev/reference/app-manifest
"""

from __future__ import annotations

from typing import Any

from bot.messages.answers import COMMAND

EVENTS_PATH = "/slack/events"
USAGE_HINT = "<customerId>, … [reason] | many | find <text> | history [id] | pending | help"


def scopes(*, user_groups: bool) -> list[str]:
    """The fewest scopes that the bot needs; with `user_groups`, also to read user groups (S…)."""
    required = ["chat:write", "chat:write.public", "commands"]
    return [*required, "usergroups:read"] if user_groups else required


def manifest(url: str | None, *, user_groups: bool = False) -> dict[str, Any]:
    """The manifest for HTTP at `url` (https://host), or for Socket Mode if `url` is None."""
    # whoever copies the address from Slack's settings copies the path, too
    host = url.rstrip("/").removesuffix(EVENTS_PATH) if url else ""
    address = {"url": host + EVENTS_PATH} if url else {}
    interactivity = {"request_url": address["url"]} if url else {}
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {
            "name": "Unlatch",
            "description": "Unlatches a Fusebill customer from its HubSpot contact and company",
            "background_color": "#1d3557",
        },
        "features": {
            "bot_user": {"display_name": "unlatch", "always_online": True},
            "slash_commands": [
                {
                    "command": COMMAND,
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
