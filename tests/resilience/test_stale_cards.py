"""What card or thread can't show is told to the people who wait, and shown when Slack allows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.faults import (
    TIMING,
    calls,
    confirm,
    confirm_until_given_up,
    posted_once_in_order,
    shown,
)
from tests.support.ledger import age_urls, kept_urls
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import request_id
from tests.support.world import OpenWorld, World, settings_for

ANSWERED = ["U0ALICE", "U0BOB"]


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(timing=TIMING) as opened:
        yield opened


def remove_bot(world: World) -> None:
    """Remove the bot from the channel, which is private: Slack then denies that it exists."""
    channels = world.slack.workspace.channels
    channels[CHANNEL] = replace(channels[CHANNEL], private=True, member=False)


def invite_bot(world: World) -> None:
    channels = world.slack.workspace.channels
    channels[CHANNEL] = replace(channels[CHANNEL], member=True)


async def told(world: World, *people: str) -> None:
    await world.slack.workspace.until(
        lambda: all(world.slack.workspace.ephemerals(person) for person in people)
    )


async def given_up(world: World) -> PostedMessage:
    """A card that was decided while Slack was away, until the bot gave up."""
    card = await world.ask()
    world.slack.faults.fail("*", error="org_login_required", times=None)
    await confirm_until_given_up(world, card)
    world.slack.faults.clear()
    assert "[Unlatch Stolen Bikes]" in world.card(card)
    return card


async def test_where_the_bot_was_removed_both_people_are_told_and_an_invitation_shows_it(
    world: World,
) -> None:
    card = await world.ask()
    remove_bot(world)
    await confirm(world, card)
    await told(world, *ANSWERED)
    for person in ANSWERED:
        [text] = world.ephemerals(person)
        assert text.startswith("✅ Unlatched: Stolen Bikes (2554529)")
        assert "Cleared contact 101 and company 202" in text
        assert "invite it again" in text
    invite_bot(world)
    await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))
    # told once, not at every attempt
    assert [len(world.ephemerals(person)) for person in ANSWERED] == [1, 1]


async def test_where_the_card_was_deleted_both_people_are_told(world: World) -> None:
    card = await world.ask()
    deleted = world.slack.workspace.message(CHANNEL, card.ts)
    hold = request_id(deleted)
    world.slack.workspace.delete_message(CHANNEL, card.ts)
    await world.slack.forge_click("U0BOB", card.ts, CONFIRM, hold)
    await told(world, *ANSWERED)
    await world.settled()
    for person in ANSWERED:
        assert "✅ Unlatched" in world.last_ephemeral(person)
        assert "can't show the card and the trail any more" in world.last_ephemeral(person)
    assert calls(world) == 1


async def test_somebody_who_asked_and_confirmed_is_told_once(world: World) -> None:
    card = await world.ask()
    remove_bot(world)
    await world.slack.click("U0ALICE", card.ts, CONFIRM)
    await told(world, "U0ALICE")
    invite_bot(world)
    await shown(world, card, "✅ Unlatched")
    assert len(world.ephemerals("U0ALICE")) == 1


async def test_in_a_passing_failure_nobody_is_told_privately(world: World) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.update", status=503, times=2)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert world.slack.workspace.all_ephemerals() == []


async def test_people_are_told_by_the_next_process_if_this_one_could_not(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    async with open_world(timing=replace(TIMING, pause_s=60.0)) as world:
        card = await world.ask()
        remove_bot(world)
        world.slack.faults.fail("response_url", status=503, times=None)
        await confirm(world, card)
        await world.settled()
        assert world.slack.workspace.all_ephemerals() == []
        world.slack.faults.clear()
        settings = settings_for(world.slack, world.fusebill, tmp_path)
        async with build(settings, TIMING):
            await told(world, *ANSWERED)
        assert "✅ Unlatched" in world.last_ephemeral("U0BOB")


async def test_response_urls_are_erased_when_they_are_not_needed_any_more(world: World) -> None:
    card = await world.ask()
    card_id = (await world.kept(card)).id
    assert len(kept_urls(world.database_url, card_id)) == 1
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert kept_urls(world.database_url, card_id) == []


async def test_response_urls_are_erased_when_they_expire(open_world: OpenWorld) -> None:
    async with open_world(timing=replace(TIMING, forget_every_s=0.1)) as world:
        card = await world.ask()
        card_id = (await world.kept(card)).id
        age_urls(world.database_url, timedelta(minutes=28))
        await asyncio.sleep(0.3)  # it is looked for some times
        assert len(kept_urls(world.database_url, card_id)) == 1
        age_urls(world.database_url, timedelta(minutes=2))
        await world.slack.workspace.until(lambda: not kept_urls(world.database_url, card_id))


async def test_response_urls_are_in_no_log(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    remove_bot(world)
    world.slack.faults.fail("response_url", status=503, times=2)
    await confirm(world, card)
    await told(world, *ANSWERED)
    printed = capsys.readouterr()
    assert "result not sent to a person yet" in printed.out
    assert "/actions/" not in printed.out + printed.err
    assert "/commands/" not in printed.out + printed.err


async def test_a_press_on_a_stale_card_tells_the_outcome_and_draws_card_and_thread(
    world: World,
) -> None:
    card = await given_up(world)
    await world.press("U0GUEST", card, CONFIRM)
    answer = world.last_ephemeral("U0GUEST")
    assert "was confirmed by <@U0BOB>" in answer
    assert "The result: ✅ Unlatched." in answer
    await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))
    assert calls(world) == 1


async def test_a_press_on_a_stale_card_takes_its_buttons_off_though_the_bot_was_removed(
    world: World,
) -> None:
    card = await given_up(world)
    remove_bot(world)
    await world.press("U0BOB", card, CANCEL)
    await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(card))
    assert "[Unlatch Stolen Bikes]" not in world.card(card)


async def test_a_restart_draws_what_was_given_up(world: World, tmp_path: Path) -> None:
    card = await given_up(world)
    async with AsyncExitStack() as stack:
        settings = settings_for(world.slack, world.fusebill, tmp_path)
        other = await stack.enter_async_context(build(settings, TIMING))
        await stack.enter_async_context(listening(other, settings, "http"))
        await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))


async def test_a_restart_does_not_wait_out_a_long_pause(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    async with open_world(timing=replace(TIMING, pause_s=60.0)) as world:
        card = await world.ask()
        world.slack.faults.down = True
        await confirm(world, card)
        await world.slack.workspace.until(lambda: calls(world) == 1)
        await world.settled()
        world.slack.faults.down = False
        async with build(settings_for(world.slack, world.fusebill, tmp_path), TIMING):
            await shown(world, card, "✅ Unlatched")


async def test_a_look_at_the_history_draws_what_was_given_up(world: World) -> None:
    card = await given_up(world)
    await world.reply_to("history 2554529")
    await shown(world, card, "✅ Unlatched")
    assert posted_once_in_order(world.thread(card))


async def test_a_second_click_that_crossed_the_result_draws_nothing_again(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    await shown(world, card, "✅ Unlatched")
    before = len(world.slack.calls)
    await world.slack.forge_click("U0ALICE", card.ts, CONFIRM, request_id(card))
    await told(world, "U0ALICE")
    await world.settled()
    assert [call.method for call in world.slack.calls[before:]] == ["response_url"]


async def test_a_card_that_is_gone_for_good_is_not_tried_again_by_a_restart(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.update", error="message_not_found", times=None)
    await confirm(world, card)
    await world.settled()
    events = len((await world.kept(card)).events)
    before = len(world.slack.calls)
    async with build(settings_for(world.slack, world.fusebill, tmp_path), TIMING):
        await world.slack.workspace.until(lambda: len(world.slack.calls) > before)
    assert {call.method for call in world.slack.calls[before:]} == {"auth.test"}
    assert len((await world.kept(card)).events) == events


@pytest.mark.parametrize(
    "code", ["restricted_action_thread_locked", "thread_not_found", "cannot_reply_to_message"]
)
async def test_where_only_replies_are_refused_nobody_is_told_that_the_card_is_gone(
    world: World, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    world.slack.faults.fail("chat.postMessage", error=code, times=None)
    await confirm(world, card)
    await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(card))
    await world.settled()
    assert world.slack.workspace.all_ephemerals() == []
    assert "not_shown='the trail'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("message_not_found", "Slack can't show the card and the trail any more"),
        ("org_login_required", "Slack does not let the bot show the card and the trail now"),
    ],
)
async def test_where_card_and_trail_are_refused_people_are_told_of_both(
    world: World, code: str, said: str
) -> None:
    card = await world.ask()
    for method in ("chat.update", "chat.postMessage"):
        world.slack.faults.fail(method, error=code, times=None)
    await confirm(world, card)
    await told(world, "U0ALICE", "U0BOB")
    assert said in world.last_ephemeral("U0ALICE")
    assert "✅ Unlatched" in world.last_ephemeral("U0ALICE")


@pytest.mark.parametrize(
    "code",
    [
        "restricted_action_thread_locked",
        "restricted_action_non_threadable_channel",
        "thread_not_found",
        "cannot_reply_to_message",
    ],
)
async def test_an_undo_whose_thread_is_refused_has_card_and_trail_in_the_channel(
    world: World, code: str
) -> None:
    card = await world.ask()
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    world.slack.faults.fail("chat.postMessage", error=code, times=None, ts=card.ts)
    await world.press("U0BOB", card, "unlatch_undo")
    undo = world.slack.workspace.messages(CHANNEL)[-1]
    assert undo.ts != card.ts
    await world.press("U0ALICE", undo, CONFIRM)
    await shown(world, undo, "Restored")
    assert "<@U0ALICE> confirmed" in world.thread(undo)
    assert world.fusebill.customers[2554529]["hubSpotId"]


async def test_a_press_on_a_card_of_another_ledger_is_a_warning_that_says_what_it_means(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in (CONFIRM, CANCEL, "unlatch_undo", "unlatch_check", "unlatch_stop"):
        await world.slack.forge_click("U0BOB", "1.2", action, "no such card")
    await world.settled()
    said = capsys.readouterr().out
    assert said.count("pressed card is not in this ledger") == 5
    assert "Another bot may run with the same Slack app" in said


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"error": "internal_error"}], ids=str)
async def test_a_card_that_slack_does_not_take_is_posted_as_soon_as_it_does(
    world: World, fault: dict[str, str]
) -> None:
    world.slack.faults.fail("*", times=None, **fault)  # type: ignore[arg-type]  # keyword arguments
    await world.slack.command("U0ALICE", "2554529 moved")

    def posts() -> int:
        return sum(call.method == "chat.postMessage" for call in world.slack.calls)

    await world.slack.workspace.until(lambda: posts() > 6, 30.0)
    assert world.slack.workspace.all_ephemerals() == []
    # Slack takes a word before it takes the card
    world.slack.faults.clear()
    world.slack.faults.fail("chat.postMessage", times=None, **fault)  # type: ignore[arg-type]  # the same
    await told(world, "U0ALICE")
    assert "will appear as soon as Slack does" in world.last_ephemeral("U0ALICE")
    world.slack.faults.clear()
    await world.slack.workspace.until(lambda: bool(world.slack.workspace.messages(CHANNEL)), 30.0)
    await world.settled()
    [card] = world.slack.workspace.messages(CHANNEL)
    await confirm(world, card)
    await shown(world, card, "✅ Unlatched")
    assert len(world.ephemerals("U0ALICE")) == 1
