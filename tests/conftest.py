"""The bot between its doubles: what it hears and says goes over loopback."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from bot.app.composition import Bot, build
from bot.app.server import listening
from bot.ledger.engine import migrate, open_engine
from bot.ops import logs
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import Message, SimulatedSlack, text_of
from bot.settings import Mode, Settings, Timing
from tests.support import postgresql

CHANNEL = "C0BILLING"
QUICK = Timing(sweep_every_s=0.1)

# how long an example takes is the machine's affair
hypothesis.settings.register_profile("unlatch", deadline=None)
hypothesis.settings.load_profile("unlatch")


@dataclass(slots=True)
class World:
    """A running bot, and the Slack and Fusebill around it."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    bot: Bot
    address: str

    async def ask(self, text: str = "2554529 moved", user_id: str = "U0ALICE") -> Message:
        """Type `/unlatch …` and wait for the card."""
        before = len(self.slack.workspace.messages(CHANNEL))
        delivery = await self.slack.command(user_id, text)
        assert delivery.status == 200, delivery
        await self.slack.workspace.until(
            lambda: len(self.slack.workspace.messages(CHANNEL)) > before
        )
        # a click that comes before the row is written is told to ask again
        await self.settled()
        return self.slack.workspace.messages(CHANNEL)[-1]

    async def settled(self) -> None:
        """Wait for all that the bot is doing now."""
        await self.slack.workspace.until(lambda: not len(self.bot.tasks), 30.0)

    async def whispered(self, text: str, user_id: str = "U0ALICE") -> str:
        """Type `/unlatch …` and give what only that person is told."""
        before = len(self.slack.workspace.whispers(user_id))
        delivery = await self.slack.command(user_id, text)
        assert delivery.status == 200, delivery
        await self.slack.workspace.until(
            lambda: len(self.slack.workspace.whispers(user_id)) > before
        )
        return self.last_whisper(user_id)

    async def press(self, user_id: str, card: Message, action_id: str) -> None:
        """Press a button of a card and wait for what follows."""
        delivery = await self.slack.click(user_id, card.ts, action_id)
        assert delivery.status == 200, delivery
        await self.settled()

    def last_whisper(self, user_id: str) -> str:
        """What one person was told last, every visible word of it."""
        return text_of(self.slack.workspace.whispers(user_id)[-1].blocks)

    def card(self, card: Message) -> str:
        """Every visible word of a card as it is now."""
        return text_of(self.slack.workspace.message(CHANNEL, card.ts).blocks)

    def thread(self, card: Message) -> str:
        """Every visible word under a card."""
        replies = self.slack.workspace.thread(CHANNEL, card.ts)
        return "\n".join(text_of(reply.blocks) for reply in replies)


OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


def settings_for(
    slack: SimulatedSlack, fusebill: SimulatedFusebill, folder: Path, **changes: Any
) -> Settings:
    """Settings that wire the bot to its doubles; nothing is read from the environment."""
    values: dict[str, Any] = {
        "slack_bot_token": slack.bot_token,
        "slack_signing_secret": slack.signing_secret,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
        "fusebill_api_key": fusebill.api_key,
        "fusebill_base_url": fusebill.url,
        "database_url": f"sqlite:///{folder}/ledger.db",
        "host": "127.0.0.1",
        "port": 0,
    }
    return Settings(**values | changes | {"_env_file": None})


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """What the process's logging was before, put back."""
    root = logging.getLogger()
    names = (*logs.CHATTY, "aiohttp.access")
    before = root.handlers[:], root.level, {n: logging.getLogger(n).level for n in names}
    yield
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


@pytest.fixture
def open_world(tmp_path: Path) -> OpenWorld:
    """Open a world of one's own: `async with open_world(unlatch_two_person=True) as world`."""

    @asynccontextmanager
    async def opened(
        *,
        mode: Mode = "http",
        timing: Timing = QUICK,
        user_groups: dict[str, list[str]] | None = None,
        **changes: Any,
    ) -> AsyncIterator[World]:
        async with AsyncExitStack() as stack:
            slack = await stack.enter_async_context(SimulatedSlack())
            slack.workspace.user_groups |= user_groups or {}
            fusebill = await stack.enter_async_context(SimulatedFusebill())
            settings = settings_for(slack, fusebill, tmp_path, **changes)
            bot = await stack.enter_async_context(build(settings, timing))
            address, _ended = await stack.enter_async_context(listening(bot, settings, mode))
            if mode == "http":
                slack.request_url = f"{address}/slack/events"
            else:
                await slack.workspace.until(lambda: bool(slack.socket_mode.links))
            yield World(slack, fusebill, bot, address)

    return opened


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    """A world with the settings as they come."""
    async with open_world() as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL server, for the session."""
    with postgresql.server() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_ledger(postgresql_server: str) -> Iterator[str]:
    """An empty ledger on it, to be copied."""
    with postgresql.database(postgresql_server) as url:
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str, postgresql_ledger: str) -> Iterator[str]:
    """An empty ledger on PostgreSQL."""
    template = postgresql_ledger.partition("?")[0].rpartition("/")[2]
    with postgresql.database(postgresql_server, template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger on each kind of database; on SQLite the bot makes it by itself."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgresql_url"))
