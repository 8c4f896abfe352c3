"""Every fault of Fusebill at every call: what the card says at the end, and what was called."""

from __future__ import annotations

import pytest

from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.fusebill.wire import ANSWERS
from bot.settings import Timing
from tests.support.names import BIKES, CONFIRM
from tests.support.reading import operations
from tests.support.world import QUICK, OpenWorld, World

SHORT = Timing(
    sweep_every_s=60,
    execution_s=1.0,
    fusebill_write_s=1.0,
    looks_for_s=0.3,
    retry_s=0.05,
    look_s=0.02,
)

UNLATCHED = "✅ Unlatched"
NOT_DONE = "❌ Not done"
UNKNOWN = "❓ Outcome unknown"

REFUSALS = {
    "not_found": "Fusebill: Customer with id 2554529 not found. (HTTP 404)",
    "lying_status": "Fusebill: Customer with id 2554529 not found. (HTTP 404)",
    "conflict": "Fusebill: The customer can not be changed while it is being synchronised."
    " (HTTP 409)",
    "malformed": "Fusebill: The request is malformed. (HTTP 400)",
    "message": "Fusebill: The request is invalid. (HTTP 400)",
    "key_refused": "Fusebill: Authorization key is not in the correct format. (HTTP 400)",
    "unauthorized": "Fusebill: Authorization has been denied for this request. (HTTP 401)",
    "rate_limited": "Fusebill: The limit of calls per minute is exceeded. (HTTP 429)",
    "long_error": "Fusebill: xxxxxxxxxx",
    "many_errors": "Fusebill: Rule 1 is violated. (HTTP 409)",
    "hostile_error": "Fusebill: <!channel> <@U0ALICE> <https://evil.example|click here> *bold*"
    " `code` & <script> (HTTP 409)",
}
# fault: (the card's title if the call meets it once, how many calls that takes)
AT_THE_CALL = {
    "server_error": (UNLATCHED, 2),
    "bad_gateway": (UNLATCHED, 2),
    "unavailable": (UNLATCHED, 2),
    "html": (UNKNOWN, 1),
    "slow": (UNLATCHED, 1),
    "hang": (UNKNOWN, 1),
    "lost_before": (UNLATCHED, 2),
    "lost_after": (UNLATCHED, 1),
    "empty": (UNLATCHED, 1),
    "no_content": (UNLATCHED, 1),
    "null": (UNLATCHED, 1),
    "array": (UNLATCHED, 1),
    "keeps_ids": (UNKNOWN, 1),
    "string_ids": (UNLATCHED, 1),
    "truncated": (UNLATCHED, 1),
    "invalid_json": (UNLATCHED, 1),
}
AT_THE_READ = dict.fromkeys(AT_THE_CALL, (UNLATCHED, 1)) | {"hang": (NOT_DONE, 0)}
SINGLE_FAULTS = {("unlatch_customer", kind): end for kind, end in AT_THE_CALL.items()} | {
    ("get_customer", kind): end for kind, end in AT_THE_READ.items()
}


async def outcome(world: World, kind: str, operation: str, times: int | None = 1) -> str:
    """Confirm a card under this fault; return the card's text at the end."""
    card = await world.ask()
    world.fusebill.misbehave(kind, operation=operation, times=times, seconds=0.1)
    await world.press("U0BOB", card, CONFIRM)
    return world.card(card)


def cleared(world: World) -> bool:
    customer = world.fusebill.customers[BIKES]
    return customer["hubSpotId"] is None and customer["hubSpotCompanyId"] is None


def test_every_fault_of_the_simulator_is_covered() -> None:
    # the answers on the wire are the resilience matrix's
    assert {*REFUSALS, *AT_THE_CALL, "late"} == {*SimulatedFusebill.KINDS} - {*ANSWERS}


