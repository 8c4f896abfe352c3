"""The bot is killed between the halves of a move: the next process finishes it in order."""

from __future__ import annotations

import pytest

from bot.domain.models import Outcome
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.ledger import broken
from tests.support.names import BIKES, CONFIRM
from tests.support.stage import Stage

COFFEE = 3100017
"""Latched to nothing."""
POINTS = [
    ("before", "unlatch_customer", 0),
    ("after", "unlatch_customer", 0),
    # it is read for the card, itself and the other before each call
    ("after", "get_customer", 2),
    ("before", "get_customer", 3),
    ("before", "latch_customer", 0),
    ("after", "latch_customer", 0),
    ("before", "chat.update", 0),
]


def ids(staged: Stage) -> list[tuple[object, object]]:
    both = (staged.fusebill.customers[each] for each in (BIKES, COFFEE))
    return [(each["hubSpotId"], each["hubSpotCompanyId"]) for each in both]


async def asked(staged: Stage) -> PostedMessage:
    """A card that moves the one customer's ids to the other."""
    return await staged.ask(text=f"move {BIKES} to {COFFEE} wrong customer")


async def kill(staged: Stage, card: PostedMessage, when: str, call: str, passes: int) -> None:
    async with staged.dies_at((when, call), passes):
        await staged.slack.click("U0BOB", card.ts, CONFIRM)


@pytest.mark.parametrize(("when", "call", "passes"), POINTS, ids=str)
async def test_after_a_kill_at_any_point_the_next_process_finishes_both_halves(
    staged: Stage, when: str, call: str, passes: int
) -> None:
    await staged.start(unlatch_move=True)
    card = await asked(staged)
    await kill(staged, card, when, call, passes)
    await staged.start(unlatch_move=True)
    [kept] = await staged.settled()
    assert ids(staged) == [(None, None), (101, 202)]
    assert [each.outcome for each in kept.requests] == [Outcome.CLEARED, Outcome.MOVED]
    for operation in ("unlatch_customer", "latch_customer"):
        # a call is repeated only if it was lost before its effect
        assert staged.calls(operation) == 1 + ((when, call) == ("before", operation))
    assert broken(staged.database_url) == []


async def test_what_somebody_changed_between_the_halves_is_left_alone(staged: Stage) -> None:
    await staged.start(unlatch_move=True)
    card = await asked(staged)
    await kill(staged, card, "before", "latch_customer", 0)
    staged.fusebill.customers[BIKES]["hubSpotId"] = 77
    await staged.start(unlatch_move=True)
    [kept] = await staged.settled()
    assert ids(staged) == [(77, None), (None, None)]
    assert [each.outcome for each in kept.requests] == [Outcome.CLEARED, Outcome.CHANGED]
