"""The main flow over the wire: typing, clicking, and the result."""

from __future__ import annotations

import asyncio

import pytest

from bot.sandbox.slack.simulator import text_of
from bot.settings import Timing
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.reading import (
    buttons_of,
    operations,
    parts,
    request_id,
    said,
    without_times,
)
from tests.support.world import QUARTER, OpenWorld, World


async def test_a_confirmed_card_clears_both_ids_with_one_call_and_becomes_the_result(
    world: World,
) -> None:
    at_start = len(world.slack.calls)
    card = await world.ask("2554529 moved to the new portal")
    assert without_times(world.card(card)).splitlines() == [
        "Unlatch Stolen Bikes (2554529)?",
        "Clears contact 101 and company 202. Can be undone.",
        "Asked by <@U0ALICE>, AT: moved to the new portal",
        "John Doe john.doe@stolenbikes.example Customer ID 1337",
        "[Unlatch Stolen Bikes] [Cancel]",
        "Expires AT",
    ]
    assert {button["value"] for button in buttons_of(card)} == {(await world.kept(card)).id}
    await world.press("U0BOB", card, CONFIRM)
    assert without_times(world.card(card)).splitlines()[:4] == [
        "✅ Unlatched: Stolen Bikes (2554529)",
        "Cleared contact 101 and company 202.",
        "By <@U0BOB> for <@U0ALICE>, AT: moved to the new portal",
        "[Undo…]",
    ]
    assert without_times(world.thread(card)).splitlines() == [
        "<@U0ALICE> asked · AT",
        "<@U0BOB> confirmed · AT",
        "✅ Unlatched · AT · Fusebill: HTTP 200 · SOME s",
    ]
    customer = world.fusebill.customers[BIKES]
    assert (customer["hubSpotId"], customer["hubSpotCompanyId"]) == (None, None)
    posted, *drawn = [call.method for call in world.slack.calls[at_start:]]
    # card and thread are updated concurrently
    assert [posted, *sorted(drawn)] == ["chat.postMessage", "chat.postMessage", "chat.update"]
    assert operations(world) == ["get_customer", "get_customer", "unlatch_customer"]


async def test_a_cancelled_card_calls_nothing_and_says_who_cancelled_it(world: World) -> None:
    card = await world.ask()
    await world.press("U0ALICE", card, CANCEL)
    assert without_times(world.card(card)).splitlines() == [
        "🚫 Cancelled: Stolen Bikes (2554529)",
        "Nothing was changed. The card showed contact 101 and company 202.",
        "By <@U0ALICE>, AT: moved",
    ]
    thread = ["<@U0ALICE> asked · AT", "<@U0ALICE> cancelled · AT"]
    assert without_times(world.thread(card)).splitlines() == thread
    assert operations(world) == ["get_customer"]


async def test_an_expired_card_says_so_and_when(open_world: OpenWorld) -> None:
    async with open_world(unlatch_expires_after_s=1) as world:
        card = await world.ask("2554529")
        await world.slack.workspace.until(lambda: world.thread(card))
        await world.settled()
        assert without_times(world.card(card)).splitlines() == [
            "⌛ Expired: Stolen Bikes (2554529)",
            "Nobody decided in time; nothing was changed.",
            "Asked by <@U0ALICE>, AT.",
            "[Ask again]",
        ]
        thread = without_times(world.thread(card)).splitlines()
        assert thread == ["<@U0ALICE> asked · AT", "Expired · AT"]


async def test_a_click_after_expiry_changes_nothing_even_before_the_sweep(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=Timing(sweep_every_s=60)) as world:
        card = await world.ask()
        await world.pass_time(QUARTER)
        await world.press("U0BOB", card, CONFIRM)
        told = world.last_ephemeral("U0BOB")
        assert "This request has expired; your click changed nothing" in told
        assert operations(world) == ["get_customer"]


@pytest.mark.parametrize(
    ("first", "done", "result"),
    [(CONFIRM, "confirmed", "\nThe result: ✅ Unlatched."), (CANCEL, "cancelled", "")],
)
async def test_a_second_click_is_answered_with_who_was_first_and_when(
    world: World, first: str, done: str, result: str
) -> None:
    card = await world.ask()
    await world.press("U0ALICE", card, first)
    await world.slack.forge_click("U0BOB", card.ts, CONFIRM, request_id(card))
    await world.settled()
    assert without_times(world.last_ephemeral("U0BOB")) == (
        f"☝️ This request was {done} by <@U0ALICE>, AT. Your click changed nothing.{result}"
    )


@pytest.mark.parametrize("blank", ["   ", "\u3164\n"], ids=ascii)
async def test_a_company_name_that_nobody_sees_gives_way_to_the_customers_name(
    world: World, blank: str
) -> None:
    world.fusebill.customers[BIKES] |= {"companyName": blank, "reference": blank}
    card = await world.confirmed()
    assert world.card(card).startswith("✅ Unlatched: John Doe (2554529)")
    seen = f"{card.text}\n{world.card(card)}\n{world.thread(card)}"
    assert [word for word in (" …", "Customer ID") if word in seen] == []