@pytest.mark.parametrize("operation", ["get_customer", "unlatch_customer"])
@pytest.mark.parametrize(("kind", "line"), REFUSALS.items(), ids=REFUSALS)
async def test_a_refusal_shows_fusebills_words_and_is_not_retried(
    world: World, kind: str, line: str, operation: str
) -> None:
    shown = await outcome(world, kind, operation)
    assert shown.startswith(f"{NOT_DONE}: Stolen Bikes (2554529)\n")
    assert line in shown
    assert "Nothing was changed." in shown
    assert not cleared(world)
    assert operations(world).count("unlatch_customer") == (operation == "unlatch_customer")


@pytest.mark.parametrize(
    ("kind", "may_pass"),
    [
        ("unavailable", True),
        ("long_429", True),
        ("door", True),
        ("conflict", True),
        ("malformed", False),
        ("unauthorized", False),
    ],
)
async def test_what_was_not_done_can_be_asked_again_only_where_that_can_help(
    open_world: OpenWorld, kind: str, *, may_pass: bool
) -> None:
    async with open_world(timing=SHORT) as world:
        shown = await outcome(world, kind, "get_customer", times=None)
        assert shown.startswith(f"{NOT_DONE}: Stolen Bikes (2554529)\n")
        assert ("[Ask again]" in shown) is may_pass
        assert ("tell the bot's admin" in shown) is not may_pass


@pytest.mark.parametrize(("operation", "kind"), SINGLE_FAULTS, ids=map(" ".join, SINGLE_FAULTS))
async def test_a_single_fault_ends_with_the_true_result_and_no_extra_call(
    open_world: OpenWorld, operation: str, kind: str
) -> None:
    title, unlatch_calls = SINGLE_FAULTS[operation, kind]
    async with open_world(timing=SHORT if kind == "hang" else QUICK) as world:
        shown = await outcome(world, kind, operation)
        assert shown.startswith(f"{title}: Stolen Bikes (2554529)\n")
        assert operations(world).count("unlatch_customer") == unlatch_calls
        assert (title == UNLATCHED) == cleared(world)


@pytest.mark.parametrize("kind", ["lost_after", "empty"])
async def test_an_unlatch_that_could_not_be_read_back_is_not_called_done(
    open_world: OpenWorld, kind: str
) -> None:
    async with open_world(timing=SHORT) as world:
        card = await world.ask()
        world.fusebill.misbehave("slow", operation="get_customer", seconds=0)
        world.fusebill.misbehave("unavailable", operation="get_customer", times=None)
        world.fusebill.misbehave(kind, operation="unlatch_customer")
        await world.press("U0BOB", card, CONFIRM)
        assert cleared(world)
        assert world.card(card).startswith(f"{UNKNOWN}: Stolen Bikes (2554529)\n")


async def test_what_fusebill_accepted_is_never_called_not_done(world: World) -> None:
    shown = await outcome(world, "keeps_ids", "unlatch_customer")
    assert shown.startswith(f"{UNKNOWN}: ")
    assert "The call was answered with HTTP 200, but the change does not show yet." in shown
    assert "[Check again]" in shown
    assert operations(world).count("get_customer") == 2 + 6


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("empty", {"hubSpotId": None, "hubSpotCompanyId": 202}),
        ("lost_after", {"hubSpotId": 103, "hubSpotCompanyId": 204}),
    ],
    ids=["half cleared", "latched by somebody else"],
)
async def test_other_ids_after_a_call_are_left_alone_and_told_as_what_they_are(
    world: World, kind: str, found: dict[str, int | None]
) -> None:
    async def changed(operation: str) -> None:
        if operation == "unlatch_customer":
            world.fusebill.customers[BIKES].update(found)

    world.fusebill.after = changed
    shown = await outcome(world, kind, "unlatch_customer")
    assert shown.startswith("⚠️ Other ids than confirmed: Stolen Bikes (2554529)\n")
    assert f"company {found['hubSpotCompanyId']};" in shown
    assert "it or somebody else changed that.\nLook at both systems before you ask" in shown
    assert "changed nothing" not in shown
    assert operations(world).count("unlatch_customer") == 1
