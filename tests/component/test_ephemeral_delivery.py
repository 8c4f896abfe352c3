"""Delivery of ephemeral messages through temporary and permanent Slack errors."""

from __future__ import annotations

from time import monotonic

import pytest

from bot.sandbox.slack.simulator import text_of
from tests.support.world import World

UNKNOWN_CUSTOMER = "424242"


def statuses(world: World) -> list[int]:
    return [call.status for call in world.slack.calls if call.method == "response_url"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 503, "times": 2},
        {"status": 200},
        {"error": "internal_error"},
        {"error": "ratelimited", "status": 429},
        {"drop": "before"},
    ],
    ids=str,
)
async def test_an_ephemeral_is_retried_after_a_temporary_error(
    world: World, fault: dict[str, int | str]
) -> None:
    world.slack.faults.fail("response_url", **fault)  # type: ignore[arg-type]  # keyword arguments
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert "has no customer 424242" in world.last_ephemeral("U0ALICE")
    assert len(world.slack.workspace.ephemerals("U0ALICE")) == 1
    assert monotonic() - began < 5


async def test_an_ephemeral_is_retried_when_slack_asked(world: World) -> None:
    world.slack.faults.fail("response_url", status=429, retry_after=2)
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert "has no customer 424242" in world.last_ephemeral("U0ALICE")
    assert monotonic() - began >= 2


async def test_an_ephemeral_whose_blocks_slack_refuses_is_sent_as_text(world: World) -> None:
    world.slack.faults.fail("response_url", error="invalid_blocks")
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    [ephemeral] = world.slack.workspace.ephemerals("U0ALICE")
    assert text_of(ephemeral.blocks) == ""
    assert "has no customer 424242" in ephemeral.text


async def test_a_refusal_that_is_slacks_code_alone_counts_as_slacks(world: World) -> None:
    world.slack.faults.answer_bare("response_url", "invalid_blocks")
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    [ephemeral] = world.slack.workspace.ephemerals("U0ALICE")
    assert text_of(ephemeral.blocks) == ""
    assert "has no customer 424242" in ephemeral.text


async def test_a_bare_code_of_a_url_that_is_gone_is_not_retried(world: World) -> None:
    world.slack.faults.answer_bare("response_url", "used_url", times=None)
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert statuses(world) == [400]


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ({"error": "some_new_error"}, 1),
        ({"error": "used_url", "status": 404}, 1),
        ({"status": 503}, 3),
        ({"drop": "before"}, 3),
    ],
    ids=str,
)
async def test_an_undeliverable_ephemeral_is_logged_after_its_retries(
    world: World, capsys: pytest.CaptureFixture[str], fault: dict[str, int | str], attempts: int
) -> None:
    world.slack.faults.fail("response_url", **fault, times=None)  # type: ignore[arg-type]  # keyword arguments
    await world.slack.command("U0ALICE", UNKNOWN_CUSTOMER)
    await world.settled()
    assert len(statuses(world)) == attempts
    assert world.slack.workspace.ephemerals("U0ALICE") == []
    assert "ephemeral not delivered" in capsys.readouterr().out
