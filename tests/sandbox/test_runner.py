"""`python -m bot sandbox`, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest

from bot.sandbox.runner import opened
from tests.support.command_line import Forked, Start, forked, in_a_new_interpreter

ROOT = Path(__file__).parents[2]
SANDBOX = ROOT / "bot" / "sandbox"


@dataclass(frozen=True, slots=True)
class Started:
    """A running sandbox; `seconds` is how long it took to print its address."""

    process: Process | Forked
    url: str
    seconds: float

    async def stop(self) -> tuple[int | None, str]:
        """Press Ctrl-C; returns the exit code and the output since the address."""
        self.process.send_signal(signal.SIGINT)
        output, _ = await self.process.communicate()
        return self.process.returncode, output.decode()


async def launch(*arguments: str, start: Start = forked, **environment: str) -> Process | Forked:
    command = ("sandbox", "--no-open", *arguments)
    env = os.environ | environment
    return await start(*command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT)


def names(folder: Path) -> set[str]:
    """The names of all files and folders in a folder, recursively."""
    return {path.name for path in folder.rglob("*")}


@asynccontextmanager
async def started(start: Start = forked, **environment: str) -> AsyncIterator[Started]:
    began = monotonic()
    process = await launch("--port", "0", start=start, **environment)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        url = line[line.index("http://") :].strip()
        yield Started(process, url, monotonic() - began)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_page_is_served_at_the_printed_address() -> None:
    async with started() as sandbox, httpx.AsyncClient(trust_env=False) as http:
        page = await http.get(sandbox.url)
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", sandbox.url)
    assert "<title>Sandbox" in page.text


async def test_it_prints_that_it_is_on_loopback_and_where_its_ledger_is(tmp_path: Path) -> None:
    async with started(TMPDIR=str(tmp_path)) as sandbox:
        assert sandbox.process.stdout is not None
        lines = [(await sandbox.process.stdout.readline()).decode() for _ in range(2)]
        files = names(tmp_path)
    assert "on this machine only (loopback); nothing is real" in lines[0]
    pattern = rf"The ledger is in {re.escape(str(tmp_path))}/(\S+) and is deleted when"
    ledger = re.search(pattern, lines[1])
    assert ledger is not None, lines
    assert {ledger[1], "ledger.db"} <= files


async def test_every_server_listens_only_on_127_0_0_1(tmp_path: Path) -> None:
    async with opened(tmp_path) as sandbox:
        urls = (sandbox.slack.url, sandbox.slack.request_url, sandbox.fusebill.url)
        for port in (urlsplit(url).port for url in urls):
            socket.create_connection(("127.0.0.1", port)).close()
            # another loopback address: a server that listens on all addresses would answer here
            with pytest.raises(OSError, match=r".+"):
                socket.create_connection(("127.0.0.2", port), timeout=1.0)


def test_the_wheel_contains_the_page_but_not_the_screenshots() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = [(package, p) for package, ps in settings["package-data"].items() for p in ps]
    shipped = {
        path for package, p in patterns for path in (ROOT / package.replace(".", "/")).glob(p)
    }
    assert {*SANDBOX.glob("page/static/*")} <= shipped
    assert {*SANDBOX.glob("screenshots/*")} & shipped == set()
    assert not (ROOT / "MANIFEST.in").exists(), "setuptools would also ship what MANIFEST.in names"


@pytest.mark.timed
async def test_it_starts_in_little_more_time_than_loading_its_modules_takes() -> None:
    loading: list[float] = []
    starting: list[float] = []
    # the machine may be busy: the least of up to three tries counts
    while len(starting) < 3 and not (starting and min(starting) < 2 * min(loading)):
        began = monotonic()
        load = ("-c", "import bot.sandbox.runner, bot.app.server, alembic.command")
        process = await asyncio.create_subprocess_exec(sys.executable, *load, cwd=ROOT)
        assert await process.wait() == 0
        loading.append(monotonic() - began)
        async with started(in_a_new_interpreter) as sandbox:
            starting.append(sandbox.seconds)
    assert min(starting) < 2 * min(loading)


@pytest.mark.timed
async def test_ctrl_c_stops_it_at_once_even_if_a_page_is_open() -> None:
    async with (
        started() as sandbox,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", f"{sandbox.url}page/events") as live,
    ):
        await anext(live.aiter_lines())
        began = monotonic()
        code, output = await sandbox.stop()
        assert (code, "Stopped" in output) == (0, True), output
        assert monotonic() - began < 3.0


async def test_the_ledger_is_deleted_when_it_stops(tmp_path: Path) -> None:
    async with started(TMPDIR=str(tmp_path)) as sandbox:
        while_running = names(tmp_path)
        await sandbox.stop()
    assert "ledger.db" in while_running
    assert names(tmp_path) == set()


async def test_the_terminal_shows_no_log_when_fusebill_fails() -> None:
    async with (
        started() as sandbox,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", f"{sandbox.url}page/events") as live,
    ):
        await http.post(f"{sandbox.url}page/do/fault", json={"kind": "server_error"})
        command = {"user_id": "U0ALICE", "text": "/unlatch 2554529 moved"}
        await http.post(f"{sandbox.url}page/command", json=command)
        async with asyncio.timeout(20):
            async for state in live.aiter_lines():
                if "HTTP 500" in state:  # what Alice reads, after the last try
                    break
        _, output = await sandbox.stop()
    said = ["Slack and Fusebill are simulated", "The ledger is in", "Stopped."]
    assert len(output.splitlines()) == len(said)
    assert all(map(str.startswith, output.splitlines(), said))


@pytest.mark.timed
async def test_ctrl_c_does_not_wait_for_a_fusebill_that_never_answers() -> None:
    async with started() as sandbox, httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{sandbox.url}page/do/fault", json={"kind": "hang"})
        command = {"user_id": "U0ALICE", "text": "/unlatch 2554529 moved"}
        await http.post(f"{sandbox.url}page/command", json=command)
        began = monotonic()
        code, output = await sandbox.stop()
        assert code == 0, output
        assert monotonic() - began < 6.0


async def test_a_taken_port_gives_one_clear_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch("--port", str(port))
        output, _ = await process.communicate()
    assert process.returncode == 1
    way_out = "add --port 0 to take any that is free"
    assert output.decode() == f"can't listen on this port: Address already in use; {way_out}\n"


async def test_an_invalid_setting_gives_one_line_with_its_name_and_exit_code_2() -> None:
    process = await launch("--port", "0", UNLATCH_EXPIRES_AFTER_S="soon")
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert output.decode().startswith("UNLATCH_EXPIRES_AFTER_S: ")
    assert output.count(b"\n") == 1
