"""Who asks for a customer whose card waits already is told, and can ask anyway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.sandbox.slack.simulator import Ephemeral, PostedMessage, text_of
from tests.support.ledger import broken
from tests.support.names import AGAIN, ANYWAY, BIKES, CANCEL, CHANNEL, CONFIRM, USE
from tests.support.reading import answer_to, without_times
from tests.support.world import OpenWorld, World

JOINERY, DENTAL = 3100025, 3100033


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(unlatch_move=True) as opened:
        yield opened
        assert broken(opened.database_url) == []


def cards(world: World) -> list[PostedMessage]:
    return world.slack.workspace.messages(CHANNEL)


def last(world: World, user_id: str = "U0ALICE") -> Ephemeral:
    return world.slack.workspace.ephemerals(user_id)[-1]


async def press_anyway(world: World, user_id: str = "U0ALICE", times: int = 1) -> None:
    question = last(world, user_id)
    presses = [world.slack.click_ephemeral(user_id, question, ANYWAY) for _ in range(times)]
    assert {each.status for each in await asyncio.gather(*presses)} == {200}
    await world.settled()


async def test_who_asks_for_a_customer_whose_card_waits_is_told_and_no_other_is_posted(
    world: World,
) -> None:
    await world.ask()
    answer = without_times(await answer_to(world, f"{BIKES} once more"))
    assert answer.splitlines() == [
        "☝️ A card already waits for Stolen Bikes (2554529), asked by <@U0ALICE>, AT: see its card.",
        "No other card was posted.",
        "[Ask anyway]",
    ]
    assert "'Ask anyway: Stolen Bikes (2554529)'" in str(last(world).blocks)
    assert len(cards(world)) == 1


async def test_the_second_card_is_posted_for_who_asks_anyway_with_its_reason_and_in_its_place(
    world: World,
) -> None:
    await world.ask()
    answer = await answer_to(world, f"{BIKES} “merged” & <done>", "C0PUBLIC")
    assert "Ask anyway" in answer
    assert world.slack.workspace.messages("C0PUBLIC") == []
    await press_anyway(world)
    [second] = world.slack.workspace.messages("C0PUBLIC")
    assert ": “merged” & <done>\n" in text_of(second.blocks)
    assert len(cards(world)) == 1


async def test_a_double_click_on_ask_anyway_posts_one_card(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        await world.ask()
        await answer_to(world, f"{BIKES} once more")
        await press_anyway(world, times=2)
        assert len(cards(world)) == 2


async def test_a_second_card_that_is_asked_for_anyway_names_the_first_and_is_closed_by_it(
    world: World,
) -> None:
    first = await world.ask()
    await answer_to(world, f"{BIKES} once more")
    await press_anyway(world)
    second = cards(world)[-1]
    assert "⚠️ On another card, too: see its card" in world.card(second)
    await world.press("U0BOB", first, CONFIRM)
    assert "⏩ Overtaken" in world.card(second)


async def test_a_card_does_not_say_that_another_waits_once_that_is_cancelled(world: World) -> None:
    first = await world.ask()
    second = await world.ask(f"{BIKES} once more")
    await world.press("U0ALICE", first, CANCEL)
    assert "waits" not in world.card(second)


async def test_of_many_customers_those_whose_cards_wait_are_named(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        alone = [await world.ask(f"{each} alone") for each in (JOINERY, DENTAL)]
        answer = await answer_to(world, f"{BIKES}, {JOINERY}, {DENTAL} moved portal")
        assert without_times(answer).splitlines() == [
            "☝️ Cards already wait for 2 customers, so no other was posted:",
            "Maple & Pine Joinery (3100025), asked by <@U0ALICE>, AT: see its card.",
            "Quiet Street Dental (3100033), asked by <@U0ALICE>, AT: see its card.",
            "[Ask anyway]",
        ]
        await press_anyway(world)
        many = cards(world)[-1]
        assert world.card(many).startswith("Unlatch 3 customers?")
        assert ": moved portal\n" in world.card(many)
        assert f"⚠️ On another card, too: {JOINERY}, {DENTAL}\n" in world.card(many)
        await world.press("U0BOB", alone[0], CONFIRM)
        assert f"⚠️ On another card, too: {DENTAL}\n" in world.card(many)


async def test_who_waits_on_a_card_of_many_is_known_too_unless_it_was_left_out(
    world: World,
) -> None:
    many = await world.ask(f"{BIKES}, {JOINERY} moved portal")
    assert "A card already waits for Maple & Pine Joinery" in await answer_to(
        world, f"{JOINERY} alone"
    )
    await press_anyway(world)
    await world.press("U0BOB", cards(world)[-1], CONFIRM)
    assert "⏩ Left out." in world.card(many)
    world.fusebill.customers[JOINERY].update(hubSpotId=55)
    await answer_to(world, f"{JOINERY} again")
    assert world.card(cards(world)[-1]).startswith("Unlatch Maple & Pine Joinery (3100025)?")


async def test_a_card_that_was_cancelled_waits_no_more(world: World) -> None:
    await world.press("U0ALICE", await world.ask(), CANCEL)
    before = len(world.ephemerals("U0ALICE"))
    await world.slack.command("U0ALICE", f"{BIKES} after all")
    await world.slack.workspace.until(lambda: len(cards(world)) == 2)
    await world.settled()
    assert len(world.ephemerals("U0ALICE")) == before


async def test_who_finds_a_customer_by_its_name_is_told_as_well(world: World) -> None:
    await world.ask()
    await answer_to(world, "find Stolen Bikes")
    delivery = await world.slack.click_ephemeral("U0ALICE", last(world), USE)
    assert delivery.status == 200
    await world.settled()
    assert "A card already waits for Stolen Bikes" in world.last_ephemeral("U0ALICE")


async def test_ask_again_asks_about_a_card_that_waits_and_keeps_the_reason(world: World) -> None:
    world.fusebill.misbehave("conflict", operation="unlatch_customer", times=1)
    first = await world.confirmed(f"{BIKES} merged")
    await world.ask(f"{BIKES} other")
    await world.press("U0BOB", first, AGAIN)
    assert "A card already waits" in world.last_ephemeral("U0BOB")
    await press_anyway(world, "U0BOB")
    assert ": merged\n" in world.card(cards(world)[-1])


async def test_a_move_is_asked_about_and_asked_for_anyway_as_it_was_typed(world: World) -> None:
    await world.ask()
    move = f"move {BIKES} to contact 9901 no company merged"
    assert "A card already waits for Stolen Bikes" in await answer_to(world, move)
    assert len(cards(world)) == 1
    await press_anyway(world)
    shown = world.card(cards(world)[-1])
    assert shown.startswith("Move the latch of Stolen Bikes (2554529)?")
    assert "To contact 9901." in shown
    assert ": merged\n" in shown


async def test_a_move_to_another_customer_is_asked_about_if_a_card_of_either_waits(
    world: World,
) -> None:
    world.fusebill.customers[DENTAL].update(hubSpotId=None, hubSpotCompanyId=None)
    await world.ask()
    await answer_to(world, f"move {BIKES} to {DENTAL} merged")
    await press_anyway(world)
    assert "to Quiet Street Dental (3100033)?" in world.card(cards(world)[-1])


async def test_who_presses_ask_again_twice_gets_one_card(world: World) -> None:
    card = await world.ask()
    world.fusebill.customers[BIKES].update(hubSpotId=7, hubSpotCompanyId=8)
    await world.press("U0BOB", card, CONFIRM)
    assert "⚠️ Not done, the ids changed" in world.card(card)
    await asyncio.gather(*(world.slack.click("U0ALICE", card.ts, AGAIN) for _ in range(2)))
    await world.settled()
    assert len(cards(world)) == 2, "the first one, and one that asks again"
    said = "☝️ This was asked for already: its card waits for a decision · see its card"
    assert world.last_ephemeral("U0ALICE") == said
