"""Delivery of ephemeral messages through temporary and permanent Slack errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic
from urllib.parse import urlencode

import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession, web
from slack_sdk.web.async_client import AsyncWebClient

from bot.messages.block_kit import message, say
from bot.sandbox.slack.simulator import text_of
from bot.slack.client import Slack
from bot.slack.errors import SlackRefused, SlackUnavailable
from bot.slack.web_api import NOT_AT_SLACK
from tests.support.world import World

UNKNOWN_CUSTOMER = "424242"


def statuses(world: World) -> list[int]:
    return [call.status for call in world.slack.calls if call.method == "response_url"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 503, "times": 2},
        {"status": 200},
        {"error": "internal_error"},
        {"error": "ratelimited", "status": 429},
        {"drop": "before"},
    ],
    ids=str,
)
async def test_an_ephemeral_is_retried_after_a_temporary_error(
    world: World, fault: dict[str, int | str]
) -> None:
    world.slack.faults.fail("response_url", **fault)  # type: ignore[arg-type]  # keyword arguments
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert "has no customer 424242" in world.last_ephemeral("U0ALICE")
    assert len(world.slack.workspace.ephemerals("U0ALICE")) == 1
    assert monotonic() - began < 5


async def test_an_ephemeral_is_retried_when_slack_asked(world: World) -> None:
    world.slack.faults.fail("response_url", status=429, retry_after=2)
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert "has no customer 424242" in world.last_ephemeral("U0ALICE")
    assert monotonic() - began >= 2


@pytest.mark.parametrize("bare", [False, True], ids=["in Slack's JSON", "the code alone"])
async def test_an_ephemeral_whose_blocks_slack_refuses_is_sent_as_text(
    world: World, *, bare: bool
) -> None:
    if bare:
        world.slack.faults.answer_bare("response_url", "invalid_blocks")
    else:
        world.slack.faults.fail("response_url", error="invalid_blocks")
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    [ephemeral] = world.slack.workspace.ephemerals("U0ALICE")
    assert {block["type"] for block in ephemeral.blocks} == {"section"}
    assert "has no customer 424242" in text_of(ephemeral.blocks)
    assert "has no customer 424242" in ephemeral.text


async def test_a_bare_code_of_a_url_that_is_gone_is_not_retried(world: World) -> None:
    world.slack.faults.answer_bare("response_url", "used_url", times=None)
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert statuses(world) == [400]


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ({"error": "some_new_error"}, 1),
        ({"error": "used_url", "status": 404}, 1),
        ({"status": 503}, 3),
        ({"drop": "before"}, 3),
    ],
    ids=str,
)
async def test_an_undeliverable_ephemeral_is_logged_after_its_retries(
    world: World, capsys: pytest.CaptureFixture[str], fault: dict[str, int | str], attempts: int
) -> None:
    world.slack.faults.fail("response_url", **fault, times=None)  # type: ignore[arg-type]  # keyword arguments
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert len(statuses(world)) == attempts
    assert world.slack.workspace.ephemerals("U0ALICE") == []
    assert "ephemeral not delivered" in capsys.readouterr().out


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[int, list[str]]]:
    """A server that is not Slack's: its port, and what it was sent."""
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.text())
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], got
    await runner.cleanup()


async def test_a_signed_response_url_that_is_not_at_slack_is_never_called(
    world: World, elsewhere: tuple[int, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    port, got = elsewhere
    command = {
        "command": "/unlatch",
        "text": UNKNOWN_CUSTOMER,
        "user_id": "U0ALICE",
        "team_id": "T0SANDBOX",
        "channel_id": "C0BILLING",
        "channel_name": "billing",
        "response_url": f"http://localhost:{port}/commands/1",
        "trigger_id": "1.2.3",
    }
    body = urlencode(command).encode()
    assert (await world.slack.send_raw(body, world.slack.sign(body))).status == 200
    await world.settled()
    assert got == []
    said = capsys.readouterr().out
    assert "response url not called: it is not at slack" in said
    # it may hold anything
    assert "localhost" not in said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.slack.com/commands/1",
        "http://hooks.slack.com/commands/1",
        "https://hooks.slack.com.example/commands/1",
        "https://hooks.slack.com@example.com/commands/1",
        "https://example.com/hooks.slack.com",
        "https://[hooks.slack.com/commands/1",
        "file:///etc/passwd",
    ],
)
async def test_only_slacks_own_addresses_are_called(url: str) -> None:
    # without a session: a call would fail in another way
    slack = Slack(AsyncWebClient(token="xoxb-x"))
    with pytest.raises(SlackRefused, match=NOT_AT_SLACK):
        await slack.send_ephemeral(url, message([[say("hello")]]))


@pytest.mark.parametrize("host", ["hooks.slack.com", "hooks.slack-gov.com"])
async def test_slacks_own_addresses_are_called(host: str) -> None:
    called: list[str] = []

    async def record(request: ClientRequest, _handler: ClientHandlerType) -> ClientResponse:
        called.append(str(request.url))
        raise ConnectionRefusedError

    async with ClientSession(middlewares=(record,)) as session:
        slack = Slack(AsyncWebClient(token="xoxb-x", session=session))
        with pytest.raises(SlackUnavailable):
            await slack.send_ephemeral(f"https://{host}/commands/1", message([[say("hello")]]))
    assert called == [f"https://{host}/commands/1"]
