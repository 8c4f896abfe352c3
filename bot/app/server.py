"""Runs the bot: opens it to Slack and its host, and stops it when its host says so.

A process is ready if it can take a click, which needs the ledger; Slack's trouble is `degraded`. A
host sends no requests to what is not ready: if all instances said so because Slack is in trouble,
clicks would reach none, though each could record them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import stamina
import structlog
from aiohttp import web

from bot.app.composition import Bot, build
from bot.inbound.http import Front, Rejections, Started, application
from bot.inbound.socket_mode import SocketMode
from bot.ledger.database.engine import LedgerUnavailable, open_engine, try_to_write
from bot.ledger.database.migrating import version
from bot.settings import Mode, Settings, Timing
from bot.slack.errors import SlackError, advice

T = TypeVar("T")

log = structlog.get_logger(__name__)

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
OUT_OF_FILES_LOG_INTERVAL_S = 10.0
SHUTDOWN_TIMEOUT_S = 3.0


class CannotListen(Exception):
    """The bot can't listen at `HOST` and `PORT`; the text says why and what to change."""

    def __init__(self, error: OSError) -> None:
        # from Python 3.13 on, asyncio skips wrong addresses, and has no number if none is left
        number = error.errno or errno.EADDRNOTAVAIL
        is_unknown = isinstance(error, socket.gaierror)
        # asyncio's own text repeats the address
        why = error.strerror if is_unknown else os.strerror(number)
        what, fix = "port", "set PORT to another"
        if is_unknown or number == errno.EADDRNOTAVAIL:
            what, fix = "HOST", "it must be an address of this machine, such as 0.0.0.0"
        super().__init__(f"can't listen on this {what}: {why}; {fix}")


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
    """Run until SIGTERM, SIGHUP or Ctrl-C: then take no new work, finish what was acknowledged.

    It waits for Slack, with `wait` also for the database, and answers health checks meanwhile.
    `started` gets the address once the bot takes requests. A second signal ends it at once.
    Raises: LedgerUnavailable, SchemaMismatch, SlackError, SocketModeEnded, CannotListen.
    """
    stop = _stop_on_signals()
    asyncio.get_running_loop().set_exception_handler(_OutOfFiles())
    try:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(_answering(settings, mode, timing))
            if wait:
                await _unless_stopped(stop, reach_database(settings))
            building = stack.enter_async_context(build(settings, timing))
            bot = await _unless_stopped(stop, building)
            opening = stack.enter_async_context(_opened(server, bot, settings, mode))
            ended = await _unless_stopped(stop, opening)
            started(server.address)
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
    bot: Bot, settings: Settings, mode: Mode
) -> AsyncIterator[tuple[str, asyncio.Future[None]]]:
    """Open a built bot; yields the address, and a future that fails if Slack ends Socket Mode."""
    async with (
        _answering(settings, mode, bot.timing) as server,
        _opened(server, bot, settings, mode) as ended,
    ):
        yield server.address, ended


@dataclass(slots=True)
class _Server:
    """The HTTP server: its runner, and what stands behind its routes."""

    runner: web.AppRunner
    front: Front

    @property
    def address(self) -> str:
        host, port = self.runner.addresses[0][:2]
        return f"http://{host}:{port}"


@asynccontextmanager
async def _answering(settings: Settings, mode: Mode, timing: Timing) -> AsyncIterator[_Server]:
    """Answer at the address: alive, and not ready until a bot is opened. Raises: CannotListen."""
    front = Front()
    runner = web.AppRunner(
        application(front, settings.signing_secret if mode == "http" else ""),
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        # also bounds headers that never end; with aiohttp's default of an hour, slow
        # connections could use up all file descriptors
        keepalive_timeout=timing.idle_s,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            raise CannotListen(error) from error
        yield _Server(runner, front)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _opened(
    server: _Server, bot: Bot, settings: Settings, mode: Mode
) -> AsyncIterator[asyncio.Future[None]]:
    """Put the bot behind the server's routes; at the end it finishes what was acknowledged."""
    async with AsyncExitStack() as stack:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stack.callback(ended.cancel)
        socket_mode = None
        if mode == "socket" and settings.slack_app_token:
            token = settings.slack_app_token.get_secret_value()
            socket_mode = SocketMode(bot.app, bot.slack, bot.client, token, ended)
            stack.push_async_callback(socket_mode.close)
            await socket_mode.open()
        readiness, rejections = Readiness(bot, socket_mode), Rejections(bot.metrics)
        stack.callback(rejections.close)
        # the requests that are being answered still need the bot's ledger
        stack.push_async_callback(server.runner.cleanup)

        async def render() -> bytes:
            is_ready, parts = await readiness()
            bot.metrics.ready.set(is_ready)
            bot.metrics.degraded.set(DEGRADED in parts.values())
            return await bot.render()

        server.front.started = Started(bot.app, readiness, render, bot.stopping.is_set, rejections)
        host, port = server.runner.addresses[0][:2]
        log.info("listening", host=host, port=port, mode=mode)
        try:
            yield ended
        finally:
            # Socket Mode closes at once; /readyz still answers until the work is finished
            closing = [socket_mode.close()] if socket_mode else []
            await asyncio.gather(bot.finish(), *closing)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_stop() -> None:
        if stop.is_set():
            # safe at any point: the next process finishes what is in the ledger
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    # a closed terminal or systemd may send it beside another; `nohup` has it ignored
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, partial(log.info, "signal ignored", signal=number.name))
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


