"""`/unlatch history` and `/unlatch help`, which only the person who typed sees."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.slack.simulator import Ephemeral
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import without_times
from tests.support.world import OpenWorld, World


def links(ephemeral: Ephemeral) -> list[str]:
    """The URLs in an ephemeral."""
    found: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            found.extend([value["url"]] if value.get("type") == "link" else [])
            collect(list(value.values()))
        elif isinstance(value, list):
            for item in value:
                collect(item)

    collect(ephemeral.blocks)
    return found


async def answer(world: World, text: str, user_id: str = "U0ALICE") -> list[str]:
    return without_times(await world.reply_to(text, user_id)).splitlines()


async def test_history_shows_outcome_people_and_times_newest_first(world: World) -> None:
    await world.press("U0BOB", await world.ask("2554529 moved"), CONFIRM)
    await world.press("U0ALICE", await world.ask("3100025"), CANCEL)
    await world.ask("3100033", "U0BOB")
    assert await answer(world, "history") == [
        "The last requests",
        "⏳ waiting for a click · 3100033 Quiet Street Dental · card",
        "asked by <@U0BOB>, AT",
        "🚫 cancelled · 3100025 Maple & Pine Joinery · card",
        "asked by <@U0ALICE>, AT; cancelled by <@U0ALICE>, AT",
        "✅ unlatched · 2554529 Stolen Bikes · card",
        "asked by <@U0ALICE>, AT; confirmed by <@U0BOB>, AT",
    ]


async def test_nobody_else_sees_it_and_fusebill_is_not_called(world: World) -> None:
    await world.ask()
    before = len(world.fusebill.calls), len(world.slack.workspace.everything(CHANNEL))
    await answer(world, "history", "U0BOB")
    assert {ephemeral.user_id for ephemeral in world.slack.workspace.all_ephemerals()} == {"U0BOB"}
    assert (len(world.fusebill.calls), len(world.slack.workspace.everything(CHANNEL))) == before


async def test_each_request_links_to_its_own_card(world: World) -> None:
    cards = [await world.ask("2554529"), await world.ask("3100025")]
    await answer(world, "history")
    assert links(world.slack.workspace.ephemerals("U0ALICE")[-1]) == [
        f"https://sandbox.slack.com/archives/{CHANNEL}/p{card.ts.replace('.', '')}"
        for card in reversed(cards)
    ]


async def test_a_customers_history_lists_only_that_customer(world: World) -> None:
    await world.ask("2554529")
    await world.ask("3100025")
    lines = await answer(world, "history 3100025")
    assert lines == [
        "The last requests for customer 3100025",
        "⏳ waiting for a click · 3100025 Maple & Pine Joinery · card",
        "asked by <@U0ALICE>, AT",
    ]


async def test_at_most_ten_are_shown(world: World) -> None:
    for number in range(11):
        await world.ask(f"2554529 number {number}")
    lines = await answer(world, "history")
    assert sum("waiting for a click" in line for line in lines) == 10


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("history", "📝 There are no requests in the ledger."),
        ("history 999", "📝 There are no requests for customer 999 in the ledger."),
    ],
)
async def test_an_empty_history_names_the_people_and_user_groups_to_ask(
    open_world: OpenWorld, text: str, first: str
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"U0BOB", "S0BILLING"})) as world:
        assert [line.strip() for line in await answer(world, text)] == [
            first,
            "If you expected one, ask <!subteam^S0BILLING> <@U0BOB>",
        ]


async def test_an_empty_history_without_confirmers_names_the_admins(world: World) -> None:
    assert (await answer(world, "history"))[1:] == [
        "If you expected one, ask the people who run this bot."
    ]


async def test_a_card_without_a_permalink_is_listed_without_a_link(
    world: World,
) -> None:
    card = await world.ask()
    world.slack.workspace.delete_message(CHANNEL, card.ts)
    assert (await answer(world, "history"))[1] == "⏳ waiting for a click · 2554529 Stolen Bikes"


async def test_an_undone_request_says_so(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    await world.press("U0BOB", card, "unlatch_undo")
    undo = world.slack.workspace.thread(CHANNEL, card.ts)[-1]
    await world.press("U0ALICE", undo, CONFIRM)
    titles = [line for line in await answer(world, "history") if "2554529" in line]
    assert titles == [
        "↩️ restored · 2554529 Stolen Bikes · card",
        "↩️ undone · 2554529 Stolen Bikes · card",
    ]


async def test_an_open_or_cancelled_undo_is_named_as_an_undo(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, CONFIRM)
    await world.press("U0BOB", card, "unlatch_undo")
    waiting = (await answer(world, "history"))[1]
    await world.press("U0BOB", world.slack.workspace.thread(CHANNEL, card.ts)[-1], CANCEL)
    cancelled = (await answer(world, "history"))[1]
    assert [waiting, cancelled] == [
        "⏳ undo waiting for a click · 2554529 Stolen Bikes · card",
        "🚫 undo cancelled · 2554529 Stolen Bikes · card",
    ]


async def test_a_refused_request_is_not_listed(open_world: OpenWorld) -> None:
    async with open_world(unlatch_require_reason=True) as world:
        await world.reply_to("2554529")
        await world.settled()
        assert (await answer(world, "history"))[0] == "📝 There are no requests in the ledger."


async def test_an_invalid_id_is_refused(world: World) -> None:
    assert "is not a Stax Bill ID: digits only" in await world.reply_to("history abc")


async def test_help_lists_every_command(world: World) -> None:
    text = await world.reply_to("help")
    for command in ("<Stax Bill ID> [reason]", "find <text>", "history [Stax Bill ID]", "help"):
        assert f"/unlatch {command}" in text
