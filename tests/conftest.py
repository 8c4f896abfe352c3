"""Fixtures: a bot between the simulators, over loopback, and empty ledgers."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import Mode, Timing
from tests.support import ledger, postgresql
from tests.support.world import QUICK, OpenWorld, World, settings_for

# no deadline: how long an example takes depends on the machine; each run draws other examples
hypothesis.settings.register_profile("unlatch", deadline=None, max_examples=25)
hypothesis.settings.load_profile("unlatch")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search no garbage while tests are collected, nor later among them and their modules."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Restores the process's logging after each test, also what a bot filters."""

    def loggers() -> list[logging.Logger]:
        named = logging.root.manager.loggerDict.values()
        return [each for each in named if isinstance(each, logging.Logger)]

    root = logging.getLogger()
    handlers = root.handlers[:]
    known = {each: (each.level, each.filters[:]) for each in [root, *loggers()]}
    *processors, _console = structlog.get_config()["processors"]
    # as the bot does it: the default draws a traceback for seconds, while Slack waits for an ack
    console = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*processors, console])
    yield
    root.handlers[:] = handlers
    for each in [root, *loggers()]:
        level, each.filters[:] = known.get(each, (logging.NOTSET, []))
        if each.level != level:  # setting one clears what every logger has worked out
            each.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def open_world(tmp_path: Path) -> OpenWorld:
    """Opens a world with other settings: `open_world(unlatch_two_person=True)`."""

    @asynccontextmanager
    async def opened(
        *,
        mode: Mode = "http",
        timing: Timing = QUICK,
        user_groups: dict[str, list[str]] | None = None,
        slack_set_up: Callable[[SimulatedSlack], None] = lambda _slack: None,
        **changes: Any,
    ) -> AsyncIterator[World]:
        async with AsyncExitStack() as stack:
            slack = await stack.enter_async_context(SimulatedSlack())
            slack.workspace.user_groups |= user_groups or {}
            slack_set_up(slack)
            fusebill = await stack.enter_async_context(SimulatedFusebill())
            settings = settings_for(slack, fusebill, tmp_path, **changes)
            ledger.create_file(settings.database_url.get_secret_value())
            bot = await stack.enter_async_context(build(settings, timing))
            address, _ended = await stack.enter_async_context(listening(bot, settings, mode))
            if mode == "http":
                slack.request_url = f"{address}/slack/events"
            else:
                await slack.workspace.until(lambda: bool(slack.socket_mode.links))
            yield World(slack, fusebill, bot, address, settings.database_url.get_secret_value())

    return opened


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    """A world with the default settings."""
    async with open_world() as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL server, for the session."""
    with postgresql.server() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_ledger(postgresql_server: str) -> Iterator[str]:
    """An empty ledger on PostgreSQL, to copy for each test."""
    with postgresql.database(postgresql_server) as url:
        ledger.create(url)
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str, postgresql_ledger: str) -> Iterator[str]:
    """An empty ledger on PostgreSQL."""
    template = postgresql_ledger.partition("?")[0].rpartition("/")[2]
    with postgresql.database(postgresql_server, template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger on each kind of database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/ledger.db"
        ledger.create(url)
        return url
    return str(request.getfixturevalue("postgresql_url"))
