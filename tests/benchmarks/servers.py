"""Starts a server as a process on its own core, watches it through /proc and stops it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from time import perf_counter

from tests.benchmarks.connection import Connection
from tests.benchmarks.interpreter import REPOSITORY

STARTS_WITHIN_S = 240.0
"""Under valgrind a start takes fifty times as long."""
STOPS_WITHIN_S = 40.0
POLLS_EVERY_S = 0.002
HOST = {"HOST": "127.0.0.1"}
"""Where servers listen. What controls valgrind finds a process by this variable too."""


class ServerFailed(Exception):
    """A server did not start, or ended by itself; the message ends with its last output."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores for the server and for the load; the same one if the machine has only one."""

    server: int
    load: int

    @classmethod
    def available(cls) -> Cores:
        """The first two cores that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[1 % len(cores)])

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep this process, and what it starts meanwhile, on the load's core."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.load})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Start processes on the server's core; afterwards this process returns to the load's."""
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `start_ms` is from its start until it takes Slack's requests."""

    pid: int
    port: int
    start_ms: float

    def cpu_ms(self) -> float:
        """User and system time of all its threads so far; the kernel counts in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory now, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@asynccontextmanager
async def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, cores: Cores
) -> AsyncIterator[Server]:
    """Start a server in `folder` on a free port, wait until it is ready, and stop it at the end.

    Raises: ServerFailed.
    """
    port = _free_port()
    log = folder / "server.log"
    variables = {**_variables(), **HOST, "PORT": str(port), **environment}
    with log.open("wb") as output, cores.serving():
        began = perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, cwd=folder, stdout=output, stderr=output
        )
    try:
        await _ready(process, port, began)
        yield Server(process.pid, port, (perf_counter() - began) * 1000)
    except ServerFailed as error:
        raise ServerFailed(f"{' '.join(command)}: {error}\n{log.read_text()[-4000:]}") from error
    finally:
        await _stop(process)


async def output_of(command: Sequence[str], environment: Mapping[str, str], cores: Cores) -> str:
    """Run a program on the servers' core; returns what it prints. Raises: ServerFailed."""
    with cores.serving():
        process = await asyncio.create_subprocess_exec(
            *command, env={**_variables(), **environment}, stdout=PIPE, stderr=STDOUT
        )
    output, _ = await process.communicate()
    if process.returncode:
        raise ServerFailed(f"{' '.join(command)}: {output.decode()[-4000:]}")
    return output.decode()


def _variables() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}


async def _ready(process: asyncio.subprocess.Process, port: int, began: float) -> None:
    """Wait until an unsigned request is refused as such: before, the bot answers 503."""
    while perf_counter() - began < STARTS_WITHIN_S:
        if process.returncode is not None:
            raise ServerFailed(f"ended with {process.returncode}")
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            async with Connection(port) as connection:
                status, _ = await connection.post("/slack/events", {}, b"")
            if status != HTTPStatus.SERVICE_UNAVAILABLE:
                return
        await asyncio.sleep(POLLS_EVERY_S)
    raise ServerFailed("was not ready in time")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOPS_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    while True:
        # below the ports that systems give out by themselves: a start under valgrind takes minutes
        port = random.randrange(15_000, 32_000)  # noqa: S311  # no secret
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
