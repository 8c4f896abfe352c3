"""A database that is far: fifty customers take as many round trips as one, within Slack's 3 s."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from bot.domain.models import Outcome
from bot.domain.outcomes import Result
from bot.ledger import work_steps
from bot.ledger.jobs import Kind
from tests.support.ledger import broken
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.postgresql import proxied
from tests.support.proxy import Proxy
from tests.support.steps import REQUEST, Process, card_of, process
from tests.support.world import OpenWorld, add_customers

SLACK_WAITS_S = 3.0
FIFTY = range(5_000_001, 5_000_051)
HOUR = timedelta(hours=1)


@pytest.fixture
async def far(postgresql_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before an empty ledger, and the URL of the ledger behind it."""
    opens, url = proxied(postgresql_url)
    async with Proxy(opens) as proxy:
        yield proxy, url.format(port=proxy.port)


@pytest.mark.parametrize("distance_s", [0.02, 0.04])
async def test_fifty_customers_are_asked_about_and_cleared(
    open_world: OpenWorld, far: tuple[Proxy, str], distance_s: float
) -> None:
    proxy, url = far
    proxy.distance_s = distance_s
    async with open_world(database_url=url) as world:
        add_customers(world.fusebill, FIFTY)
        world.fusebill.calls_per_minute = 100_000
        asked = await world.slack.command("U0ALICE", f"{', '.join(map(str, FIFTY))} moved")
        assert (asked.status, asked.seconds < SLACK_WAITS_S) == (200, True)
        await world.slack.workspace.until(lambda: bool(world.slack.workspace.messages(CHANNEL)))
        [card] = world.slack.workspace.messages(CHANNEL)
        await world.settled()
        pressed = await world.slack.click("U0BOB", card.ts, CONFIRM)
        assert (pressed.status, pressed.seconds < SLACK_WAITS_S) == (200, True)
        await world.settled()
        assert "✅ 50 unlatched" in world.card(card)
        assert "✅ 50 unlatched" in world.thread(card)
        calls = [each.operation for each in world.fusebill.calls]
        assert calls.count("unlatch_customer") == len(FIFTY)
        assert world.ephemerals("U0BOB") == []


@pytest.mark.parametrize("distance_s", [0.02, 0.04])
async def test_fifty_customers_are_cancelled(
    open_world: OpenWorld, far: tuple[Proxy, str], postgresql_url: str, distance_s: float
) -> None:
    proxy, url = far
    proxy.distance_s = distance_s
    async with open_world(database_url=url) as world:
        add_customers(world.fusebill, FIFTY)
        card = await world.ask(f"{', '.join(map(str, FIFTY))} moved")
        pressed = await world.slack.click("U0ALICE", card.ts, CANCEL)
        assert (pressed.status, pressed.seconds < SLACK_WAITS_S) == (200, True)
        await world.settled()
        assert "Cancelled" in world.card(card)
        assert broken(postgresql_url) == []


async def test_each_step_takes_as_many_round_trips_for_fifty_as_for_one(
    far: tuple[Proxy, str],
) -> None:
    proxy, url = far
    async with process(url) as one:
        await one.read(lambda _connection: None)
        taken = [await round_trips(proxy, one, size) for size in (1, 10, 50)]
        assert taken[0] == taken[1] == taken[2]


async def round_trips(proxy: Proxy, one: Process, size: int) -> dict[str, int]:
    """How many round trips each step of a card takes."""
    found: dict[str, int] = {}
    before = proxy.round_trips

    def count(step: str) -> None:
        nonlocal before
        found[step], before = proxy.round_trips - before, proxy.round_trips

    # customers of its own: earlier work for the same ones would be read as well
    customer = replace(REQUEST.customer, customer_id=1000 * size)
    requests = card_of(size, replace(REQUEST, id=f"ff{uuid4().hex[2:]}", customer=customer))
    ids = [request.id for request in requests]
    card = await one.ask(*requests)
    count("asked")
    await one.post(f"{size}.1")
    count("posted")
    await one.confirm(card.id)
    count("decided")
    work = one.held[Kind.WORK]
    await one.run(work_steps.begun, work, ids)
    count("begun")
    await one.run(work_steps.recorded, work, dict.fromkeys(ids, Result(Outcome.CLEARED)), HOUR)
    count("recorded")
    show = one.held[Kind.SHOW]
    drawn = await one.run(work_steps.as_it_is, show)
    assert drawn is not None
    await one.run(work_steps.shown, show, len(drawn.events))
    count("shown")
    return found
