"""A bot is killed, stopped, or both: for each customer it is known whether a call was begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.models import EventType, Outcome
from bot.sandbox.slack.simulator import PostedMessage
from tests.resilience.test_many_crash import all_outcomes
from tests.support.bot_process import PACE
from tests.support.kept import KeptRequest
from tests.support.ledger import broken
from tests.support.names import BIKES, CONFIRM, CUSTOMERS, STOP
from tests.support.reading import request_id
from tests.support.stage import Stage, Trap

JOINERY = 3100025
WRITE = "unlatch_customer"
# the next process starts, and somebody presses Stop, before the old hold is over
HELD = replace(PACE, hold_s=2.0)


async def killed(staged: Stage, card: PostedMessage, trap: Trap) -> None:
    """Confirm a card of two, kill the bot at the trap, start another, press Stop, and wait."""
    trap.arm()
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(trap.sprung.is_set)
    await staged.start(timing=HELD)
    # the card was not drawn since, so the press comes by another way
    await staged.slack.forge_click("U0BOB", card.ts, STOP, request_id(card))
    await staged.settled(30.0)


def requests(staged: Stage) -> list[KeptRequest]:
    return [request for card in staged.cards() for request in card.requests]


async def test_what_was_begun_and_stopped_is_what_a_look_shows_or_unknown(staged: Stage) -> None:
    await staged.start(timing=HELD)
    card = await staged.ask(BIKES, JOINERY)
    # the first call takes effect, the second is lost with the process
    await killed(staged, card, Trap(staged, ("before", WRITE), 1))
    assert all_outcomes(staged) == {Outcome.CLEARED: 1, Outcome.UNKNOWN: 1}
    assert "Nothing was done" not in staged.card(card) + staged.thread(card)
    assert "[Check again]" in staged.card(card)
    assert staged.calls(WRITE) == 2
    assert broken(staged.database_url) == []


async def test_what_was_not_begun_and_stopped_was_not_done(staged: Stage) -> None:
    await staged.start(timing=HELD)
    card = await staged.ask(BIKES, JOINERY)
    # the kill comes with the second read, before any call; what the first one did is in its event
    await killed(staged, card, Trap(staged, ("before", "get_customer"), 0))
    for request in requests(staged):
        is_begun = EventType.BEGUN in request.story
        assert (request.outcome is Outcome.STOPPED) is not is_begun
    assert staged.calls(WRITE) == 0
    assert all_outcomes(staged)[Outcome.STOPPED] >= 1
    assert broken(staged.database_url) == []


@pytest.mark.parametrize("lets_through", [0, 2, 5])
async def test_a_customer_that_somebody_cleared_before_its_turn_is_already_clear(
    staged: Stage, lets_through: int
) -> None:
    await staged.start()
    card = await staged.ask(*CUSTOMERS)
    async with staged.dies_at(("after", WRITE), lets_through):
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
    not_begun = [each for each in requests(staged) if EventType.BEGUN not in each.story]
    for each in not_begun:
        row = staged.fusebill.customers[each.customer.customer_id]
        row.update(hubSpotId=None, hubSpotCompanyId=None)
    await staged.start()
    await staged.settled(40.0)
    assert not_begun
    ids = {each.id for each in not_begun}
    for request in requests(staged):
        expected = Outcome.ALREADY_CLEAR if request.id in ids else Outcome.CLEARED
        assert request.outcome is expected
        assert (EventType.BEGUN in request.story) is (request.id not in ids)
    assert staged.calls(WRITE) <= len(CUSTOMERS) - len(not_begun)
    assert broken(staged.database_url) == []


async def test_work_that_was_interrupted_before_any_call_each_time_is_known_not_to_be_done(
    staged: Stage,
) -> None:
    await staged.start()
    card = await staged.ask()
    for started in range(5):
        trap = Trap(staged, ("after", "get_customer"))
        trap.arm()
        if started == 0:
            await staged.slack.click("U0BOB", card.ts, CONFIRM)
        else:
            await staged.launch()
        await staged.until(trap.sprung.is_set)
    await staged.start()
    await staged.settled(30.0)
    assert staged.card(card).startswith("❌ Not done")
    assert "interrupted 5 times" in staged.card(card)
    assert "No call was begun" in staged.card(card)
    assert staged.calls(WRITE) == 0
