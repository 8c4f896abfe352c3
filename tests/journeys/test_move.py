"""Moving a latch to other ids: one customer, one call, and everything that holds for an unlatch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import OpenView, PostedMessage
from tests.support.kept import KeptRequest
from tests.support.names import BIKES, CHANNEL, CONFIRM, MOVE, UNDO
from tests.support.reading import operations
from tests.support.world import OpenWorld, World

COFFEE = 3100017
"""Latched to nothing."""
JOINERY = 3100025
"""Latched to contact 5151."""
CONTACT_AT_HUBSPOT = "https://app.hubspot.com/contacts/77/record/0-1/9901"
COMPANY_AT_HUBSPOT = "https://app-na2.hubspot.com/contacts/77/record/0-2/9902/"
TO = f"move {BIKES} to contact 9901 company 9902 merged in HubSpot"


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(unlatch_move=True) as opened:
        yield opened


def ids(world: World, customer_id: int = BIKES) -> tuple[object, object]:
    """What a customer is latched to."""
    customer = world.fusebill.customers[customer_id]
    return customer["hubSpotId"], customer["hubSpotCompanyId"]


def writes(world: World) -> list[dict[str, Any]]:
    """What each call of Fusebill's latch said."""
    calls = world.fusebill.calls
    return [json.loads(each.body) for each in calls if each.operation == "latch_customer"]


async def last(world: World, customer_id: int = BIKES) -> KeptRequest:
    return (await world.requests_about(customer_id))[0]


async def test_one_call_sets_both_ids_and_the_card_tells_both(world: World) -> None:
    card = await world.ask(TO)
    asked = world.card(card).splitlines()
    assert "From contact 101 and company 202" in asked
    assert "To contact 9901 and company 9902. Can be undone." in asked
    assert "move: you may decide" in await world.reply_to("pending", "U0BOB")
    await world.press("U0BOB", card, CONFIRM)
    assert ids(world) == (9901, 9902)
    assert writes(world) == [{"fusebillId": BIKES, "hubSpotId": 9901, "hubSpotCompanyId": 9902}]
    assert operations(world) == ["get_customer", "get_customer", "latch_customer"]
    shown = world.card(card)
    assert shown.startswith("✅ Moved: Stolen Bikes (2554529)")
    assert "Moved from contact 101 and company 202 to contact 9901 and company 9902." in shown
    assert "[Undo…]" in shown
    assert "✅ Moved · " in world.thread(card)
    assert (await last(world)).outcome is Outcome.MOVED
    assert "✅ moved · 2554529 Stolen Bikes" in await world.reply_to(f"history {BIKES}")


@pytest.mark.parametrize(
    ("typed", "after"),
    [
        ("to no company", (101, None)),
        ("no contact company 9902", (None, 9902)),
        ("to contact 9901, and company #9902", (9901, 9902)),
        ("<https://app-eu1.hubspot.com/contacts/77/company/9902>", (101, 9902)),
        (f"to {COMPANY_AT_HUBSPOT} <{CONTACT_AT_HUBSPOT}?q=1|John Doe>", (9901, 9902)),
    ],
    ids=str,
)
async def test_what_is_not_named_stays_as_it_is(
    world: World, typed: str, after: tuple[object, object]
) -> None:
    await world.confirmed(f"move {BIKES} {typed} merged")
    assert ids(world) == after
    assert (await last(world)).reason == "merged"


REFUSED = {
    f"{BIKES} contact 9901 9902": "A bare number is a customer's id",
    f"{BIKES} contact 9901 contact 9902": "Two ids are named for the contact",
    f"{BIKES} no contact no company": "That is an unlatch",
    f"{BIKES} to contact 99o1": "is not the id of a contact in HubSpot",
    f"{BIKES} https://app.hubspot.com/contacts/77/record/0-3/1": "no contact and no company",
    f"{BIKES} {BIKES}": "Both are the same customer",
    f"{BIKES} 007": "begins with 0",
    f"{BIKES} contact 101 company 202 merged": "is latched to contact 101 and company 202, as you",
    f"{JOINERY} no contact merged": "That is an unlatch.",
    "1 contact 9901 merged": "Fusebill has no customer 1.",
}


async def test_what_names_no_ids_for_certain_or_moves_nothing_is_refused(world: World) -> None:
    for typed, said in REFUSED.items():
        assert said in await world.reply_to(f"move {typed}")
    assert not world.slack.workspace.messages(CHANNEL)


async def test_an_address_of_another_hubspot_account_is_refused(open_world: OpenWorld) -> None:
    async with open_world(unlatch_move=True, hubspot_portal_id="77") as world:
        other = "https://app.hubspot.com/contacts/78/record/0-1/9901"
        assert "another HubSpot account (78)" in await world.reply_to(f"move {BIKES} to {other}")
        await world.confirmed(f"move {BIKES} to {other.replace('78', '77')} merged")
        assert ids(world) == (9901, 202)


async def test_a_customer_that_is_latched_to_nothing_can_be_given_ids(world: World) -> None:
    card = await world.ask(f"move {COFFEE} to contact 9901 new record")
    assert "From no contact and no company\nTo contact 9901" in world.card(card)
    await world.press("U0BOB", card, CONFIRM)
    assert ids(world, COFFEE) == (9901, None)


async def test_a_move_is_off_unless_the_admin_turns_it_on(open_world: OpenWorld) -> None:
    async with open_world() as world:
        assert "UNLATCH_MOVE=true" in await world.reply_to(TO)
        assert not world.slack.workspace.messages(CHANNEL)


