"""Who is in a user group: as Slack said within five minutes, and nobody where it did not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack.simulator import SimulatedSlack
from bot.slack.client import Slack, open_session
from bot.slack.user_groups import KEPT_FOR_S, UserGroups
from tests.support.world import OpenWorld

BILLING = frozenset({"U0ALICE", "U0BOB"})
OPS = frozenset({"U0BOB"})
BOTH = frozenset({"S0BILLING", "S0OPS"})
ASKS = "usergroups.users.list"


@dataclass(slots=True)
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


Open = Callable[..., UserGroups]


@pytest.fixture
async def double() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        slack.workspace.user_groups["S0OPS"] = ["U0BOB"]
        yield slack


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def opened(double: SimulatedSlack, clock: Clock) -> AsyncIterator[Open]:
    """Open user groups that ask the simulated Slack."""
    async with open_session() as session:
        client = AsyncWebClient(
            token=double.bot_token, base_url=double.api_url, session=session, retry_handlers=[]
        )
        yield lambda groups=BOTH, **pauses: UserGroups(Slack(client), groups, clock=clock, **pauses)


def asked(double: SimulatedSlack) -> list[str]:
    return [call.arguments["usergroup"] for call in double.calls if call.method == ASKS]


def test_before_slack_was_asked_nobody_is_known(opened: Open) -> None:
    assert opened().members() == {"S0BILLING": None, "S0OPS": None}


async def test_each_group_is_asked_once_and_known_then(
    opened: Open, double: SimulatedSlack
) -> None:
    groups = opened()
    assert await groups.refresh()
    assert groups.members() == {"S0BILLING": BILLING, "S0OPS": OPS}
    assert sorted(asked(double)) == ["S0BILLING", "S0OPS"]


async def test_reading_the_members_asks_nobody(opened: Open, double: SimulatedSlack) -> None:
    groups = opened()
    await groups.refresh()
    double.workspace.user_groups["S0OPS"] = []
    for _again in range(3):
        assert groups.members()["S0OPS"] == OPS
    assert len(asked(double)) == 2


@pytest.mark.parametrize(("age_s", "known"), [(0, OPS), (KEPT_FOR_S, OPS), (KEPT_FOR_S + 1, None)])
async def test_what_slack_said_is_kept_for_five_minutes(
    opened: Open, clock: Clock, age_s: float, known: frozenset[str] | None
) -> None:
    groups = opened()
    await groups.refresh()
    clock.now += age_s
    assert groups.members()["S0OPS"] == known
    assert KEPT_FOR_S == 300


@pytest.mark.parametrize("error", ["missing_scope", "ratelimited", "no_such_subteam", "paid_only"])
async def test_where_slack_will_not_say_nobody_is_known_and_the_other_group_is(
    opened: Open, double: SimulatedSlack, error: str
) -> None:
    groups = opened()
    # asked side by side, each in its turn
    double.faults.fail(ASKS, error=error)
    assert not await groups.refresh()
    assert len([m for m in groups.members().values() if m is not None]) == 1


async def test_a_group_that_does_not_exist_has_no_known_members(opened: Open) -> None:
    groups = opened(frozenset({"S0NOSUCH", "S0OPS"}))
    assert not await groups.refresh()
    assert groups.members() == {"S0NOSUCH": None, "S0OPS": OPS}


async def test_what_was_known_outlives_a_slack_that_is_down_until_it_is_too_old(
    opened: Open, double: SimulatedSlack, clock: Clock
) -> None:
    groups = opened()
    await groups.refresh()
    double.faults.down = True
    clock.now += 200
    assert not await groups.refresh()
    assert groups.members()["S0OPS"] == OPS
    clock.now += 200
    assert groups.members()["S0OPS"] is None


async def test_an_empty_group_is_known_to_be_empty(opened: Open, double: SimulatedSlack) -> None:
    double.workspace.user_groups["S0OPS"] = []
    groups = opened()
    await groups.refresh()
    assert groups.members()["S0OPS"] == frozenset()


async def test_without_groups_nothing_is_asked_and_keeping_ends(
    opened: Open, double: SimulatedSlack
) -> None:
    groups = opened(frozenset())
    assert await groups.refresh()
    await asyncio.wait_for(groups.keep(), 1)
    assert (groups.members(), asked(double)) == ({}, [])


@pytest.mark.parametrize(
    ("refusals", "pauses"),
    [
        (1, {"asked_every_s": 0.01, "asked_again_after_s": 0.01}),
        (4, {"asked_every_s": 0.01, "asked_again_after_s": 0.02}),
    ],
    ids=["one refused", "all refused twice"],
)
async def test_members_are_asked_for_again_and_again(
    opened: Open,
    double: SimulatedSlack,
    refusals: int,
    pauses: dict[str, float],
) -> None:
    groups = opened(**pauses)
    keeping = asyncio.create_task(groups.keep())
    double.faults.fail(ASKS, error="internal_error", times=refusals)
    await double.workspace.until(lambda: groups.members()["S0OPS"] == OPS)
    double.workspace.user_groups["S0OPS"] = ["U0ALICE"]
    await double.workspace.until(lambda: groups.members()["S0OPS"] == frozenset({"U0ALICE"}))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_running_bot_has_asked_before_the_first_click_and_asks_nothing_at_it(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0BILLING"})) as world:
        card = await world.ask()
        assert asked(world.slack) == ["S0BILLING"]
        await world.press("U0BOB", card, "unlatch_confirm")
        assert asked(world.slack) == ["S0BILLING"]
        assert "✅ Unlatched" in world.card(card)


async def test_where_slack_could_not_say_the_answer_is_no_and_why(open_world: OpenWorld) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0NOSUCH"})) as world:
        card = await world.ask()
        await world.press("U0BOB", card, "unlatch_confirm")
        assert world.last_ephemeral("U0BOB") == (
            "🔒 Slack could not say just now who may confirm, so nobody new may. Try again soon."
        )
        assert "[Unlatch customer] [Cancel]" in world.card(card)
        assert world.fusebill.customers[2554529]["hubSpotId"] == 101


async def test_somebody_listed_by_id_may_whatever_slack_can_say(open_world: OpenWorld) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0NOSUCH", "U0BOB"})) as world:
        card = await world.ask()
        await world.press("U0BOB", card, "unlatch_confirm")
        assert "✅ Unlatched" in world.card(card)


async def test_what_could_not_be_read_at_the_start_is_asked_for_again_soon(
    opened: Open, double: SimulatedSlack
) -> None:
    double.faults.fail(ASKS, error="internal_error", times=2)
    groups = opened(asked_every_s=60, asked_again_after_s=0.01)
    assert not await groups.refresh()
    keeping = asyncio.create_task(groups.keep())
    await double.workspace.until(lambda: None not in groups.members().values())
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
