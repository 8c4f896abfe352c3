"""A start without a ledger or without Slack: one line and an exit code, or a wait."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import Mode
from tests.resilience.test_crash import kill
from tests.support import postgresql
from tests.support.bot_process import PACE, environment
from tests.support.command_line import Forked, forked
from tests.support.names import BIKES
from tests.support.stage import Stage, stage
from tests.support.world import settings_for


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


@pytest.fixture
async def settings(simulated: SimulatedSlack, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The environment of a bot between the simulators."""
    async with SimulatedFusebill() as fusebill:
        values = environment(settings_for(simulated, fusebill, tmp_path))
        yield values


async def run(settings: dict[str, str], folder: Path, *arguments: str) -> Forked:
    return await forked(*arguments, cwd=folder, env={"PATH": os.environ["PATH"], **settings})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("sqlite:////nowhere/at/all/ledger.db", "DATABASE_URL: there is no folder /nowhere/at/all"),
        ("postgres://somebody:hush@127.0.0.1:1/ledger", "DATABASE_URL: connection"),
    ],
)
async def test_without_its_ledger_the_bot_exits_with_1_and_one_line(
    settings: dict[str, str], tmp_path: Path, url: str, line: str
) -> None:
    process = await run({**settings, "DATABASE_URL": url}, tmp_path, "http")
    _output, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith(line)
    assert "Traceback" not in errors.decode()
    assert "hush" not in errors.decode()


@pytest.mark.parametrize("command", ["http", "socket"])
async def test_with_wait_the_bot_waits_until_the_ledger_is_up(
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


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as opened:
        yield opened


def waits(staged: Stage) -> list[dict[str, Any]]:
    """The bots' log lines about waiting for Slack."""
    lines = [json.loads(line) for line in staged.log.splitlines()]
    return [line for line in lines if line["event"] == "waiting for slack"]


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_abandoned_work_is_finished_though_slack_is_down_at_the_next_start(
    staged: Stage, mode: Mode
) -> None:
    await staged.start()
    card = await staged.ask()
    await kill(staged, card, ("before", "unlatch_customer"))
    staged.slack.faults.down = True

    bot = await staged.launch(mode=mode)
    await staged.until(lambda: staged.fusebill.customers[BIKES]["hubSpotId"] is None)
    await staged.until(lambda: bool(waits(staged)))
    assert '"listening"' not in staged.log.partition('"waiting for slack"')[2]
    staged.slack.faults.down = False
    await bot.listens()
    await staged.settled()
    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert await bot.stop() == 0


async def test_the_bot_waits_for_slack_with_growing_pauses(
    staged: Stage,
) -> None:
    staged.slack.faults.down = True
    bot = await staged.launch(timing=replace(PACE, pause_s=0.01))
    await staged.until(lambda: len(waits(staged)) == 6)
    staged.slack.faults.down = False
    await bot.listens()
    assert [line["again_in_s"] for line in waits(staged)] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
    assert len([call for call in staged.slack.calls if call.method == "auth.test"]) == 7
    assert "Traceback" not in staged.log


async def test_at_start_the_bot_waits_for_a_rate_limit_as_long_as_slack_says(staged: Stage) -> None:
    staged.slack.faults.fail("auth.test", status=429, retry_after=1)
    await staged.start(timing=replace(PACE, pause_s=0.01))
    assert [(line["why"], line["again_in_s"]) for line in waits(staged)] == [("ratelimited", 1.0)]


@pytest.mark.parametrize(
    "error", ["org_login_required", "some_new_code", "invalid_arguments", "message_not_found"]
)
async def test_the_bot_waits_while_slack_says_no_for_another_reason_than_its_token(
    staged: Stage, error: str
) -> None:
    staged.slack.faults.fail("auth.test", error=error)
    await staged.start(timing=replace(PACE, pause_s=0.01))
    assert [line["why"] for line in waits(staged)] == [error]


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        ("invalid_auth", "Install the app, then copy SLACK_BOT_TOKEN again"),
        ("invalid_auth", "where the app or the workspace has a list of allowed IP addresses"),
        ("token_revoked", "Install the app, then copy SLACK_BOT_TOKEN again"),
        ("missing_scope", "Paste the manifest again"),
    ],
)
async def test_the_bot_does_not_wait_if_slack_refuses_the_token(
    settings: dict[str, str], tmp_path: Path, simulated: SimulatedSlack, error: str, fix: str
) -> None:
    simulated.faults.fail("auth.test", error=error, times=None)
    process = await run(settings, tmp_path, "http")
    _output, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    [line] = errors.decode().splitlines()
    assert line.startswith(f"Slack refused the bot token ({error}): ")
    assert fix in line


