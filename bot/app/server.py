"""Runs the bot: opens it to Slack and its host, and stops it on SIGTERM or Ctrl-C."""

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

from bot.app.bolt import signing_secret
from bot.app.composition import Bot, build
from bot.app.starting import HandOver, answering, bind
from bot.inbound.http import application
from bot.inbound.rejections import Rejections
from bot.inbound.socket_mode import SocketMode
from bot.ledger.database.engine import LedgerUnavailable, open_engine, try_to_write
from bot.ledger.database.migrating import version
from bot.settings import Mode, Settings, Timing
from bot.slack.client import SlackError

T = TypeVar("T")

log = structlog.get_logger(__name__)

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OUT_OF_FILES_LOG_INTERVAL_S = 10.0
LEDGER_CACHE_S = 1.0
SLACK_CACHE_S = 5.0
SLACK_TIMEOUT_S = 3.0


class _Stopped(Exception):
    """The process received a signal to stop."""


async def serve(
    settings: Settings,
    mode: Mode,
    *,
    timing: Timing = Timing(),  # noqa: B008  # frozen
    wait: bool = False,
    started: Callable[[str], None] = lambda _address: None,
) -> None:
    """Run until SIGTERM or Ctrl-C: then take no new work, finish what was acknowledged, close.

    With `wait`, waits for a database that can't be reached yet; it always waits for Slack, and
    answers health checks meanwhile.
    `started` is called with the address once the bot listens. A second signal ends the process at
    once.
    Raises: LedgerUnavailable, SchemaMismatch, SlackError, SocketModeEnded, CannotListen.
    """
    stop = _stop_on_signals()
    asyncio.get_running_loop().set_exception_handler(_OutOfFiles())
    try:
        async with AsyncExitStack() as stack:
            hand_over = await stack.enter_async_context(
                answering(settings.host, settings.port, timing.idle_s)
            )
            if wait:
                await _unless_stopped(stop, reach_database(settings))
            opening = stack.enter_async_context(build(settings, timing))
            bot = await _unless_stopped(stop, opening)
            listens = stack.enter_async_context(listening(bot, settings, mode, hand_over))
            address, ended = await _unless_stopped(stop, listens)
            started(address)
            try:
                await _unless_stopped(stop, ended)
            finally:
                log.info("stopping", tasks=len(bot.tasks))
    except _Stopped:
        log.info("stopped")


