"""Outages of Fusebill and Slack: no request is lost, executed twice or delayed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic

import pytest

from bot.domain.models import EventType
from tests.support.faults import (
    STORY,
    TIMING,
    calls,
    confirm,
    confirm_until_given_up,
    posted_once_in_order,
    shown,
)
from tests.support.names import CHANNEL
from tests.support.world import OpenWorld, World


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    # a call that hangs costs less than a second
    brief = replace(TIMING, fusebill_write_s=0.6, looks_for_s=0.3)
    async with open_world(timing=brief) as opened:
        yield opened


@pytest.mark.parametrize(
    ("kind", "expected_calls"),
    [
        ("lost_before", 2),
        ("lost_after", 1),
        ("server_error", 2),
        ("bad_gateway", 2),
        ("unavailable", 2),
        ("empty", 1),
        ("no_content", 1),
        ("null", 1),
        ("array", 1),
        ("truncated", 1),
        ("invalid_json", 1),
    ],
)
async def test_after_one_bad_answer_the_call_is_repeated_only_if_it_had_no_effect(
    world: World, kind: str, expected_calls: int
) -> None:
    card = await world.ask()
    world.fusebill.misbehave(kind, operation="unlatch_customer")
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert calls(world) == expected_calls
    assert posted_once_in_order(world.thread(card))


@pytest.mark.parametrize("kind", ["lost_before", "server_error", "bad_gateway", "html", "hang"])
async def test_endless_bad_answers_end_in_an_unknown_outcome_in_time(
    world: World, kind: str
) -> None:
    card = await world.ask()
    world.fusebill.misbehave(kind, operation="unlatch_customer", times=None)
    began = monotonic()
    await confirm(world, card)
    await shown(world, card, "❓ Outcome unknown")
    assert monotonic() - began < TIMING.execution_s + 1.5
    runs, done = "The call may still be under way.", "An earlier call may have taken effect"
    assert (runs if kind == "hang" else done) in world.card(card)
    assert "Check again" in world.card(card)
    assert 1 <= calls(world) <= 6


@pytest.mark.parametrize("kind", ["lost_before", "unavailable", "html", "hang"])
async def test_a_customer_that_cannot_be_read_is_not_unlatched(world: World, kind: str) -> None:
    card = await world.ask()
    world.fusebill.misbehave(kind, operation="get_customer", times=None)
    await confirm(world, card)
    await shown(world, card, "❌ Not done")
    assert "Nothing was changed" in world.card(card)
    assert calls(world) == 0


async def test_the_bot_waits_for_a_rate_limit_as_long_as_fusebill_says(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=replace(TIMING, execution_s=5.0)) as world:
        card = await world.ask()
        world.fusebill.misbehave("rate_limited", operation="unlatch_customer", reset_s=1)
        began = monotonic()
        await confirm(world, card)
        await shown(world, card, "✅ Unlatched")
        assert monotonic() - began >= 1
        assert calls(world) == 2


async def test_the_bot_does_not_wait_for_a_rate_limit_beyond_its_budget(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("rate_limited", operation="unlatch_customer", times=None, reset_s=60)
    await confirm(world, card)
    await shown(world, card, "❌ Not done")
    assert "accepts no more calls right now" in world.card(card)
    assert "Ask again after" in world.card(card)
    assert calls(world) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 1},
        {"status": 500},
        {"status": 503, "times": 3},
        {"error": "internal_error"},
        {"error": "token_revoked", "times": 4},
        {"drop": "before", "times": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["chat.update", "chat.postMessage"])
async def test_card_and_thread_catch_up_after_a_failure_of_slack(
    world: World, method: str, fault: dict[str, int | str]
) -> None:
    card = await world.ask()
    world.slack.faults.fail(method, **fault)  # type: ignore[arg-type]  # by name
    began = monotonic()
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert monotonic() - began >= int(fault.get("retry_after", 0))
    assert calls(world) == 1
    assert posted_once_in_order(world.thread(card))


async def test_after_a_lost_answer_of_slack_a_line_is_repeated_and_none_is_lost(
    world: World,
) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.postMessage", drop="after")
    await confirm(world, card)
    await world.slack.workspace.until(
        lambda: len(world.slack.workspace.thread(CHANNEL, card.ts)) == 2
    )
    await shown(world, card, "✅ Unlatched")
    assert [world.thread(card).count(line) for line in STORY] == [2, 2, 2]
    assert calls(world) == 1


async def test_requests_are_executed_while_slack_is_down_and_every_card_catches_up(
    world: World,
) -> None:
    cards = [await world.ask(f"{customer}") for customer in (2554529, 3100025, 3100033)]
    world.slack.faults.down = True
    for card in cards:
        await confirm(world, card)
    await world.slack.workspace.until(lambda: calls(world) == 3)
    await world.slack.workspace.until(
        lambda: sum(call.status == 0 for call in world.slack.calls) > 20
    )
    world.slack.faults.clear()
    for card in cards:
        await shown(world, card, "✅ Unlatched")
        assert posted_once_in_order(world.thread(card))
    assert calls(world) == 3


async def test_a_slow_slack_does_not_attract_more_workers(open_world: OpenWorld) -> None:
    async with open_world(timing=replace(TIMING, hold_s=0.2)) as world:
        card = await world.ask()
        opened = asyncio.Event()

        async def hold(_method: str) -> None:
            await opened.wait()

        world.slack.before = hold
        await confirm(world, card)
        await world.slack.workspace.until(lambda: calls(world) == 1)
        # several leases pass
        asyncio.get_running_loop().call_later(1.0, opened.set)
        await shown(world, card, "✅ Unlatched")
        methods = Counter(call.method for call in world.slack.calls)
        assert methods["chat.postMessage"] == 2


async def test_a_thread_that_was_posted_in_part_continues_from_there(
    open_world: OpenWorld,
) -> None:
    only_bob = frozenset({"U0BOB"})
    async with open_world(timing=TIMING, unlatch_confirmers=only_bob) as world:
        users = world.slack.workspace.users
        card = await world.ask()
        world.slack.faults.fail("chat.postMessage", error="internal_error", times=None)
        for number in range(12):
            # the same refusal twice in a row would count as a double click
            user_id = f"U0OTHER{number}"
            users[user_id] = replace(users["U0ALICE"], id=user_id)
            await world.press(user_id, card, "unlatch_confirm")
        world.slack.faults.clear()
        posts = 0

        async def refuse_every_other_post(method: str) -> None:
            nonlocal posts
            posts += method == "chat.postMessage"
            if method == "chat.postMessage" and posts % 2 == 0:
                world.slack.faults.fail(method, error="internal_error")

        world.slack.before = refuse_every_other_post
        await confirm(world, card)
        await shown(world, card, "✅ Unlatched")
        await world.kept_when(card, lambda kept: kept.is_settled)
        assert world.thread(card).count("was refused") == 12
        assert posted_once_in_order(world.thread(card))


@pytest.mark.parametrize("code", ["message_not_found", "cant_update_message"])
async def test_a_permanent_refusal_of_slack_is_recorded_and_logged(
    world: World, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    card = await world.ask()
    world.slack.faults.fail("*", error=code, times=None)
    await confirm(world, card)
    await world.settled()
    kept = await world.kept(card)
    assert kept.story[-2:] == [
        EventType.CLEARED,
        EventType.DELIVERY_FAILED,
    ]
    assert code in str(kept.events[-1].details["why"])
    assert kept.is_settled
    assert "gave up updating slack" in capsys.readouterr().out
    assert calls(world) == 1


async def test_the_thread_is_posted_though_the_card_is_gone(world: World) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.update", error="message_not_found", times=None)
    await confirm(world, card)
    await world.settled()
    assert posted_once_in_order(world.thread(card))


async def test_the_bot_gives_up_on_a_token_that_stays_revoked(world: World) -> None:
    card = await world.ask()
    world.slack.faults.fail("*", error="token_revoked", times=None)
    await confirm_until_given_up(world, card)


async def test_blocks_that_slack_calls_invalid_are_sent_as_sections_of_text(world: World) -> None:
    card = await world.ask()
    for method in ("chat.update", "chat.postMessage"):
        world.slack.faults.fail(method, error="invalid_blocks")
    await confirm(world, card)
    await world.settled()
    [reply] = world.slack.workspace.thread(CHANNEL, card.ts)
    assert {block["type"] for block in reply.blocks} == {"section"}
    for message in (world.slack.workspace.message(CHANNEL, card.ts), reply):
        assert "Unlatched" in str(message.blocks)
        assert "Unlatched" in message.text
