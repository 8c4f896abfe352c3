"""Starts a server as a process on its own core, watches it through /proc and stops it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

REPOSITORY = Path(__file__).parents[2]
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 40.0
POLLS_EVERY_S = 0.002


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
    """A running server; `start_ms` is from its start to the first connection it accepted."""

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
    """Start a server in `folder` on a free port, wait until it listens, and stop it at the end.

    Raises: ServerFailed.
    """
    port = _free_port()
    log = folder / "server.log"
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **environment,
    }
    with log.open("wb") as output, cores.serving():
        began = perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, cwd=folder, stdout=output, stderr=output
        )
    try:
        await _listening(process, port, began)
        yield Server(process.pid, port, (perf_counter() - began) * 1000)
    except ServerFailed as error:
        raise ServerFailed(f"{' '.join(command)}: {error}\n{log.read_text()[-4000:]}") from error
    finally:
        await _stop(process)


async def _listening(process: asyncio.subprocess.Process, port: int, began: float) -> None:
    while perf_counter() - began < STARTS_WITHIN_S:
        if process.returncode is not None:
            raise ServerFailed(f"ended with {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(POLLS_EVERY_S)
        else:
            writer.close()
            return
    raise ServerFailed("did not listen in time")


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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