async def _unless_stopped(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """Awaits the work; if `stop` is set first, cancels the work and raises _Stopped."""
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
    """Wait until the database can be reached. Raises: SchemaMismatch."""
    engine = open_engine(settings.database_url.get_secret_value())

    def should_retry(error: Exception) -> bool:
        log.warning("waiting for the database", why=str(error))
        return isinstance(error, LedgerUnavailable)

    async for attempt in stamina.retry_context(
        on=should_retry, attempts=None, timeout=None, wait_initial=0.5, wait_max=5.0
    ):
        with attempt:
            await asyncio.to_thread(version, engine)
    engine.dispose()


@asynccontextmanager
async def listening(
    bot: Bot, settings: Settings, mode: Mode, hand_over: HandOver | None = None
) -> AsyncIterator[tuple[str, asyncio.Future[None]]]:
    """Open the bot to Slack and its host, on sockets that are handed over, if there are any.

    Yields the address, and a future that fails if Slack ends Socket Mode for good.
    """
    async with AsyncExitStack() as stack:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(ended.cancel)
        socket_mode = None
        if mode == "socket" and settings.slack_app_token:
            token = settings.slack_app_token.get_secret_value()
            socket_mode = SocketMode(bot.app, bot.slack, bot.client, token, ended)
            stack.push_async_callback(socket_mode.close)
            await socket_mode.open()
        app = bot.app if mode == "http" else None
        readiness, rejections = _Readiness(bot, socket_mode), Rejections(bot.metrics)
        stack.callback(rejections.close)

        async def render() -> bytes:
            parts = await readiness()
            bot.metrics.ready.set(all(state == "ok" for state in parts.values()))
            return await bot.render()

        routes = application(
            *(app, signing_secret(settings), readiness, render, bot.stopping.is_set), rejections
        )
        runner = web.AppRunner(
            routes,
            access_log=None,
            shutdown_timeout=3.0,
            # also bounds headers that never end; with aiohttp's default of an hour, slow
            # connections could use up all file descriptors
            keepalive_timeout=bot.timing.idle_s,
            auto_decompress=False,
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        bound = hand_over() if hand_over else bind(settings.host, settings.port)
        for each in await bound:
            await web.SockSite(runner, each).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", host=host, port=port, mode=mode)
        try:
            yield f"http://{host}:{port}", ended
        finally:
            # Socket Mode closes at once; /readyz still answers until the work is finished
            closing = [socket_mode.close()] if socket_mode else []
            await asyncio.gather(bot.finish(), *closing)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            # safe at any point: the next process finishes what is in the ledger
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


class _OutOfFiles:
    """Logs only once in a while that asyncio can't accept connections for lack of files."""

    def __init__(self) -> None:
        self._logged_at = -OUT_OF_FILES_LOG_INTERVAL_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        number = error.errno if isinstance(error, OSError) and "socket" in context else None
        if number not in OUT_OF_FILES:
            loop.default_exception_handler(context)
        elif loop.time() >= self._logged_at + OUT_OF_FILES_LOG_INTERVAL_S:
            self._logged_at = loop.time()
            log.error("can't accept connections", why=os.strerror(number))


class _Readiness:
    """Returns "ok" or "not ready" for each part that a request needs; the log says why.

    Anybody may call /readyz, so checks are cached (Slack for 5 s, the ledger for 1 s), and the
    answer names no host, no port and no error.
    """

    def __init__(self, bot: Bot, socket_mode: SocketMode | None) -> None:
        self._bot = bot
        self._socket_mode = socket_mode
        self._ledger = _Cached("ledger", self._check_ledger, LEDGER_CACHE_S)
        self._slack = _Cached("slack", self._check_slack, SLACK_CACHE_S)

    async def __call__(self) -> dict[str, str]:
        parts = {"process": "ok"}
        if not self._bot.stopping.is_set():
            ledger, slack = await asyncio.gather(self._ledger(), self._slack())
            parts |= {"ledger": _state(ready=ledger), "slack": _state(ready=slack)}
            if self._socket_mode is not None:
                parts["socket_mode"] = _state(ready=await self._socket_mode.connected())
        if self._bot.stopping.is_set():
            parts["process"] = "stopping"
        return parts

    async def _check_ledger(self) -> str:
        try:
            await self._bot.runner.read(try_to_write)
        except LedgerUnavailable as error:
            return str(error)
        return ""

    async def _check_slack(self) -> str:
        try:
            async with asyncio.timeout(SLACK_TIMEOUT_S):
                await self._bot.slack.auth_test()
        except SlackError as error:
            return error.code
        except TimeoutError:
            return f"no answer within {SLACK_TIMEOUT_S:.0f} s"
        return ""


def _state(*, ready: bool) -> str:
    return "ok" if ready else "not ready"


class _Cached:
    """A check whose result is cached; concurrent callers share one check.

    `check` returns why a part is not ready, or an empty string; a change is logged.
    """

    def __init__(self, part: str, check: Callable[[], Awaitable[str]], cache_s: float) -> None:
        self._part = part
        self._check = check
        self._cache_s = cache_s
        self._lock = asyncio.Lock()
        self._why = ""
        self._expires_at = 0.0

    async def __call__(self) -> bool:
        async with self._lock:
            if monotonic() >= self._expires_at:
                before, self._why = self._why, await self._check()
                self._expires_at = monotonic() + self._cache_s
                if self._why != before:
                    self._log()
            return not self._why

    def _log(self) -> None:
        if self._why:
            log.warning("not ready", part=self._part, why=self._why)
        else:
            log.info("ready again", part=self._part)
