"""Undo and Check again: both read the customer before they offer anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.models import (
    Card,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.sandbox.slack.simulator import text_of
from tests.support.ledger import confirm_without_worker, what_is_due
from tests.support.names import ALICE, BIKES, BOB, CHANNEL
from tests.support.workshop import Parts, workshop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Parts]:
    async with workshop(tmp_path) as opened:
        yield opened


async def decided(shop: Parts, request: Request, outcome: Outcome | None) -> Request:
    """A request confirmed by Bob, with an outcome if given, and no worker on it."""
    confirm_without_worker(shop.database_url, request.id, BOB, outcome)
    [now] = [each for each in await shop.requests() if each.id == request.id]
    return now


async def ended(
    shop: Parts, outcome: Outcome, kind: Kind = Kind.UNLATCH, reason: str = "moved"
) -> Request:
    """A finished request; if it was cleared, the customer has no ids."""
    customer = await shop.lookup.read(BIKES, shop.place())
    card = shop.poster.card(ALICE, shop.place(), [customer], reason)
    asked = Card((replace(card.first, kind=kind),))
    await shop.poster.post(asked, shop.place())
    if outcome is Outcome.CLEARED:
        shop.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    return await decided(shop, (await shop.requests())[0], outcome)


async def card_text(shop: Parts, request: Request) -> str:
    """The text of a request's card once the bot is done."""
    await shop.tasks.drain(10)
    return text_of(shop.double.workspace.message(CHANNEL, request.message_ts or "").blocks)


async def test_an_undo_latches_to_the_ids_on_the_card(shop: Parts) -> None:
    first = await ended(shop, Outcome.CLEARED)
    await shop.follow_ups.undo(Card((first,)), BOB, shop.place("U0BOB"))
    undo = (await shop.requests())[0]
    assert (undo.kind, undo.undoes, undo.requester) == (Kind.RELATCH, first.id, BOB)
    assert undo.customer.ids == HubSpotIds(101, 202)
    assert (undo.thread_ts, undo.reason) == (first.message_ts, "Undo: moved")


async def test_an_undo_shows_the_customer_as_it_is_now(shop: Parts) -> None:
    first = await ended(shop, Outcome.CLEARED)
    shop.fusebill.customers[BIKES].update(companyName="Found Bikes")
    await shop.follow_ups.undo(Card((first,)), BOB, shop.place("U0BOB"))
    assert (await shop.requests())[0].customer.company_name == "Found Bikes"


async def test_an_undo_of_a_request_without_a_reason_says_only_undo(shop: Parts) -> None:
    first = await ended(shop, Outcome.CLEARED, reason="")
    await shop.follow_ups.undo(Card((first,)), BOB, shop.place("U0BOB"))
    assert (await shop.requests())[0].reason == "Undo"


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.CLEARED])
async def test_only_a_cleared_request_can_be_undone(shop: Parts, outcome: Outcome) -> None:
    first = await ended(shop, outcome)
    reads = len(shop.fusebill.calls)
    await shop.follow_ups.undo(Card((first,)), BOB, shop.place("U0BOB"))
    assert "nothing to undo" in shop.ephemerals("U0BOB")[-1]
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
async def test_a_second_undo_is_offered_only_if_the_first_failed(
    shop: Parts,
    verdict: Verdict | None,
    outcome: Outcome | None,
    offered: bool,  # noqa: FBT001  # parametrized
) -> None:
    first = await ended(shop, Outcome.CLEARED)
    await shop.follow_ups.undo(Card((first,)), BOB, shop.place("U0BOB"))
    if verdict:
        await decided(shop, (await shop.requests())[0], outcome)
    await shop.follow_ups.undo(Card((first,)), ALICE, shop.place())
    assert len(await shop.requests()) == (3 if offered else 2)
    assert any("already an open request" in text for text in shop.ephemerals()) is not offered


async def test_checking_a_known_outcome_again_says_so(shop: Parts) -> None:
    first = await ended(shop, Outcome.REFUSED)
    await shop.follow_ups.check_again(Card((first,)), BOB, shop.place("U0BOB"))
    assert "outcome is already known" in shop.ephemerals("U0BOB")[-1]


async def test_checking_an_unchanged_customer_again_posts_a_new_card(shop: Parts) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    await shop.follow_ups.check_again(Card((first,)), BOB, shop.place("U0BOB"))
    again = (await shop.requests())[0]
    assert (again.requester, again.kind, again.reason) == (BOB, Kind.UNLATCH, "moved")
    assert (again.thread_ts, again.undoes) == (first.message_ts, None)


@pytest.mark.parametrize(
    ("ids", "title"),
    [
        ({"hubSpotId": None, "hubSpotCompanyId": None}, "✅ Unlatched"),
        ({"hubSpotId": 7}, "⚠️ Other ids than confirmed"),
    ],
    ids=["gone", "others"],
)
async def test_checking_a_changed_customer_again_shows_the_outcome(
    shop: Parts, ids: dict[str, int | None], title: str
) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    shop.fusebill.customers[BIKES].update(ids)
    await shop.follow_ups.check_again(Card((first,)), BOB, shop.place("U0BOB"))
    assert (await card_text(shop, first)).startswith(title)
    assert len(await shop.requests()) == 1
    assert what_is_due(shop.database_url) == []


async def test_if_the_customer_cannot_be_read_nothing_is_offered(shop: Parts) -> None:
    first = await ended(shop, Outcome.UNKNOWN)
    shop.fusebill.misbehave("conflict", times=None)
    await shop.follow_ups.check_again(Card((first,)), BOB, shop.place("U0BOB"))
    assert "refused to show customer 2554529" in shop.ephemerals("U0BOB")[-1]
    assert len(await shop.requests()) == 1


async def test_a_refusal_reaches_the_person_the_ledger_the_thread_and_the_metrics(
    shop: Parts,
) -> None:
    first = await ended(shop, Outcome.CLEARED)
    carol = Person("U0CAROL", "T0SANDBOX")
    why = "You are not on the list of people who may cancel somebody else's request."
    assert not await shop.permissions.may_stop(Card((first,)), carol, shop.place("U0CAROL"))
    assert "[Undo…]" in await card_text(shop, first)
    assert shop.ephemerals("U0CAROL") == [f"🔒 {why}"]
    row = shop.rows()[-1]
    assert (row["event"], row["who"], row["why"]) == ("decision_denied", "U0CAROL", why)
    thread = "\n".join(
        text_of(m.blocks) for m in shop.double.workspace.thread(CHANNEL, first.message_ts or "")
    )
    assert thread.endswith(f"<@U0CAROL> was refused: “{why}”")
    assert len(await shop.requests()) == 1
    assert what_is_due(shop.database_url) == []
    assert b'unlatch_refusals_total{reason="not_listed"} 1.0' in shop.metrics.render()
