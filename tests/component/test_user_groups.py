"""The cache of user group members: what Slack reported within the last five minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack.simulator import SimulatedSlack
from bot.slack.client import Slack
from bot.slack.user_groups import MAX_AGE_S, UserGroups
from bot.slack.web_api import open_session
from tests.support.world import OpenWorld

BILLING = frozenset({"U0ALICE", "U0BOB"})
OPS = frozenset({"U0BOB"})
BOTH = frozenset({"S0BILLING", "S0OPS"})
METHOD = "usergroups.users.list"


@dataclass(slots=True)
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


Open = Callable[..., UserGroups]


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as simulated:
        simulated.workspace.user_groups["S0OPS"] = ["U0BOB"]
        yield simulated


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def opened(slack: SimulatedSlack, clock: Clock) -> AsyncIterator[Open]:
    """Creates user groups that call the simulated Slack."""
    async with open_session() as session:
        client = AsyncWebClient(
            token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[]
        )
        yield lambda groups=BOTH, **pauses: UserGroups(Slack(client), groups, clock=clock, **pauses)


def requested_groups(slack: SimulatedSlack) -> list[str]:
    return [call.arguments["usergroup"] for call in slack.calls if call.method == METHOD]


def test_members_are_unknown_before_the_first_refresh(opened: Open) -> None:
    assert opened().members() == {"S0BILLING": None, "S0OPS": None}


async def test_a_refresh_reads_each_group_once(opened: Open, slack: SimulatedSlack) -> None:
    groups = opened()
    assert await groups.refresh()
    assert groups.members() == {"S0BILLING": BILLING, "S0OPS": OPS}
    assert sorted(requested_groups(slack)) == ["S0BILLING", "S0OPS"]


async def test_reading_the_members_calls_nothing(opened: Open, slack: SimulatedSlack) -> None:
    groups = opened()
    await groups.refresh()
    slack.workspace.user_groups["S0OPS"] = []
    for _ in range(3):
        assert groups.members()["S0OPS"] == OPS
    assert len(requested_groups(slack)) == 2


@pytest.mark.parametrize(("age_s", "known"), [(0, OPS), (MAX_AGE_S, OPS), (MAX_AGE_S + 1, None)])
async def test_members_are_kept_for_five_minutes(
    opened: Open, clock: Clock, age_s: float, known: frozenset[str] | None
) -> None:
    groups = opened()
    await groups.refresh()
    clock.now += age_s
    assert groups.members()["S0OPS"] == known
    assert MAX_AGE_S == 300


@pytest.mark.parametrize("error", ["missing_scope", "ratelimited", "no_such_subteam", "paid_only"])
async def test_an_error_for_one_group_leaves_only_that_group_unknown(
    opened: Open, slack: SimulatedSlack, error: str
) -> None:
    groups = opened()
    # the calls run side by side: either group may get the error
    slack.faults.fail(METHOD, error=error)
    assert not await groups.refresh()
    known = groups.members().values()
    assert len([each for each in known if isinstance(each, frozenset)]) == 1
    # a no says which; what passes by itself does not
    assert (error in known) is (error != "ratelimited")


async def test_a_group_that_does_not_exist_has_no_known_members(opened: Open) -> None:
    groups = opened(frozenset({"S0NOSUCH", "S0OPS"}))
    assert not await groups.refresh()
    assert groups.members() == {"S0NOSUCH": "no_such_subteam", "S0OPS": OPS}


async def test_what_slack_refuses_is_told_apart_from_what_it_could_not_say(
    opened: Open, slack: SimulatedSlack
) -> None:
    groups = opened(frozenset({"S0NOSUCH", "S0OPS"}))
    slack.faults.fail(METHOD, error="internal_error", times=2)
    await groups.refresh()
    assert groups.refused() == {}
    assert groups.unread() == {"S0NOSUCH": "internal_error", "S0OPS": "internal_error"}
    await groups.refresh()
    assert groups.refused() == groups.unread() == {"S0NOSUCH": "no_such_subteam"}


async def test_a_no_stays_slacks_last_word_until_slack_says_otherwise(
    opened: Open, slack: SimulatedSlack
) -> None:
    groups = opened(frozenset({"S0NOSUCH"}))
    await groups.refresh()
    slack.faults.fail(METHOD, error="internal_error")
    await groups.refresh()
    assert groups.refused() == {"S0NOSUCH": "no_such_subteam"}
    slack.workspace.user_groups["S0NOSUCH"] = ["U0BOB"]
    await groups.refresh()
    assert (groups.refused(), groups.unread()) == ({}, {})


async def test_members_survive_a_slack_outage_until_they_are_too_old(
    opened: Open, slack: SimulatedSlack, clock: Clock
) -> None:
    groups = opened()
    await groups.refresh()
    slack.faults.down = True
    clock.now += 200
    assert not await groups.refresh()
    assert groups.members()["S0OPS"] == OPS
    clock.now += 200
    assert groups.members()["S0OPS"] is None


async def test_an_empty_group_is_known_to_be_empty(opened: Open, slack: SimulatedSlack) -> None:
    slack.workspace.user_groups["S0OPS"] = []
    groups = opened()
    await groups.refresh()
    assert groups.members()["S0OPS"] == frozenset()


async def test_without_groups_nothing_is_called_and_keep_returns(
    opened: Open, slack: SimulatedSlack
) -> None:
    groups = opened(frozenset())
    assert await groups.refresh()
    await asyncio.wait_for(groups.keep(), 1)
    assert (groups.members(), requested_groups(slack)) == ({}, [])


@pytest.mark.parametrize(
    ("refusals", "pauses"),
    [
        (1, {"refresh_every_s": 0.01, "retry_after_s": 0.01}),
        (4, {"refresh_every_s": 0.01, "retry_after_s": 0.02}),
    ],
    ids=["one refused", "all refused twice"],
)
async def test_members_are_refreshed_repeatedly(
    opened: Open,
    slack: SimulatedSlack,
    refusals: int,
    pauses: dict[str, float],
) -> None:
    groups = opened(**pauses)
    keeping = asyncio.create_task(groups.keep())
    slack.faults.fail(METHOD, error="internal_error", times=refusals)
    await slack.workspace.until(lambda: groups.members()["S0OPS"] == OPS)
    slack.workspace.user_groups["S0OPS"] = ["U0ALICE"]
    await slack.workspace.until(lambda: groups.members()["S0OPS"] == frozenset({"U0ALICE"}))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_click_calls_nothing_since_the_bot_read_the_groups_at_start(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0BILLING"})) as world:
        card = await world.ask()
        assert requested_groups(world.slack) == ["S0BILLING"]
        await world.press("U0BOB", card, "unlatch_confirm")
        assert requested_groups(world.slack) == ["S0BILLING"]
        assert "✅ Unlatched" in world.card(card)


async def test_a_click_is_refused_with_the_reason_if_the_group_is_unknown(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0NOSUCH"})) as world:
        card = await world.ask()
        await world.press("U0BOB", card, "unlatch_confirm")
        assert world.last_ephemeral("U0BOB") == (
            "🔒 Slack does not tell the bot who is in the user group S0NOSUCH (no_such_subteam), so"
            " it can't know whether you may confirm. Trying again won't help: tell the bot's admin."
        )
        assert "[Unlatch Stolen Bikes] [Cancel]" in world.card(card)
        assert world.fusebill.customers[2554529]["hubSpotId"] == 101


async def test_somebody_listed_by_id_may_confirm_if_the_group_is_unknown(
    open_world: OpenWorld,
) -> None:
    async with open_world(unlatch_confirmers=frozenset({"S0NOSUCH", "U0BOB"})) as world:
        card = await world.ask()
        await world.press("U0BOB", card, "unlatch_confirm")
        assert "✅ Unlatched" in world.card(card)


async def test_a_group_that_failed_at_the_start_is_soon_retried(
    opened: Open, slack: SimulatedSlack
) -> None:
    slack.faults.fail(METHOD, error="internal_error", times=2)
    groups = opened(refresh_every_s=60, retry_after_s=0.01)
    assert not await groups.refresh()
    keeping = asyncio.create_task(groups.keep())
    await slack.workspace.until(lambda: None not in groups.members().values())
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