@pytest.mark.parametrize("command", ["http", "socket"])
async def test_a_bot_that_waits_for_slack_can_be_stopped(
    settings: dict[str, str], tmp_path: Path, simulated: SimulatedSlack, command: str
) -> None:
    simulated.faults.down = True
    process = await run({**settings, "LOG_FORMAT": "json"}, tmp_path, command)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"waiting for slack" not in await process.stderr.readline():
            pass
        process.terminate()
        _output, errors = await process.communicate()
    assert process.returncode == 0
    assert json.loads(errors.splitlines()[-1])["event"] == "stopped"
    assert b"Traceback" not in errors


async def test_a_bot_that_waits_for_its_ledger_can_be_stopped(
    settings: dict[str, str], tmp_path: Path
) -> None:
    nowhere = {"DATABASE_URL": "postgres://somebody:hush@127.0.0.1:1/ledger"}
    process = await run({**settings, **nowhere}, tmp_path, "http", "--wait")
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"waiting for the database" not in await process.stderr.readline():
            pass
        process.terminate()
        _output, errors = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in errors


@pytest.mark.parametrize("command", ["http", "socket"])
@pytest.mark.parametrize("missing", ["Slack", "the database"])
async def test_a_bot_that_waits_is_alive_and_not_ready(
    settings: dict[str, str], tmp_path: Path, simulated: SimulatedSlack, command: str, missing: str
) -> None:
    port = free_port()
    changes = {"LOG_FORMAT": "json", "PORT": str(port)}
    if missing == "Slack":
        simulated.faults.down = True
    else:
        changes["DATABASE_URL"] = "postgres://somebody:hush@127.0.0.1:1/ledger"
    process = await run({**settings, **changes}, tmp_path, command, "--wait")
    assert process.stderr is not None
    address = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while b"waiting for" not in await process.stderr.readline():
            pass
        for method, path, status in (
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 503),
            ("GET", "/metrics", 503),
            ("POST", "/slack/events", 503),
        ):
            async with session.request(method, f"{address}{path}") as response:
                assert (path, response.status) == (path, status)
        if missing == "Slack":
            simulated.faults.down = False
            while b'"listening"' not in await process.stderr.readline():
                pass
            async with session.get(f"{address}/readyz") as response:
                assert response.status == 200
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_no_connection_is_refused_or_dropped_while_the_bot_starts(
    settings: dict[str, str], tmp_path: Path, simulated: SimulatedSlack
) -> None:
    port = free_port()
    simulated.faults.down = True
    changes = {"LOG_FORMAT": "json", "PORT": str(port)}
    process = await run({**settings, **changes}, tmp_path, "http")
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"waiting for slack" not in await process.stderr.readline():
            pass
        simulated.faults.down = False
        statuses = []
        async with aiohttp.ClientSession() as kept:
            while 200 not in statuses:
                # a new connection each time, as a host's health checks make them, and a kept one
                async with aiohttp.request("GET", f"http://127.0.0.1:{port}/healthz") as response:
                    assert response.status == 200
                async with kept.get(f"http://127.0.0.1:{port}/healthz") as response:
                    assert response.status == 200
                async with aiohttp.request("GET", f"http://127.0.0.1:{port}/readyz") as response:
                    statuses.append(response.status)
        assert set(statuses) == {200, 503}
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
