"""A start without a ledger: a clear line and an exit code, or patience."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.sandbox.fusebill import SimulatedFusebill
from bot.sandbox.slack import SimulatedSlack
from tests import postgresql
from tests.bot_process import environment
from tests.conftest import settings_for


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The environment of a bot between its doubles, but for its ledger."""
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        values = environment(settings_for(slack, fusebill, tmp_path))
        yield {"PYTHONPATH": str(Path(__file__).parent.parent), **values}


async def run(settings: dict[str, str], folder: Path, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        env={"PATH": os.environ["PATH"], **settings},
        cwd=folder,
        stderr=PIPE,
        stdout=PIPE,
    )


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("sqlite:////nowhere/at/all/ledger.db", "DATABASE_URL: unable to open database file"),
        ("postgres://somebody:hush@127.0.0.1:1/ledger", "DATABASE_URL: connection"),
    ],
)
async def test_a_ledger_that_is_gone_at_start_is_one_line_and_exit_code_1(
    settings: dict[str, str], tmp_path: Path, url: str, line: str
) -> None:
    process = await run({**settings, "DATABASE_URL": url}, tmp_path, "http")
    _output, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith(line)
    assert "Traceback" not in errors.decode()
    assert "hush" not in errors.decode()


@pytest.mark.parametrize("command", ["http", "socket"])
async def test_with_wait_a_bot_is_patient_until_the_ledger_is_there(
    settings: dict[str, str],
    tmp_path: Path,
    postgresql_server: str,
    postgresql_url: str,
    command: str,
) -> None:
    postgresql.go_away(postgresql_server, postgresql_url)
    wired = {**settings, "DATABASE_URL": postgresql_url, "LOG_FORMAT": "json"}
    process = await run(wired, tmp_path, command, "--wait")
    assert process.stderr is not None
    async with asyncio.timeout(20):
        waiting = await process.stderr.readline()
        assert b"waiting for the database" in waiting
        postgresql.come_back(postgresql_server, postgresql_url)
        while b'"listening"' not in await process.stderr.readline():
            pass
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
