"""Bots in their own processes between simulators, and a trap that kills one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack, text_of
from bot.settings import Mode, Timing
from tests.support import ledger
from tests.support.bot_process import PACE, BotProcess, bot_process
from tests.support.kept import KeptCard
from tests.support.names import BIKES, CHANNEL, CONFIRM
from tests.support.world import add_customers, ask_anyway, settings_for


@dataclass(slots=True)
class Stage:
    """Simulated Slack and Fusebill, and any number of bots on one ledger."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    database_url: str
    folder: Path
    stack: AsyncExitStack
    bots: list[BotProcess] = field(default_factory=list)

    @property
    def log(self) -> str:
        """The log of all bots."""
        file = self.folder / "bot.log"
        return file.read_text() if file.exists() else ""

    async def start(
        self, *, mode: Mode = "http", timing: Timing = PACE, **changes: Any
    ) -> BotProcess:
        """Start another bot and send Slack's requests to it."""
        bot = await self.launch(mode=mode, timing=timing, **changes)
        await bot.listens()
        if mode == "http":
            self.slack.request_url = f"{bot.address}/slack/events"
        else:
            await self.until(lambda: bool(self.slack.socket_mode.links))
        return bot

    async def launch(
        self, *, mode: Mode = "http", timing: Timing = PACE, **changes: Any
    ) -> BotProcess:
        """Start another bot without waiting until it listens."""
        settings = settings_for(
            self.slack, self.fusebill, self.folder, database_url=self.database_url, **changes
        )
        bot = await self.stack.enter_async_context(
            bot_process(settings, self.folder / "bot.log", mode=mode, timing=timing)
        )
        self.bots.append(bot)
        return bot

    async def ask(self, *customers: int, text: str = "") -> PostedMessage:
        """Ask for a card of customers, or type something else; wait until the ledger knows it.

        Fusebill gets the customers that it lacks.
        """
        add_customers(self.fusebill, {*customers} - self.fusebill.customers.keys())
        typed = text or f"{', '.join(map(str, customers or [BIKES]))} moved"
        try:
            card = await ask_anyway(self.slack, "U0ALICE", typed, 40.0)
        except TimeoutError:
            raise AssertionError(f"no card; the log:\n{self.log}") from None
        # a bot that is killed before would have another card posted
        await self.until(lambda: card.ts in self.log)
        return card

    async def confirm(self, card: PostedMessage) -> None:
        """Press the button that does what a card asks for, as Bob."""
        assert (await self.slack.click("U0BOB", card.ts, CONFIRM)).status == 200

    @asynccontextmanager
    async def dies_at(self, point: tuple[str, str], lets_through: int = 0) -> AsyncIterator[None]:
        """The last bot is killed at a call, which somebody causes meanwhile: see `Trap`."""
        trap = Trap(self, point, lets_through)
        trap.arm()
        yield
        await self.until(trap.sprung.is_set)

    async def until(self, predicate: Any, timeout_s: float = 40.0) -> None:
        """Wait until the predicate holds; the failure shows the bots' log."""
        try:
            await self.slack.workspace.until(predicate, timeout_s)
        except TimeoutError:
            raise AssertionError(f"timed out; the log:\n{self.log}") from None

    def card(self, card: PostedMessage) -> str:
        """The visible text of a card as it is now."""
        return text_of(self.slack.workspace.message(CHANNEL, card.ts).blocks)

    def thread(self, card: PostedMessage) -> str:
        """The visible text of a card's thread."""
        replies = self.slack.workspace.thread(CHANNEL, card.ts)
        return "\n".join(text_of(reply.blocks) for reply in replies)

    def calls(self, operation: str) -> int:
        """How often an operation of Fusebill was called."""
        return sum(call.operation == operation for call in self.fusebill.calls)

    def cards(self) -> list[KeptCard]:
        """All cards in the ledger that Slack has, oldest first."""
        return ledger.cards(self.database_url)

    async def settled(self, timeout_s: float = 40.0) -> list[KeptCard]:
        """Wait until nothing is still to be done for any decided card; returns all cards."""
        with ledger.settling(self.database_url) as settled:
            await self.until(settled, timeout_s)
        return self.cards()


@dataclass(slots=True)
class Trap:
    """Kills the last bot at a call: before its effect, which is then lost, or after it.

    The first `lets_through` such calls pass.
    """

    stage: Stage
    point: tuple[str, str]
    lets_through: int = 0
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    def arm(self) -> None:
        """Set the trap."""
        when, _call = self.point
        setattr(self.stage.slack, when, self._slack)
        setattr(self.stage.fusebill, when, self._fusebill)

    async def _slack(self, method: str) -> None:
        if await self._struck(method) and self.point[0] == "before":
            self.stage.slack.faults.fail(method, drop="before")

    async def _fusebill(self, operation: str) -> None:
        if await self._struck(operation) and self.point[0] == "before":
            raise ConnectionAbortedError

    async def _struck(self, call: str) -> bool:
        if self.sprung.is_set() or call != self.point[1]:
            return False
        if self.lets_through:
            self.lets_through -= 1
            return False
        self.sprung.set()
        await self.stage.bots[-1].kill()
        return True


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
"""For tests for which the kind of database does not matter, or is the point."""


@asynccontextmanager
async def stage(database_url: str, folder: Path) -> AsyncIterator[Stage]:
    """A stage without bots, on an empty ledger."""
    ledger.create_file(database_url)
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SimulatedSlack())
        fusebill = await stack.enter_async_context(SimulatedFusebill())
        yield Stage(slack, fusebill, database_url, folder, stack)
