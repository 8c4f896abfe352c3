"""Runs the built bot: opens it to Slack and its host, and stops it when told to."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import stamina
import structlog
from aiohttp import web

from bot.composition import Bot, build, signing_secret
from bot.database import LedgerUnavailable, open_engine, version
from bot.settings import Mode, Settings, Timing
from bot.slack import SlackError
from bot.socket_mode import SocketMode
from bot.web import application

T = TypeVar("T")

log = structlog.get_logger(__name__)

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
TELLS_EVERY_S = 10.0


class _Stopped(Exception):
    """Somebody told the process to stop."""


async def serve(
    settings: Settings,
    mode: Mode,
    *,
    timing: Timing = Timing(),  # noqa: B008  # frozen
    wait: bool = False,
    started: Callable[[str], None] = lambda _address: None,
) -> None:
    """Run until SIGTERM or Ctrl-C: then take nothing new, finish what was acknowledged, close.

    With `wait`, a database that can't be reached yet is waited for; Slack always is. `started` is
    told the address once it is listened on. A second signal ends the process at once.
    Raises: LedgerUnavailable, SchemaMismatch, SlackError, SocketModeEnded, OSError.
    """
    stop = _stopped_by_signals()
    asyncio.get_running_loop().set_exception_handler(_OutOfFiles())
    try:
        if wait:
            await _unless(stop, reach_database(settings))
        async with AsyncExitStack() as stack:
            opening = stack.enter_async_context(build(settings, timing))
            bot = await _unless(stop, opening)
            listens = stack.enter_async_context(listening(bot, settings, mode))
            address, ended = await _unless(stop, listens)
            started(address)
            try:
                await _unless(stop, ended)
            finally:
                log.info("stopping", tasks=len(bot.tasks))
    except _Stopped:
        log.info("stopped")


async def _unless(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """What the work gives. Raises: _Stopped where the stop comes first; the work is undone."""
    working, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _Stopped
        return working.result()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def reach_database(settings: Settings) -> None:
    """Wait for a database that can't be reached yet. Raises: SchemaMismatch."""
    engine = open_engine(settings.database_url.get_secret_value())

    def away(error: Exception) -> bool:
        log.warning("waiting for the database", why=str(error))
        return isinstance(error, LedgerUnavailable)

    async for attempt in stamina.retry_context(
        on=away, attempts=None, timeout=None, wait_initial=0.5, wait_max=5.0
    ):
        with attempt:
            await asyncio.to_thread(version, engine)
    engine.dispose()


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
        routes = application(
            app, signing_secret(settings), readiness, bot.render, bot.stopping.is_set
        )
        runner = web.AppRunner(
            routes,
            access_log=None,
            shutdown_timeout=3.0,
            # for headers that never end too: aiohttp's own hour would let anybody take every file
            keepalive_timeout=bot.timing.idle_s,
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", host=host, port=port, mode=mode)
        try:
            yield f"http://{host}:{port}", ended
        finally:
            # the host sees it stopping for as long as that takes; Slack is told at once
            closing = [socket_mode.close()] if socket_mode else []
            await asyncio.gather(bot.finish(), *closing)


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


class _OutOfFiles:
    """asyncio complains of each connection that it can't take; a line in a while tells it all."""

    def __init__(self) -> None:
        self._told_at = -TELLS_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in OUT_OF_FILES:
            loop.default_exception_handler(context)
        elif loop.time() >= self._told_at + TELLS_EVERY_S:
            self._told_at = loop.time()
            log.error("connections can't be taken", why=os.strerror(error.errno))


async def _readiness(bot: Bot, socket_mode: SocketMode | None) -> dict[str, str]:
    """Each part that a request needs, "ok" or what is wrong with it."""
    if bot.stopping.is_set():
        return {"process": "stopping"}
    parts = {"process": "ok", "ledger": "ok", "slack": "ok"}
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
    if bot.stopping.is_set():
        parts["process"] = "stopping"
    return parts
