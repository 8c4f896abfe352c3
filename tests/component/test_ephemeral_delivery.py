"""What one person alone is told gets there, through what passes and what never will."""

from __future__ import annotations

from time import monotonic

import pytest

from bot.sandbox.slack.simulator import text_of
from tests.support.world import World

UNKNOWN = "424242"


def uses(world: World) -> list[int]:
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
async def test_a_ephemeral_that_slack_does_not_take_now_is_tried_again(
    world: World, fault: dict[str, int | str]
) -> None:
    world.slack.faults.fail("response_url", **fault)  # type: ignore[arg-type]  # by name
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN)
    await world.settled()
    assert "knows no customer 424242" in world.last_ephemeral("U0ALICE")
    assert len(world.slack.workspace.ephemerals("U0ALICE")) == 1
    assert monotonic() - began < 5


async def test_a_ephemeral_comes_again_when_slack_said(world: World) -> None:
    world.slack.faults.fail("response_url", status=429, retry_after=2)
    began = monotonic()
    await world.slack.command("U0ALICE", UNKNOWN)
    await world.settled()
    assert "knows no customer 424242" in world.last_ephemeral("U0ALICE")
    assert monotonic() - began >= 2


async def test_a_ephemeral_whose_blocks_slack_will_not_take_is_said_as_text(world: World) -> None:
    world.slack.faults.fail("response_url", error="invalid_blocks")
    await world.slack.command("U0ALICE", UNKNOWN)
    await world.settled()
    [ephemeral] = world.slack.workspace.ephemerals("U0ALICE")
    assert text_of(ephemeral.blocks) == ""
    assert "knows no customer 424242" in ephemeral.text


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ({"error": "some_new_error"}, 1),
        ({"error": "used_url", "status": 404}, 1),
        ({"status": 503}, 3),
        ({"drop": "before"}, 3),
    ],
    ids=str,
)
async def test_a_ephemeral_that_never_gets_there_is_tried_so_often_and_stands_in_the_log(
    world: World, capsys: pytest.CaptureFixture[str], fault: dict[str, int | str], tries: int
) -> None:
    world.slack.faults.fail("response_url", **fault, times=None)  # type: ignore[arg-type]  # by name
    await world.slack.command("U0ALICE", UNKNOWN)
    await world.settled()
    assert len(uses(world)) == tries
    assert world.slack.workspace.ephemerals("U0ALICE") == []
    assert "ephemeral not delivered" in capsys.readouterr().out