async def test_a_public_channel_needs_no_invitation(world: World) -> None:
    await world.slack.command("U0ALICE", "2554529", channel_id="C0PUBLIC")
    await world.slack.workspace.until(lambda: world.slack.workspace.messages("C0PUBLIC"))
    await world.settled()
    (card,) = world.slack.workspace.messages("C0PUBLIC")
    await world.slack.click("U0BOB", card.ts, CONFIRM, channel_id="C0PUBLIC")
    await world.settled()
    (card,) = world.slack.workspace.messages("C0PUBLIC")
    assert "Cleared contact 101 and company 202" in text_of(card.blocks)


async def test_ids_are_links_if_the_admin_configured_urls(open_world: OpenWorld) -> None:
    async with open_world(
        hubspot_portal_id="77",
        hubspot_app_url="https://app-eu1.hubspot.com",
        fusebill_customer_url="https://admin.example/customers/{id}",
    ) as world:
        card = await world.ask()
        links = {part["text"]: part["url"] for part in parts(card.blocks) if part["type"] == "link"}
        assert links == {
            "101": "https://app-eu1.hubspot.com/contacts/77/record/0-1/101",
            "202": "https://app-eu1.hubspot.com/contacts/77/record/0-2/202",
        }
        page = "<https://admin.example/customers/2554529|Stax Bill ID 2554529>"
        assert page in world.card(card)


@pytest.mark.parametrize(
    ("vid", "company_id", "now"),
    [
        (102, 202, "contact 102 and company 202"),
        (101, None, "contact 101"),
    ],
)
async def test_ids_that_changed_after_the_card_are_left_alone(
    world: World, vid: int | None, company_id: int | None, now: str
) -> None:
    card = await world.ask()
    world.fusebill.customers[BIKES].update(hubSpotId=vid, hubSpotCompanyId=company_id)
    await world.press("U0BOB", card, CONFIRM)
    assert operations(world) == ["get_customer", "get_customer"]
    assert world.card(card).startswith("⚠️ Not done, the ids changed: Stolen Bikes (2554529)\n")
    assert f"Now latched to {now}; the card showed contact 101 and company 202.\n" in world.card(
        card
    )


async def test_a_customer_that_is_already_clear_is_not_called(world: World) -> None:
    card = await world.ask()
    world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    await world.press("U0BOB", card, CONFIRM)
    assert operations(world) == ["get_customer", "get_customer"]
    assert world.card(card).startswith("☑️ Already clear: Stolen Bikes (2554529)\n")


async def test_of_two_confirmations_at_once_one_clears_and_one_finds_it_clear(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        cards = [await world.ask(), await world.ask()]
        world.fusebill.misbehave("slow", operation="unlatch_customer", seconds=0.3)
        await asyncio.gather(*(world.slack.click("U0BOB", card.ts, CONFIRM) for card in cards))
        await world.settled()
        titles = sorted(world.card(card).partition(":")[0] for card in cards)
        assert titles == sorted(["✅ Unlatched", "☑️ Already clear"])
        assert operations(world).count("unlatch_customer") == 1


async def test_a_slow_fusebill_shows_the_working_card_and_then_the_result(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=Timing(working_after_s=0.1)) as world:
        card = await world.ask()
        world.fusebill.misbehave("slow", operation="unlatch_customer", seconds=0.4)
        await world.press("U0BOB", card, CONFIRM)
        updates = [call.arguments for call in said(world) if call.method == "chat.update"]
        assert [text_of(update["blocks"]).splitlines()[0] for update in updates] == [
            "⏳ Unlatching Stolen Bikes (2554529) …",
            "✅ Unlatched: Stolen Bikes (2554529)",
        ]
        assert "button" not in {part["type"] for part in parts(updates[0]["blocks"])}


@pytest.mark.parametrize("operation", ["get_customer", "unlatch_customer"])
async def test_a_click_is_acknowledged_before_fusebill_answers(
    world: World, operation: str
) -> None:
    card = await world.ask()
    world.fusebill.misbehave("slow", operation=operation, seconds=0.7)
    delivery = await world.slack.click("U0BOB", card.ts, CONFIRM)
    assert (delivery.status, delivery.seconds < 0.6) == (200, True)
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 101


async def test_a_request_whose_card_was_deleted_is_still_executed_once(
    world: World,
) -> None:
    card = await world.ask()
    world.slack.workspace.delete_message(CHANNEL, card.ts)
    await world.slack.forge_click("U0BOB", card.ts, CONFIRM, request_id(card))
    await world.settled()
    assert world.fusebill.customers[BIKES]["hubSpotId"] is None
    assert operations(world).count("unlatch_customer") == 1


async def test_a_card_posted_twice_is_decided_once_and_the_duplicate_loses_its_buttons(
    world: World,
) -> None:
    world.slack.faults.fail("chat.postMessage", drop="after")
    await world.slack.command("U0ALICE", "2554529 moved")
    await world.slack.workspace.until(lambda: len(world.slack.workspace.messages(CHANNEL)) == 2)
    await world.settled()
    duplicate, card = world.slack.workspace.messages(CHANNEL)
    await world.press("U0BOB", duplicate, "unlatch_confirm")
    assert "✅ Unlatched" in world.card(card)
    assert "[" not in world.card(duplicate)
    assert [call.operation for call in world.fusebill.calls].count("unlatch_customer") == 1
