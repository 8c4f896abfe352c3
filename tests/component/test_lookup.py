"""Lookups for one person: customers, searches and past requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.commands import Ask
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    OutcomeUnknown,
    RateLimited,
)
from tests.support.damage import lose
from tests.support.names import ALICE, BIKES
from tests.support.workshop import Parts, workshop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Parts]:
    async with workshop(tmp_path) as opened:
        yield opened


def operations(shop: Parts) -> list[str]:
    return [call.operation for call in shop.fusebill.calls]


async def test_a_quick_read_is_one_call_without_a_message(shop: Parts) -> None:
    customer = await shop.lookup.read(BIKES, shop.place())
    assert (customer.company_name, operations(shop)) == ("Stolen Bikes", ["get_customer"])
    assert shop.ephemerals() == []


@pytest.mark.parametrize("kind", ["bad_gateway", "lost_before", "html", "empty"])
async def test_a_read_is_retried_after_a_temporary_failure(shop: Parts, kind: str) -> None:
    shop.fusebill.misbehave(kind)
    assert (await shop.lookup.read(BIKES, shop.place())).customer_id == BIKES
    assert len(operations(shop)) == 2


@pytest.mark.parametrize(
    ("kind", "error"),
    [("not_found", CustomerNotFound), ("key_refused", KeyRefused), ("conflict", FusebillRefused)],
)
async def test_a_refused_read_is_not_retried(
    shop: Parts, kind: str, error: type[FusebillError]
) -> None:
    shop.fusebill.misbehave(kind, times=None)
    with pytest.raises(error):
        await shop.lookup.read(BIKES, shop.place())
    assert len(operations(shop)) == 1


async def test_a_read_is_tried_at_most_three_times(shop: Parts) -> None:
    shop.fusebill.misbehave("server_error", times=None)
    with pytest.raises(OutcomeUnknown):
        await shop.lookup.read(BIKES, shop.place())
    assert len(operations(shop)) == 3


async def test_a_read_waits_for_a_short_rate_limit(shop: Parts) -> None:
    shop.fusebill.misbehave("rate_limited", reset_s=1)
    began = time.monotonic()
    assert (await shop.lookup.read(BIKES, shop.place())).customer_id == BIKES
    assert time.monotonic() - began < 5


async def test_a_read_does_not_wait_for_a_long_rate_limit(shop: Parts) -> None:
    shop.fusebill.misbehave("rate_limited", times=None, reset_s=60)
    with pytest.raises(RateLimited):
        await shop.lookup.read(BIKES, shop.place())
    assert len(operations(shop)) == 1


async def test_a_slow_read_sends_one_progress_message(shop: Parts) -> None:
    shop.fusebill.misbehave("slow", seconds=1.7)
    assert (await shop.lookup.read(BIKES, shop.place())).customer_id == BIKES
    assert shop.ephemerals() == ["⏳ Still reading customer 2554529 from Fusebill …"]


async def test_an_unknown_id_is_searched_for_as_a_reference(
    shop: Parts,
) -> None:
    error = CustomerNotFound(404, ("Customer with id 1337 not found.",))
    await shop.lookup.explain(Ask(1337, "moved", "1337"), shop.place(), error)
    assert "Stolen Bikes, John Doe, Active" in shop.ephemerals()[-1]
    assert [call.query for call in shop.fusebill.calls] == [
        "query=Reference:1337&pageSize=100&pageNumber=0"
    ]


async def test_after_any_other_error_nothing_is_searched_for(shop: Parts) -> None:
    error = FusebillRefused(409, ("On hold",))
    await shop.lookup.explain(Ask(1337, "", "1337"), shop.place(), error)
    assert "Fusebill: On hold (HTTP 409)" in shop.ephemerals()[-1]
    assert operations(shop) == []


async def test_find_searches_three_fields(shop: Parts) -> None:
    await shop.lookup.find("bikes", shop.place())
    fields = {call.query.removeprefix("query=").split(":")[0] for call in shop.fusebill.calls}
    assert fields == {"CompanyName", "Reference", "PrimaryEmail"}


async def test_find_reports_a_failure_in_one_field(shop: Parts) -> None:
    shop.fusebill.misbehave("conflict", operation="list_customers")
    await shop.lookup.find("bikes", shop.place())
    assert shop.ephemerals()[-1].startswith("❌ Fusebill could not search for bikes.")


async def test_history_reads_permalinks_from_slack_and_nothing_from_fusebill(
    shop: Parts,
) -> None:
    customer = await shop.lookup.read(BIKES, shop.place())
    for _ in range(2):
        await shop.poster.post(shop.poster.card(ALICE, shop.place(), [customer], ""), shop.place())
    before = len(operations(shop))
    await shop.lookup.history(None, shop.place())
    methods = [call.method for call in shop.double.calls]
    assert methods.count("chat.getPermalink") == 2
    assert len(operations(shop)) == before
    assert shop.ephemerals()[-1].count("Stolen Bikes · card") == 2


async def test_history_without_requests_names_the_advisers(shop: Parts) -> None:
    await shop.lookup.history(None, shop.place())
    assert "<@U0BOB>" in shop.ephemerals()[-1]


async def test_history_leaves_out_a_permalink_that_slack_does_not_give(shop: Parts) -> None:
    customer = await shop.lookup.read(BIKES, shop.place())
    await shop.poster.post(shop.poster.card(ALICE, shop.place(), [customer], ""), shop.place())
    shop.double.faults.fail("chat.getPermalink", status=503, times=None)
    await shop.lookup.history(None, shop.place())
    assert "card" not in shop.ephemerals()[-1]


async def test_history_says_that_the_ledger_is_unavailable(shop: Parts) -> None:
    lose(shop.database_url, "requests")
    await shop.lookup.history(None, shop.place())
    assert shop.ephemerals()[-1].startswith("💾 The bot's ledger can't be reached")
