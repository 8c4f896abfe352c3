"""Socket Mode: the same journeys, reconnecting, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bot.app.composition import build
from bot.app.server import serve
from bot.inbound.socket_mode import SocketMode, SocketModeEnded
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from tests.support.names import BIKES, CHANNEL, CONFIRM
from tests.support.reading import heard_by, operations, request_id
from tests.support.world import QUICK, OpenWorld, World, settings_for


async def test_a_plain_journey_is_the_same_over_socket_mode(open_world: OpenWorld) -> None:
    async with open_world(mode="socket") as world:
        card = await world.ask()
        await world.press("U0BOB", card, CONFIRM)
        assert "Cleared contact 101 and company 202" in world.card(card)
        assert "<@U0BOB> confirmed" in world.thread(card)
        assert operations(world) == ["get_customer", "get_customer", "unlatch_customer"]


async def test_a_malformed_command_is_answered_in_the_ack(open_world: OpenWorld) -> None:
    async with open_world(mode="socket") as world:
        delivery = await world.slack.command("U0ALICE", "0")
        assert "/unlatch <Stax Bill ID> [reason]" in delivery.body
        assert heard_by(world) == {"U0ALICE"}


async def test_a_second_click_is_answered_over_socket_mode(open_world: OpenWorld) -> None:
    async with open_world(mode="socket") as world:
        card = await world.ask()
        await world.press("U0BOB", card, CONFIRM)
        await world.slack.forge_click("U0ALICE", card.ts, CONFIRM, request_id(card))
        await world.settled()
        assert "This request was confirmed by <@U0BOB>" in world.last_ephemeral("U0ALICE")


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_the_bot_connects_again_when_slack_asks_it_to(
    open_world: OpenWorld, reason: str
) -> None:
    async with open_world(mode="socket") as world:
        await world.slack.disconnect(reason)
        await world.slack.workspace.until(lambda: bool(world.slack.socket_mode.links))
        assert "(2554529)" in world.card(await world.ask())


async def test_a_card_from_before_a_reconnection_can_be_confirmed_after_it(
    open_world: OpenWorld,
) -> None:
    async with open_world(mode="socket") as world:
        card = await world.ask()
        await world.slack.disconnect()
        await world.slack.workspace.until(lambda: bool(world.slack.socket_mode.links))
        await world.press("U0BOB", card, CONFIRM)
        assert world.fusebill.customers[BIKES]["hubSpotId"] is None


async def test_it_ends_with_a_clear_error_if_slack_switches_socket_mode_off(
    tmp_path: Path,
) -> None:
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        settings = settings_for(slack, fusebill, tmp_path)
        bot = asyncio.create_task(serve(settings, "socket", timing=QUICK))
        await slack.workspace.until(lambda: bool(slack.socket_mode.links))
        await slack.disconnect("link_disabled")
        with pytest.raises(SocketModeEnded, match=r"link_disabled.*check that Socket Mode is on"):
            await asyncio.wait_for(bot, 20)


@pytest.mark.parametrize("error", ["invalid_auth", "not_allowed_token_type", "missing_scope"])
async def test_it_does_not_start_if_slack_refuses_it_for_good(tmp_path: Path, error: str) -> None:
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        slack.faults.fail("apps.connections.open", error=error, times=None)
        settings = settings_for(slack, fusebill, tmp_path)
        with pytest.raises(SocketModeEnded, match=f"{error}.*SLACK_APP_TOKEN"):
            await serve(settings, "socket", timing=QUICK)


@asynccontextmanager
async def unopened(world: World, tmp_path: Path) -> AsyncIterator[SocketMode]:
    """The connection of a second bot, which the test opens."""
    async with build(settings_for(world.slack, world.fusebill, tmp_path)) as bot:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection = SocketMode(
            bot.app, bot.slack, bot.client, world.slack.app_token, ended, ping_every_s=0.1
        )
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def connecting(world: World, tmp_path: Path) -> AsyncIterator[asyncio.Task[None]]:
    """A second bot, which can't connect: Slack gives it unusable addresses."""
    slack = world.slack
    async with unopened(world, tmp_path) as connection:
        slack.url = f"{slack.url}nowhere/"
        opening = asyncio.create_task(connection.open())
        await slack.workspace.until(lambda: requested_connections(slack) > 1)
        assert not slack.socket_mode.links
        yield opening


def requested_connections(slack: SimulatedSlack) -> int:
    return sum(call.method == "apps.connections.open" for call in slack.calls)


