"""The simulated workspace: its people, channels, user groups, messages and ephemerals.

A message is replaced, never changed, so whoever holds one holds what it was. Everybody who waits
in `Workspace.changed` or `Workspace.until` wakes when anything here is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TEAM_ID = "T0SANDBOX"
PARTNER_TEAM_ID = "T0PARTNER"
APP_ID = "A0UNLATCH"
BOT_ID = "B0UNLATCH"
BOT_USER_ID = "U0UNLATCH"
DEFAULT_SCOPES = ("commands", "chat:write", "chat:write.public", "usergroups:read")

Blocks = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Team:
    """A workspace (`T…`): its name, and its domain under slack.com."""

    id: str
    name: str
    domain: str


@dataclass(frozen=True, slots=True)
class User:
    """Somebody: `name` is the handle, `real_name` what people read, `color` an RRGGBB."""

    id: str
    name: str
    real_name: str
    team_id: str = TEAM_ID
    color: str = "3c989f"
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, and what the bot may do in it; `shared_with` are other teams' ids."""

    id: str
    name: str
    private: bool = False
    member: bool = False
    archived: bool = False
    read_only: bool = False
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """What everybody in a channel sees; `ts` names it there, `thread_ts` is a reply's parent."""

    ts: str
    channel_id: str
    user_id: str
    text: str
    blocks: Blocks = field(default_factory=list)
    thread_ts: str | None = None
    edited: bool = False

    @property
    def at(self) -> float:
        """When it was posted, in epoch seconds."""
        return float(self.ts)


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """An ephemeral message: only `user_id` sees it. `id` has the form of a `ts`."""

    id: str
    user_id: str
    channel_id: str
    text: str
    blocks: Blocks = field(default_factory=list)

    @property
    def at(self) -> float:
        """When it was shown, in epoch seconds."""
        return float(self.id)


def _sample_users() -> list[User]:
    return [
        User("U0ALICE", "alice", "Alice", color="9f3c6b"),
        User("U0BOB", "bob", "Bob", color="3c6b9f"),
        User("U0GUEST", "gia", "Gia", team_id=PARTNER_TEAM_ID, color="8a6d1f"),
        User(BOT_USER_ID, "unlatch", "unlatch", color="4a154b", bot=True),
    ]


def _sample_channels() -> list[Channel]:
    return [
        Channel("C0BILLING", "billing", member=True, shared_with=(PARTNER_TEAM_ID,)),
        Channel("C0PRIVATE", "finance-private", private=True),
        Channel("C0ARCHIVED", "billing-2019", member=True, archived=True),
        Channel("C0READONLY", "announcements", member=True, read_only=True),
        Channel("C0PUBLIC", "general"),
    ]


