"""A card of many customers, from its confirmation to its end: all of them, each by itself."""

from __future__ import annotations

from collections import Counter

from bot.domain.models import EventType, Outcome
from tests.support.ledger import broken
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, STOP, UNDO
from tests.support.reading import operations
from tests.support.world import OpenWorld, World, add_customers

JOINERY, DENTAL = 3100025, 3100033
THREE = f"{BIKES}, {JOINERY}, {DENTAL} moved portal"


async def outcomes(world: World) -> Counter[Outcome | None]:
    """How often each outcome stands in the ledger, by customer."""
    found = [
        request
        for customer in (BIKES, JOINERY, DENTAL)
        for request in await world.requests_about(customer)
    ]
    return Counter(request.outcome for request in found)


async def test_one_confirmation_unlatches_all_customers_of_the_card(world: World) -> None:
    card = await world.confirmed(THREE)
    assert "✅ 3 unlatched" in world.card(card)
    assert await outcomes(world) == {Outcome.CLEARED: 3}
    called = Counter(operations(world))
    assert called["unlatch_customer"] == 3
    assert all(
        world.fusebill.customers[each]["hubSpotId"] is None for each in (BIKES, JOINERY, DENTAL)
    )
    assert broken(world.database_url) == []


async def test_the_thread_counts_who_is_cleared_and_names_who_is_not(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.fusebill.customers[DENTAL]["hubSpotId"] = 4711
    await world.press("U0BOB", card, CONFIRM)
    assert "2 unlatched" in world.card(card)
    thread = world.thread(card)
    assert "✅ 2 unlatched · " in thread
    assert f"({DENTAL})" in thread
    assert "contact 4711" in thread
    assert await outcomes(world) == {Outcome.CLEARED: 2, Outcome.CHANGED: 1}


async def test_undo_latches_again_all_that_were_cleared(world: World) -> None:
    card = await world.ask(THREE)
    before = {each: world.fusebill.customers[each]["hubSpotId"] for each in (BIKES, JOINERY)}
    await world.press("U0BOB", card, CONFIRM)
    undo = await world.follow_up(card, UNDO)
    assert "Latch 3 customers again?" in world.card(undo)
    await world.press("U0ALICE", undo, CONFIRM)
    assert "3 restored" in world.card(undo)
    assert "[Undo…]" not in world.card(card)
    for customer, vid in before.items():
        assert world.fusebill.customers[customer]["hubSpotId"] == vid
        relatch, first = await world.requests_about(customer)
        assert (relatch.undoes, first.undone_by) == (first.id, relatch.id)
    assert broken(world.database_url) == []


async def test_check_again_looks_at_those_that_are_unknown_and_asks_about_the_rest(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.fusebill.misbehave("keeps_ids", operation="unlatch_customer", times=None)
    await world.press("U0BOB", card, CONFIRM)
    assert await outcomes(world) == {Outcome.UNKNOWN: 3}
    for customer in (BIKES, JOINERY):
        world.fusebill.customers[customer].update(hubSpotId=None, hubSpotCompanyId=None)
    await world.press("U0BOB", card, CHECK)
    assert await outcomes(world) == {Outcome.CLEARED: 2, Outcome.UNKNOWN: 1, None: 1}
    assert "2 unlatched" in world.card(card)
    again = world.slack.workspace.thread(CHANNEL, card.ts)
    asked = [
        text for reply in again if "[Unlatch Quiet Street Dental]" in (text := world.card(reply))
    ]
    assert [str(DENTAL) in text for text in asked] == [True]


async def test_stop_leaves_alone_what_is_not_begun(open_world: OpenWorld) -> None:
    async with open_world() as world:
        ids = sorted(
            each for each, customer in world.fusebill.customers.items() if customer["hubSpotId"]
        )
        many = ", ".join(map(str, [*ids, *range(5_000_001, 5_000_001 + 12)]))
        add_customers(world.fusebill, range(5_000_001, 5_000_001 + 12))
        card = await world.ask(f"{many} moved")
        world.fusebill.misbehave("slow", operation="unlatch_customer", times=None)
        delivery = await world.slack.click("U0BOB", card.ts, CONFIRM)
        assert delivery.status == 200
        await world.slack.workspace.until(lambda: "[Stop]" in world.card(card))
        await world.press("U0BOB", card, STOP)
        text = world.card(card)
        assert "stopped" in text
        called = Counter(operations(world))["unlatch_customer"]
        assert 0 < called < len(ids) + 12
        assert "pressed Stop" in world.thread(card)


async def test_only_who_may_confirm_or_the_requester_can_stop(open_world: OpenWorld) -> None:
    async with open_world(unlatch_confirmers="U0BOB") as world:
        card = await world.ask(THREE)
        world.fusebill.misbehave("slow", operation="unlatch_customer", times=None)
        await world.slack.click("U0BOB", card.ts, CONFIRM)
        await world.slack.workspace.until(lambda: "[Stop]" in world.card(card))
        await world.press("U0GUEST", card, STOP)
        assert "🔒" in world.last_ephemeral("U0GUEST")
        assert EventType.STOP_REQUESTED not in (await world.kept(card)).story
