"""Cards that wait while another one changes their customer: closed, or the customer left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

import pytest

from bot.sandbox.slack.simulator import PostedMessage
from tests.support.faults import TIMING, Gate
from tests.support.ledger import broken
from tests.support.names import AGAIN, BIKES, CANCEL, CHANNEL, CHECK, CONFIRM, UNDO
from tests.support.reading import buttons_of, metrics_of, operations, without_times
from tests.support.world import OpenWorld, World

JOINERY, DENTAL = 3100025, 3100033
THREE = f"{BIKES}, {JOINERY}, {DENTAL} moved portal"
BY_BOB = "Another request came first: ✅ Unlatched by <@U0BOB>, AT: see its card."


@pytest.fixture
async def world(open_world: OpenWorld, database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url=database_url) as opened:
        yield opened
    assert broken(database_url) == []


def latch(world: World, customer_id: int, vid: int | None, company_id: int | None = None) -> None:
    world.fusebill.customers[customer_id].update(hubSpotId=vid, hubSpotCompanyId=company_id)


def labels(world: World, card: PostedMessage) -> list[str]:
    now = world.slack.workspace.message(CHANNEL, card.ts)
    return [each["text"]["text"] for each in buttons_of(now)]


def heard_why(world: World, person: str) -> bool:
    said = "Another request came first, so this one is closed: see the card."
    return any(said in each for each in world.ephemerals(person))


async def undo_of(world: World, card: PostedMessage) -> PostedMessage:
    await world.press("U0BOB", card, UNDO)
    return world.slack.workspace.thread(CHANNEL, card.ts)[-1]


async def test_a_card_that_waits_is_closed_once_another_changed_its_customer(world: World) -> None:
    first, second = await world.ask(), await world.ask(f"{BIKES} once more")
    await world.press("U0BOB", first, CONFIRM)
    shown = without_times(world.card(second)).splitlines()
    assert shown[:3] == [
        "⏩ Overtaken: Stolen Bikes (2554529)",
        BY_BOB,
        "This card changed nothing.",
    ]
    assert labels(world, second) == []
    assert "The bot closed the card: another request came first" in world.thread(second)
    kept = await world.kept(second)
    assert kept.story == ["requested", "overtaken"]
    assert kept.due == ()
    assert operations(world).count("unlatch_customer") == 1
    assert "✅ Unlatched" in world.card(first)


async def test_a_card_that_slack_takes_only_after_another_changed_its_customer_is_closed(
    world: World,
) -> None:
    first = await world.ask()
    world.slack.faults.fail("chat.postMessage", status=429, retry_after=2)
    late = asyncio.create_task(world.ask(f"{BIKES} late"))
    await world.slack.workspace.until(lambda: any(c.status == 429 for c in world.slack.calls))
    await world.slack.click("U0BOB", first.ts, CONFIRM)
    card = await late
    assert BY_BOB in without_times(world.card(card))
    assert (await world.kept(card)).story == ["requested", "posted", "overtaken"]


async def changed_while_posted(
    world: World, when: Literal["before", "after"]
) -> tuple[Gate, asyncio.Task[PostedMessage]]:
    """Ask for a card, and let another one change its customer before, or just after, it is seen.

    Returns what holds the card's posting, and the asking.
    """
    first, posting = await world.ask(), Gate("chat.postMessage", only_first=True)
    setattr(world.slack, when, posting)
    late = asyncio.create_task(world.ask(f"{BIKES} late"))
    await posting.reached.wait()
    await world.slack.click("U0BOB", first.ts, CONFIRM)
    await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(first))
    return posting, late


async def test_a_card_is_closed_whose_customer_another_changed_just_before_people_saw_it(
    world: World,
) -> None:
    posting, late = await changed_while_posted(world, "before")
    posting.opened.set()
    card = await late
    assert BY_BOB in without_times(world.card(card))
    kept = await world.kept(card)
    assert (kept.story, kept.due) == (["requested", "overtaken"], ())


async def test_a_press_that_closes_a_card_before_its_posting_is_noted_is_counted_once(
    world: World,
) -> None:
    posting, late = await changed_while_posted(world, "after")
    await world.slack.click("U0BOB", world.slack.workspace.messages(CHANNEL)[-1].ts, CONFIRM)
    posting.opened.set()
    assert "⏩ Overtaken" in world.card(await late)
    counted = 'unlatch_verdicts_total{kind="unlatch",verdict="overtaken"} 1.0'
    assert counted in await metrics_of(world.address)


async def test_whoever_presses_on_a_closed_card_is_told_why_it_is_closed(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    world.slack.faults.fail("chat.update", error="not_in_channel", times=None)
    await world.press("U0BOB", first, CONFIRM)
    for person, button in (("U0BOB", CONFIRM), ("U0ALICE", CANCEL)):
        await world.slack.click(person, second.ts, button)
        await world.slack.workspace.until(partial(heard_why, world, person))
    assert (await world.kept(second)).story == ["requested", "overtaken"]
    assert operations(world).count("unlatch_customer") == 1


async def test_a_card_stays_open_while_nobody_knows_what_another_did(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(timing=TIMING, database_url=database_url) as world:
        first, second = await world.ask(), await world.ask()
        world.fusebill.misbehave("lost_before", operation="unlatch_customer", times=None)
        await world.press("U0BOB", first, CONFIRM)
        assert "❓ Outcome unknown" in world.card(first)
        assert world.card(second).startswith("Unlatch Stolen Bikes (2554529)?")
        await world.press("U0BOB", second, CONFIRM)
        assert "was confirmed after this one was made" in world.last_ephemeral("U0BOB")
        assert world.card(second).startswith("Unlatch Stolen Bikes (2554529)?")

        world.fusebill.behave()
        latch(world, BIKES, None)
        await world.press("U0ALICE", first, CHECK)
        assert "✅ Unlatched" in world.card(first)
        assert "⏩ Overtaken" in world.card(second)


async def test_a_card_stays_open_when_another_changed_nothing(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    world.fusebill.misbehave("conflict", operation="unlatch_customer", times=1)
    await world.press("U0BOB", first, CONFIRM)
    assert "❌ Not done" in world.card(first)
    await world.press("U0BOB", second, CONFIRM)
    assert "✅ Unlatched" in world.card(second)


async def test_what_an_undo_overtook_can_be_asked_again_with_its_reason(world: World) -> None:
    first = await world.ask()
    await world.press("U0BOB", first, CONFIRM)
    latch(world, BIKES, 101, 202)
    older = await world.ask(f"{BIKES} merged")
    latch(world, BIKES, None)
    await world.press("U0ALICE", await undo_of(world, first), CONFIRM)
    shown = without_times(world.card(older))
    assert "Another request came first: ↩️ Restored by <@U0ALICE>, AT: see its card." in shown
    assert labels(world, older) == ["Ask again"]
    await world.press("U0ALICE", older, AGAIN)
    again = world.slack.workspace.messages(CHANNEL)[-1]
    assert world.card(again).startswith("Unlatch Stolen Bikes (2554529)?")
    assert ": merged\n" in world.card(again)


async def test_an_undo_that_waits_is_closed_once_its_customer_is_unlatched_again(
    world: World,
) -> None:
    first = await world.ask()
    await world.press("U0BOB", first, CONFIRM)
    undo = await undo_of(world, first)
    latch(world, BIKES, 901, 902)
    await world.press("U0BOB", await world.ask(), CONFIRM)
    assert BY_BOB in without_times(world.card(undo))
    assert labels(world, undo) == []
    assert "A decision about this waits in the thread." not in world.card(first)
    assert "latch_customer" not in operations(world)


async def test_a_pair_is_closed_as_a_whole(open_world: OpenWorld, database_url: str) -> None:
    async with open_world(database_url=database_url, unlatch_move=True) as world:
        latch(world, JOINERY, None)
        pair = await world.ask(f"move {BIKES} to {JOINERY} merged")
        await world.press("U0BOB", await world.ask(), CONFIRM)
        assert "⏩ Overtaken: Stolen Bikes" in world.card(pair)
        kept = await world.kept(pair)
        assert [each.story for each in kept.requests] == [["requested", "overtaken"]] * 2
        assert labels(world, pair) == []


async def test_a_move_closes_the_cards_of_both_customers(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url, unlatch_move=True) as world:
        latch(world, JOINERY, None)
        taken = await world.ask()
        given = await world.ask(f"move {JOINERY} to contact 55 company 66")
        pair = await world.ask(f"move {BIKES} to {JOINERY} merged")
        await world.press("U0BOB", pair, CONFIRM)
        # the first half of a pair takes the ids, the second gives them
        assert "Another request came first: ✅ Unlatched by <@U0BOB>" in world.card(taken)
        assert "Another request came first: ✅ Moved by <@U0BOB>" in world.card(given)


async def test_a_customer_of_many_that_was_overtaken_is_marked_and_left_out_of_the_work(
    world: World,
) -> None:
    many = await world.ask(THREE)
    await world.press("U0BOB", await world.ask(f"{JOINERY} alone"), CONFIRM)
    asked = without_times(world.card(many))
    assert asked.startswith("Unlatch 2 customers?\nClears 2 contacts and 2 companies")
    named = f"Another request came first for {JOINERY}: ✅ Unlatched by <@U0BOB>, AT: see its card."
    assert f"⏩ Left out. {named}" in asked
    assert labels(world, many) == ["Unlatch 2 customers", "Cancel"]
    assert asked.count("waiting") == 2
    assert "⏩ overtaken, left out" in asked
    assert "⏩ Overtaken, left out: " in world.thread(many)

    await world.press("U0BOB", many, CONFIRM)
    assert world.card(many).startswith("✅ 2 unlatched · ⏩ 1 overtaken")
    assert "⏩ overtaken, left out" in world.card(many)
    called = [each.customer_id for each in world.fusebill.calls if each.operation.startswith("un")]
    assert called.count(JOINERY) == 1
    assert "Undo…" in labels(world, many)


async def test_a_card_of_many_is_closed_once_all_its_customers_were_overtaken(
    world: World,
) -> None:
    many = await world.ask(f"{BIKES}, {JOINERY} moved portal")
    for each in (BIKES, JOINERY):
        await world.press("U0BOB", await world.ask(f"{each} alone"), CONFIRM)
    shown = without_times(world.card(many))
    assert shown.startswith("⏩ Overtaken: 2 customers")
    for each in (BIKES, JOINERY):
        assert f"Another request came first for {each}: ✅ Unlatched by <@U0BOB>, AT" in shown
    kept = await world.kept(many)
    assert [each.story for each in kept.requests] == [
        ["requested", "left_out", "overtaken"],
        ["requested", "overtaken"],
    ]
    assert kept.due == ()
    assert labels(world, many) == []


async def test_a_card_of_many_with_one_customer_left_is_still_one_of_many(world: World) -> None:
    many = await world.ask(f"{BIKES}, {JOINERY} moved portal")
    await world.press("U0BOB", await world.ask(f"{BIKES} alone"), CONFIRM)
    assert labels(world, many) == ["Unlatch 1 customer", "Cancel"]
    await world.press("U0ALICE", many, CANCEL)
    left_out = f"⏩ Left out. Another request came first for {BIKES}: ✅ Unlatched by <@U0BOB>, AT"
    assert without_times(world.card(many)).splitlines()[:3] == [
        "🚫 Cancelled: 2 customers",
        "This card changed nothing. The table is what it asked about.",
        f"{left_out}: see its card.",
    ]


async def test_a_card_of_many_closes_another_of_the_same_customers_as_they_are_done(
    world: World,
) -> None:
    first, second = await world.ask(THREE), await world.ask(THREE)
    world.fusebill.misbehave("slow", operation="unlatch_customer", customer_id=DENTAL, seconds=1.0)
    await world.slack.click("U0BOB", first.ts, CONFIRM)
    await world.slack.workspace.until(lambda: "Unlatch 1 customer?" in world.card(second))
    await world.settled()
    assert "⏩ Overtaken: 3 customers" in world.card(second)


async def test_an_overtaken_card_is_closed_also_where_slack_gives_no_link(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    world.slack.faults.fail("chat.getPermalink", error="internal_error", times=None)
    await world.press("U0BOB", first, CONFIRM)
    said = "Another request came first: ✅ Unlatched by <@U0BOB>, AT."
    assert said in without_times(world.card(second))


async def test_history_says_which_cards_were_overtaken(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    await world.press("U0BOB", first, CONFIRM)
    assert f"⏩ overtaken · {BIKES}" in await world.reply_to("history")
    assert "Nothing waits for a decision" in await world.reply_to("pending")
    assert "⏩ Overtaken" in world.card(second)
