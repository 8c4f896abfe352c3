"""Every step of a card against every other, at once, in two processes: as if one came first.

A step is one transaction, so two at once must end as one after the other does, in one of the two
orders: the same events, the same answers, and the same things still to be done.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any

import pytest

from tests.support import ledger, postgresql, races
from tests.support.races import Scene, Side, Step, run, sides

ROUNDS = int(os.environ.get("RACES", "2"))  # `python -m tests.repeat` runs 30
State = Callable[[Scene], Any]
STATES: dict[State, Sequence[Step]] = {
    races.asked: (
        *(races.post, races.unpost, races.confirm, races.press_again, races.cancel),
        races.refuse,
    ),
    races.opened: (
        *(races.confirm, races.press_again, races.cancel, races.expire, races.refuse),
        *(races.remind, races.press_late),
    ),
    races.expired: (races.confirm, races.expire, races.remind, races.refuse),
    races.working: (
        *(races.confirm, races.begin, races.record_one, races.record, races.stop),
        *(races.refuse, races.take_over, races.press_late),
    ),
    races.abandoned: (
        *(races.begin, races.record_one, races.record, races.stop, races.take_over),
        races.refuse,
    ),
    races.cleared: (
        *(races.show, races.fail, races.lose_card, races.refuse, races.press_late),
        *(races.look_later, races.undo, races.stop),
    ),
    races.unknown: (
        *(races.show, races.fail, races.refuse, races.look_again, races.ask_again),
        races.press_late,
    ),
    races.undoing: (
        *(races.record_undo, races.show, races.fail, races.look_later, races.refuse),
        *(races.press_late, races.undo),
    ),
    races.beside_work: (races.record_beside, races.confirm, races.cancel, races.refuse),
    races.overtaken: (
        *(races.overtake, races.confirm, races.cancel, races.refuse, races.remind),
        races.press_late,
    ),
}
MAY_BE: dict[tuple[State, Step, Step], set[str]] = {
    (races.opened, races.confirm, races.confirm): {"confirmed confirmed"},
    (races.opened, races.confirm, races.cancel): {"confirmed confirmed", "cancelled cancelled"},
    (races.opened, races.confirm, races.refuse): {
        "confirmed confirmed decision_denied",
        "decision_denied confirmed confirmed",
    },
    (races.expired, races.confirm, races.expire): {"expired expired"},
    (races.opened, races.confirm, races.remind): {
        "confirmed confirmed",
        "reminded confirmed confirmed",
    },
    (races.asked, races.post, races.unpost): {"", "delivery_failed delivery_failed"},
    (races.asked, races.post, races.confirm): {"confirmed confirmed"},
    (races.asked, races.unpost, races.confirm): {
        "confirmed confirmed",
        "delivery_failed delivery_failed",
    },
    (races.working, races.begin, races.stop): {
        "begun begun stop_requested",
        "stop_requested stopped stopped",
    },
    (races.working, races.record, races.stop): {
        "cleared cleared",
        "stop_requested stopped stopped",
    },
    (races.abandoned, races.record, races.take_over): {
        "cleared cleared",
        "adopted adopted",
    },
    (races.abandoned, races.begin, races.take_over): {"begun begun", "adopted adopted"},
    (races.abandoned, races.take_over, races.take_over): {"adopted adopted"},
    (races.unknown, races.look_again, races.ask_again): {"", "cleared cleared"},
    (races.unknown, races.look_again, races.look_again): {"cleared cleared"},
    (races.beside_work, races.record_beside, races.confirm): {
        "confirmed confirmed",
        "overtaken overtaken",
    },
    (races.overtaken, races.overtake, races.overtake): {"overtaken overtaken"},
    (races.overtaken, races.overtake, races.confirm): {"overtaken overtaken"},
    (races.overtaken, races.overtake, races.cancel): {
        "overtaken overtaken",
        "cancelled cancelled",
    },
    (races.undoing, races.record_undo, races.look_later): {
        "undone undone",
        "latched_again latched_again undone undone",
    },
}
"""What may be in a card's events after two steps, where it is worth saying."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        file = f"sqlite:///{tmp_path_factory.mktemp('races')}/ledger.db"
        ledger.create(file)
        yield file
        assert ledger.broken(file) == []
        return
    with postgresql.database(request.getfixturevalue("postgresql_server")) as created:
        ledger.create(created)
        yield created
        assert ledger.broken(created) == []


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_two_steps_at_once_end_as_one_after_the_other(url: str, state: State) -> None:
    async with sides(url) as both:
        found = [
            f"{first.__name__} beside {second.__name__}: {wrong}"
            for first, second in combinations_with_replacement(STATES[state], 2)
            async for wrong in race(both, state, (first, second))
        ]
    assert found == []


async def race(
    both: tuple[Side, Side], state: State, pair: tuple[Step, Step]
) -> AsyncIterator[object]:
    """What came of two steps at once that can come of neither order."""
    may_be = [await one_after_the_other(Scene(*both), state, each) for each in {pair, pair[::-1]}]
    for _ in range(ROUNDS):
        found = await at_once(Scene(*both), state, pair)
        if found not in may_be or found[0] not in MAY_BE.get((state, *pair), {found[0]}):
            yield found


Found = tuple[str, list[str], object]
"""The card's new events; what came of each step; the card, and what is still to be done for it."""


async def one_after_the_other(scene: Scene, state: State, pair: tuple[Step, Step]) -> Found:
    await state(scene)
    before = len((await scene.now()).events)
    came = [await run(step, scene, side) for step, side in _sides(scene, pair)]
    return await _found(scene, before, pair, came)


async def at_once(scene: Scene, state: State, pair: tuple[Step, Step]) -> Found:
    await state(scene)
    before = len((await scene.now()).events)

    async def start(step: Step, side: Side) -> object:
        await asyncio.sleep(random.uniform(0, 0.002))  # noqa: S311  # who is first
        return await run(step, scene, side)

    came = await asyncio.gather(*(start(*each) for each in _sides(scene, pair)))
    return await _found(scene, before, pair, came)


def _sides(scene: Scene, pair: tuple[Step, Step]) -> list[tuple[Step, Side]]:
    return list(zip(pair, (scene.holder, scene.other), strict=True))


async def _found(
    scene: Scene, before: int, pair: tuple[Step, Step], came: Sequence[object]
) -> Found:
    for side in (scene.holder, scene.other):
        await side.settled()
    card = await scene.now()
    new = " ".join(event.type for event in card.events[before:])
    # of the same step twice, nobody knows which was first
    answers = sorted(f"{step.__name__}: {each}" for step, each in zip(pair, came, strict=True))
    states = [(r.is_open, r.verdict, r.outcome, bool(r.undone_by)) for r in card.requests]
    drawn = (card.first.message_ts is not None, card.first.shown_events)
    return new, answers, (states, drawn, await scene.left())
