"""Response URLs: the bot may answer a command or a click five times within 30 minutes.

Source: docs.slack.dev/interactivity/handling-user-interaction, "Message responses".
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.web_api import MAX_POSTED_LENGTH, content_of
from bot.sandbox.slack.wire import Answer, Refused
from bot.sandbox.slack.workspace import Ephemeral, PostedMessage, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_USES = 5
LIFETIME_S = 1800.0


@dataclass(frozen=True, slots=True)
class Origin:
    """What a response URL belongs to: the person, the channel, and the clicked message if any."""

    user_id: str
    channel_id: str
    place: PostedMessage | Ephemeral | None = None


@dataclass(slots=True)
class _Issued:
    origin: Origin
    at: float
    uses: int = 0


class ResponseUrls:
    """Issues response URLs and takes answers; tests may replace `clock` (epoch seconds)."""

    def __init__(self, workspace: Workspace) -> None:
        self.clock: Callable[[], float] = time.time
        self._workspace = workspace
        self._issued: dict[str, _Issued] = {}

    def issue(self, origin: Origin) -> str:
        """Create a URL and return its path."""
        kind = "commands" if origin.place is None else "actions"
        path = f"{kind}/{self._workspace.team_id}/{len(self._issued) + 1}/{secrets.token_hex(12)}"
        self._issued[path] = _Issued(origin, self.clock())
        return path

    def use(self, path: str, body: dict[str, Any]) -> Answer:
        """Take an answer that the bot posted to a URL; returns Slack's reply."""
        issued = self._issued.get(path)
        if issued is None or self.clock() - issued.at > LIFETIME_S:
            return Answer({"ok": False, "error": "expired_url"}, 404)
        if issued.uses >= MAX_USES:
            return Answer({"ok": False, "error": "used_url"}, 404)
        issued.uses += 1
        try:
            self.show(issued.origin, body)
        except Refused as refused:
            return Answer(refused.body, 400)
        return Answer({"ok": True})

    def show(self, origin: Origin, body: dict[str, Any]) -> None:
        """Show, replace or delete a message as `body` asks. Raises: Refused."""
        if body.get("delete_original") and origin.place is not None:
            self._delete(origin.place)
            return
        tables = self._workspace.takes_tables
        text, blocks = content_of(body, MAX_POSTED_LENGTH, tables=tables)
        if body.get("replace_original") and origin.place is not None:
            self._replace(origin.place, text, blocks)
        elif body.get("response_type") == "in_channel":
            bot_id, thread_ts = self._workspace.bot.id, body.get("thread_ts")
            self._workspace.post(origin.channel_id, bot_id, text, blocks, thread_ts=thread_ts)
        else:
            self._workspace.add_ephemeral(origin.user_id, origin.channel_id, text, blocks)

    def _replace(
        self, place: PostedMessage | Ephemeral, text: str, blocks: list[dict[str, Any]] | None
    ) -> None:
        try:
            if isinstance(place, Ephemeral):
                self._workspace.update_ephemeral(place.id, text, blocks)
            else:
                self._workspace.update(place.channel_id, place.ts, text, blocks)
        except LookupError:
            raise Refused("message_not_found") from None

    def _delete(self, place: PostedMessage | Ephemeral) -> None:
        try:
            if isinstance(place, Ephemeral):
                self._workspace.delete_ephemeral(place.id)
            else:
                self._workspace.delete_message(place.channel_id, place.ts)
        except LookupError:
            raise Refused("message_not_found") from None