async def test_a_card_from_before_it_was_turned_off_can_not_be_confirmed(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_move=True) as world:
        card = await world.ask(TO)
    async with open_world() as later:
        request = (await later.requests_about(BIKES))[0]
        await later.slack.forge_click("U0BOB", card.ts, CONFIRM, request.id)
        await later.settled()
        assert "UNLATCH_MOVE=true" in later.last_ephemeral("U0BOB")
        assert writes(later) == []


async def test_an_undo_goes_back_the_same_way(open_world: OpenWorld, database_url: str) -> None:
    async with open_world(unlatch_move=True, database_url=database_url) as world:
        card = await world.confirmed(TO)
        undo = await world.follow_up(card, UNDO)
        assert "From contact 9901 and company 9902\nTo contact 101 and company 202" in world.card(
            undo
        )
        await world.press("U0ALICE", undo, CONFIRM)
        assert ids(world) == (101, 202)
        moved, moved_back = (await world.requests_about(BIKES))[::-1]
        assert (moved_back.undoes, moved.undone_by) == (moved.id, moved_back.id)
        assert "<@U0ALICE> gave back contact 101 and company 202" in world.card(card)
        assert "[Undo…]" not in world.card(card) + world.card(undo)


async def test_ids_that_were_changed_since_are_not_undone(world: World) -> None:
    card = await world.confirmed(TO)
    world.fusebill.customers[BIKES].update(hubSpotId=9903)
    await world.press("U0BOB", card, UNDO)
    assert "now latched to contact 9903 and company 9902" in world.last_ephemeral("U0BOB")


@pytest.mark.parametrize(
    ("found", "event"),
    [((9901, 9902), EventType.RECHECKED), ((101, 202), EventType.LATCHED_AGAIN)],
    ids=["as moved", "as before"],
)
async def test_a_recheck_asks_whether_the_customer_is_still_as_moved(
    open_world: OpenWorld, found: tuple[int, int], event: EventType
) -> None:
    async with open_world(unlatch_move=True, unlatch_recheck_after_s=3600) as world:
        card = await world.confirmed(TO)
        world.fusebill.customers[BIKES].update(hubSpotId=found[0], hubSpotCompanyId=found[1])
        await world.pass_time(timedelta(hours=1))
        await world.kept_when(card, lambda kept: event in kept.story)
        await world.settled()
        is_changed = event is EventType.LATCHED_AGAIN
        assert ("⚠️ Changed since" in world.card(card)) is is_changed
        assert ("The bot read the customer again: latched to" in world.thread(card)) is is_changed


async def form_of(world: World, text: str = f"move {BIKES}") -> OpenView:
    delivery = await world.slack.command("U0ALICE", text)
    assert delivery.status == 200
    await world.settled()
    return world.slack.views.of("U0ALICE")


async def sent(world: World, form: OpenView, **fields: str) -> PostedMessage:
    """Send the form; returns the card that it leads to."""
    before = len(world.slack.workspace.messages(CHANNEL))
    typed = {"contact": "", "company": "", "customer": "", "reason": "merged"} | fields
    delivery = await world.slack.submit(form.id, typed)
    assert delivery is not None
    assert delivery.status == 200
    await world.slack.workspace.until(lambda: len(world.slack.workspace.messages(CHANNEL)) > before)
    await world.settled()
    return world.slack.workspace.messages(CHANNEL)[-1]


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({"contact": CONTACT_AT_HUBSPOT}, (9901, 202)),
        ({"company": "none"}, (101, None)),
        ({"customer": str(COFFEE)}, (None, None)),
    ],
    ids=str,
)
async def test_a_form_asks_for_the_same_as_the_command(
    world: World, fields: dict[str, str], after: tuple[object, object]
) -> None:
    card = await sent(world, await form_of(world), **fields)
    await world.press("U0BOB", card, CONFIRM)
    assert ids(world) == after
    assert ids(world, COFFEE) == ((101, 202) if "customer" in fields else (None, None))
    assert (await last(world)).reason == "merged"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, {"contact"}),
        ({"contact": "99o1"}, {"contact"}),
        ({"contact": COMPANY_AT_HUBSPOT}, {"contact"}),
        ({"customer": "007"}, {"customer"}),
        ({"customer": str(BIKES)}, {"contact"}),
        ({"contact": "9901", "customer": str(COFFEE)}, {"contact"}),
    ],
    ids=str,
)
async def test_a_form_says_at_the_field_what_is_wrong(
    world: World, fields: dict[str, str], wrong: set[str]
) -> None:
    form = await form_of(world)
    typed = {"contact": "", "company": "", "customer": "", "reason": ""} | fields
    await world.slack.submit(form.id, typed)
    await world.settled()
    assert set(world.slack.views.of("U0ALICE").errors) == wrong
    assert not world.slack.workspace.messages(CHANNEL)


async def test_the_result_of_an_unlatch_offers_to_give_its_ids_to_another_customer(
    world: World,
) -> None:
    card = await world.confirmed(f"{BIKES} moved")
    await world.press("U0ALICE", card, MOVE)
    other = await sent(world, world.slack.views.of("U0ALICE"), customer=str(COFFEE))
    assert "To contact 101 and company 202" in world.card(other)
    await world.press("U0BOB", other, CONFIRM)
    assert (ids(world), ids(world, COFFEE)) == ((None, None), (101, 202))
