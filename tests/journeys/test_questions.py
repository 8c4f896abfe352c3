"""Texts that may name several customers, or somebody else: asked about, never guessed."""

from __future__ import annotations

from bot.sandbox.slack.simulator import Ephemeral, PostedMessage
from tests.support.names import BIKES, CHANNEL, USE
from tests.support.world import OpenWorld, World, add_customers

INVOICE = f"https://admin.staxbill.com/invoices/{BIKES}"


def last(world: World) -> Ephemeral:
    return world.slack.workspace.ephemerals("U0ALICE")[-1]


def labels(world: World) -> list[str]:
    return [
        element["text"]["text"]
        for block in last(world).blocks
        if block["type"] == "actions"
        for element in block["elements"]
    ]


async def press(world: World, label: str) -> None:
    """Press the button of the last private message that has this label."""
    [value] = [
        element["value"]
        for block in last(world).blocks
        if block["type"] == "actions"
        for element in block["elements"]
        if element["text"]["text"] == label
    ]
    delivery = await world.slack.click_ephemeral("U0ALICE", last(world), USE, value)
    assert delivery.status == 200
    await world.settled()


def cards(world: World) -> list[PostedMessage]:
    return world.slack.workspace.messages(CHANNEL)


async def test_leading_zeros_are_a_reference_before_they_are_an_id(world: World) -> None:
    add_customers(world.fusebill, [77], reference="0001337", companyName="Zero")
    add_customers(world.fusebill, [1337], companyName="Id")
    assert (await world.reply_to("0001337 moved")).splitlines() == [
        "❓ It is not certain whom you mean, so nothing was done. Do you mean …?",
        "0001337 may be:",
        "Zero, John Doe",
        "Stax Bill ID 77, Customer ID 0001337",
        "latched to contact 101 and company 202",
        "Id, John Doe",
        "Stax Bill ID 1337, Customer ID 1337",
        "latched to contact 101 and company 202",
        "Why: moved",
        "One customer: 77",
        "[Zero (77)]",
        "One customer: 1337",
        "[Id (1337)]",
    ]
    assert cards(world) == []
    await press(world, "Zero (77)")
    (card,) = cards(world)
    assert world.card(card).startswith("Unlatch Zero (77)?")
    assert ": moved\n" in world.card(card)


async def test_a_number_with_zeros_that_nobody_has_is_nobody(world: World) -> None:
    assert (await world.reply_to("0009999")).splitlines() == [
        "🔎 Fusebill has no such customer, so nothing was done.",
        "0009999 is not a Stax Bill ID or Customer ID.",
    ]
    assert labels(world) == []


async def test_the_page_of_another_record_is_asked_about_with_the_customers_name(
    world: World,
) -> None:
    answer = await world.reply_to(f"{INVOICE} moved")
    assert f"{INVOICE[:39]}… has the number of:\nStolen Bikes, John Doe" in answer
    assert cards(world) == []
    await press(world, "Stolen Bikes (2554529)")
    assert world.card(cards(world)[0]).startswith("Unlatch Stolen Bikes")


async def test_an_address_beside_an_id_is_a_customer_or_the_reason(world: World) -> None:
    await world.reply_to(f"3100025 {INVOICE} moved")
    assert labels(world) == [
        "Stolen Bikes (2554529) and 1 more",
        "One customer, the rest is the reason",
    ]
    await press(world, "One customer, the rest is the reason")
    (card,) = cards(world)
    assert world.card(card).startswith("Unlatch Maple & Pine Joinery (3100025)?")
    assert f": {INVOICE} moved" in world.card(card)


async def test_the_rules_come_before_the_question(open_world: OpenWorld) -> None:
    async with open_world(unlatch_channels=frozenset({"C0OTHER"})) as world:
        assert "🔒" in await world.reply_to("0001337")
        assert world.fusebill.calls == []


async def test_undo_and_an_id_shows_where_the_undo_is(world: World) -> None:
    assert "There are no requests for customer 2554529" in await world.reply_to("undo 2554529")
    card = await world.ask()
    assert "Nothing here can be undone" in await world.reply_to("undo 2554529")
    await world.press("U0BOB", card, "unlatch_confirm")
    answer = await world.reply_to("undo 2554529")
    assert answer.splitlines()[0] == "↩️ Press Undo… on the card of ✅ unlatched."
    assert "Stolen Bikes · card" in answer
    assert len(cards(world)) == 1
