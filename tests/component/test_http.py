"""The HTTP server: health, readiness, metrics, and requests that Slack did not send."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from bot.app.server import LEDGER_CACHE_S, SLACK_CACHE_S
from bot.inbound.http import Reason, Rejected, Rejections
from bot.ops.metrics import Metrics
from tests.support import postgresql
from tests.support.names import CONFIRM
from tests.support.reading import operations
from tests.support.world import OpenWorld, World


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


DEGRADED = {"ready": True, "process": "ok", "ledger": "ok", "slack": "degraded"}


def noted(capsys: pytest.CaptureFixture[str], event: str) -> str:
    """The one log line about a part that is not ok."""
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f" {event} " in line]
    return line


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("token_revoked", "copy SLACK_BOT_TOKEN again"),
        ("invalid_auth", "list of allowed IP addresses"),
        ("account_inactive", "copy SLACK_BOT_TOKEN again"),
        ("missing_scope", "reinstall the app"),
        ("ekm_access_denied", "admins"),
        ("some_new_code", "docs.slack.dev"),
    ],
)
async def test_a_slack_that_refuses_the_token_is_degraded_and_the_log_says_what_to_do(
    world: World,
    browser: aiohttp.ClientSession,
    error: str,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.slack.faults.fail("auth.test", error=error)
    assert await readiness(world, browser) == (200, DEGRADED)
    line = noted(capsys, "degraded")
    assert "part=slack" in line
    assert error in line
    assert advice in line


async def test_a_process_that_slack_does_not_answer_is_ready_and_takes_clicks(
    world: World, browser: aiohttp.ClientSession
) -> None:
    card = await world.ask()
    world.slack.faults.down = True
    assert await readiness(world, browser) == (200, DEGRADED)
    assert (await world.slack.click("U0BOB", card.ts, CONFIRM)).status == 200
    world.slack.faults.down = False
    await world.slack.workspace.until(lambda: "Cleared contact 101" in world.card(card))


async def test_a_trouble_that_passes_leaves_nothing_to_do(
    world: World, browser: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    world.slack.faults.fail("auth.test", error="internal_error")
    assert await readiness(world, browser) == (200, DEGRADED)
    assert "check=" not in noted(capsys, "degraded")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("no_such_subteam", "if the group was deleted"),
        ("missing_scope", "--user-groups"),
        ("plan_upgrade_required", "paid plan"),
    ],
)
async def test_a_user_group_that_slack_refuses_is_degraded_and_named_in_the_log(
    open_world: OpenWorld,
    browser: aiohttp.ClientSession,
    error: str,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with open_world(
        unlatch_confirmers=frozenset({"S0BILLING"}),
        slack_set_up=lambda slack: slack.faults.fail(
            "usergroups.users.list", error=error, times=None
        ),
    ) as world:
        parts = DEGRADED | {"slack": "ok", "user_groups": "degraded"}
        assert await readiness(world, browser) == (200, parts)
    said = capsys.readouterr().out.splitlines()
    (unread,) = [line for line in said if "user group not read" in line]
    (degraded,) = [line for line in said if " degraded " in line]
    assert f"S0BILLING: {error}" in degraded
    assert "user_group=S0BILLING" in unread
    assert advice in unread


async def test_user_groups_that_slack_reported_are_ok(
    open_world: OpenWorld, browser: aiohttp.ClientSession
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0BILLING"})) as world:
        assert (await readiness(world, browser))[1]["user_groups"] == "ok"


async def test_readyz_says_that_the_ledger_is_unavailable(
    world: World, browser: aiohttp.ClientSession, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    status, parts = await readiness(world, browser)
    other.close()
    assert (status, parts["ledger"], parts["slack"]) == (503, "not ready", "ok")


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
        assert "Cleared contact 101 and company 202" in world.card(card)
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
    assert await readiness(world, browser) == (200, DEGRADED)


async def test_readyz_does_not_wait_for_a_slack_that_hangs(
    world: World, browser: aiohttp.ClientSession
) -> None:
    answered = asyncio.Event()

    async def hang(_method: str) -> None:
        await answered.wait()

    world.slack.before = hang
    async with asyncio.timeout(8):
        found = await readiness(world, browser)
    answered.set()
    assert found == (200, DEGRADED)


async def test_a_body_of_over_a_megabyte_gets_413(world: World) -> None:
    body = b"x" * 1_000_001
    for headers in (world.slack.sign(body), {}):
        assert (await world.slack.send_raw(body, headers)).status == 413


async def test_a_chunked_body_of_over_a_megabyte_gets_413(
    world: World, browser: aiohttp.ClientSession
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    signed, url = world.slack.sign(b""), f"{world.address}/slack/events"
    async with browser.post(url, data=chunks(), headers=signed) as response:
        assert response.status == 413


async def test_other_methods_and_paths_are_refused(
    world: World, browser: aiohttp.ClientSession
) -> None:
    statuses = {
        ("GET", "/slack/events"): 405,
        ("PUT", "/slack/events"): 405,
        ("POST", "/healthz"): 405,
        ("POST", "/metrics"): 405,
        ("GET", "/"): 404,
        ("POST", "/slack/events/"): 404,
        ("GET", "/slack/../.env"): 404,
        ("GET", "/slack/install"): 404,
    }
    found = {}
    for method, path in statuses:
        async with browser.request(method, world.address + path) as response:
            found[method, path] = response.status
    assert found == statuses


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


async def test_readyz_says_that_a_read_only_ledger_is_not_ready(
    open_world: OpenWorld, browser: aiohttp.ClientSession, postgresql_url: str
) -> None:
    async with open_world(database_url=postgresql_url) as world:
        assert (await readiness(world, browser))[0] == 200
        postgresql.read_only(postgresql_url)
        await asyncio.sleep(LEDGER_CACHE_S)
        status, parts = await readiness(world, browser)
        assert (status, parts["ledger"]) == (503, "not ready")


async def test_readyz_tells_a_stranger_neither_host_nor_port_of_the_database(
    open_world: OpenWorld,
    browser: aiohttp.ClientSession,
    postgresql_server: str,
    postgresql_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with open_world(database_url=postgresql_url) as world:
        postgresql.go_away(postgresql_server, postgresql_url)
        parts = (await readiness(world, browser))[1]
        postgresql.come_back(postgresql_server, postgresql_url)
    assert parts == {"ready": False, "process": "ok", "ledger": "not ready", "slack": "ok"}
    assert "why=" in next(x for x in capsys.readouterr().out.splitlines() if "not ready" in x)


def rejected(world: World) -> dict[str, float]:
    """What `/metrics` counts as rejected, by reason; without zeros."""
    (family,) = world.bot.metrics.rejected.collect()
    samples = [s for s in family.samples if s.name.endswith("_total") and s.value]
    return {sample.labels["reason"]: sample.value for sample in samples}


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The log lines about rejected requests so far."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if "requests rejected" in line]


ENCODINGS = ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "GZIP", "junk"]


async def test_a_compressed_body_gets_415_and_is_never_inflated(world: World) -> None:
    bomb = gzip.compress(bytes(100_000_000), 1)
    for encoding, headers in product(ENCODINGS, ({}, world.slack.sign(bomb))):
        before = time.process_time()
        answers = await asyncio.gather(
            *(
                world.slack.send_raw(bomb, headers | {"Content-Encoding": encoding})
                for _ in range(8)
            )
        )
        assert {answer.status for answer in answers} == {415}
        # inflating them would take seconds
        assert time.process_time() - before < 1
    assert rejected(world) == {"encoding": 8 * 2 * len(ENCODINGS)}


async def test_junk_that_says_it_is_compressed_causes_no_traceback(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for encoding in ENCODINGS:
        answer = await world.slack.send_raw(b"\x1f\x8bjunk", {"Content-Encoding": encoding})
        assert answer.status == 415
    assert "Traceback" not in capsys.readouterr().out + caplog.text


BROKEN = [
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\nzz\r\njunk\r\n",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n5\r\nab",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n%b\r\nab",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n%b\r\nab",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n%b\r\nab",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nExpect: junk\r\nContent-Length: 2\r\n%b\r\nab",
    b"\x16\x03\x01\x02\x00 a TLS hello %b\r\n\r\n",
    b"POST /slack/events HTTP/9.9\r\n%b\r\n",
]


async def test_a_broken_request_causes_no_traceback_and_no_500(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    host, port = world.address.removeprefix("http://").split(":")
    signed = "".join(f"{name}: {value}\r\n" for name, value in world.slack.sign(b"ab").items())
    for request in BROKEN:
        for headers in (b"", signed.encode()):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request % headers)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 8)
            assert not answer.startswith(b"HTTP/1.1 5"), (request, answer)
            writer.close()
    assert "Traceback" not in capsys.readouterr().out + caplog.text


async def test_each_reason_to_reject_a_request_is_counted(world: World) -> None:
    body, now = b"a=b", int(time.time())
    signed = world.slack.sign(body)
    wrong = signed | {"X-Slack-Signature": "v0=" + "0" * 64}
    for headers in ({}, wrong, wrong, world.slack.sign(body, now - 400)):
        assert (await world.slack.send_raw(body, headers)).status == 401
    assert (await world.slack.send_raw(b"x" * 1_000_001, signed)).status == 413
    counts = {"missing": 1, "signature": 2, "clock": 1, "too_large": 1}
    assert rejected(world) == counts


async def test_every_reason_is_in_the_metrics_from_the_start(
    world: World, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(f"{world.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    for reason in ("missing", "signature", "clock", "too_large", "encoding"):
        assert f'unlatch_rejected_total{{reason="{reason}"}} 0.0' in lines


@pytest.mark.parametrize(
    ("off_s", "expected"), [(400, "behind Slack's"), (-400, "ahead of Slack's")]
)
async def test_a_clock_that_is_off_is_told_with_its_seconds(
    world: World, capsys: pytest.CaptureFixture[str], off_s: int, expected: str
) -> None:
    headers = world.slack.sign(b"a=b", int(time.time()) + off_s)
    assert (await world.slack.send_raw(b"a=b", headers)).status == 401
    (line,) = told(capsys)
    (seconds,) = re.findall(r"clock_off_s=(-?\d+)", line)
    assert abs(int(seconds) + off_s) <= 2
    assert expected in line


async def test_a_wrong_signing_secret_is_told_with_what_to_check(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.slack.signing_secret = "another"
    await world.slack.command("U0ALICE", "2554529")
    (line,) = told(capsys)
    assert "signature=1" in line
    assert "copy SLACK_SIGNING_SECRET again" in line


async def test_an_old_time_with_a_wrong_signature_is_not_told_as_a_wrong_clock(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = world.slack.sign(b"a=b", int(time.time()) - 9999)
    await world.slack.send_raw(b"another", headers)
    (line,) = told(capsys)
    assert "signature=1" in line
    assert "clock" not in line


async def test_many_rejected_requests_are_one_line_at_once_and_the_rest_later(
    open_world: OpenWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world() as world:
        for _ in range(300):
            assert (await world.slack.send_raw(b"junk", {})).status == 401
        (first,) = told(capsys)
        assert "missing=1 " in f"{first} "
    # what is not logged yet is logged when the bot stops
    (rest,) = told(capsys)
    assert "missing=299 " in f"{rest} "


async def test_a_later_line_about_rejected_requests_has_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rejections = Rejections(Metrics(), log_interval_s=0.05)
    for _ in range(3):
        rejections.add(Rejected(Reason.MISSING))
    await asyncio.sleep(0.2)
    rejections.add(Rejected(Reason.ENCODING))
    lines = told(capsys)
    assert ["missing=1 " in f"{lines[0]} ", "missing=2 " in f"{lines[1]} ", len(lines)] == [
        *(True, True),
        3,
    ]
    rejections.close()