async def test_each_attempt_to_connect_has_its_own_address(world: World, tmp_path: Path) -> None:
    slack = world.slack
    async with connecting(world, tmp_path) as opening:
        slack.url = slack.url.removesuffix("nowhere/")
        await slack.workspace.until(lambda: bool(slack.socket_mode.links))
        await opening


async def test_it_ends_if_slack_refuses_it_before_the_first_connection(
    world: World, tmp_path: Path
) -> None:
    async with connecting(world, tmp_path) as opening:
        world.slack.faults.fail("apps.connections.open", error="missing_scope", times=None)
        with pytest.raises(SocketModeEnded, match="missing_scope"):
            await asyncio.wait_for(opening, 10)


async def test_acknowledged_work_is_finished_though_socket_mode_ends(tmp_path: Path) -> None:
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        settings = settings_for(slack, fusebill, tmp_path)
        bot = asyncio.create_task(serve(settings, "socket", timing=QUICK))
        await slack.workspace.until(lambda: bool(slack.socket_mode.links))
        await slack.command("U0ALICE", "2554529")
        await slack.workspace.until(lambda: slack.workspace.messages(CHANNEL))
        (card,) = slack.workspace.messages(CHANNEL)
        fusebill.misbehave("slow", operation="unlatch_customer", seconds=0.5)
        await slack.click("U0BOB", card.ts, CONFIRM)
        await slack.disconnect("link_disabled")
        await asyncio.wait([bot], timeout=20)
        assert fusebill.customers[BIKES]["hubSpotId"] is None
        assert "✅ Unlatched" in slack.workspace.message(CHANNEL, card.ts).text
        assert isinstance(bot.exception(), SocketModeEnded)


async def test_in_socket_mode_there_is_no_http_endpoint_for_slack(open_world: OpenWorld) -> None:
    async with open_world(mode="socket") as world:
        world.slack.request_url = f"{world.address}/slack/events"
        assert (await world.slack.command("U0ALICE", "2554529")).status == 404


async def test_readiness_includes_the_connection(open_world: OpenWorld) -> None:
    async with (
        open_world(mode="socket") as world,
        aiohttp.request("GET", f"{world.address}/readyz") as response,
    ):
        assert (await response.json())["socket_mode"] == "ok"


async def test_it_waits_as_told_when_slack_limits_new_connections(
    world: World, tmp_path: Path
) -> None:
    slack = world.slack
    async with unopened(world, tmp_path) as connection:
        slack.faults.fail("apps.connections.open", status=429, retry_after=2)
        opening = asyncio.create_task(connection.open())
        await slack.workspace.until(lambda: requested_connections(slack) == 1)
        await asyncio.sleep(1.5)
        # neither the bot nor slack_sdk has asked again
        assert requested_connections(slack) == 1
        await asyncio.wait_for(opening, 10)
        assert slack.socket_mode.links
        asked_at = [c.at for c in slack.calls if c.method == "apps.connections.open"]
        assert asked_at[1] - asked_at[0] >= 1.9


async def test_a_lost_connection_is_asked_for_again_only_as_slack_allows(
    world: World, tmp_path: Path
) -> None:
    slack = world.slack
    async with unopened(world, tmp_path) as connection:
        await connection.open()
        await slack.workspace.until(lambda: bool(slack.socket_mode.links))
        before = requested_connections(slack)
        slack.faults.fail("apps.connections.open", error="ratelimited", retry_after=2)
        for link in list(slack.socket_mode.links):
            await link.close()
        await slack.workspace.until(lambda: requested_connections(slack) > before)
        await asyncio.sleep(1.5)
        assert requested_connections(slack) == before + 1
        await slack.workspace.until(lambda: bool(slack.socket_mode.links))


async def test_a_second_connection_is_a_warning_that_says_what_it_means(
    open_world: OpenWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world(mode="socket") as world:
        await world.slack.workspace.until(lambda: "socket mode" in capsys.readouterr().out)
        async with unopened(world, tmp_path) as second:
            await second.open()
            said = ""

            def is_told() -> bool:
                nonlocal said
                said += capsys.readouterr().out
                return "not alone" in said

            await world.slack.workspace.until(is_told)
    [line] = [line for line in said.splitlines() if "socket mode connected" in line]
    assert "warning" in line
    assert "connections=2" in line
    assert "needs an app of its own" in line


async def test_a_renewed_connection_is_told_as_one(
    open_world: OpenWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_world(mode="socket") as world:
        await world.slack.disconnect("refresh_requested")
        await world.slack.workspace.until(lambda: bool(world.slack.socket_mode.links))
        said = ""

        def is_told_twice() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return said.count("socket mode connected") == 2

        await world.slack.workspace.until(is_told_twice)
    assert said.count("connections=1") == 2
    assert "not alone" not in said
