"""Runs the bot in its own process, so that a test can kill it. Forked from one warm process."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bot.app.server import serve
from bot.ops import logs
from bot.settings import Mode, Settings, Timing, load

# a process never reclaims its own running work, so the lease may be shorter than the execution
PACE = Timing(
    hold_s=0.3, execution_s=6.0, sweep_every_s=0.2, retry_s=0.05, look_s=0.05, pause_s=0.1
)

FORKS = get_context("forkserver")
# what the commands and a ledger on PostgreSQL import when they need it, too
_LATER = ["bot.app.check", "bot.app.examples", "bot.inbound.manifest", "bot.sandbox.runner"]
_LATER += ["sqlalchemy.dialects.postgresql.psycopg", "psycopg"]
FORKS.set_forkserver_preload(
    ["__main__", "tests.support.bot_process", "tests.support.command_line", *_LATER]
)


@dataclass(slots=True)
class BotProcess:
    """A running bot: its process, and its address after `listens`."""

    process: ForkServerProcess
    address_pipe: Connection
    log_file: Path
    address: str = ""

    async def listens(self) -> None:
        """Wait until it listens."""
        self.address = await asyncio.to_thread(_address, self.address_pipe, self.log_file)

    async def kill(self) -> None:
        """`kill -9`, and wait until it is dead."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int | None:
        """Wait for its end; returns the exit code."""
        await asyncio.to_thread(self.process.join, 30)
        return self.process.exitcode

    async def stop(self) -> int | None:
        """Send SIGTERM as a host does; returns the exit code."""
        self.process.terminate()
        return await self.ended()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def limit_file_size(self, size: int | None) -> None:
        """Let the process write no file beyond a size, as on a full disk; None for no limit."""
        _soft, hard = resource.prlimit(self.process.pid or 0, resource.RLIMIT_FSIZE)
        soft = hard if size is None else size
        resource.prlimit(self.process.pid or 0, resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def bot_process(
    settings: Settings, log_file: Path, *, mode: Mode = "http", timing: Timing = PACE
) -> AsyncIterator[BotProcess]:
    """Start a bot; kill it at the end if it still runs."""
    here, there = FORKS.Pipe(duplex=False)
    process = FORKS.Process(
        target=_run, args=(environment(settings), str(log_file), mode, timing, there), daemon=True
    )
    process.start()
    there.close()
    try:
        yield BotProcess(process, here, log_file)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        here.close()
        process.close()


def _address(here: Connection, log_file: Path) -> str:
    try:
        return str(here.recv())
    except EOFError:
        raise RuntimeError(f"the bot did not start: {log_file.read_text()}") from None


def environment(settings: Settings) -> dict[str, str]:
    """Settings as environment variables."""
    values = {
        name: value
        for name, value in settings.model_dump().items()
        if value not in (None, frozenset())
    }
    return {
        name.upper(): ",".join(value)
        if isinstance(value, frozenset)
        else str(getattr(value, "get_secret_value", lambda value=value: value)())
        for name, value in values.items()
    }


def _run(
    environment: Mapping[str, str], log_file: str, mode: Mode, timing: Timing, there: Connection
) -> None:
    os.environ.update(environment)
    os.chdir(Path(log_file).parent)
    with Path(log_file).open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    logs.configure("INFO", "json")
    asyncio.run(serve(load(mode), mode, timing=timing, started=there.send))
