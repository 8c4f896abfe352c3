"""The HTTP server: health, readiness, metrics, and requests that Slack did not send."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from bot.app.server import SLACK_CACHE_S
from tests.support.names import BIKES, CONFIRM
from tests.support.reading import operations
from tests.support.world import World


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_healthz_says_that_the_process_runs(
    world: World, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(f"{world.address}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"ok": True})


async def test_healthz_does_not_depend_on_slack(
    world: World, browser: aiohttp.ClientSession
) -> None:
    world.slack.faults.down = True
    async with browser.get(f"{world.address}/healthz") as response:
        assert response.status == 200


async def readiness(world: World, browser: aiohttp.ClientSession) -> tuple[int, dict[str, object]]:
    async with browser.get(f"{world.address}/readyz") as response:
        return response.status, await response.json()


async def test_readyz_says_that_every_part_is_ok(
    world: World, browser: aiohttp.ClientSession
) -> None:
    parts = {"ready": True, "process": "ok", "ledger": "ok", "slack": "ok"}
    assert await readiness(world, browser) == (200, parts)


@pytest.mark.parametrize("error", ["token_revoked", "invalid_auth", "account_inactive"])
async def test_readyz_shows_why_slack_refuses_the_token(
    world: World, browser: aiohttp.ClientSession, error: str
) -> None:
    world.slack.faults.fail("auth.test", error=error)
    status, parts = await readiness(world, browser)
    assert (status, parts["ready"], parts["slack"], parts["ledger"]) == (503, False, error, "ok")


async def test_readyz_says_that_slack_is_unreachable(
    world: World, browser: aiohttp.ClientSession
) -> None:
    world.slack.faults.down = True
    status, parts = await readiness(world, browser)
    assert (status, parts["slack"] == "ok") == (503, False)


async def test_readyz_says_that_the_ledger_is_unavailable(
    world: World, browser: aiohttp.ClientSession, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    status, parts = await readiness(world, browser)
    other.close()
    assert (status, "database" in str(parts["ledger"]), parts["slack"]) == (503, True, "ok")


async def test_readyz_says_that_the_bot_is_stopping(
    world: World, browser: aiohttp.ClientSession
) -> None:
    world.bot.stopping.set()
    assert await readiness(world, browser) == (503, {"ready": False, "process": "stopping"})


def probes(world: World) -> int:
    """How often the bot called auth.test after the start."""
    return sum(call.method == "auth.test" for call in world.slack.calls) - 1


async def test_many_readyz_requests_make_one_call_to_slack_and_delay_no_click(
    world: World,
) -> None:
    card, checking, answered = await world.ask(), asyncio.Event(), asyncio.Event()

    async def slow(method: str) -> None:
        if method == "auth.test":
            checking.set()
            await answered.wait()

    world.slack.before = slow
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        requests = [asyncio.create_task(readiness(world, session)) for _ in range(200)]
        await world.slack.workspace.until(checking.is_set)
        await world.press("U0BOB", card, CONFIRM)
        assert "Cleared: contact 101, company 202" in world.card(card)
        answered.set()
        assert {status for status, _parts in await asyncio.gather(*requests)} == {200}
    assert probes(world) == 1


async def test_the_check_of_slack_is_cached(world: World, browser: aiohttp.ClientSession) -> None:
    first = await readiness(world, browser)
    world.slack.faults.fail("auth.test", error="token_revoked", times=None)
    assert [await readiness(world, browser) for _ in range(5)] == [first] * 5
    assert probes(world) == 1


async def test_the_cached_check_of_slack_expires(
    world: World, browser: aiohttp.ClientSession
) -> None:
    assert (await readiness(world, browser))[0] == 200
    world.slack.faults.fail("auth.test", error="token_revoked", times=None)
    await asyncio.sleep(SLACK_CACHE_S)
    status, parts = await readiness(world, browser)
    assert (status, parts["slack"]) == (503, "token_revoked")


async def test_readyz_does_not_wait_for_a_slack_that_hangs(
    world: World, browser: aiohttp.ClientSession
) -> None:
    answered = asyncio.Event()

    async def hang(_method: str) -> None:
        await answered.wait()

    world.slack.before = hang
    async with asyncio.timeout(8):
        status, parts = await readiness(world, browser)
    answered.set()
    assert (status, parts["slack"]) == (503, "no answer within 3 s")


async def test_metrics_count_what_was_done(world: World, browser: aiohttp.ClientSession) -> None:
    await world.press("U0BOB", await world.ask(), CONFIRM)
    async with browser.get(f"{world.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert 'unlatch_requests_total{kind="unlatch"} 1.0' in lines
    assert 'unlatch_verdicts_total{kind="unlatch",verdict="confirmed"} 1.0' in lines
    assert 'unlatch_outcomes_total{kind="unlatch",outcome="cleared"} 1.0' in lines


async def test_metrics_contain_no_customer_person_or_secret(
    world: World, browser: aiohttp.ClientSession
) -> None:
    await world.press("U0BOB", await world.ask(), CONFIRM)
    async with browser.get(f"{world.address}/metrics") as response:
        text = await response.text()
    private = (BIKES, "Stolen", "U0ALICE", world.fusebill.api_key, world.slack.bot_token)
    assert [value for value in private if str(value) in text] == []


@pytest.mark.parametrize("signed", [True, False])
async def test_a_body_of_over_a_megabyte_gets_413(world: World, signed: bool) -> None:  # noqa: FBT001  # a parameter
    body = b"x" * 1_000_001
    delivery = await world.slack.send_raw(body, world.slack.sign(body) if signed else {})
    assert delivery.status == 413


async def test_a_chunked_body_of_over_a_megabyte_gets_413(
    world: World, browser: aiohttp.ClientSession
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    async with browser.post(f"{world.address}/slack/events", data=chunks()) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/slack/events", 405),
        ("PUT", "/slack/events", 405),
        ("POST", "/healthz", 405),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("POST", "/slack/events/", 404),
        ("GET", "/slack/../.env", 404),
        ("GET", "/slack/install", 404),
    ],
)
async def test_other_methods_and_paths_are_refused(
    world: World, browser: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with browser.request(method, world.address + path) as response:
        assert response.status == status


JUNK = [
    b"",
    b"\xff\xfe\x00",
    b"junk",
    b"payload=",
    b"payload={",
    b"payload=[]",
    b"payload=null",
    b"payload=7",
    b"payload=%7B%22type%22%3A%22block_actions%22%7D",
    b"payload=" + b"%5B" * 20_000,
    b"&" * 10_000,
    b"&".join(b"f%d=1" % n for n in range(5_000)),
    b'{"type": "url_verification", "challenge": "x"}',
    b"{",
    b"ssl_check=1",
    b"command=%2Fother&text=1",
    b"command=%2Funlatch",
]


async def test_unsigned_junk_gets_401(world: World) -> None:
    statuses = {body: (await world.slack.send_raw(body, {})).status for body in JUNK}
    assert statuses == dict.fromkeys(JUNK, 401)


async def test_signed_junk_has_no_effect(world: World) -> None:
    at_start = len(world.slack.calls)
    signed = {body: world.slack.sign(body) for body in JUNK}
    answers = {body: await world.slack.send_raw(body, signed[body]) for body in JUNK}
    await world.settled()
    assert {body: a for body, a in answers.items() if a.status not in (200, 401, 404)} == {}
    assert max(answer.seconds for answer in answers.values()) < 2.5
    assert (world.slack.calls[at_start:], operations(world)) == ([], [])


async def test_an_incomplete_click_has_no_effect(world: World) -> None:
    card = await world.ask()
    whole = {
        "type": "block_actions",
        "user": {"id": "U0BOB", "team_id": "T0SANDBOX"},
        "team": {"id": "T0SANDBOX"},
        "actions": [{"action_id": CONFIRM, "type": "button", "block_id": "b"}],
        "container": {"channel_id": "C0BILLING", "message_ts": card.ts},
        "response_url": "http://127.0.0.1:9/never",
    }
    for part in whole:
        payload = json.dumps({key: value for key, value in whole.items() if key != part})
        body = f"payload={quote(payload)}".encode()
        delivery = await world.slack.send_raw(body, world.slack.sign(body))
        assert (delivery.status in (200, 404), delivery.seconds < 2.5) == (True, True)
    await world.settled()
    assert operations(world) == ["get_customer"]
