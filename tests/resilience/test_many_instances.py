"""Two instances on one PostgreSQL work on cards of many: each customer once, each card told."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from signal import SIGCONT, SIGSTOP

import aiohttp
import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import PostedMessage
from tests.resilience.test_instances import click_everywhere, lines
from tests.resilience.test_many_crash import all_outcomes
from tests.support.bot_process import PACE, BotProcess
from tests.support.ledger import broken, story_of_all
from tests.support.names import BIKES, CANCEL, CHANNEL, CHECK, CONFIRM, CUSTOMERS, STOP, UNDO
from tests.support.reading import unlatched
from tests.support.stage import Stage, on_postgresql
from tests.support.world import add_customers

PATIENT = replace(PACE, hold_s=10.0)
# the card is drawn often, so that instances have something to draw over
BUSY = replace(PACE, hold_s=1.0, working_after_s=0.1, progress_every_s=0.1)
RACES = int(os.environ.get("RACES", "2"))
ALL = len(CUSTOMERS)


pytestmark = on_postgresql


@pytest.fixture
def staged(staged: Stage) -> Stage:
    add_customers(staged.fusebill)
    return staged


def latch_all(staged: Stage) -> None:
    for each in CUSTOMERS:
        staged.fusebill.customers[each].update(hubSpotId=each, hubSpotCompanyId=each + 1)


def called(staged: Stage) -> Counter[int | None]:
    return Counter(
        c.customer_id for c in staged.fusebill.calls if c.operation == "unlatch_customer"
    )


def events(staged: Stage) -> Counter[str]:
    """How often each type of event stands in the ledger."""
    return Counter(story_of_all(staged.database_url))


async def click_at(
    staged: Stage, bot: BotProcess, card: PostedMessage, action: str, who: str = "U0BOB"
) -> None:
    staged.slack.request_url = f"{bot.address}/slack/events"
    assert (await staged.slack.click(who, card.ts, action)).status == 200


@pytest.mark.parametrize("ids", [str(BIKES), "\n".join(map(str, CUSTOMERS))], ids=["one", "many"])
async def test_a_form_that_is_sent_twice_at_once_on_two_instances_is_one_card(
    staged: Stage, ids: str
) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    addresses = [f"{bot.address}/slack/events" for bot in staged.bots]
    for race in range(RACES):
        await staged.slack.command("U0ALICE", "many")
        await staged.until(lambda: bool(staged.slack.views.all()))
        form = staged.slack.views.of("U0ALICE")
        sent = []
        for number in range(4):
            staged.slack.request_url = addresses[number % 2]
            typed = {"ids": ids, "reason": f"race {race}"}
            sent.append(asyncio.create_task(staged.slack.submit(form.id, typed)))
            await asyncio.sleep(0)
        assert {delivery and delivery.status for delivery in await asyncio.gather(*sent)} == {200}
        await staged.until(lambda n=race: staged.log.count("delivered before") == 3 * (n + 1))
        await staged.until(lambda n=race: len(staged.slack.workspace.messages(CHANNEL)) > n)
        assert len(staged.slack.workspace.messages(CHANNEL)) == race + 1
        # no card may wait for them when they are asked about again
        card = staged.slack.workspace.messages(CHANNEL)[-1]
        await staged.until(lambda card=card: card.ts in staged.log)
        await staged.slack.click("U0ALICE", card.ts, CANCEL)
    assert events(staged)["requested"] == RACES * (1 if ids == str(BIKES) else ALL)
    assert broken(staged.database_url) == []


@asynccontextmanager
async def calls_held(staged: Stage) -> AsyncIterator[None]:
    """Fusebill does nothing until the block ends."""
    released = asyncio.Event()

    async def hold(operation: str) -> None:
        if operation == "unlatch_customer":
            await released.wait()

    staged.fusebill.before = hold
    yield
    released.set()


@pytest.mark.parametrize("after_calls", [1, 5, 9])
async def test_an_instance_that_sleeps_through_the_work_and_wakes_calls_nobody_twice(
    staged: Stage, after_calls: int
) -> None:
    sleeper = await staged.start(timing=BUSY)
    card = await staged.ask(*CUSTOMERS)
    seen, slept = 0, asyncio.Event()

    async def freeze(operation: str) -> None:
        nonlocal seen
        seen += operation == "unlatch_customer"
        if seen == after_calls and not slept.is_set():
            slept.set()
            sleeper.signal(SIGSTOP)

    staged.fusebill.after = freeze
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.15)
    click = asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM))
    await staged.until(slept.is_set)
    other = await staged.start(timing=BUSY)
    await staged.until(lambda: called(staged).total() >= after_calls + 2)
    sleeper.signal(SIGCONT)
    await click
    # it is awake when it answers
    async with aiohttp.request("GET", f"{sleeper.address}/readyz"):
        await staged.settled(40.0)
    await staged.until(lambda: f"✅ {ALL} unlatched" in staged.card(card))
    assert "[Stop]" not in staged.card(card)
    assert all_outcomes(staged) == {Outcome.CLEARED: ALL}
    # what one did and what the other did may be a reply each
    assert unlatched(staged.thread(card)) == ALL, staged.thread(card)
    assert broken(staged.database_url) == []
    assert other.process.exitcode is None


async def test_stop_at_one_instance_stops_the_work_of_the_other(staged: Stage) -> None:
    first = await staged.start(timing=BUSY)
    second = await staged.start(timing=BUSY)
    card = await staged.ask(*CUSTOMERS)
    async with calls_held(staged):
        await click_at(staged, first, card, CONFIRM)
        await staged.until(lambda: "[Stop]" in staged.card(card))
        await staged.until(lambda: called(staged).total() == 8)
        await click_at(staged, second, card, STOP)
        await staged.until(lambda: events(staged)["stop_requested"] > 0)
    await staged.settled(40.0)
    await staged.until(lambda: "4 stopped" in staged.card(card))
    assert called(staged).total() == 8
    assert all_outcomes(staged) == {Outcome.CLEARED: 8, Outcome.STOPPED: 4}
    assert lines(staged, card, "pressed Stop") == 1
    assert broken(staged.database_url) == []


async def test_stop_twice_at_once_is_one_stop(staged: Stage) -> None:
    await staged.start(timing=BUSY)
    await staged.start(timing=BUSY)
    card = await staged.ask(*CUSTOMERS)
    async with calls_held(staged):
        await click_everywhere(staged, card, CONFIRM, 1)
        await staged.until(lambda: "[Stop]" in staged.card(card))
        await staged.until(lambda: called(staged).total() == 8)
        await click_everywhere(staged, card, STOP, 6)
        await staged.until(lambda: events(staged)["stop_requested"] > 0)
    await staged.settled(40.0)
    await staged.until(lambda: "4 stopped" in staged.card(card))
    assert lines(staged, card, "pressed Stop") == 1
    assert broken(staged.database_url) == []


async def test_a_stopped_card_whose_worker_is_killed_says_what_was_done(staged: Stage) -> None:
    survivor = await staged.start(timing=BUSY)
    await staged.start(timing=BUSY)
    card = await staged.ask(*CUSTOMERS)
    staged.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.7)
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "[Stop]" in staged.card(card))
    await staged.until(lambda: called(staged))
    await click_at(staged, survivor, card, STOP)
    await staged.bots[-1].kill()
    await staged.settled(40.0)
    await staged.until(lambda: "stopped" in staged.card(card))
    done = {c for c in CUSTOMERS if not staged.fusebill.customers[c]["hubSpotId"]}
    found = all_outcomes(staged)
    assert found[Outcome.CLEARED] == len(done), (found, done)
    # what was begun and does not show may have been called, or may not
    requests = [request for kept in staged.cards() for request in kept.requests]
    begun = {r.customer.customer_id for r in requests if EventType.BEGUN in r.story}
    assert found[Outcome.STOPPED] == ALL - len(begun)
    assert found[Outcome.UNKNOWN] == len(begun - done)
    assert max(called(staged).values()) == 1
    assert broken(staged.database_url) == []


async def test_two_cards_that_share_customers_in_another_order_both_end(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    addresses = [f"{bot.address}/slack/events" for bot in staged.bots]
    for race in range(RACES):
        latch_all(staged)
        before = called(staged)
        cards = [
            await staged.ask(*CUSTOMERS),
            await staged.ask(*CUSTOMERS[::-1]),
            await staged.ask(CUSTOMERS[race % ALL]),
        ]
        clicks = []
        for number, card in enumerate(cards):
            staged.slack.request_url = addresses[number % 2]
            clicks.append(asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM)))
            await asyncio.sleep(0)
        assert {d.status for d in await asyncio.gather(*clicks)} == {200}
        await staged.settled(30.0)
        now = called(staged)
        # a card that came when another was done is refused as a whole, and can be cancelled
        refused = [card for card in cards if "[Cancel]" in staged.card(card)]
        assert max(now[c] - before[c] for c in CUSTOMERS) == 1
        if not all(card in refused for card in cards[:2]):
            assert {now[c] - before[c] for c in CUSTOMERS} == {1}
        for card in refused:
            await staged.slack.click("U0ALICE", card.ts, "unlatch_cancel")
            await staged.until(lambda c=card: "Cancelled" in staged.card(c))
        await staged.settled(30.0)
    assert broken(staged.database_url) == []


async def test_undo_of_many_pressed_on_two_instances_at_once_asks_once(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    for _ in range(RACES):
        latch_all(staged)
        card = await staged.ask(*CUSTOMERS)
        await click_everywhere(staged, card, CONFIRM, 1)
        await staged.settled(30.0)
        before = len(staged.slack.workspace.ephemerals("U0BOB"))
        await click_everywhere(staged, card, UNDO, 2)
        await staged.until(lambda n=before: len(staged.slack.workspace.ephemerals("U0BOB")) > n)
        await staged.until(lambda c=card: lines(staged, c, "Latch 12 customers again?") > 0)
        await asyncio.sleep(0.3)
        assert lines(staged, card, "Latch 12 customers again?") == 1
        undo = staged.slack.workspace.thread(CHANNEL, card.ts)[-1]
        # confirmed on both at once
        await click_everywhere(staged, undo, CONFIRM, 2)
        await staged.settled(30.0)
        await staged.until(lambda u=undo: "12 restored" in staged.card(u))
        assert "undone" in staged.card(card)
        assert "[Undo…]" not in staged.card(card)
    latches = sum(c.operation == "latch_customer" for c in staged.fusebill.calls)
    assert latches == RACES * ALL
    assert broken(staged.database_url) == []


async def test_check_again_of_many_on_two_instances_at_once_records_each_once(
    staged: Stage,
) -> None:
    brief = replace(PATIENT, execution_s=0.6)
    await staged.start(timing=brief)
    await staged.start(timing=brief)
    for race in range(RACES):
        latch_all(staged)
        card = await staged.ask(*CUSTOMERS)
        staged.fusebill.misbehave("unavailable", operation="unlatch_customer", times=None)
        await click_everywhere(staged, card, CONFIRM, 1)
        await staged.until(lambda c=card: "[Check again]" in staged.card(c))
        await staged.settled(30.0)
        staged.fusebill.behave()
        for each in CUSTOMERS:
            staged.fusebill.customers[each].update(hubSpotId=None, hubSpotCompanyId=None)
        await click_everywhere(staged, card, CHECK, 2)
        await staged.until(lambda c=card: f"✅ {ALL} unlatched" in staged.card(c))
        await staged.settled(30.0)
        await staged.until(lambda c=card: unlatched(staged.thread(c)) >= ALL)
        assert events(staged)["cleared"] == (race + 1) * ALL
        await asyncio.sleep(0.3)
        # who came too late is told so once, not once for each customer
        said = [e.text for e in staged.slack.workspace.ephemerals("U0BOB") if "known" in e.text]
        assert len(said) <= 2 * (race + 1)
    assert broken(staged.database_url) == []
