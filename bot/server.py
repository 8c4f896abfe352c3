"""Runs the built bot: opens it to Slack and its host, and stops it when told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from bot.composition import Bot, build, reach_database, signing_secret
from bot.database import LedgerUnavailable
from bot.settings import Mode, Settings, Timing
from bot.slack import SlackError
from bot.socket_mode import SocketMode
from bot.web import application

log = structlog.get_logger(__name__)


async def serve(
    settings: Settings,
    mode: Mode,
    *,
    timing: Timing = Timing(),  # noqa: B008  # frozen
    wait: bool = False,
    started: Callable[[str], None] = lambda _address: None,
) -> None:
    """Run until SIGTERM or Ctrl-C: then take nothing new, finish what was acknowledged, close.

    With `wait`, a database that can't be reached yet is waited for. `started` is told the address
    once it is listened on. A second signal, or one that comes before the bot is built, ends the
    process at once.
    Raises: LedgerUnavailable, SchemaMismatch, SlackError, SocketModeEnded, OSError.
    """
    if wait:
        await reach_database(settings)
    async with build(settings, timing) as bot:
        stop = _stopped_by_signals()
        async with listening(bot, settings, mode) as (address, ended):
            started(address)
            stopping = asyncio.create_task(stop.wait())
            waits: list[asyncio.Future[Any]] = [stopping, ended]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            log.info("stopping", tasks=len(bot.tasks))
    log.info("stopped")
    if not ended.cancelled():
        ended.result()


@asynccontextmanager
async def listening(
    bot: Bot, settings: Settings, mode: Mode
) -> AsyncIterator[tuple[str, asyncio.Future[None]]]:
    """Open the bot to Slack and its host.

    Gives the address, and a future that fails where Slack shut Socket Mode for good.
    """
    async with AsyncExitStack() as stack:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(ended.cancel)
        socket_mode = None
        if mode == "socket" and settings.slack_app_token:
            token = settings.slack_app_token.get_secret_value()
            socket_mode = SocketMode(bot.app, bot.client, token, ended)
            stack.push_async_callback(socket_mode.close)
            await socket_mode.open()
        app = bot.app if mode == "http" else None
        readiness = partial(_readiness, bot, socket_mode)
        routes = application(app, signing_secret(settings), readiness, bot.render)
        runner = web.AppRunner(routes, access_log=None, shutdown_timeout=3.0)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", host=host, port=port, mode=mode)
        try:
            yield f"http://{host}:{port}", ended
        finally:
            bot.stopping = True


def _stopped_by_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            # asked twice: somebody means now, and the ledger knows what was under way
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    return stop


async def _readiness(bot: Bot, socket_mode: SocketMode | None) -> dict[str, str]:
    """Each part that a request needs, "ok" or what is wrong with it."""
    parts = {"process": "stopping" if bot.stopping else "ok", "ledger": "ok", "slack": "ok"}
    try:
        await bot.ledger.ping()
    except LedgerUnavailable as error:
        parts["ledger"] = str(error)
    try:
        await bot.slack.auth_test()
    except SlackError as error:
        parts["slack"] = error.code
    if socket_mode is not None:
        parts["socket_mode"] = "ok" if await socket_mode.connected() else "not connected"
    return parts
