"""`python -m bot sandbox`, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest

from bot.sandbox.runner import WITH_A_PAST, opened
from bot.sandbox.slack.simulator import text_of
from tests.support.command_line import Forked, forked
from tests.support.names import CHANNEL

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Started:
    """A running sandbox."""

    process: Forked
    url: str

    async def stop(self) -> tuple[int | None, str]:
        """Press Ctrl-C; returns the exit code and the output since the address."""
        self.process.send_signal(signal.SIGINT)
        output, _ = await self.process.communicate()
        return self.process.returncode, output.decode()


async def launch(*arguments: str, **environment: str) -> Forked:
    command = ("sandbox", "--no-open", *arguments)
    env = os.environ | environment
    return await forked(*command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT)


def names(folder: Path) -> set[str]:
    """The names of all files and folders in a folder, recursively."""
    return {path.name for path in folder.rglob("*")}


@asynccontextmanager
async def started(**environment: str) -> AsyncIterator[Started]:
    process = await launch("--port", "0", **environment)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        url = line[line.index("http://") :].strip()
        yield Started(process, url)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_every_server_listens_only_on_127_0_0_1(tmp_path: Path) -> None:
    async with opened(tmp_path) as sandbox:
        urls = (sandbox.slack.url, sandbox.slack.request_url, sandbox.fusebill.url)
        for port in (urlsplit(url).port for url in urls):
            socket.create_connection(("127.0.0.1", port)).close()
            # another loopback address: a server that listens on all addresses would answer here
            with pytest.raises(OSError, match=r".+"):
                socket.create_connection(("127.0.0.2", port), timeout=1.0)


async def test_the_terminal_says_where_the_page_and_the_ledger_are_and_nothing_else_until_ctrl_c(
    tmp_path: Path,
) -> None:
    async with (
        started(TMPDIR=str(tmp_path)) as sandbox,
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", f"{sandbox.url}page/events") as live,
    ):
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", sandbox.url)
        assert "<title>Sandbox" in (await http.get(sandbox.url)).text
        await http.post(f"{sandbox.url}page/do/fault", json={"kind": "server_error"})
        command = {"user_id": "U0ALICE", "text": "/unlatch 2554529 moved"}
        await http.post(f"{sandbox.url}page/command", json=command)
        async with asyncio.timeout(20):
            async for state in live.aiter_lines():
                if "HTTP 500" in state:  # what Alice reads, after the last try
                    break
        while_running = names(tmp_path)
        # the page is still open
        code, output = await sandbox.stop()
    assert code == 0, output
    where, ledger, stopped = output.splitlines()
    assert "on this machine only (loopback); nothing is real" in where
    folder = re.match(rf"The ledger is in {re.escape(str(tmp_path))}/(\S+) and is deleted", ledger)
    assert folder is not None, ledger
    assert {folder[1], "ledger.db"} <= while_running
    assert stopped.startswith("Stopped.")
    assert names(tmp_path) == set()


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


async def test_a_customer_has_a_past_in_the_ledger(tmp_path: Path) -> None:
    async with opened(tmp_path, past=WITH_A_PAST) as sandbox:
        workspace = sandbox.slack.workspace
        await workspace.until(
            lambda: "Latched again" in text_of(workspace.messages(CHANNEL)[0].blocks), 10.0
        )
        await sandbox.slack.command("U0ALICE", f"{WITH_A_PAST} once more")
        await workspace.until(lambda: len(workspace.messages(CHANNEL)) > 1, 10.0)
        shown = text_of(workspace.messages(CHANNEL)[1].blocks)
        assert re.search("⚠️ Unlatched .*, latched again after 1 hour: see its card", shown)
