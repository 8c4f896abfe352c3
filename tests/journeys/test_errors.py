"""Every fault of Fusebill at every call: what the card says at the end, and what was called."""

from __future__ import annotations

import pytest

from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.fusebill.wire import ANSWERS
from bot.settings import Timing
from tests.support.names import BIKES, CONFIRM
from tests.support.reading import operations, said, without_times
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
        ("hang", True),
        ("lost_before", True),
        ("long_429", True),
        ("door", True),
        ("html", True),
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


@pytest.mark.parametrize("kind", ["server_error", "lost_before"])
async def test_a_call_without_a_conclusive_answer_ends_unknown(
    open_world: OpenWorld, kind: str
) -> None:
    async with open_world(timing=SHORT) as world:
        shown = await outcome(world, kind, "unlatch_customer", times=None)
        assert shown.startswith(f"{UNKNOWN}: Stolen Bikes (2554529)\n")
        assert "The bot doesn't know whether this was done." in shown
        assert "Nothing was changed" not in shown


async def test_a_read_that_never_succeeds_calls_nothing_and_says_so(
    open_world: OpenWorld,
) -> None:
    async with open_world(timing=SHORT) as world:
        shown = await outcome(world, "bad_gateway", "get_customer", times=None)
        assert shown.startswith(f"{NOT_DONE}: Stolen Bikes (2554529)\n")
        assert "Nothing was changed." in shown
        assert "unlatch_customer" not in operations(world)


@pytest.mark.parametrize("operation", ["get_customer", "unlatch_customer"])
async def test_fusebills_last_error_is_on_the_card_when_the_time_is_up(
    open_world: OpenWorld, operation: str
) -> None:
    async with open_world(timing=SHORT) as world:
        shown = await outcome(world, "server_error", operation, times=None)
        assert "Fusebill: An unexpected error has occurred. (HTTP 500)" in shown


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


async def test_three_of_forty_errors_are_on_the_card_with_the_status(world: World) -> None:
    shown = await outcome(world, "many_errors", "unlatch_customer")
    expected = [f"Fusebill: Rule {number} is violated. (HTTP 409)" for number in (1, 2, 3)]
    assert "\n".join([*expected, "+37 more"]) in shown


@pytest.mark.parametrize(
    ("kind", "text"), [("long_error", "x" * 9_000), ("many_errors", "<&>🚲" * 1_000)]
)
async def test_errors_of_any_size_fit_the_card_and_the_thread(
    world: World, kind: str, text: str
) -> None:
    world.fusebill.customers[BIKES].update(companyName=text, reference=text)
    card = await world.ask("2554529 " + "x" * 490)
    world.fusebill.misbehave(kind, operation="unlatch_customer", text=text)
    await world.press("U0BOB", card, CONFIRM)
    # after a refused message the bot posts again in plain text, which would be a fourth call
    assert [call.answer["ok"] for call in said(world)] == [True] * 3
    assert "By <@U0BOB> for <@U0ALICE>, " in world.card(card)


async def test_the_thread_keeps_the_status_and_how_long_it_took(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("conflict", operation="unlatch_customer")
    await world.press("U0BOB", card, CONFIRM)
    line = "❌ Not done · AT · Fusebill: HTTP 409 · SOME s"
    assert line in without_times(world.thread(card)).splitlines()


async def test_a_short_rate_limit_is_waited_for(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("rate_limited", operation="unlatch_customer", reset_s=0.5)
    await world.press("U0BOB", card, CONFIRM)
    assert world.card(card).startswith(f"{UNLATCHED}: ")


async def test_a_long_rate_limit_is_shown_with_its_end(world: World) -> None:
    shown = await outcome(world, "rate_limited", "unlatch_customer")
    assert "Fusebill accepts no more calls right now. Nothing was changed." in shown
    assert "Ask again after 2" in shown


async def test_what_fusebill_accepted_is_never_called_not_done(world: World) -> None:
    shown = await outcome(world, "keeps_ids", "unlatch_customer")
    assert shown.startswith(f"{UNKNOWN}: ")
    assert "The call was answered with HTTP 200, but the change does not show yet." in shown
    assert "[Check again]" in shown
    assert operations(world).count("get_customer") == 2 + 6


async def test_a_page_of_a_proxy_is_not_called_fusebills_word(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("html", operation="unlatch_customer", effect=False)
    await world.press("U0BOB", card, CONFIRM)
    shown = world.card(card)
    assert shown.startswith(f"{UNKNOWN}: ")
    assert "The call was answered with HTTP 200, but the change does not show yet." in shown
    assert "Fusebill accepted" not in shown


async def test_a_success_seen_only_by_reading_back_says_so(world: World) -> None:
    card = await world.ask()
    world.fusebill.misbehave("empty", operation="unlatch_customer")
    await world.press("U0BOB", card, CONFIRM)
    assert "Cleared contact 101 and company 202.\n" in world.card(card)
    answered = "Fusebill: HTTP 200 (the answer cannot be read: it is empty)"
    assert f"{answered} · read back" in world.thread(card)


async def test_a_half_cleared_customer_is_not_reported_as_left_alone(world: World) -> None:
    async def halved(operation: str) -> None:
        if operation == "unlatch_customer":
            world.fusebill.customers[BIKES].update(hubSpotCompanyId=202)

    world.fusebill.after = halved
    shown = await outcome(world, "empty", "unlatch_customer")
    assert shown.startswith("⚠️ Other ids than confirmed: Stolen Bikes (2554529)\n")
    assert "Now latched to company 202;" in shown
    assert "changed nothing" not in shown


async def test_somebody_elses_new_latch_after_a_lost_call_is_left_alone(world: World) -> None:
    async def new_latch(operation: str) -> None:
        if operation == "unlatch_customer":
            world.fusebill.customers[BIKES].update(hubSpotId=103, hubSpotCompanyId=204)

    world.fusebill.after = new_latch
    shown = await outcome(world, "lost_after", "unlatch_customer")
    assert shown.startswith("⚠️ Other ids than confirmed: Stolen Bikes (2554529)\n")
    assert "The bot can't tell whether it or somebody else changed that." in shown
    assert "changed nothing" not in shown
    assert world.fusebill.customers[BIKES]["hubSpotId"] == 103
