"""What people paste into the form of `/unlatch many`: files as they are, and lines by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.slack.simulator import OpenView, PostedMessage
from tests.support.names import BIKES, CHANNEL
from tests.support.world import World, add_customers

PASTED = Path(__file__).parent.parent / "samples" / "pasted"
JOINERY, DENTAL, CYCLES = 3100025, 3100033, 3100042


async def form_of(world: World) -> OpenView:
    await world.slack.command("U0ALICE", "many")
    await world.settled()
    return world.slack.views.of("U0ALICE")


async def send(world: World, ids: str, reason: str = "moved", **fields: str) -> None:
    """Send the form that is open, or a new one, with these texts and choices."""
    form = next(iter(world.slack.views.all()), None) or await form_of(world)
    await world.slack.submit(form.id, {"ids": ids, "reason": reason, **fields})
    await world.settled()


def menu(world: World) -> dict[str, Any]:
    """The choice of columns in the form that is open."""
    [found] = [
        block
        for block in world.slack.views.of("U0ALICE").view["blocks"]
        if block["type"] == "input" and block["element"]["type"] == "static_select"
    ]
    return dict(found)


def columns(world: World) -> dict[str, str]:
    """The columns to choose: what each shows, and its key."""
    return {each["text"]["text"]: each["value"] for each in menu(world)["element"]["options"]}


def cards(world: World) -> list[PostedMessage]:
    return world.slack.workspace.messages(CHANNEL)


async def test_two_columns_of_ids_are_a_choice_and_the_text_stays(world: World) -> None:
    rows = f"{BIKES}\t{CYCLES}\n{JOINERY}\t{DENTAL}"
    await send(world, rows)
    assert columns(world) == {f"{BIKES}, {JOINERY}": "0-0", f"{CYCLES}, {DENTAL}": "0-1"}
    assert cards(world) == []
    shown = world.slack.views.of("U0ALICE")
    assert (shown.values["ids"]["ids"], shown.values["reason"]["reason"]) == (rows, "moved")
    await send(world, rows, **{menu(world)["block_id"]: "0-1"})
    (card,) = cards(world)
    assert "Riverside Cycle Hire" in world.card(card)
    assert "Stolen Bikes" not in world.card(card)
    assert world.slack.views.all() == []


async def test_a_column_of_references_is_shown_as_the_customers_it_names(world: World) -> None:
    await send(world, "MPJ-118\nQSD-09\nXYZ-1")
    answer = world.last_ephemeral("U0ALICE")
    assert "MPJ-118 may be:\nMaple & Pine Joinery" in answer
    assert "QSD-09 may be:\nQuiet Street Dental" in answer
    assert "XYZ-1 is not a Stax Bill ID or Customer ID." in answer
    assert cards(world) == []
    ephemeral = world.slack.workspace.ephemerals("U0ALICE")[-1]
    await world.slack.click_ephemeral("U0ALICE", ephemeral, "unlatch_use")
    await world.settled()
    (card,) = cards(world)
    assert world.card(card).startswith("Unlatch 2 customers?")
    assert "moved" in world.card(card)


async def test_what_was_left_out_is_listed_with_its_line(world: World) -> None:
    rows = f"Stax Bill ID,Company\n{BIKES},Bikes\nn/a,Tents\n,Kites\n{DENTAL},Dental"
    await send(world, rows)
    assert world.card(cards(world)[0]).startswith("Unlatch 2 customers?")
    assert world.last_ephemeral("U0ALICE").splitlines() == [
        "📝 Left out of what you pasted:",
        "Line 3: There is no Stax Bill ID in 'n/a'.",
        "Line 4: There is no Stax Bill ID.",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "fusebill_audit_log.csv",
        "fusebill_customers.csv",
        "fusebill_customers_from_spreadsheet.tsv",
        "fusebill_customers_semicolons.csv",
        "hubspot_companies_with_fusebill_id.csv",
    ],
)
async def test_a_file_that_people_really_paste_becomes_a_card_of_its_customers(
    world: World, name: str
) -> None:
    for customer_id in (3100017, 3100025):
        add_customers(world.fusebill, [customer_id])
    await send(world, (PASTED / name).read_text())
    (card,) = cards(world)
    assert f"{BIKES}" in world.card(card)
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 101
