"""Runs commands as `python -m bot …` does, each in a process that is forked from a warm one.

A new interpreter loads the bot for longer than most commands take. A forked one has its own
output, folder, environment, signals and exit code as well; what an interpreter does before it runs
the bot (locale, how it was started) needs `in_a_new_interpreter`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO

from bot import __main__ as program
from tests.support.bot_process import FORKS

REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class Forked:
    """A command that runs; used like asyncio's `Process`."""

    process: ForkServerProcess
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None
    pipes: list[asyncio.ReadTransport] = field(default_factory=list)

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.process.pid and self.returncode is None:
            os.kill(self.process.pid, number)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    async def wait(self) -> int | None:
        """Wait for its end; what it printed can't be read any more. Returns the exit code."""
        await asyncio.to_thread(self.process.join)
        for pipe in self.pipes:
            pipe.close()
        await asyncio.sleep(0)  # they are closed
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read its output and its errors to the end, and wait for it."""
        out, errors = await asyncio.gather(_all_of(self.stdout), _all_of(self.stderr))
        await self.wait()
        return out, errors


Start = Callable[..., Awaitable[Process | Forked]]
"""`forked`, or `in_a_new_interpreter`."""


async def forked(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int | IO[bytes] | None = PIPE,
    stderr: int | None = PIPE,
) -> Forked:
    """Start a command in a folder, with only these variables in its environment.

    An output that is None is closed.
    """
    out_here, out_there = FORKS.Pipe(duplex=False) if stdout == PIPE else (None, _end_of(stdout))
    err_here, err_there = FORKS.Pipe(duplex=False) if stderr == PIPE else (None, None)
    if stderr == STDOUT:
        err_there = out_there
    process = FORKS.Process(
        target=_run, args=(arguments, str(cwd), dict(env), out_there, err_there), daemon=True
    )
    process.start()
    for end in {each for each in (out_there, err_there) if each}:
        end.close()
    started = Forked(process)
    if out_here:
        started.stdout = await _reader(started, out_here)
    if err_here:
        started.stderr = await _reader(started, err_here)
    return started


async def in_a_new_interpreter(
    *arguments: str, cwd: Path, env: Mapping[str, str], stdout: int = PIPE, stderr: int = PIPE
) -> Process:
    """Start a command as an admin does: `python -m bot …`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *arguments),
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY), **env},
        stdout=stdout,
        stderr=stderr,
    )


def _end_of(file: int | IO[bytes] | None) -> Connection | None:
    assert not isinstance(file, int)
    if file is None:
        return None
    return Connection(os.dup(file.fileno()), readable=False)


async def _reader(started: Forked, end: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(end.fileno()), "rb")
    end.close()
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    started.pipes.append(transport)
    return reader


async def _all_of(reader: asyncio.StreamReader | None) -> bytes:
    return await reader.read() if reader else b""


def _run(
    arguments: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    out: Connection | None,
    err: Connection | None,
) -> None:
    """In the new process: what an interpreter sets up before it runs `bot/__main__.py`."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, end in ((1, out), (2, err)):
        if end:
            os.dup2(end.fileno(), number)
        else:
            os.close(number)
    for end in {each for each in (out, err) if each}:
        end.close()
    sys.stdout = TextIOWrapper(os.fdopen(1, "wb", closefd=False), "utf-8") if out else None
    sys.stderr = (
        TextIOWrapper(
            os.fdopen(2, "wb", closefd=False), "utf-8", "backslashreplace", line_buffering=True
        )
        if err
        else None
    )
    sys.argv = [str(program.__file__), *arguments]
    sys.exit(program.main(list(arguments)))