OK = "ok"
NOT_READY = "not ready"
DEGRADED = "degraded"
STOPPING = "stopping"
LEDGER_CACHE_S = 1.0
SLACK_CACHE_S = 5.0
SLACK_TIMEOUT_S = 3.0
Trouble = dict[str, str]
"""What the log says of a part that is not ok: why, and what to check; empty if it is."""


class Readiness:
    """Returns whether the process can take a click, and a state for each part.

    The log says why one is not `ok`, and what to do about it.

    Anybody may call /readyz, so checks are cached (Slack for 5 s, the ledger for 1 s), and the
    answer names no host, no port and no error.
    """

    def __init__(self, bot: Bot, socket_mode: SocketMode | None) -> None:
        self._bot = bot
        self._checks = {
            "ledger": _Cached("ledger", NOT_READY, self._check_ledger, LEDGER_CACHE_S),
            "slack": _Cached("slack", DEGRADED, self._check_slack, SLACK_CACHE_S),
        }
        if bot.user_groups.members():
            check = _Cached("user_groups", DEGRADED, self._check_user_groups)
            self._checks["user_groups"] = check
        if socket_mode is not None:

            async def check_connection() -> Trouble:
                return {} if await socket_mode.connected() else {"why": "no connection"}

            check = _Cached("socket_mode", DEGRADED, check_connection)
            self._checks["socket_mode"] = check

    async def __call__(self) -> tuple[bool, dict[str, str]]:
        parts = {"process": OK}
        if not self._bot.stopping.is_set():
            states = await asyncio.gather(*(check() for check in self._checks.values()))
            parts |= dict(zip(self._checks, states, strict=True))
        if self._bot.stopping.is_set():
            parts["process"] = STOPPING
        return set(parts.values()) <= {OK, DEGRADED}, parts

    async def _check_ledger(self) -> Trouble:
        try:
            await self._bot.runner.read(try_to_write)
        except LedgerUnavailable as error:
            return {"why": str(error)}
        return {}

    async def _check_slack(self) -> Trouble:
        try:
            async with asyncio.timeout(SLACK_TIMEOUT_S):
                await self._bot.slack.auth_test()
        except SlackError as error:
            return {"why": error.code} | advice(error)
        except TimeoutError:
            return {"why": f"no answer within {SLACK_TIMEOUT_S:.0f} s"}
        return {}

    async def _check_user_groups(self) -> Trouble:
        if unread := self._bot.user_groups.unread():
            return {"why": ", ".join(f"{group}: {code}" for group, code in unread.items())}
        return {}


@dataclass(eq=False, slots=True)
class _Cached:
    """A check whose result is cached; concurrent callers share one check.

    A change is logged. `_otherwise` is the state of a part that is in trouble.
    """

    _part: str
    _otherwise: str
    _check: Callable[[], Awaitable[Trouble]]
    _cache_s: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _trouble: Trouble = field(default_factory=dict)
    _expires_at: float = 0.0

    async def __call__(self) -> str:
        async with self._lock:
            if monotonic() >= self._expires_at:
                before, self._trouble = self._trouble, await self._check()
                self._expires_at = monotonic() + self._cache_s
                if self._trouble and self._trouble != before:
                    log.warning(self._otherwise, part=self._part, **self._trouble)
                elif before and not self._trouble:
                    log.info("ok again", part=self._part)
            return self._otherwise if self._trouble else OK
