"""New requests: recorded first, then posted; what can't be posted ends, and the person is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.commands import Place
from bot.domain.models import Customer, HubSpotIds, Kind
from bot.requests.ask import new_card
from tests.support.damage import lose
from tests.support.kept import Due
from tests.support.ledger import audit_rows, broken, row_fingerprint, what_is_due
from tests.support.names import ALICE, BIKES, CHANNEL
from tests.support.world import OpenWorld, World

CUSTOMER = Customer(BIKES, HubSpotIds(101, 202), company_name="Stolen Bikes")
PLACE = Place(CHANNEL, "")
REFUSED = "🔒 You are not on the list of people who may ask for an unlatch."


async def test_a_posted_card_is_recorded_with_its_ts_and_thread(world: World) -> None:
    posted = await world.ask()
    request = (await world.kept(posted)).first
    assert (request.message_ts, request.thread_ts) == (posted.ts, posted.ts)
    assert (request.requester, request.reason) == (ALICE, "moved")
    assert (request.customer.customer_id, request.customer.ids) == (BIKES, HubSpotIds(101, 202))


async def test_the_first_event_holds_what_the_hash_chain_covers(world: World) -> None:
    posted = await world.ask()
    kept = await world.kept(posted)
    assert kept.events[0].details == {
        "row": row_fingerprint(world.database_url, posted.ts, posted=False),
        "card": [kept.id, 1, 1],
        "kind": "unlatch",
        "customer_id": 2554529,
        "channel_id": CHANNEL,
        "reason": "moved",
        "command": "/unlatch",
        "vid": 101,
        "company_id": 202,
    }


async def test_a_card_is_due_when_it_expires(open_world: OpenWorld) -> None:
    async with open_world(unlatch_expires_after_s=60) as world:
        kept = await world.kept(await world.ask())
        assert kept.first.expires_at == kept.first.asked_at + timedelta(seconds=60)
        assert what_is_due(world.database_url) == [Due(kept.id, "expire", kept.first.expires_at)]


def test_each_request_has_its_own_id() -> None:
    one, other = (new_card(ALICE, PLACE, [CUSTOMER] * 2, "") for _ in range(2))
    assert len({request.id for request in (*one.requests, *other.requests)}) == 4


def test_a_follow_up_goes_into_the_thread_of_its_request() -> None:
    first = replace(new_card(ALICE, PLACE, [CUSTOMER], "").first, message_ts="1.2", thread_ts="1.2")
    again = new_card(ALICE, Place("C0PUBLIC", ""), [CUSTOMER], "moved", follows=[first]).first
    assert (again.channel_id, again.thread_ts, again.message_ts) == (CHANNEL, "1.2", None)
    assert again.undoes is None


def test_an_undo_after_a_failed_undo_undoes_the_first_request() -> None:
    first = new_card(ALICE, PLACE, [CUSTOMER], "").first
    asked = (ALICE, PLACE, [CUSTOMER], "")
    undo = new_card(*asked, kind=Kind.RELATCH, follows=[first], undoes=True).first
    again = new_card(*asked, kind=Kind.RELATCH, follows=[undo]).first
    assert (undo.undoes, again.undoes) == (first.id, first.id)


async def test_if_slack_refuses_the_card_the_request_ends_and_the_person_learns_why(
    world: World,
) -> None:
    await world.slack.command("U0ALICE", "2554529", channel_id="C0PRIVATE")
    await world.settled()
    requested, failed = audit_rows(world.database_url)
    assert (requested["event"], failed["event"]) == ("requested", "delivery_failed")
    assert failed["why"] == "Slack did not take it: channel_not_found"
    assert (what_is_due(world.database_url), await world.cards()) == ([], [])
    assert "Type /invite <@U0UNLATCH> here" in world.last_ephemeral("U0ALICE")
    assert broken(world.database_url) == []


async def test_posting_is_retried_after_a_temporary_failure_of_slack(world: World) -> None:
    world.slack.faults.fail("chat.postMessage", status=503)
    await world.ask()
    assert len(world.slack.workspace.everything(CHANNEL)) == 1
    assert world.ephemerals("U0ALICE") == []


async def test_a_request_that_could_not_be_recorded_gets_no_card(world: World) -> None:
    lose(world.database_url, "events")
    assert "no card was posted" in await world.reply_to("2554529")
    assert world.slack.workspace.everything(CHANNEL) == []


async def test_only_a_recorded_card_is_counted(world: World) -> None:
    await world.ask()
    await world.slack.command("U0ALICE", "2554529", channel_id="C0PRIVATE")
    await world.settled()
    counted = 'unlatch_requests_total{kind="unlatch"} 1.0'
    assert counted in world.bot.metrics.render().decode()


@pytest.fixture
async def strict(open_world: OpenWorld) -> AsyncIterator[World]:
    """A world in which Alice may not ask."""
    async with open_world(unlatch_requesters=frozenset({"U0BOB"})) as opened:
        yield opened


async def test_a_refusal_is_sent_and_recorded_without_a_card(strict: World) -> None:
    assert await strict.reply_to("2554529 moved") == REFUSED
    [row] = audit_rows(strict.database_url)
    assert (row["event"], f"🔒 {row['why']}") == ("ask_denied", REFUSED)
    assert row["details"] == {"reason": "moved"}
    assert strict.slack.workspace.everything(CHANNEL) == []
    assert await strict.cards() == []


async def test_a_refusal_is_never_due(strict: World) -> None:
    await strict.reply_to("2554529")
    assert len(audit_rows(strict.database_url)) == 1
    assert what_is_due(strict.database_url) == []


@pytest.mark.parametrize("failure", ["slack", "ledger"])
async def test_a_refusal_reaches_the_person_or_the_ledger_if_the_other_fails(
    strict: World, failure: str
) -> None:
    if failure == "slack":
        strict.slack.faults.fail("response_url", status=500, times=None)
    else:
        lose(strict.database_url, "events")
    await strict.slack.command("U0ALICE", "2554529")
    await strict.settled()
    assert strict.ephemerals("U0ALICE") == ([] if failure == "slack" else [REFUSED])
    if failure == "slack":
        assert len(audit_rows(strict.database_url)) == 1


async def test_a_refusal_is_recorded_though_slack_is_down(strict: World) -> None:
    strict.slack.faults.down = True
    await strict.slack.command("U0ALICE", "2554529")
    await strict.settled()
    assert len(audit_rows(strict.database_url)) == 1
