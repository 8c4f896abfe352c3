"""What can follow an end: an undo, and a second look; both read before they offer anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.models import (
    EventType,
    Happening,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.domain.policy import Decision
from bot.sandbox.slack.simulator import text_of
from tests.conftest import CHANNEL
from tests.support.workshop import BIKES, Workshop, workshop

ALICE, BOB = Person("U0ALICE", "T0SANDBOX"), Person("U0BOB", "T0SANDBOX")
HOUR = timedelta(hours=1)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


async def decided(shop: Workshop, request: Request, outcome: Outcome | None) -> Request:
    """A request as confirmed by Bob, and as ended, with nobody at work on it."""
    now = datetime.now(UTC)
    confirmed = Happening(now, EventType.CONFIRMED, "U0BOB", {})
    gate = await shop.ledger.decide(
        request.id, Verdict.CONFIRMED, confirmed, decider=BOB, due_at=now + HOUR
    )
    if outcome is None:
        return gate.request
    ended = Happening(now, EventType(outcome), "", {"why": "…", "found": {}})
    trail = await shop.ledger.record(gate.request, ended, outcome=outcome, due_at=None)
    return trail.request


async def ended(
    shop: Workshop, outcome: Outcome, kind: Kind = Kind.UNLATCH, reason: str = "moved"
) -> Request:
    """A card that came to an end; a cleared customer is latched to nothing."""
    customer = await shop.lookup.read(BIKES, shop.place())
    request = shop.cards.request(ALICE, shop.place(), customer, reason, kind=kind)
    await shop.cards.post(request, shop.place())
    if outcome is Outcome.CLEARED:
        shop.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    return await decided(shop, (await shop.requests())[0], outcome)


async def drawn(shop: Workshop, request: Request) -> str:
    """A card as it is when all that goes on is done."""
    await shop.tasks.drain(10)
    return text_of(shop.double.workspace.message(CHANNEL, request.message_ts or "").blocks)


async def test_an_undo_is_a_relatch_to_the_ids_of_the_card(shop: Workshop) -> None:
    first = await ended(shop, Outcome.CLEARED)
    await shop.second_thoughts.undo(first, BOB, shop.place("U0BOB"))
    undo = (await shop.requests())[0]
    assert (undo.kind, undo.undoes, undo.requester) == (Kind.RELATCH, first.id, BOB)
    assert undo.customer.ids == HubSpotIds(101, 202)
    assert (undo.thread_ts, undo.reason) == (first.message_ts, "Undo: moved")


async def test_an_undo_shows_the_customer_as_it_is_now(shop: Workshop) -> None:
    first = await ended(shop, Outcome.CLEARED)
    shop.fusebill.customers[BIKES].update(companyName="Found Bikes")
    await shop.second_thoughts.undo(first, BOB, shop.place("U0BOB"))
    assert (await shop.requests())[0].customer.company_name == "Found Bikes"


async def test_an_undo_of_what_had_no_reason_needs_none(shop: Workshop) -> None:
    first = await ended(shop, Outcome.CLEARED, reason="")
    await shop.second_thoughts.undo(first, BOB, shop.place("U0BOB"))
    assert (await shop.requests())[0].reason == "Undo"


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.CLEARED])
async def test_only_what_was_cleared_can_be_undone(shop: Workshop, outcome: Outcome) -> None:
    first = await ended(shop, outcome)
    reads = len(shop.fusebill.calls)
    await shop.second_thoughts.undo(first, BOB, shop.place("U0BOB"))
    assert "nothing (more) to undo" in shop.whispers("U0BOB")[-1]
    assert (len(await shop.requests()), len(shop.fusebill.calls)) == (1, reads)


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
async def test_a_second_undo_is_offered_once_the_first_came_to_nothing(
    shop: Workshop,
    verdict: Verdict | None,
    outcome: Outcome | None,
    offered: bool,  # noqa: FBT001  # parametrized
) -> None:
    first = await ended(shop, Outcome.CLEARED)
    await shop.second_thoughts.undo(first, BOB, shop.place("U0BOB"))
    if verdict:
        await decided(shop, (await shop.requests())[0], outcome)
    await shop.second_thoughts.undo(first, ALICE, shop.place())
    assert len(await shop.requests()) == (3 if offered else 2)
    assert any("asked for already" in told for told in shop.whispers()) is not offered


async def test_a_second_look_at_what_is_known_is_told_so(shop: Workshop) -> None:
    first = await ended(shop, Outcome.REFUSED)
    await shop.second_thoughts.check_again(first, BOB, shop.place("U0BOB"))
    assert "known by now" in shop.whispers("U0BOB")[-1]


async def test_a_second_look_at_what_is_as_shown_asks_anew(shop: Workshop) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    await shop.second_thoughts.check_again(first, BOB, shop.place("U0BOB"))
    again = (await shop.requests())[0]
    assert (again.requester, again.kind, again.reason) == (BOB, Kind.UNLATCH, "moved")
    assert (again.thread_ts, again.undoes) == (first.message_ts, None)


@pytest.mark.parametrize(
    ("found", "title"),
    [
        ({"hubSpotId": None, "hubSpotCompanyId": None}, "✅ Unlatched"),
        ({"hubSpotId": 7}, "⚠️ Other ids than confirmed"),
    ],
    ids=["gone", "others"],
)
async def test_a_second_look_that_finds_out_ends_the_card(
    shop: Workshop, found: dict[str, int | None], title: str
) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    shop.fusebill.customers[BIKES].update(found)
    await shop.second_thoughts.check_again(first, BOB, shop.place("U0BOB"))
    assert (await drawn(shop, first)).startswith(title)
    (request,) = await shop.requests()
    assert request.due_at is None


async def test_a_customer_that_cannot_be_read_gets_neither(shop: Workshop) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    shop.fusebill.misbehave("conflict", times=None)
    await shop.second_thoughts.check_again(first, BOB, shop.place("U0BOB"))
    assert "refused to show customer 2554529" in shop.whispers("U0BOB")[-1]
    assert len(await shop.requests()) == 1


async def test_a_refusal_is_told_and_in_ledger_and_thread(shop: Workshop) -> None:
    first = await ended(shop, Outcome.CLEARED)
    no = Decision(allowed=False, why="You are not on the list.", label="not_listed")
    await shop.second_thoughts.deny(first, BOB, shop.place("U0BOB"), no)
    assert "[Undo…]" in await drawn(shop, first)
    assert shop.whispers("U0BOB") == ["🔒 You are not on the list."]
    row = shop.rows()[-1]
    assert (row["event"], row["who"], row["why"]) == (
        "decision_denied",
        "U0BOB",
        "You are not on the list.",
    )
    thread = "\n".join(
        text_of(m.blocks) for m in shop.double.workspace.thread(CHANNEL, first.message_ts or "")
    )
    assert thread.endswith("<@U0BOB> was refused, and told: “You are not on the list.”")
    (request,) = await shop.requests()
    assert request.due_at is None
