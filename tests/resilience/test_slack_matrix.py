"""Each call to Slack gets each answer that is not Slack's, and each class of Slack's own codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.app.composition import build
from bot.domain.models import EventType
from bot.inbound.socket_mode import SocketMode
from bot.messages.block_kit import message, say
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.proxy_answers import PROXY_ANSWERS
from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack
from bot.slack.client import Slack
from bot.slack.errors import PASSING, UNCHANGEABLE, UNPOSTABLE, SlackError, is_retryable
from bot.slack.web_api import open_session
from tests import slack_errors
from tests.support.faults import TIMING, calls, confirm, posted_once_in_order, shown
from tests.support.names import BIKES, CHANNEL
from tests.support.world import OpenWorld, World, add_customers, settings_for

HELLO = message([[say("hello")]])
ANSWERS = [*PROXY_ANSWERS, "incomplete"]
BLOCKING = ["not_in_channel", "channel_not_found", "org_login_required", "some_new_code"]

Make = Callable[[Slack, SimulatedSlack], Awaitable[object]]


async def _update(slack: Slack, double: SimulatedSlack) -> None:
    posted = double.workspace.post(CHANNEL, double.workspace.bot.id, "before")
    await slack.update(CHANNEL, posted.ts, HELLO)


async def _permalink(slack: Slack, double: SimulatedSlack) -> str:
    posted = double.workspace.post(CHANNEL, double.workspace.bot.id, "before")
    return await slack.permalink(CHANNEL, posted.ts)


async def _ephemeral(slack: Slack, double: SimulatedSlack) -> None:
    path = double.responses.issue(Origin("U0ALICE", CHANNEL))
    await slack.send_ephemeral(f"{double.url}{path}", HELLO)


METHODS: dict[str, Make] = {
    "auth.test": lambda slack, _double: slack.auth_test(),
    "chat.postMessage": lambda slack, _double: slack.post(CHANNEL, HELLO),
    "chat.update": _update,
    "chat.getPermalink": _permalink,
    "chat.scheduleMessage": lambda slack, _double: slack.schedule(
        CHANNEL, "hello", int(time.time()) + 3600
    ),
    "usergroups.users.list": lambda slack, _double: slack.user_group_members("S0BILLING"),
    "apps.connections.open": lambda slack, double: slack.open_connection(double.app_token),
    "response_url": _ephemeral,
}


@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_is_not_slacks_passes(method: str) -> None:
    async with SimulatedSlack() as double, open_session() as session:
        client = AsyncWebClient(
            token=double.bot_token, base_url=double.api_url, session=session, retry_handlers=[]
        )
        for name in PROXY_ANSWERS:
            double.faults.answer_as_proxy(method, name)
            with pytest.raises(SlackError) as raised:
                await METHODS[method](Slack(client), double)
            assert is_retryable(raised.value), (name, raised.value)


@pytest.mark.parametrize("method", [each for each in METHODS if each != "response_url"])
async def test_an_ok_without_what_was_asked_for_is_no_success(method: str) -> None:
    async with SimulatedSlack() as double, open_session() as session:
        client = AsyncWebClient(
            token=double.bot_token, base_url=double.api_url, session=session, retry_handlers=[]
        )
        double.faults.answer_as_proxy(method, "incomplete")
        with pytest.raises(SlackError) as raised:
            await METHODS[method](Slack(client), double)
        assert is_retryable(raised.value)


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(timing=TIMING) as opened:
        yield opened


@pytest.mark.parametrize("name", ANSWERS)
async def test_card_and_thread_show_the_result_whatever_a_proxy_answers(
    world: World, name: str
) -> None:
    card = await world.ask()
    for method in ("chat.update", "chat.postMessage"):
        world.slack.faults.answer_as_proxy(method, name, times=2)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))
    assert calls(world) == 1
    assert "[Unlatch Stolen Bikes]" not in world.card(card)


async def test_a_new_card_appears_whatever_a_proxy_answers(world: World) -> None:
    for name in ANSWERS:
        world.slack.faults.answer_as_proxy("chat.postMessage", name)
    ids = range(4_000_000, 4_000_000 + len(ANSWERS))
    add_customers(world.fusebill, ids)
    commands = (world.slack.command("U0ALICE", f"{each} moved") for each in ids)
    await asyncio.gather(*commands)
    await world.settled()
    assert len(world.slack.workspace.messages(CHANNEL)) == len(ANSWERS)
    assert world.ephemerals("U0ALICE") == []


async def test_a_private_answer_arrives_whatever_a_proxy_answers(world: World) -> None:
    for name in PROXY_ANSWERS:
        world.slack.faults.answer_as_proxy("response_url", name)
    commands = (world.slack.command("U0ALICE", "424242") for _ in PROXY_ANSWERS)
    await asyncio.gather(*commands)
    await world.settled()
    assert len(world.ephemerals("U0ALICE")) == len(PROXY_ANSWERS)


async def test_the_bot_starts_whatever_a_proxy_answers(tmp_path: Path) -> None:
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        for name in ANSWERS:
            slack.faults.answer_as_proxy("auth.test", name)
        for name in ("org_login_required", "ekm_access_denied", "some_new_code"):
            slack.faults.fail("auth.test", error=name)
        settings = settings_for(slack, fusebill, tmp_path)
        # the pause doubles: so many answers take about a second
        async with build(settings, replace(TIMING, pause_s=2.0**-30)):
            assert [call.method for call in slack.calls] == ["auth.test"] * (len(ANSWERS) + 4)


async def test_socket_mode_connects_whatever_a_proxy_answers(world: World) -> None:
    for name in ("text_200", "page_403", "json_list", "incomplete"):
        world.slack.faults.answer_as_proxy("apps.connections.open", name)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bot = world.bot
    connection = SocketMode(
        bot.app, bot.slack, bot.client, world.slack.app_token, ended, ping_every_s=0.05
    )
    try:
        await asyncio.wait_for(connection.open(), 10)
        assert world.slack.socket_mode.links
    finally:
        await connection.close()


def kinds(world: World, card: PostedMessage) -> list[str]:
    return [each["type"] for each in world.slack.workspace.message(CHANNEL, card.ts).blocks]


@pytest.mark.parametrize("code", [*sorted(PASSING), *BLOCKING, "token_revoked", "missing_scope"])
async def test_what_was_decided_is_shown_once_slack_allows_it_again(
    world: World, code: str
) -> None:
    card = await world.ask()
    world.slack.faults.fail("*", error=code, times=None)
    await confirm(world, card)
    await world.slack.workspace.until(
        lambda: sum(call.method == "chat.update" for call in world.slack.calls) > 1
    )
    world.slack.faults.clear()
    await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))
    assert EventType.DELIVERY_FAILED not in (await world.kept(card)).story


@pytest.mark.parametrize("code", sorted(UNPOSTABLE))
async def test_a_new_card_that_slack_refuses_keeps_its_buttons_and_is_drawn_whole_again(
    world: World, code: str
) -> None:
    # the second refusal is of the first try to draw it whole
    world.slack.faults.fail("chat.postMessage", error=code)
    world.slack.faults.fail("chat.update", error=code)
    card = await world.ask()
    assert "[Unlatch Stolen Bikes] [Cancel]" in world.card(card)
    await world.slack.workspace.until(lambda: kinds(world, card)[0] == "header")
    assert "[Unlatch Stolen Bikes] [Cancel]" in world.card(card)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert calls(world) == 1


async def test_a_result_that_slack_refuses_keeps_undo_and_is_drawn_whole_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.update", error="invalid_blocks", times=None, block="rich_text")
    await confirm(world, card)
    await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(card))
    assert "[Undo…]" in world.card(card)
    assert "rich_text" not in kinds(world, card)
    world.slack.faults.clear()
    await world.slack.workspace.until(lambda: "rich_text" in kinds(world, card))
    assert "[Undo…]" in world.card(card)
    await world.settled()
    assert (await world.kept(card)).is_settled
    assert "unsupported block type: rich_text" in capsys.readouterr().out
    assert world.ephemerals("U0ALICE") + world.ephemerals("U0BOB") == []


async def test_a_card_of_many_is_confirmed_and_shown_while_slack_fails_at_its_table(
    world: World,
) -> None:
    world.slack.faults.fail("*", error="internal_error", times=None, block="table")
    await world.slack.command("U0ALICE", f"{BIKES}, 3100025 moved")
    await world.slack.workspace.until(lambda: bool(world.slack.workspace.messages(CHANNEL)))
    [card] = world.slack.workspace.messages(CHANNEL)
    assert "[Unlatch 2 customers] [Cancel]" in world.card(card)
    await confirm(world, card)
    await world.slack.workspace.until(lambda: "✅ 2 unlatched" in world.card(card))
    world.slack.faults.clear()
    await world.slack.workspace.until(lambda: "table" in kinds(world, card))
    assert calls(world) == 2


@pytest.mark.parametrize("code", sorted(UNCHANGEABLE))
async def test_a_message_that_can_never_be_changed_is_not_tried_again(
    open_world: OpenWorld, code: str
) -> None:
    # an update that shows the work in progress would count too
    async with open_world(timing=replace(TIMING, working_after_s=60.0)) as world:
        card = await world.ask()
        world.slack.faults.fail("chat.update", error=code, times=None)
        await confirm(world, card)
        await world.settled()
        kept = await world.kept(card)
        assert kept.story[-1] is EventType.DELIVERY_FAILED
        assert kept.is_settled
        assert sum(call.method == "chat.update" for call in world.slack.calls) == 1


@pytest.mark.parametrize("code", BLOCKING)
async def test_a_new_card_that_slack_does_not_let_in_is_answered_at_once(
    world: World, code: str
) -> None:
    world.slack.faults.fail("chat.postMessage", error=code, times=None)
    reply = await world.reply_to(str(BIKES))
    await world.settled()
    assert "no card was posted and nothing was changed" in reply
    assert sum(call.method == "chat.postMessage" for call in world.slack.calls) == 1


async def test_the_page_of_error_codes_says_what_people_and_the_admin_are_told() -> None:
    page = (await slack_errors.findings()).page()
    assert slack_errors.PAGE.read_text(encoding="utf-8") == page
