"""Several cards for one customer: each knows what came of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.faults import TIMING
from tests.support.names import BIKES, CHECK, CONFIRM, UNDO
from tests.support.reading import operations, without_times
from tests.support.world import OpenWorld, World


@pytest.fixture
async def world(open_world: OpenWorld, database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url=database_url) as opened:
        yield opened


def latch(world: World, vid: int | None, company_id: int | None) -> None:
    world.fusebill.customers[BIKES].update(hubSpotId=vid, hubSpotCompanyId=company_id)


async def test_an_unknown_outcome_is_not_read_off_what_another_card_has_cleared(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(timing=TIMING, database_url=database_url) as world:
        unknown = await world.ask()
        world.fusebill.misbehave("lost_before", operation="unlatch_customer", times=None)
        await world.press("U0BOB", unknown, CONFIRM)
        assert "❓ Outcome unknown" in world.card(unknown)
        world.fusebill.behave()
        latch(world, 303, 404)
        await world.confirmed()
        await world.press("U0BOB", unknown, CHECK)
        answer = without_times(world.last_ephemeral("U0BOB"))
        assert "the customer has been changed since" in answer
        assert "✅ Unlatched: contact 303 and company 404" in answer
        assert "❓ Outcome unknown" in world.card(unknown)


async def test_undo_belongs_to_the_card_that_changed_the_customer_last(world: World) -> None:
    first = await world.confirmed()
    latch(world, 901, 902)
    second = await world.confirmed()
    await world.press("U0ALICE", first, UNDO)
    told = without_times(world.last_ephemeral("U0ALICE"))
    assert "the customer has been changed since" in told
    assert "✅ Unlatched: contact 901 and company 902 · confirmed by <@U0BOB>, AT" in told
    assert "see its card" in told
    assert "[Latch Stolen Bikes again]" not in world.thread(first)

    await world.press("U0ALICE", await world.follow_up(second, UNDO), CONFIRM)
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 901


async def test_a_card_asked_before_an_undo_does_not_reverse_it(world: World) -> None:
    first = await world.confirmed()
    latch(world, 101, 202)
    older = await world.ask()
    latch(world, None, None)
    await world.press("U0ALICE", await world.follow_up(first, UNDO), CONFIRM)
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 101
    assert "⏩ Overtaken" in world.card(older)
    assert "[Unlatch" not in world.card(older)


async def test_an_undo_is_not_confirmed_beside_work_for_the_same_customer(world: World) -> None:
    first = await world.confirmed()
    undo = await world.follow_up(first, UNDO)
    latch(world, 901, 902)
    other = await world.ask()
    world.fusebill.misbehave("slow", operation="unlatch_customer", seconds=0.5)
    await world.slack.click("U0BOB", other.ts, CONFIRM)
    await world.slack.click("U0ALICE", undo.ts, CONFIRM)
    await world.settled()
    assert "being carried out right now" in world.last_ephemeral("U0ALICE")
    assert "latch_customer" not in operations(world)


async def test_a_card_that_waits_for_a_refused_one_is_carried_out(world: World) -> None:
    cards = [await world.ask(), await world.ask()]
    world.fusebill.misbehave("slow", operation="get_customer", seconds=0.3)
    world.fusebill.misbehave("conflict", operation="unlatch_customer", times=1)
    await world.slack.click("U0BOB", cards[0].ts, CONFIRM)
    await world.slack.click("U0BOB", cards[1].ts, CONFIRM)
    await world.settled()
    assert "❌ Not done" in world.card(cards[0])
    assert "✅ Unlatched" in world.card(cards[1])


async def test_many_cards_confirmed_at_once_make_one_call(world: World) -> None:
    cards = [await world.ask() for _ in range(5)]
    await asyncio.gather(*(world.slack.click("U0BOB", card.ts, CONFIRM) for card in cards))
    await world.settled()
    titles = [world.card(card).partition(":")[0] for card in cards]
    assert titles.count("✅ Unlatched") == 1
    assert operations(world).count("unlatch_customer") == 1


async def test_a_second_card_names_another_that_waits_and_links_it(world: World) -> None:
    await world.ask()
    second = await world.ask(f"{BIKES} once more")
    assert "⚠️ On another card, too: see its card" in world.card(second)


async def test_a_card_of_many_names_whose_ids_were_changed_before(world: World) -> None:
    await world.confirmed()
    latch(world, 901, 902)
    card = await world.ask(f"{BIKES}, 3100025 moved")
    assert f"⚠️ Changed before: {BIKES}\n" in world.card(card)


async def test_a_card_says_when_its_customer_was_changed_before(world: World) -> None:
    await world.confirmed()
    latch(world, 101, 202)
    card = await world.ask()
    assert "⚠️ Unlatched AT: see its card" in without_times(world.card(card))
    # plain text is what Slack gets after it has refused the card
    assert card.blocks[1]["type"] == "rich_text"
