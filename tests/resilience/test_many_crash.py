"""A bot is killed while it works on a card of many: each customer is finished once, and told."""

from __future__ import annotations

from collections import Counter

import pytest

from bot.domain.models import Outcome
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.ledger import broken
from tests.support.names import CHANNEL, CUSTOMERS
from tests.support.reading import unlatched
from tests.support.stage import Stage, Trap

POINTS = [
    (when, call, lets_through)
    for call, lets_through in (
        ("get_customer", 0),
        ("unlatch_customer", 0),
        ("unlatch_customer", 5),
        ("unlatch_customer", 11),
        ("chat.update", 0),
        ("chat.postMessage", 0),
    )
    for when in ("before", "after")
]


async def ask(staged: Stage) -> PostedMessage:
    text = f"{', '.join(map(str, CUSTOMERS))} moved portal"
    assert (await staged.slack.command("U0ALICE", text)).status == 200
    await staged.until(lambda: len(staged.slack.workspace.messages(CHANNEL)) > 0)
    card = staged.slack.workspace.messages(CHANNEL)[-1]
    await staged.until(lambda: card.ts in staged.log)
    return card


def all_outcomes(staged: Stage) -> Counter[Outcome | None]:
    return Counter(each.outcome for card in staged.cards() for each in card.requests)


@pytest.mark.parametrize("point", POINTS, ids=str)
async def test_after_a_kill_at_any_point_each_customer_is_finished_and_told(
    staged: Stage, point: tuple[str, str, int]
) -> None:
    when, call, lets_through = point
    await staged.start()
    card = await ask(staged)
    trap = Trap(staged, (when, call), lets_through)
    trap.arm()
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(trap.sprung.is_set)
    await staged.start()
    await staged.settled(40.0)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(CUSTOMERS)}
    assert f"{len(CUSTOMERS)} unlatched" in staged.card(card)
    assert unlatched(staged.thread(card)) >= len(CUSTOMERS)
    assert not any(staged.fusebill.customers[each]["hubSpotId"] for each in CUSTOMERS)
    # only what was lost on its way is called again, never what was cleared
    lost = 8 if when == "before" and call == "unlatch_customer" else 0
    assert staged.calls("unlatch_customer") <= len(CUSTOMERS) + lost
    assert broken(staged.database_url) == []


async def test_a_card_that_is_killed_twice_is_finished_by_the_third(staged: Stage) -> None:
    await staged.start()
    card = await ask(staged)
    for lets_through in (2, 3):
        trap = Trap(staged, ("after", "unlatch_customer"), lets_through)
        trap.arm()
        if lets_through == 2:
            await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
        await staged.until(trap.sprung.is_set)
        await staged.start()
    await staged.settled(40.0)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(CUSTOMERS)}
    assert staged.calls("unlatch_customer") == len(CUSTOMERS)
    assert broken(staged.database_url) == []


async def test_of_two_confirmations_at_once_one_counts(staged: Stage) -> None:
    await staged.start()
    card = await ask(staged)
    for person in ("U0BOB", "U0ALICE"):
        await staged.slack.click(person, card.ts, "unlatch_confirm")
    await staged.settled(40.0)
    assert staged.calls("unlatch_customer") == len(CUSTOMERS)
    assert staged.thread(card).count("confirmed") == 1
