"""Runs the built bot: opens it to Slack and its host, and stops it when told to."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

import stamina
import structlog
from aiohttp import web

from bot.app.composition import Bot, build, signing_secret
from bot.inbound.http import application
from bot.inbound.socket_mode import SocketMode
from bot.ledger.engine import LedgerUnavailable, open_engine, version
from bot.settings import Mode, Settings, Timing
from bot.slack.client import SlackError

T = TypeVar("T")

log = structlog.get_logger(__name__)

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
TELLS_EVERY_S = 10.0
LEDGER_KEPT_S = 1.0
SLACK_KEPT_S = 5.0
SLACK_ANSWERS_S = 3.0


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
        readiness = _Readiness(bot, socket_mode)
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
        number = error.errno if isinstance(error, OSError) and "socket" in context else None
        if number not in OUT_OF_FILES:
            loop.default_exception_handler(context)
        elif loop.time() >= self._told_at + TELLS_EVERY_S:
            self._told_at = loop.time()
            log.error("connections can't be taken", why=os.strerror(number))


class _Readiness:
    """Each part that a request needs, "ok" or what is wrong with it.

    Anybody may ask, so asking must cost the others nothing: what the ledger and Slack said is kept
    for a moment, and all who want to know wait for one call.
    """

    def __init__(self, bot: Bot, socket_mode: SocketMode | None) -> None:
        self._bot = bot
        self._socket_mode = socket_mode
        self._ledger = _Kept(self._ask_ledger, LEDGER_KEPT_S)
        self._slack = _Kept(self._ask_slack, SLACK_KEPT_S)

    async def __call__(self) -> dict[str, str]:
        parts = {"process": "ok"}
        if not self._bot.stopping.is_set():
            parts["ledger"], parts["slack"] = await asyncio.gather(self._ledger(), self._slack())
            if self._socket_mode is not None:
                connected = await self._socket_mode.connected()
                parts["socket_mode"] = "ok" if connected else "not connected"
        if self._bot.stopping.is_set():
            parts["process"] = "stopping"
        return parts

    async def _ask_ledger(self) -> str:
        try:
            await self._bot.ledger.ping()
        except LedgerUnavailable as error:
            return str(error)
        return "ok"

    async def _ask_slack(self) -> str:
        try:
            async with asyncio.timeout(SLACK_ANSWERS_S):
                await self._bot.slack.auth_test()
        except SlackError as error:
            return error.code
        except TimeoutError:
            return f"no answer within {SLACK_ANSWERS_S:.0f} s"
        return "ok"


class _Kept:
    """An answer that is kept for some seconds; whoever asks meanwhile waits for the same one."""

    def __init__(self, ask: Callable[[], Awaitable[str]], kept_s: float) -> None:
        self._ask = ask
        self._kept_s = kept_s
        self._asking = asyncio.Lock()
        self._answer = ""
        self._until = 0.0

    async def __call__(self) -> str:
        async with self._asking:
            if monotonic() >= self._until:
                self._answer = await self._ask()
                self._until = monotonic() + self._kept_s
            return self._answer
