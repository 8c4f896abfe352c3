"""What one person asks about customers and past requests, and what the bot reads for it."""

from __future__ import annotations

import pytest

from tests.support.damage import lose
from tests.support.names import BIKES, CHANNEL
from tests.support.world import OpenWorld, World


def operations(world: World) -> list[str]:
    return [call.operation for call in world.fusebill.calls]


async def test_an_unknown_id_is_searched_for_as_a_reference(world: World) -> None:
    assert "Stolen Bikes, John Doe" in await world.reply_to("1337 moved")
    searched = [call.query for call in world.fusebill.calls if call.operation == "list_customers"]
    assert searched == ["query=Reference:1337&pageSize=100&pageNumber=0"]


async def test_after_any_other_error_nothing_is_searched_for(world: World) -> None:
    world.fusebill.misbehave("conflict", times=None)
    assert "(HTTP 409)" in await world.reply_to("1337")
    assert operations(world) == ["get_customer"]


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("bikes", ["CompanyName", "FirstName", "LastName", "PrimaryEmail", "Reference"]),
        ("john doe", ["CompanyName", "FirstName", "PrimaryEmail", "Reference"]),
    ],
)
async def test_find_reads_one_page_of_each_field(
    world: World, text: str, searched: list[str]
) -> None:
    await world.reply_to(f"find {text}")
    queries = [call.query.removeprefix("query=") for call in world.fusebill.calls]
    assert sorted(query.split(":")[0] for query in queries) == searched
    assert all(query.endswith("&pageNumber=0") for query in queries)


async def test_an_id_among_the_words_is_read_as_well(world: World) -> None:
    await world.reply_to("find bikes 2554529")
    assert operations(world).count("get_customer") == 1


async def test_a_search_leaves_the_last_calls_of_a_minute_to_confirmations(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        world.fusebill.calls_per_minute = 10
        for text in ("bikes", "john"):
            await world.slack.command("U0ALICE", f"find {text}")
        await world.slack.workspace.until(
            lambda: "⏳ Still searching in Fusebill …" in world.ephemerals("U0ALICE")
        )
        assert operations(world) == ["list_customers"] * 7
        await world.slack.command("U0ALICE", "2554529 moved")
        await world.slack.workspace.until(lambda: world.slack.workspace.messages(CHANNEL))
        [card] = world.slack.workspace.messages(CHANNEL)
        assert world.card(card).startswith("Unlatch Stolen Bikes")


async def test_a_search_that_fails_makes_no_more_calls(world: World) -> None:
    world.fusebill.misbehave("unauthorized", times=None)
    await world.reply_to("find bikes 2554529 3100017")
    assert len(operations(world)) == 1


async def test_find_reports_a_failure_in_one_field(world: World) -> None:
    world.fusebill.misbehave("conflict", operation="list_customers")
    found = await world.reply_to("find bikes")
    assert found.startswith("❌ Fusebill could not search for bikes.")


async def test_history_reads_permalinks_from_slack_and_nothing_from_fusebill(
    world: World,
) -> None:
    for _ in range(2):
        await world.ask(f"{BIKES}")
    before, calls = len(operations(world)), len(world.slack.calls)
    history = await world.reply_to("history")
    methods = [call.method for call in world.slack.calls[calls:]]
    assert methods.count("chat.getPermalink") == 2
    assert len(operations(world)) == before
    assert history.count("Stolen Bikes · card") == 2


async def test_history_without_requests_names_the_advisers(open_world: OpenWorld) -> None:
    async with open_world(unlatch_confirmers=frozenset({"U0BOB"})) as world:
        assert "<@U0BOB>" in await world.reply_to("history")


async def test_history_leaves_out_a_permalink_that_slack_does_not_give(world: World) -> None:
    await world.ask(f"{BIKES}")
    world.slack.faults.fail("chat.getPermalink", status=503, times=None)
    assert "card" not in await world.reply_to("history")


async def test_history_says_that_the_ledger_is_unavailable(world: World) -> None:
    lose(world.database_url, "requests")
    history = await world.reply_to("history")
    assert history.startswith("💾 The bot's ledger can't be reached")
