"""`/unlatch history` and `/unlatch help`, which only the person who typed sees."""

from __future__ import annotations

import pytest

from tests.support.names import CANCEL, CHANNEL, CONFIRM, UNDO
from tests.support.reading import parts, without_times
from tests.support.world import OpenWorld, World


async def answer(world: World, text: str, user_id: str = "U0ALICE") -> list[str]:
    return without_times(await world.reply_to(text, user_id)).splitlines()


async def test_history_shows_outcome_people_and_times_newest_first_to_who_asks_alone(
    world: World,
) -> None:
    cards = [await world.ask("2554529 moved"), await world.ask("3100025")]
    await world.press("U0BOB", cards[0], CONFIRM)
    await world.press("U0ALICE", cards[1], CANCEL)
    cards.append(await world.ask("3100033", "U0BOB"))
    before = len(world.fusebill.calls), len(world.slack.workspace.everything(CHANNEL))
    lines = await answer(world, "history")
    assert lines == [
        "The last requests",
        "⏳ waiting for a click · 3100033 Quiet Street Dental · card",
        "asked by <@U0BOB>, AT",
        "🚫 cancelled · 3100025 Maple & Pine Joinery · card",
        "asked by <@U0ALICE>, AT; cancelled by <@U0ALICE>, AT",
        "✅ unlatched · 2554529 Stolen Bikes · card",
        "asked by <@U0ALICE>, AT; confirmed by <@U0BOB>, AT",
    ]
    shown = parts(world.slack.workspace.ephemerals("U0ALICE")[-1].blocks)
    assert [part["url"] for part in shown if part["type"] == "link"] == [
        f"https://sandbox.slack.com/archives/{CHANNEL}/p{card.ts.replace('.', '')}"
        for card in reversed(cards)
    ]
    assert await answer(world, "history 3100025") == [
        "The last requests for customer 3100025",
        *lines[3:5],
    ]
    assert {each.user_id for each in world.slack.workspace.all_ephemerals()} == {"U0ALICE"}
    assert (len(world.fusebill.calls), len(world.slack.workspace.everything(CHANNEL))) == before


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


async def test_an_undo_is_named_as_one_and_what_it_undid_as_undone(world: World) -> None:
    card = await world.confirmed()
    await world.press("U0BOB", card, UNDO)
    waiting = (await answer(world, "history"))[1]
    await world.press("U0BOB", world.slack.workspace.thread(CHANNEL, card.ts)[-1], CANCEL)
    cancelled = (await answer(world, "history"))[1]
    assert [waiting, cancelled] == [
        "⏳ undo waiting for a click · 2554529 Stolen Bikes · card",
        "🚫 undo cancelled · 2554529 Stolen Bikes · card",
    ]
    await world.press("U0BOB", card, UNDO)
    await world.press("U0ALICE", world.slack.workspace.thread(CHANNEL, card.ts)[-1], CONFIRM)
    titles = [line for line in await answer(world, "history") if "2554529" in line]
    assert (titles[0], titles[-1]) == (
        "↩️ restored · 2554529 Stolen Bikes · card",
        "↩️ undone · 2554529 Stolen Bikes · card",
    )
