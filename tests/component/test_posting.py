"""New requests: recorded first, then posted; what can't be posted ends, and the person is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.models import Customer, HubSpotIds, Kind, Request
from bot.domain.policy import Decision
from tests.support.damage import lose
from tests.support.kept import Due
from tests.support.ledger import card_at, row_fingerprint, what_is_due
from tests.support.names import ALICE, CHANNEL
from tests.support.workshop import Parts, workshop

CUSTOMER = Customer(2554529, HubSpotIds(101, 202), company_name="Stolen Bikes")


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Parts]:
    async with workshop(tmp_path) as opened:
        yield opened


async def posted(shop: Parts) -> Request:
    card = shop.poster.card(ALICE, shop.place(), [CUSTOMER], "moved")
    assert await shop.poster.post(card, shop.place())
    (recorded,) = await shop.requests()
    return recorded


async def test_a_posted_card_is_recorded_with_its_ts_and_thread(
    shop: Parts,
) -> None:
    request = await posted(shop)
    (card,) = shop.posted()
    assert (request.message_ts, request.thread_ts) == (card.ts, card.ts)
    assert (request.requester, request.reason, request.customer) == (ALICE, "moved", CUSTOMER)


async def test_the_first_event_holds_what_the_hash_chain_covers(shop: Parts) -> None:
    request = await posted(shop)
    [card] = shop.posted()
    kept = card_at(shop.database_url, card.ts)
    assert kept.events[0].details == {
        "row": row_fingerprint(shop.database_url, card.ts, posted=False),
        "card": [request.id, 1, 1],
        "kind": "unlatch",
        "customer_id": 2554529,
        "channel_id": CHANNEL,
        "reason": "moved",
        "vid": 101,
        "company_id": 202,
    }


async def test_a_card_is_due_when_it_expires(tmp_path: Path) -> None:
    async with workshop(tmp_path, expires_after_s=60) as shop:
        request = await posted(shop)
        assert request.expires_at == request.asked_at + timedelta(seconds=60)
        assert what_is_due(shop.database_url) == [Due(request.id, "expire", request.expires_at)]


async def test_each_request_has_its_own_id(shop: Parts) -> None:
    one, other = (shop.poster.card(ALICE, shop.place(), [CUSTOMER], "") for _ in range(2))
    assert one.id != other.id


async def test_a_follow_up_goes_into_the_thread_of_its_request(shop: Parts) -> None:
    first = await posted(shop)
    elsewhere = shop.place(channel_id="C0PUBLIC")
    again = shop.poster.card(ALICE, elsewhere, [CUSTOMER], "moved", follows=[first])
    await shop.poster.post(again, elsewhere)
    last = (await shop.requests())[0]
    assert (last.channel_id, last.thread_ts) == (CHANNEL, first.message_ts)
    assert last.message_ts != first.message_ts
    assert last.undoes is None


async def test_an_undo_after_a_failed_undo_undoes_the_first_request(shop: Parts) -> None:
    first = await posted(shop)
    asked = (ALICE, shop.place(), [CUSTOMER], "")
    undo = shop.poster.card(*asked, kind=Kind.RELATCH, follows=[first]).first
    again = shop.poster.card(*asked, kind=Kind.RELATCH, follows=[undo]).first
    assert (undo.undoes, again.undoes) == (first.id, first.id)


async def test_if_slack_refuses_the_card_the_request_ends_and_the_person_learns_why(
    shop: Parts,
) -> None:
    place = shop.place(channel_id="C0PRIVATE")
    assert not await shop.poster.post(shop.poster.card(ALICE, place, [CUSTOMER], ""), place)
    assert [row["event"] for row in shop.rows()] == ["requested", "delivery_failed"]
    assert shop.rows()[-1]["why"] == "Slack did not take it: channel_not_found"
    assert (what_is_due(shop.database_url), await shop.requests()) == ([], [])
    assert "Type /invite <@U0UNLATCH> here" in shop.ephemerals()[-1]


async def test_posting_is_retried_after_a_temporary_failure_of_slack(shop: Parts) -> None:
    shop.double.faults.fail("chat.postMessage", status=503)
    await posted(shop)
    assert len(shop.posted()) == 1
    assert shop.ephemerals() == []


async def test_a_request_that_could_not_be_recorded_gets_no_card(shop: Parts) -> None:
    lose(shop.database_url, "events")
    place = shop.place()
    assert not await shop.poster.post(shop.poster.card(ALICE, place, [CUSTOMER], ""), place)
    assert shop.posted() == []
    assert "no card was posted" in shop.ephemerals()[-1]


async def test_only_a_recorded_card_is_counted(shop: Parts) -> None:
    await posted(shop)
    place = shop.place(channel_id="C0PRIVATE")
    await shop.poster.post(shop.poster.card(ALICE, place, [CUSTOMER], ""), place)
    assert 'unlatch_requests_total{kind="unlatch"} 1.0' in shop.metrics.render().decode()


NO = Decision(allowed=False, why="You are not on the list.", label="not_listed")


async def test_a_refusal_is_sent_and_recorded_without_a_card(shop: Parts) -> None:
    await shop.poster.deny(ALICE, shop.place(), 2554529, "moved", NO)
    assert shop.ephemerals() == ["🔒 You are not on the list."]
    (row,) = shop.rows()
    assert (row["event"], row["why"], row["details"]) == (
        "ask_denied",
        "You are not on the list.",
        {"reason": "moved"},
    )
    assert (shop.posted(), await shop.requests()) == ([], [])


async def test_a_refusal_is_never_due(shop: Parts) -> None:
    await shop.poster.deny(ALICE, shop.place(), 2554529, "", NO)
    assert (len(shop.rows()), what_is_due(shop.database_url)) == (1, [])


@pytest.mark.parametrize("failure", ["slack", "ledger"])
async def test_a_refusal_reaches_the_person_or_the_ledger_if_the_other_fails(
    shop: Parts, failure: str
) -> None:
    if failure == "slack":
        shop.double.faults.fail("response_url", status=500, times=None)
    else:
        lose(shop.database_url, "events")
    await shop.poster.deny(ALICE, shop.place(), 2554529, "", NO)
    assert shop.ephemerals() == ([] if failure == "slack" else ["🔒 You are not on the list."])


async def test_a_refusal_is_recorded_though_slack_is_down(shop: Parts) -> None:
    shop.double.faults.down = True
    await shop.poster.deny(ALICE, shop.place(), 2554529, "", NO)
    assert len(shop.rows()) == 1
