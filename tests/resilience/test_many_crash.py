"""A bot is killed while it works on a card of many: each customer is finished once, and told."""

from __future__ import annotations

from collections import Counter

import pytest

from bot.domain.models import Outcome
from tests.support.ledger import broken
from tests.support.names import CUSTOMERS
from tests.support.reading import unlatched
from tests.support.stage import Stage, on_both

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


def all_outcomes(staged: Stage) -> Counter[Outcome | None]:
    return Counter(each.outcome for card in staged.cards() for each in card.requests)


@pytest.mark.parametrize("point", POINTS, ids=str)
async def test_after_a_kill_at_any_point_each_customer_is_finished_and_told(
    staged: Stage, point: tuple[str, str, int]
) -> None:
    when, call, lets_through = point
    await staged.start()
    card = await staged.ask(*CUSTOMERS)
    async with staged.dies_at((when, call), lets_through):
        await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
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


@on_both
async def test_a_card_that_is_killed_twice_is_finished_by_the_third(staged: Stage) -> None:
    await staged.start()
    card = await staged.ask(*CUSTOMERS)
    for lets_through in (2, 3):
        async with staged.dies_at(("after", "unlatch_customer"), lets_through):
            if lets_through == 2:
                await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
        await staged.start()
    await staged.settled(40.0)
    assert all_outcomes(staged) == {Outcome.CLEARED: len(CUSTOMERS)}
    assert staged.calls("unlatch_customer") == len(CUSTOMERS)
    assert broken(staged.database_url) == []


async def test_of_two_confirmations_at_once_one_counts(staged: Stage) -> None:
    await staged.start()
    card = await staged.ask(*CUSTOMERS)
    for person in ("U0BOB", "U0ALICE"):
        await staged.slack.click(person, card.ts, "unlatch_confirm")
    await staged.settled(40.0)
    assert staged.calls("unlatch_customer") == len(CUSTOMERS)
    assert staged.thread(card).count("confirmed") == 1
