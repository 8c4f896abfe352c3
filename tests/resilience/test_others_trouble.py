"""Nothing waits behind another card's trouble: clicks, work and expiries of others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Connection, insert, select

from bot.domain.models import Card, Outcome, Person, Verdict
from bot.domain.outcomes import Result
from bot.ledger import ask_steps, decide_steps, work_steps
from bot.ledger.jobs import Transaction
from bot.ledger.people import Act
from bot.ledger.tables import jobs
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.by_hand import writing
from tests.support.ledger import create, reading, story_of_all
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.stage import on_both
from tests.support.steps import LIFE, REQUEST
from tests.support.world import OpenWorld, World, add_customers

JOINERY, FRAMES = 3100025, 3100033
LIFE_S = 4
SOON_S = 6.0
"""So long may the confirmation of a card take beside another's trouble; its expiry, longer."""
RECHECKS = range(6_000_001, 6_000_201)
HOUR = timedelta(hours=1)


async def require_that_others_go_on(world: World) -> None:
    """A card is asked for, confirmed and cleared, and another one expires at its time."""
    confirmed = await ask(world, f"{JOINERY} moved")
    waits = await ask(world, f"{FRAMES} moved")
    assert (await world.slack.click("U0BOB", confirmed.ts, CONFIRM)).status == 200
    until = world.slack.workspace.until
    await until(lambda: "✅ Unlatched" in world.card(confirmed), SOON_S)
    assert world.fusebill.customers[JOINERY]["hubSpotId"] is None
    await until(lambda: "⌛ Expired" in world.card(waits), LIFE_S + SOON_S)


async def ask(world: World, text: str) -> PostedMessage:
    """Type `/unlatch …`, and wait for the card alone: others' trouble goes on."""
    workspace = world.slack.workspace
    before = {each.ts for each in workspace.messages(CHANNEL)}

    def new() -> list[PostedMessage]:
        return [each for each in workspace.messages(CHANNEL) if each.ts not in before]

    assert (await world.slack.command("U0ALICE", text)).status == 200
    await workspace.until(lambda: bool(new()), SOON_S)
    [card] = new()
    return card


@asynccontextmanager
async def locked(database_url: str, query: str) -> AsyncIterator[None]:
    """Rows that somebody's transaction keeps locked."""
    connection = await psycopg.AsyncConnection.connect(database_url)
    async with connection:
        await connection.execute(query.encode())
        yield
        await connection.rollback()


@pytest.mark.parametrize("table", ["requests", "events", "jobs"])
async def test_a_row_that_somebody_locked_delays_no_other_card(
    open_world: OpenWorld, postgresql_url: str, table: str
) -> None:
    async with open_world(database_url=postgresql_url, unlatch_expires_after_s=LIFE_S) as world:
        card = await world.ask()
        async with locked(postgresql_url, f"SELECT * FROM {table} FOR UPDATE"):
            assert (await world.slack.click("U0BOB", card.ts, CONFIRM)).status == 200
            await require_that_others_go_on(world)


@on_both
async def test_cards_that_slack_refuses_delay_no_other(
    open_world: OpenWorld, database_url: str
) -> None:
    async with open_world(database_url=database_url) as world:
        refused = [await world.ask(f"{BIKES}, {JOINERY} moved") for _ in range(10)]
        for card in refused:
            world.slack.faults.fail("chat.update", status=503, times=None, ts=card.ts)
            assert (await world.slack.click("U0ALICE", card.ts, CANCEL)).status == 200
        confirmed = await ask(world, f"{FRAMES} moved")
        assert (await world.slack.click("U0BOB", confirmed.ts, CONFIRM)).status == 200
        await world.slack.workspace.until(lambda: "✅ Unlatched" in world.card(confirmed), SOON_S)
        assert "Cancelled" not in "".join(map(world.card, refused))
        world.slack.faults.clear()


@on_both
async def test_two_hundred_rechecks_due_at_once_delay_no_other_card(
    open_world: OpenWorld, database_url: str
) -> None:
    create(database_url)
    await asyncio.to_thread(clear_all, database_url)
    async with open_world(
        database_url=database_url,
        unlatch_expires_after_s=LIFE_S,
        unlatch_recheck_after_s=1,
    ) as world:
        add_customers(world.fusebill, RECHECKS, hubSpotId=None, hubSpotCompanyId=None)
        for each in RECHECKS:
            world.fusebill.misbehave("slow", customer_id=each, times=None, seconds=0.4)
        await require_that_others_go_on(world)
        done = await asyncio.to_thread(story_of_all, database_url)
        assert 0 < done.count("rechecked") < len(RECHECKS)


def clear_all(database_url: str) -> None:
    """Write cards of the past whose customers were cleared and are to be read once more."""
    bob = Person("U0BOB", "T0SANDBOX")
    with writing(database_url) as connection:
        connection.info["now"] = datetime.now(UTC) - HOUR
        for each in RECHECKS:
            id_ = f"{each:032}"
            customer = replace(REQUEST.customer, customer_id=each)
            card = Card((replace(REQUEST, id=id_, card_id=id_, customer=customer),))
            with _step(connection) as asks:
                ask_steps.asked(asks, card, Act(id_), LIFE)
            with _step(connection) as decides:
                decide_steps.decided(decides, id_, Verdict.CONFIRMED, bob, message_ts=f"1.{each}")
            [work] = [job for job in decides.held if job.kind == "work"]
            result = Result(Outcome.CLEARED, {"status": 200})
            with _step(connection) as records:
                work_steps.recorded(records, work, {id_: result}, timedelta(seconds=1))
        connection.execute(jobs.delete().where(jobs.c.kind != "recheck"))


@contextmanager
def _step(connection: Connection) -> Iterator[Transaction]:
    step = Transaction(connection, "a process of the past", HOUR)
    yield step
    step.finish()


async def test_a_job_that_only_a_newer_version_knows_delays_nothing_and_stays(
    open_world: OpenWorld, database_url: str
) -> None:
    create(database_url)
    now = datetime.now(UTC)
    unknown = {"due_at": now, "set_at": now, "takes": 0, "attempts": 0, "wanted": 1}
    with writing(database_url) as connection:
        rows = [unknown | {"card_id": f"{n:032}", "kind": "dance"} for n in range(200)]
        connection.execute(insert(jobs), rows)
    async with open_world(database_url=database_url, unlatch_expires_after_s=LIFE_S) as world:
        await require_that_others_go_on(world)
    with reading(database_url) as connection:
        left = connection.execute(select(jobs).where(jobs.c.kind == "dance")).mappings().all()
    assert {(each["takes"], each["due_at"]) for each in left} == {(0, now)}
    assert len(left) == 200
