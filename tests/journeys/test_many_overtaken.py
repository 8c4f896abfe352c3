"""A card of many, when one of its customers is changed by another card or elsewhere."""

from __future__ import annotations

from tests.support.faults import TIMING
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, UNDO
from tests.support.world import OpenWorld, World

JOINERY, DENTAL = 3100025, 3100033
THREE = f"{BIKES}, {JOINERY}, {DENTAL} moved portal"


def latch(world: World, customer_id: int, vid: int) -> None:
    world.fusebill.customers[customer_id].update(hubSpotId=vid, hubSpotCompanyId=None)


async def begin_unlatching(world: World, customer_id: int) -> None:
    """Latch a customer again, and leave it while a slow call of another card unlatches it."""
    latch(world, customer_id, 55)
    card = await world.ask(f"{customer_id} alone")
    world.fusebill.misbehave("slow", operation="unlatch_customer", seconds=1.5)
    await world.slack.click("U0BOB", card.ts, CONFIRM)
    await world.slack.workspace.until(lambda: "⏳" in world.card(card))


async def test_an_undo_of_many_leaves_out_a_customer_that_was_overtaken(world: World) -> None:
    card = await world.confirmed(THREE)
    undo = await world.follow_up(card, UNDO)
    latch(world, JOINERY, 55)
    await world.press("U0BOB", await world.ask(f"{JOINERY} alone"), CONFIRM)
    asked = world.card(undo)
    assert "Latch 2 customers again?" in asked
    assert f"⏩ Left out. Another request came first for {JOINERY}: ✅ Unlatched" in asked
    await world.press("U0BOB", undo, CONFIRM)
    assert world.card(undo).startswith("↩️ 2 restored · ⏩ 1 overtaken")
    assert world.fusebill.customers[JOINERY]["hubSpotId"] is None
    assert world.card(card).startswith("✅ 1 unlatched · ↩️ 2 undone")


async def test_a_card_of_many_is_not_confirmed_while_nobody_knows_what_another_one_did(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=TIMING) as world:
        many, one = await world.ask(THREE), await world.ask(f"{JOINERY} alone")
        world.fusebill.misbehave("lost_before", operation="unlatch_customer", times=None)
        await world.press("U0BOB", one, CONFIRM)
        await world.press("U0BOB", many, CONFIRM)
        heard = world.last_ephemeral("U0BOB")
        assert f"Another request for customer {JOINERY} was confirmed" in heard
        assert "Cancel this one and ask again." in heard


async def test_an_undo_says_who_is_being_changed_by_another_request(world: World) -> None:
    card = await world.confirmed(THREE)
    await begin_unlatching(world, DENTAL)
    await world.press("U0BOB", card, UNDO)
    undo = world.card(world.slack.workspace.thread(CHANNEL, card.ts)[-1])
    assert f"Left out: {DENTAL}: being changed by another request" in undo


async def test_an_undo_of_one_of_many_names_those_that_are_left_out(world: World) -> None:
    card = await world.confirmed(THREE)
    latch(world, JOINERY, 55)
    latch(world, DENTAL, 66)
    await world.press("U0BOB", card, UNDO)
    undo = world.card(world.slack.workspace.thread(CHANNEL, card.ts)[-1])
    assert f"({BIKES}) again?" in undo
    heard = world.last_ephemeral("U0BOB")
    assert "Of 3 customers, only one can be latched again." in heard
    assert str(JOINERY) in heard
    assert str(DENTAL) in heard


async def test_who_decided_a_card_that_is_gone_hears_which_customers_are_not_done(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.slack.faults.fail("chat.update", error="message_not_found", times=None)
    world.fusebill.misbehave(
        "conflict", operation="unlatch_customer", customer_id=JOINERY, times=None
    )
    await world.press("U0BOB", card, CONFIRM)
    heard = world.last_ephemeral("U0BOB")
    assert "✅ 2 unlatched · ❌ 1 not done: 3 customers" in heard
    assert f"❌ not done: {JOINERY}" in heard


async def test_the_history_of_any_customer_of_a_stale_card_brings_it_up_to_date(
    world: World,
) -> None:
    card = await world.ask(THREE)
    for method in ("chat.update", "chat.postMessage"):
        world.slack.faults.fail(method, error="not_in_channel", retry_after=100)
    await world.press("U0BOB", card, CONFIRM)
    assert "3 unlatched" not in world.card(card)
    assert f"· {JOINERY}" in await world.reply_to(f"history {JOINERY}")
    await world.slack.workspace.until(
        lambda: "3 unlatched" in world.card(card) and "3 unlatched" in world.thread(card)
    )


async def test_check_again_of_many_says_once_which_customers_others_have_changed(
    world: World,
) -> None:
    card = await world.ask(THREE)
    world.fusebill.misbehave("keeps_ids", operation="unlatch_customer", times=None)
    await world.press("U0BOB", card, CONFIRM)
    world.fusebill.behave()
    for customer_id in (BIKES, JOINERY):
        await world.press("U0BOB", await world.ask(f"{customer_id} alone"), CONFIRM)
    before = len(world.ephemerals("U0BOB"))
    await world.press("U0BOB", card, CHECK)
    heard, posted = world.ephemerals("U0BOB")[before:]
    assert "A decision is needed: its card is in the thread." in posted
    assert f"/unlatch {BIKES}, {JOINERY}" in heard
    assert "2 customers" in heard
    again = world.card(world.slack.workspace.thread(CHANNEL, card.ts)[-1])
    assert f"({DENTAL})?" in again
