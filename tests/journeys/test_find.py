"""Finding the right customer: "Did you mean…?" and `/unlatch find`."""

from __future__ import annotations

import json

import pytest

from bot.sandbox.slack.simulator import Ephemeral, PostedMessage
from tests.support.names import BIKES, CANCEL, CHANNEL, USE
from tests.support.reading import parts, without_times
from tests.support.world import OpenWorld, World, add_customers


def last(world: World, user_id: str = "U0ALICE") -> Ephemeral:
    return world.slack.workspace.ephemerals(user_id)[-1]


def offered(ephemeral: Ephemeral) -> list[str]:
    """What the ephemeral's buttons ask for: the id and the reason of each."""
    carried = [
        json.loads(element["value"])
        for block in ephemeral.blocks
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    return [f"{each['ids'][0]} {each['reason']}".strip() for each in carried]


def asks_for(customer_id: int) -> str:
    """The value of a button that asks for a customer's card."""
    return json.dumps({"ids": [customer_id], "reason": "", "command": "/unlatch"})


async def use(world: World, customer_id: int | None = None, user_id: str = "U0ALICE") -> None:
    """Press "Use this one" in the last ephemeral, of this customer if there are several."""
    buttons = [each["value"] for each in parts(last(world, user_id).blocks) if "value" in each]
    value = next((each for each in buttons if json.loads(each)["ids"] == [customer_id]), None)
    delivery = await world.slack.click_ephemeral(user_id, last(world, user_id), USE, value)
    assert delivery.status == 200
    await world.settled()


def cards(world: World) -> list[PostedMessage]:
    return world.slack.workspace.messages(CHANNEL)


async def test_an_unknown_id_that_is_a_reference_offers_its_customer_privately(
    world: World,
) -> None:
    assert (await world.reply_to("1337 moved")).splitlines() == [
        "🔎 Fusebill has no customer with the Stax Bill ID 1337.",
        "That number is the Customer ID (the reference) of:",
        "Stolen Bikes, John Doe",
        "Stax Bill ID 2554529, Customer ID 1337",
        "latched to contact 101 and company 202",
        "[Use this one]",
    ]
    await world.settled()
    assert cards(world) == []
    assert {each.user_id for each in world.slack.workspace.all_ephemerals()} == {"U0ALICE"}
    assert {call.method for call in world.fusebill.calls} == {"GET"}


@pytest.mark.parametrize("reason", ["R&D <moved> & gone", "&" * 500, ""])
async def test_the_button_works_as_if_the_id_had_been_typed(world: World, reason: str) -> None:
    await world.reply_to(f"1337 {reason}")
    await use(world)
    (card,) = cards(world)
    assert world.card(card).startswith("Unlatch Stolen Bikes (2554529)?")
    asked = f"Asked by <@U0ALICE>, AT{f': {reason}' if reason else '.'}\n"
    assert asked in without_times(world.card(card))


@pytest.mark.parametrize(
    "reason",
    [
        "3 months unpaid",
        ", 3100017 too",
        "https://secure.fusebill.com/7",
    ],
)
async def test_a_suggestion_is_one_customer_whatever_its_reason_begins_with(
    world: World, reason: str
) -> None:
    await world.slack.command("U0ALICE", "many")
    await world.settled()
    form = world.slack.views.of("U0ALICE")
    await world.slack.submit(form.id, {"ids": "1337", "reason": reason})
    await world.settled()
    await use(world)
    (card,) = cards(world)
    assert world.card(card).startswith("Unlatch Stolen Bikes (2554529)?")
    assert f": {reason}\n" in world.card(card)


async def test_a_button_that_names_no_customer_says_that_nothing_was_done(world: World) -> None:
    value = '{"ids": "stolen", "reason": "", "command": "/unlatch"}'
    await world.slack.forge_click("U0ALICE", "1700000000.000100", USE, value)
    await world.settled()
    assert "names no customers, so nothing was done" in world.last_ephemeral("U0ALICE")


async def test_a_reference_shared_by_customers_shows_each(world: World) -> None:
    add_customers(world.fusebill, [77], companyName="Other Bikes")
    await world.reply_to("1337 moved")
    assert offered(last(world)) == ["2554529 moved", "77 moved"]
    await use(world, 77)
    assert world.card(cards(world)[0]).startswith("Unlatch Other Bikes (77)?")


FOUND = {
    "stolen": [BIKES],
    "1337": [BIKES],
    "john.doe@": [BIKES],
    "HLC-0": [3100017],
    "Maple & Pine": [3100025],
    "2554529": [BIKES, 3100042],
    "maple joinery": [3100025],
    "John Doe": [BIKES],
}


async def test_find_searches_ids_names_references_and_emails(world: World) -> None:
    for text, expected in FOUND.items():
        await world.reply_to(f"find {text}")
        assert offered(last(world)) == [str(customer_id) for customer_id in expected], text


async def test_words_are_searched_for_at_once_and_never_make_a_card(world: World) -> None:
    await world.reply_to("please unlatch 3100025 and 3100033")
    await world.settled()
    assert offered(last(world)) == ["3100025", "3100033"]
    assert cards(world) == []
    assert {each.user_id for each in world.slack.workspace.all_ephemerals()} == {"U0ALICE"}


@pytest.mark.parametrize(("count", "more"), [(5, False), (6, True), (30, True)], ids=str)
async def test_five_are_shown_and_more_are_mentioned(
    world: World,
    count: int,
    more: bool,  # noqa: FBT001  # parametrized
) -> None:
    for number in range(count):
        add_customers(world.fusebill, [5000 + number], companyName=f"Twin {number}")
    answer = await world.reply_to("find twin")
    assert len(offered(last(world))) == 5
    assert ("There are more: type more of the text." in answer) is more


@pytest.mark.parametrize("text", ["404404", "zzzz", "No\u00a0 Such\u200b Name"])
async def test_an_empty_search_says_so_without_a_button(world: World, text: str) -> None:
    tidy = " ".join(text.replace("\u200b", "").split())
    assert await world.reply_to(f"find {text}") == (
        f"🔎 No Stax Bill ID, Customer ID, name or email in Fusebill matches {tidy}."
    )
    assert offered(last(world)) == []


async def test_a_search_result_leads_to_a_card(world: World) -> None:
    await world.reply_to("find stolen")
    await use(world)
    assert world.card(cards(world)[0]).startswith("Unlatch Stolen Bikes (2554529)?")
    await world.press("U0BOB", cards(world)[0], "unlatch_confirm")
    assert world.fusebill.customers[BIKES]["hubSpotId"] is None


async def test_where_a_reason_is_required_the_button_asks_for_it_in_a_form(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_require_reason=True) as world:
        await world.reply_to("find stolen")
        await use(world)
        form = world.slack.views.of("U0ALICE")
        assert form.view["title"]["text"] == "Why unlatch?"
        assert form.values["ids"]["ids"] == str(BIKES)
        assert cards(world) == []
        assert await world.slack.submit(form.id, {"ids": str(BIKES), "reason": ""}) is None
        await world.slack.submit(form.id, {"ids": str(BIKES), "reason": "moved"})
        await world.settled()
        [card] = cards(world)
        assert ": moved\n" in world.card(card)
        await world.press("U0ALICE", card, CANCEL)
        # a suggestion that carries its reason opens no form
        await world.reply_to("1337 moved")
        await use(world)
        assert (len(cards(world)), world.slack.views.all()) == (2, [])


async def test_a_guest_may_neither_search_nor_use_a_result(world: World) -> None:
    await world.reply_to("find stolen", "U0GUEST")
    assert "People from other organisations may not" in world.last_ephemeral("U0GUEST")
    await world.slack.forge_click("U0GUEST", "1700000000.000100", USE, asks_for(BIKES))
    await world.settled()
    assert "People from other organisations may not" in world.last_ephemeral("U0GUEST")
    assert (cards(world), world.fusebill.calls) == ([], [])


NAMED = "O'Brien & Sons  Ltd"


TYPED = ["O’Brien", "o‘brien", "O\u02bcBRIEN", "O'Brien  &  Sons", "Sons\u00a0Ltd", "«o'brien»"]


async def test_find_finds_what_is_shown_however_it_is_typed(world: World) -> None:
    add_customers(world.fusebill, [78], companyName="Other")
    for stored in (NAMED, NAMED.replace("'", "’").replace(" ", "\u00a0")):
        add_customers(world.fusebill, [77], companyName=stored)
        for typed in TYPED:
            await world.reply_to(f"find {typed}")
            assert offered(last(world)) == ["77"], (stored, typed)


@pytest.mark.parametrize(
    "typed",
    [
        "<mailto:pay@oak.example|pay@oak.example>",
        "mailto:Pay@Oak.example",
        "<http://oak.example|oak.example>",
    ],
)
async def test_find_searches_for_the_words_of_a_link(world: World, typed: str) -> None:
    add_customers(world.fusebill, [77], primaryEmail="pay@oak.example")
    add_customers(world.fusebill, [78], primaryEmail="pay@elm.example")
    await world.reply_to(f"find {typed}")
    assert offered(last(world)) == ["77"]