class Workspace:
    """Everything that Slack would keep for the workspace the bot is installed in.

    `change` is set, and then replaced, by the next change.
    """

    team_id = TEAM_ID

    def __init__(self) -> None:
        partner = Team(PARTNER_TEAM_ID, "Partner Inc", "partner-inc")
        self.teams = {team.id: team for team in (Team(TEAM_ID, "Sandbox", "sandbox"), partner)}
        self.users = {user.id: user for user in _sample_users()}
        self.channels = {channel.id: channel for channel in _sample_channels()}
        self.user_groups: dict[str, list[str]] = {"S0BILLING": ["U0ALICE", "U0BOB"]}
        self.scopes: set[str] = set(DEFAULT_SCOPES)
        self._messages: dict[str, dict[str, PostedMessage]] = {}
        self._ephemerals: dict[str, Ephemeral] = {}
        self._latest_us = 0
        self.change = asyncio.Event()

    @property
    def bot(self) -> User:
        """The bot's own user."""
        return self.users[BOT_USER_ID]

    def messages(self, channel_id: str) -> list[PostedMessage]:
        """The channel's top-level messages, oldest first."""
        return [message for message in self.everything(channel_id) if message.thread_ts is None]

    def thread(self, channel_id: str, ts: str) -> list[PostedMessage]:
        """The replies to a message, oldest first; the message itself is not among them."""
        return [message for message in self.everything(channel_id) if message.thread_ts == ts]

    def everything(self, channel_id: str) -> list[PostedMessage]:
        """The channel's messages and replies, oldest first."""
        return list(self._messages.get(channel_id, {}).values())

    def message(self, channel_id: str, ts: str) -> PostedMessage:
        """A message or reply as it is now; LookupError where there is none."""
        return self._messages.get(channel_id, {})[ts]

    def ephemerals(self, user_id: str) -> list[Ephemeral]:
        """What only this person sees, newest last."""
        return [
            ephemeral for ephemeral in self._ephemerals.values() if ephemeral.user_id == user_id
        ]

    def all_ephemerals(self) -> list[Ephemeral]:
        """Everybody's ephemerals, newest last."""
        return list(self._ephemerals.values())

    def ephemeral(self, ephemeral_id: str) -> Ephemeral:
        """A ephemeral as it is now; LookupError where there is none."""
        return self._ephemerals[ephemeral_id]

    def post(
        self,
        channel_id: str,
        user_id: str,
        text: str,
        blocks: Blocks | None = None,
        *,
        thread_ts: str | None = None,
    ) -> PostedMessage:
        """Put a message into a channel, or a reply into a thread."""
        ts = self._next_ts()
        message = PostedMessage(ts, channel_id, user_id, text, with_block_ids(blocks), thread_ts)
        self._messages.setdefault(channel_id, {})[ts] = message
        self.touch()
        return message

    def update(self, channel_id: str, ts: str, text: str, blocks: Blocks | None) -> PostedMessage:
        """Replace a message's text and blocks; LookupError where there is none."""
        old = self.message(channel_id, ts)
        message = replace(old, text=text, blocks=with_block_ids(blocks), edited=True)
        self._messages[channel_id][ts] = message
        self.touch()
        return message

    def delete_message(self, channel_id: str, ts: str) -> None:
        """Somebody deletes a message; LookupError where there is none."""
        del self._messages.get(channel_id, {})[ts]
        self.touch()

    def add_ephemeral(
        self, user_id: str, channel_id: str, text: str, blocks: Blocks | None = None
    ) -> Ephemeral:
        """Show somebody an ephemeral message."""
        ephemeral = Ephemeral(self._next_ts(), user_id, channel_id, text, with_block_ids(blocks))
        self._ephemerals[ephemeral.id] = ephemeral
        self.touch()
        return ephemeral

    def update_ephemeral(self, ephemeral_id: str, text: str, blocks: Blocks | None) -> Ephemeral:
        """Replace an ephemeral message's text and blocks; LookupError where there is none."""
        ephemeral = replace(
            self._ephemerals[ephemeral_id], text=text, blocks=with_block_ids(blocks)
        )
        self._ephemerals[ephemeral_id] = ephemeral
        self.touch()
        return ephemeral

    def delete_ephemeral(self, ephemeral_id: str) -> None:
        """Take an ephemeral message away; LookupError where there is none."""
        del self._ephemerals[ephemeral_id]
        self.touch()

    def clear(self) -> None:
        """Forget every message and ephemeral."""
        self._messages.clear()
        self._ephemerals.clear()
        self.touch()

    def change_channel(self, channel_id: str, **changes: bool) -> None:
        """Archive a channel, let the bot in or out, and so on (`archived=True`, `member=False`)."""
        self.channels[channel_id] = replace(self.channels[channel_id], **changes)  # type: ignore[arg-type]  # the flags alone
        self.touch()

    def touch(self) -> None:
        """Wake everybody who waits for a change."""
        change, self.change = self.change, asyncio.Event()
        change.set()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self.change.wait()

    async def until(self, predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until the predicate holds: it is asked at each change, and 20 times a second.

        Raises: TimeoutError after `timeout_s` seconds.
        """
        async with asyncio.timeout(timeout_s):
            while not predicate():
                # The clock beside the change lets a predicate look at more than the workspace.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed(), 0.05)

    def _next_ts(self) -> str:
        self._latest_us = max(self._latest_us + 1, time.time_ns() // 1000)
        return f"{self._latest_us // 1_000_000}.{self._latest_us % 1_000_000:06d}"


def with_block_ids(blocks: Blocks | None) -> Blocks:
    """Copies of the blocks, each with a `block_id`: Slack makes one up where the app gave none."""
    return [{"block_id": f"b{index}", **block} for index, block in enumerate(blocks or [])]
