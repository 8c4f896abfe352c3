"""What Fusebill, and what stands in front of it, really sent: the card, the thread, the audit."""

from __future__ import annotations

import json

import pytest

from bot.domain.models import Outcome
from bot.ledger.audit import export
from bot.sandbox.fusebill.misbehaviour import LATE_OR_LOST
from tests.support.ledger import audit_rows
from tests.support.names import BIKES, CHECK, CONFIRM
from tests.support.reading import answer_to, operations
from tests.support.world import World

QUEUE = "HubSpot sync queue unavailable."


async def confirmed(world: World) -> tuple[str, str]:
    """Confirm a card under the faults that are set; returns the card's text and the thread's."""
    card = await world.ask()
    return await pressed(world, card.ts)


async def pressed(world: World, ts: str) -> tuple[str, str]:
    card = world.slack.workspace.message("C0BILLING", ts)
    await world.press("U0BOB", card, CONFIRM)
    return world.card(card), world.thread(card)


async def test_a_500_that_cleared_is_told_with_its_words_beside_the_result(world: World) -> None:
    world.fusebill.misbehave("queue", operation="unlatch_customer", effect=True)
    card, thread = await confirmed(world)
    assert card.startswith("✅ Unlatched")
    assert f"Fusebill: HTTP 500 “{QUEUE}” · read back" in thread


async def test_a_change_that_shows_late_is_waited_for(world: World) -> None:
    world.fusebill.misbehave("late", operation="unlatch_customer", seconds=0.2)
    card, thread = await confirmed(world)
    assert card.startswith("✅ Unlatched")
    assert "Fusebill: HTTP 202 " in thread
    assert operations(world).count("unlatch_customer") == 1


async def test_an_accepted_change_that_does_not_show_is_unknown_and_can_be_checked(
    world: World,
) -> None:
    world.fusebill.misbehave("accepted", operation="unlatch_customer", effect=False)
    card = await world.ask()
    shown, _ = await pressed(world, card.ts)
    assert shown.startswith("❓ Outcome unknown")
    assert "The call was answered with HTTP 202, but the change does not show yet." in shown
    world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    await world.press("U0BOB", card, CHECK)
    assert world.card(card).startswith("✅ Unlatched")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("door", ("in front of Fusebill", "Access denied by policy 7", "Try again in a")),
        ("no_route", ("not look like Fusebill's API (HTTP 404)", "FUSEBILL_BASE_URL")),
        ("login", ("it is a web page", "Sign in to your account")),
        ("without_ids", ("it lacks the HubSpot ids",)),
        ("problem", ("refused to show", "The parent is closed.", "Trying again won't help")),
    ],
)
async def test_a_read_says_whose_no_it_is(world: World, kind: str, told: tuple[str, ...]) -> None:
    world.fusebill.misbehave(kind, times=None)
    answer = await answer_to(world, f"{BIKES}")
    assert [part for part in told if part not in answer] == []
    assert "gave no reason" not in answer
    assert "API key" not in answer


@pytest.mark.parametrize("trouble", ["site is stopped", "back soon", "closes 5 ms after an answer"])
async def test_what_passes_by_itself_keeps_no_customer_latched(world: World, trouble: str) -> None:
    world.fusebill.misbehave(**LATE_OR_LOST[trouble])
    card = await world.confirmed()
    assert world.card(card).startswith("✅ Unlatched: ")
    assert world.fusebill.customers[BIKES]["hubSpotId"] is None


async def test_an_outage_is_waited_for_as_it_says(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("wait_503", operation="get_customer")
    shown, _ = await pressed(world, card.ts)
    assert shown.startswith("✅ Unlatched")
    first, second = [c.at for c in world.fusebill.calls if c.operation == "get_customer"][-2:]
    assert second - first > 1.0
    assert operations(world).count("unlatch_customer") == 1


async def test_audit_shows_each_call_with_status_words_and_error_id(
    world: World,
) -> None:
    world.fusebill.misbehave("queue", operation="unlatch_customer")
    await confirmed(world)
    assert (await world.requests_about(BIKES))[0].outcome is Outcome.CLEARED
    rows = audit_rows(world.database_url)
    last = json.loads(list(export.as_json(rows))[-1])
    first, second = last["details"]["calls"]
    assert first.pop("seconds") < 2
    assert first == {
        "operation": "unlatch_customer",
        "status": 500,
        "texts": [QUEUE],
        "error_id": 77,
    }
    assert (second["operation"], second["status"]) == ("unlatch_customer", 200)
    assert QUEUE in list(export.as_csv(rows))[-1]
