"""The simulated workspace: its people, channels, user groups, messages and ephemerals.

Messages are immutable: an update replaces the message, so a reference keeps the old version. Every
change wakes whoever waits in `Workspace.changed` or `Workspace.until`.
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
    """A workspace (`T…`): its name, its domain under slack.com, its Grid organisation (`E…`)."""

    id: str
    name: str
    domain: str
    enterprise_id: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person or the bot: `name` is the handle, `real_name` the display name, `color` RRGGBB."""

    id: str
    name: str
    real_name: str
    team_id: str = TEAM_ID
    color: str = "3c989f"
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel; `member`: the bot is in it; `shared_with`: ids of other teams."""

    id: str
    name: str
    private: bool = False
    member: bool = False
    archived: bool = False
    read_only: bool = False
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """A message that everybody in a channel sees; `thread_ts` is the `ts` of a reply's parent."""

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
    """All that Slack stores for the workspace in which the bot is installed.

    `change` is an event that the next change sets and replaces.
    """

    team_id = TEAM_ID

    def __init__(self) -> None:
        partner = Team(PARTNER_TEAM_ID, "Partner Inc", "partner-inc")
        self.teams = {team.id: team for team in (Team(TEAM_ID, "Sandbox", "sandbox"), partner)}
        self.users = {user.id: user for user in _sample_users()}
        self.channels = {channel.id: channel for channel in _sample_channels()}
        self.user_groups: dict[str, list[str]] = {"S0BILLING": ["U0ALICE", "U0BOB"]}
        self.scopes: set[str] = set(DEFAULT_SCOPES)
        self.takes_tables = True  # False: this Slack does not know the `table` block
        self.clock_ahead_s = 0.0  # how far Slack's clock is ahead of this machine's
        self.names_scopes = True  # False: a proxy drops the header that names them
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
        """The replies to a message, oldest first, without the message itself."""
        return [message for message in self.everything(channel_id) if message.thread_ts == ts]

    def everything(self, channel_id: str) -> list[PostedMessage]:
        """The channel's messages and replies, oldest first."""
        return list(self._messages.get(channel_id, {}).values())

    def message(self, channel_id: str, ts: str) -> PostedMessage:
        """A message or reply in its current version. Raises: LookupError."""
        return self._messages.get(channel_id, {})[ts]

    def ephemerals(self, user_id: str) -> list[Ephemeral]:
        """This person's ephemerals, newest last."""
        return [
            ephemeral for ephemeral in self._ephemerals.values() if ephemeral.user_id == user_id
        ]

    def all_ephemerals(self) -> list[Ephemeral]:
        """Everybody's ephemerals, newest last."""
        return list(self._ephemerals.values())

    def ephemeral(self, ephemeral_id: str) -> Ephemeral:
        """An ephemeral in its current version. Raises: LookupError."""
        return self._ephemerals[ephemeral_id]

    def post(
        self,
        channel_id: str,
        user_id: str,
        text: str,
        blocks: Blocks | None = None,
        *,
        thread_ts: str | None = None,
        at: float | None = None,
    ) -> PostedMessage:
        """Post a message to a channel, or a reply to a thread; `at` epoch seconds, or now."""
        ts = self._next_ts(at)
        message = PostedMessage(ts, channel_id, user_id, text, with_block_ids(blocks), thread_ts)
        self._messages.setdefault(channel_id, {})[ts] = message
        self.touch()
        return message

    def update(self, channel_id: str, ts: str, text: str, blocks: Blocks | None) -> PostedMessage:
        """Replace a message's text and blocks. Raises: LookupError."""
        old = self.message(channel_id, ts)
        message = replace(old, text=text, blocks=with_block_ids(blocks), edited=True)
        self._messages[channel_id][ts] = message
        self.touch()
        return message

    def delete_message(self, channel_id: str, ts: str) -> None:
        """Delete a message. Raises: LookupError."""
        del self._messages.get(channel_id, {})[ts]
        self.touch()

    def add_ephemeral(
        self, user_id: str, channel_id: str, text: str, blocks: Blocks | None = None
    ) -> Ephemeral:
        """Show an ephemeral message to one person."""
        ephemeral = Ephemeral(self._next_ts(), user_id, channel_id, text, with_block_ids(blocks))
        self._ephemerals[ephemeral.id] = ephemeral
        self.touch()
        return ephemeral

    def update_ephemeral(self, ephemeral_id: str, text: str, blocks: Blocks | None) -> Ephemeral:
        """Replace an ephemeral message's text and blocks. Raises: LookupError."""
        ephemeral = replace(
            self._ephemerals[ephemeral_id], text=text, blocks=with_block_ids(blocks)
        )
        self._ephemerals[ephemeral_id] = ephemeral
        self.touch()
        return ephemeral

    def delete_ephemeral(self, ephemeral_id: str) -> None:
        """Delete an ephemeral message. Raises: LookupError."""
        del self._ephemerals[ephemeral_id]
        self.touch()

    def clear(self) -> None:
        """Delete all messages and ephemerals."""
        self._messages.clear()
        self._ephemerals.clear()
        self.touch()

    def touch(self) -> None:
        """Announce a change: wake everybody who waits for one."""
        change, self.change = self.change, asyncio.Event()
        change.set()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self.change.wait()

    async def until(self, predicate: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Wait until the predicate holds; it is checked at every change and 20 times a second.

        Raises: TimeoutError after `timeout_s` seconds.
        """
        async with asyncio.timeout(timeout_s):
            while not predicate():
                # Checked regularly too, as a predicate may depend on more than the workspace.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed(), 0.05)

    def _next_ts(self, at: float | None = None) -> str:
        now_us = time.time_ns() // 1000 if at is None else int(at * 1_000_000)
        self._latest_us = max(self._latest_us + 1, now_us)
        return f"{self._latest_us // 1_000_000}.{self._latest_us % 1_000_000:06d}"


def with_block_ids(blocks: Blocks | None) -> Blocks:
    """Copies of the blocks, each with a `block_id`: Slack generates the missing ones."""
    return [{"block_id": f"b{index}", **block} for index, block in enumerate(blocks or [])]
