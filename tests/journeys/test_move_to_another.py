"""Moving a customer's ids to another customer: two halves in order, told as what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import PostedMessage, text_of
from bot.settings import Timing
from tests.support.ledger import audit_rows, broken
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, UNDO
from tests.support.reading import operations, without_times
from tests.support.world import OpenWorld, World

COFFEE = 3100017
"""Latched to nothing."""
JOINERY = 3100025
"""Latched to contact 5151."""
TO = f"move {BIKES} to {COFFEE} wrong customer"
ONE, OTHER = f"Stolen Bikes ({BIKES})", f"Harbour Light Coffee ({COFFEE})"
X, NONE = (101, 202), (None, None)
IMPATIENT = Timing(sweep_every_s=0.1, look_s=0.02, fusebill_write_s=0.5, looks_for_s=0.2)
IN_ORDER = [
    *("get_customer", "get_customer", "unlatch_customer"),
    *("get_customer", "get_customer", "latch_customer"),
]
"""Both customers are read before each call."""


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(unlatch_move=True) as opened:
        yield opened


def ids(world: World) -> list[tuple[object, object]]:
    """What the one and the other customer are latched to."""
    both = (world.fusebill.customers[each] for each in (BIKES, COFFEE))
    return [(each["hubSpotId"], each["hubSpotCompanyId"]) for each in both]


async def confirmed(world: World, text: str = TO) -> PostedMessage:
    card = await world.ask(text)
    world.fusebill.calls.clear()
    await world.press("U0BOB", card, CONFIRM)
    return card


async def outcomes(world: World, card: PostedMessage) -> list[Outcome | None]:
    return [each.outcome for each in (await world.kept(card)).requests]


async def test_the_ids_go_from_the_one_to_the_other_in_order(world: World) -> None:
    card = await world.ask(TO)
    world.fusebill.calls.clear()
    asked = world.card(card).splitlines()
    assert asked[0] == f"Move the latch of {ONE} to {OTHER}?"
    assert f"From {ONE}: contact 101 and company 202" in asked
    assert f"To {OTHER}: contact 101 and company 202. Can be undone." in asked
    await world.press("U0BOB", card, CONFIRM)
    assert world.card(card).splitlines()[:2] == [
        f"✅ Moved: {ONE} to {OTHER}",
        "Moved contact 101 and company 202.",
    ]
    assert "[Undo…]" in world.card(card)
    thread = without_times(world.thread(card)).splitlines()
    assert thread[:2] == [
        "<@U0ALICE> asked for a move · AT",
        "<@U0BOB> confirmed · AT",
    ]
    assert [line.partition(" · ")[0] for line in thread[2:]] == [
        f"{ONE}: ✅ Unlatched",
        f"{OTHER}: ✅ Moved",
    ]
    assert ids(world) == [NONE, X]
    assert operations(world) == IN_ORDER
    assert await outcomes(world, card) == [Outcome.CLEARED, Outcome.MOVED]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (f"{BIKES} to {JOINERY}", "Maple & Pine Joinery (3100025) is latched to contact 5151"),
        (
            f"{COFFEE} to {BIKES}",
            "is latched to no contact and no company, so there is nothing to move",
        ),
    ],
)
async def test_only_a_customer_with_ids_gives_them_and_only_one_without_gets_them(
    world: World, typed: str, why: str
) -> None:
    assert why in await world.reply_to(f"move {typed} wrong customer")
    assert not world.slack.workspace.messages(CHANNEL)


@pytest.mark.parametrize("changed", [BIKES, COFFEE], ids=["first", "second"])
async def test_nothing_is_called_if_either_customer_differs_from_the_card(
    world: World, changed: int
) -> None:
    card = await world.ask(TO)
    world.fusebill.customers[changed]["hubSpotId"] = 77
    world.fusebill.calls.clear()
    await world.press("U0BOB", card, CONFIRM)
    assert {*operations(world)} == {"get_customer"}
    assert await outcomes(world, card) == [Outcome.CHANGED, Outcome.REFUSED]
    assert world.card(card).startswith(f"⚠️ Not done, the ids changed: {ONE} to {OTHER}")
    assert "latched to contact 77" in world.card(card)


async def test_a_refused_first_half_leaves_the_second_alone(world: World) -> None:
    world.fusebill.misbehave("conflict", operation="unlatch_customer")
    card = await confirmed(world)
    assert ids(world) == [X, NONE]
    assert "latch_customer" not in operations(world)
    assert await outcomes(world, card) == [Outcome.REFUSED, Outcome.REFUSED]


async def test_a_refused_second_half_is_told_as_half_done(world: World) -> None:
    world.fusebill.misbehave("conflict", operation="latch_customer")
    card = await confirmed(world)
    assert ids(world) == [NONE, NONE]
    assert await outcomes(world, card) == [Outcome.CLEARED, Outcome.REFUSED]
    how = f"{ONE} is unlatched, {OTHER} is not latched"
    assert world.card(card).splitlines()[:2] == [f"⚠️ Half done: {how}", "Fusebill refused."]
    assert "Nothing was changed" not in world.card(card)
    assert "Fusebill: " in world.card(card)
    assert "[Undo…] [Ask again]" in world.card(card)
    undo = await world.follow_up(card, UNDO)
    await world.press("U0ALICE", undo, CONFIRM)
    assert ids(world) == [X, NONE]


async def test_an_undo_goes_back_the_same_way_the_second_customer_first(world: World) -> None:
    card = await confirmed(world)
    undo = await world.follow_up(card, UNDO)
    world.fusebill.calls.clear()
    await world.press("U0ALICE", undo, CONFIRM)
    assert ids(world) == [X, NONE]
    assert operations(world) == IN_ORDER
    assert [c.customer_id for c in world.fusebill.calls if c.method == "POST"] == [COFFEE, BIKES]
    assert all(each.undone_by for each in (await world.kept(card)).requests)
    assert world.card(card).startswith(f"↩️ Undone: {ONE} to {OTHER}")
    assert world.card(undo).startswith(f"↩️ Restored: {OTHER} to {ONE}")


async def test_an_undo_that_is_half_done_is_told_on_both_cards(world: World) -> None:
    card = await confirmed(world)
    undo = await world.follow_up(card, UNDO)
    world.fusebill.misbehave("conflict", operation="latch_customer")
    await world.press("U0ALICE", undo, CONFIRM)
    assert ids(world) == [NONE, NONE]
    assert world.card(undo).startswith(f"⚠️ Half done: {OTHER} is unlatched, {ONE} is not latched")
    assert world.card(card).startswith("⚠️ Half undone: ")
    again = await world.follow_up(card, UNDO)
    await world.press("U0ALICE", again, CONFIRM)
    assert ids(world) == [X, NONE]
    assert world.card(card).startswith(f"↩️ Undone: {ONE} to {OTHER}")


@pytest.mark.parametrize("first", [BIKES, COFFEE], ids=["first", "second"])
async def test_a_card_is_overtaken_by_what_was_done_for_either_customer(
    world: World, first: int
) -> None:
    card = await world.ask(TO)
    await world.confirmed(f"move {first} to contact 9901 merged")
    assert world.card(card).startswith(f"⏩ Overtaken: {ONE} to {OTHER}")
    assert "[Move" not in world.card(card)


async def test_a_recheck_asks_of_both(open_world: OpenWorld) -> None:
    async with open_world(unlatch_move=True, unlatch_recheck_after_s=3600) as world:
        card = await confirmed(world)
        world.fusebill.customers[COFFEE].update(hubSpotId=77)
        await world.pass_time(timedelta(hours=1))
        await world.kept_when(card, lambda kept: EventType.LATCHED_AGAIN in kept.story)
        stories = [each.story[-1] for each in (await world.kept(card)).requests]
        assert stories == [EventType.RECHECKED, EventType.LATCHED_AGAIN]
        await world.settled()
        assert world.card(card).startswith(f"⚠️ Changed since: {ONE} to {OTHER}")
        assert f"{OTHER}: Found latched to contact 77" in world.card(card)
        # neither half can be taken by itself
        assert "[" not in world.card(card)


@pytest.mark.parametrize("answer", ["lost_after", "server_error", "late"])
@pytest.mark.parametrize("operation", ["unlatch_customer", "latch_customer"])
async def test_a_lost_or_late_answer_of_either_half_is_looked_for(
    world: World, operation: str, answer: str
) -> None:
    world.fusebill.misbehave(answer, operation=operation, seconds=0.05)
    card = await confirmed(world)
    assert ids(world) == [NONE, X]
    assert await outcomes(world, card) == [Outcome.CLEARED, Outcome.MOVED]
    # what was lost before it had an effect is called once more, after a look
    assert operations(world).count(operation) == (2 if answer == "server_error" else 1)


async def test_an_unknown_first_half_keeps_the_second_from_being_called(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_move=True, timing=IMPATIENT) as world:
        world.fusebill.misbehave("hang", operation="unlatch_customer")
        card = await confirmed(world)
        assert await outcomes(world, card) == [Outcome.UNKNOWN, Outcome.REFUSED]
        assert "latch_customer" not in operations(world)
        assert "[Undo…]" not in world.card(card)
        again = await world.follow_up(card, CHECK)
        assert len((await world.kept(again)).requests) == 2
        world.fusebill.hang_up()


async def test_of_an_unknown_second_half_only_that_is_asked_again(open_world: OpenWorld) -> None:
    async with open_world(unlatch_move=True, timing=IMPATIENT) as world:
        world.fusebill.misbehave("hang", operation="latch_customer")
        card = await confirmed(world)
        assert await outcomes(world, card) == [Outcome.CLEARED, Outcome.UNKNOWN]
        # nobody knows whether the other customer has the ids
        assert "[Undo…]" not in world.card(card)
        again = await world.follow_up(card, CHECK)
        [asked] = (await world.kept(again)).requests
        assert asked.customer.customer_id == COFFEE
        assert "To contact 101 and company 202" in world.card(again)
        world.fusebill.hang_up()


async def test_customers_whose_ids_moved_on_since_are_not_undone_by_halves(world: World) -> None:
    card = await confirmed(world)
    world.fusebill.customers[BIKES].update(hubSpotId=77)
    before = len(world.slack.workspace.thread(CHANNEL, card.ts))
    await world.press("U0BOB", card, UNDO)
    assert "now latched to contact 77" in world.last_ephemeral("U0BOB")
    assert len(world.slack.workspace.thread(CHANNEL, card.ts)) == before


async def test_the_audit_has_both_halves_and_verifies(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(unlatch_move=True, database_url=database_url) as world:
        await confirmed(world)
        rows = [await asyncio.to_thread(audit_rows, world.database_url, i) for i in (BIKES, COFFEE)]
        assert [[row["event"] for row in each][-1] for each in rows] == ["cleared", "moved"]
        asked = [each[0] for each in rows]
        assert [(row["vid"], row["details"]["to"]["vid"]) for row in asked] == [
            (101, None),
            (None, 101),
        ]
        assert {row["card_id"] for each in rows for row in each} == {rows[0][0]["card_id"]}
        assert await asyncio.to_thread(broken, world.database_url) == []


async def test_who_declines_sees_both_customers_in_the_form(world: World) -> None:
    form = await world.open_form("U0BOB", await world.ask(TO))
    said = text_of(form.view["blocks"])
    assert f"{ONE} to {OTHER}" in said
    assert f"To {OTHER}: contact 101 and company 202" in said
