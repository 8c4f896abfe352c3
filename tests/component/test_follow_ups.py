"""Undo and Check again: both read the customer before they offer anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain.models import HubSpotIds, Kind, Outcome, Verdict
from bot.sandbox.slack.simulator import PostedMessage
from bot.sandbox.slack.workspace import User
from tests.support.kept import KeptRequest
from tests.support.ledger import (
    audit_rows,
    confirm_without_worker,
    make_due,
    what_is_due,
)
from tests.support.names import BIKES, BOB, CHECK, UNDO
from tests.support.world import OpenWorld, World

GONE: dict[str, Any] = {"hubSpotId": None, "hubSpotCompanyId": None}


@pytest.fixture
async def world(open_world: OpenWorld) -> AsyncIterator[World]:
    async with open_world(unlatch_confirmers=frozenset({"U0BOB"})) as opened:
        yield opened


async def ended(world: World, outcome: Outcome, reason: str = "moved") -> PostedMessage:
    """A card with an outcome; if it was cleared, the customer has no ids."""
    posted = await world.ask(f"{BIKES} {reason}".rstrip())
    card_id = (await world.kept(posted)).id
    confirm_without_worker(world.database_url, card_id, BOB, outcome)
    if outcome is Outcome.CLEARED:
        world.fusebill.customers[BIKES].update(GONE)
    return posted


async def newest(world: World) -> KeptRequest:
    return (await world.requests_about(BIKES))[0]


async def follow(world: World, action: str, posted: PostedMessage, user_id: str = "U0BOB") -> None:
    """Press a button of a card that Slack does not show as it is yet."""
    card_id = (await world.kept(posted)).id
    await world.slack.forge_click(user_id, posted.ts, action, card_id)
    await world.settled()


async def test_an_undo_latches_to_the_ids_on_the_card(world: World) -> None:
    posted = await ended(world, Outcome.CLEARED)
    first = await newest(world)
    await follow(world, UNDO, posted)
    undo = await newest(world)
    assert (undo.kind, undo.undoes, undo.requester) == (Kind.RELATCH, first.id, BOB)
    assert undo.customer.ids == HubSpotIds(101, 202)
    assert (undo.thread_ts, undo.reason) == (first.message_ts, "Undo: moved")


async def test_an_undo_shows_the_customer_as_it_is_now(world: World) -> None:
    posted = await ended(world, Outcome.CLEARED)
    world.fusebill.customers[BIKES].update(companyName="Found Bikes")
    await follow(world, UNDO, posted)
    assert (await newest(world)).customer.company_name == "Found Bikes"


async def test_an_undo_of_a_request_without_a_reason_says_only_undo(world: World) -> None:
    await follow(world, UNDO, await ended(world, Outcome.CLEARED, reason=""))
    assert (await newest(world)).reason == "Undo"


@pytest.mark.parametrize("outcome", sorted({*Outcome} - {Outcome.CLEARED, Outcome.MOVED}))
async def test_only_a_cleared_or_moved_request_can_be_undone(
    world: World, outcome: Outcome
) -> None:
    posted = await ended(world, outcome)
    reads = len(world.fusebill.calls)
    await follow(world, UNDO, posted)
    assert "nothing to undo" in world.last_ephemeral("U0BOB")
    assert (len(await world.cards()), len(world.fusebill.calls)) == (1, reads)


@pytest.mark.parametrize(
    ("verdict", "outcome", "offered"),
    [
        (None, None, False),
        (Verdict.CONFIRMED, None, False),
        (Verdict.CONFIRMED, Outcome.REFUSED, True),
        (Verdict.CONFIRMED, Outcome.CHANGED, True),
        (Verdict.CONFIRMED, Outcome.UNKNOWN, True),
    ],
    ids=str,
)
async def test_a_second_undo_is_offered_only_if_the_first_failed(
    world: World,
    verdict: Verdict | None,
    outcome: Outcome | None,
    offered: bool,  # noqa: FBT001  # parametrized
) -> None:
    posted = await ended(world, Outcome.CLEARED)
    await follow(world, UNDO, posted)
    if verdict:
        undo = await newest(world)
        confirm_without_worker(world.database_url, undo.id, BOB, outcome)
    await follow(world, UNDO, posted)
    assert len(await world.cards()) == (3 if offered else 2)
    told = world.ephemerals("U0BOB")
    assert any("already an open request" in text for text in told) is not offered


async def test_checking_a_known_outcome_again_says_so(world: World) -> None:
    await follow(world, CHECK, await ended(world, Outcome.REFUSED))
    assert "outcome is already known" in world.last_ephemeral("U0BOB")


async def test_checking_an_unchanged_customer_again_posts_a_new_card(world: World) -> None:
    posted = await ended(world, Outcome.UNKNOWN)
    await follow(world, CHECK, posted)
    again = await newest(world)
    assert (again.requester, again.kind, again.reason) == (BOB, Kind.UNLATCH, "moved")
    assert (again.thread_ts, again.undoes) == (posted.ts, None)


@pytest.mark.parametrize(
    ("ids", "title"),
    [(GONE, "✅ Unlatched"), ({"hubSpotId": 7}, "⚠️ Other ids than confirmed")],
    ids=["gone", "others"],
)
async def test_checking_a_changed_customer_again_shows_the_outcome(
    world: World, ids: dict[str, int | None], title: str
) -> None:
    posted = await ended(world, Outcome.UNKNOWN)
    world.fusebill.customers[BIKES].update(ids)
    await follow(world, CHECK, posted)
    assert world.card(posted).startswith(title)
    assert len(await world.cards()) == 1
    assert what_is_due(world.database_url) == []


async def test_if_the_customer_cannot_be_read_nothing_is_offered(world: World) -> None:
    posted = await ended(world, Outcome.UNKNOWN)
    world.fusebill.misbehave("conflict", times=None)
    await follow(world, CHECK, posted)
    assert "refused to show customer 2554529" in world.last_ephemeral("U0BOB")
    assert len(await world.cards()) == 1


async def test_a_refusal_reaches_the_person_the_ledger_the_thread_and_the_metrics(
    world: World,
) -> None:
    world.slack.workspace.users["U0CAROL"] = User("U0CAROL", "carol", "Carol", color="3c9f6b")
    posted = await ended(world, Outcome.CLEARED)
    make_due(world.database_url, (await world.kept(posted)).id, "show")
    await world.slack.workspace.until(lambda: "[Undo…]" in world.card(posted))
    why = "You are not on the list of people who may cancel somebody else's request."
    await follow(world, "unlatch_stop", posted, "U0CAROL")
    assert "[Undo…]" in world.card(posted)
    assert world.ephemerals("U0CAROL") == [f"🔒 {why}"]
    row = audit_rows(world.database_url)[-1]
    assert (row["event"], row["who"], row["why"]) == ("decision_denied", "U0CAROL", why)
    assert world.thread(posted).endswith(f": {why}")
    assert "<@U0CAROL> was refused · " in world.thread(posted)
    assert len(await world.cards()) == 1
    assert what_is_due(world.database_url) == []
    assert b'unlatch_refusals_total{reason="not_listed"} 1.0' in world.bot.metrics.render()
