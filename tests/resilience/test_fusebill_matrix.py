"""Each call to Fusebill x each answer that the simulator can give x before or after its effect.

A new answer is a line in `bot/sandbox/fusebill/wire.py`; it is met here by every call. What must
hold is the same for all of them: the card is true or says that nobody knows, nothing is called
twice blindly, the ledger and the thread keep each status, and nobody is told to do what can't help.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.domain.meanings import EVENTS
from bot.domain.models import Kind, Outcome
from bot.sandbox.fusebill.simulator import KINDS, Call, sample_customers
from bot.sandbox.fusebill.wire import ANSWERS
from bot.settings import Timing
from tests.support.kept import KeptRequest
from tests.support.names import BIKES, CHANNEL, CONFIRM
from tests.support.world import OpenWorld, World

# a call that hangs costs little more than a second; the rest takes no time to speak of
PACE = Timing(
    sweep_every_s=60,
    execution_s=4.0,
    fusebill_read_s=1.0,
    fusebill_write_s=1.0,
    looks_for_s=0.2,
    retry_s=0.01,
    look_s=0.01,
)
SECONDS = {"slow": 20, "late": 0.05}
# an undo makes the call of a move, and its card takes four steps to come by
WRITES = {
    Kind.UNLATCH: "unlatch_customer",
    Kind.MOVE: "latch_customer",
}
# a read with these answers lies about the customer, and the card can only repeat it
LYING_READS = {"half"}
# Fusebill itself says no, and will until somebody changes something
FINAL = {"not_found", "lying_status", "malformed", "message", "key_refused", "unauthorized"}
FINAL |= {"model_state", "problem"}
FAILED = ("Nothing was changed.", "Fusebill could not search")


@dataclass(frozen=True, slots=True)
class Cell:
    """One confirmed card: which of its calls gets the answer, how often, and with which effect."""

    kind: Kind
    meets: str
    times: int | None
    effect: bool | None
    customer_id: int

    def __str__(self) -> str:
        often = "always" if self.times is None else "once"
        when = {True: ", after the effect", False: ", before the effect", None: ""}[self.effect]
        return f"{self.kind} at the {self.meets} {often}{when}"

    def arm(self, world: World, answer: str) -> None:
        """Have the simulated Fusebill answer so."""
        details: dict[str, Any] = {"times": self.times, "customer_id": self.customer_id}
        details |= {"seconds": SECONDS[answer]} if answer in SECONDS else {}
        if self.meets == "write":
            details |= {} if self.effect is None else {"effect": self.effect}
            world.fusebill.misbehave(answer, operation=WRITES[self.kind], **details)
            return
        skips = 1 if self.meets == "read back" else 0
        world.fusebill.misbehave(answer, operation="get_customer", skips=skips, **details)
        if skips:
            world.fusebill.misbehave(
                "accepted", operation=WRITES[self.kind], customer_id=self.customer_id
            )


def cells() -> Iterator[Cell]:
    """Every way in which a confirmed card can meet an answer, each with its own customer."""
    number = 5_000_000
    for kind in WRITES:
        for times in (1, None):
            for meets, effect in (
                ("first read", None),
                ("write", False),
                ("write", True),
                ("read back", None),
            ):
                # either call is read about and tried again in the same way
                if kind is Kind.MOVE and (meets != "write" or times):
                    continue
                number += 1
                yield Cell(kind, meets, times, effect, number)


CELLS = tuple(cells())


def ids(world: World, customer_id: int) -> tuple[object, object]:
    customer = world.fusebill.customers[customer_id]
    return customer["hubSpotId"], customer["hubSpotCompanyId"]


def latched(customer_id: int) -> tuple[int, int]:
    return 10 * customer_id, 10 * customer_id + 1


def moved(customer_id: int) -> tuple[int, int]:
    """The other ids that a move gives to a customer."""
    vid, company = latched(customer_id)
    return vid + 2, company + 2


def typed(cell: Cell) -> str:
    if cell.kind is not Kind.MOVE:
        return f"{cell.customer_id} moved"
    vid, company = moved(cell.customer_id)
    return f"move {cell.customer_id} to contact {vid} company {company} merged"


def populate(world: World) -> None:
    row = sample_customers()[BIKES]
    for cell in CELLS:
        vid, company = latched(cell.customer_id)
        fields = {"id": cell.customer_id, "hubSpotId": vid, "hubSpotCompanyId": company}
        world.fusebill.customers[cell.customer_id] = row | fields


async def asked(world: World) -> dict[int, KeptRequest]:
    """The request about each customer."""
    requests = [request for card in await world.cards() for request in card.requests]
    return {request.customer.customer_id: request for request in requests}


async def post_cards(world: World) -> None:
    """Post each cell's card, all at once."""
    populate(world)
    await asyncio.gather(*(world.slack.command("U0ALICE", typed(cell)) for cell in CELLS))
    await world.settled()
    world.fusebill.calls.clear()


async def confirm_all(world: World) -> None:
    cards = (await asked(world)).values()
    await asyncio.gather(
        *(world.slack.click("U0BOB", card.message_ts or "", CONFIRM) for card in cards)
    )
    await world.settled()


def title_of(card: str) -> str:
    return card.partition(":")[0]


def wrong(world: World, cell: Cell, answer: str, request: KeptRequest) -> Iterator[str]:
    """What is wrong with the end of this cell; nothing if all is well."""
    calls = [call for call in world.fusebill.calls if call.customer_id == cell.customer_id]
    writes = [call for call in calls if call.operation == WRITES[cell.kind]]
    yield from written_too_often(calls, writes)
    message = world.slack.workspace.message(CHANNEL, request.message_ts or "")
    root = world.slack.workspace.message(CHANNEL, request.thread_ts or request.message_ts or "")
    card, thread = world.card(message), world.thread(root)
    yield from untrue(world, cell, answer, request.outcome, card)
    yield from forgotten(request, writes, thread)
    words = words_of(answer)
    # what stands on the card is not said again in its thread
    if cell.meets == "write" and writes and words not in card + thread:
        yield f"card and thread lack “{words}”"
    if "Try again" in card + thread.rpartition("confirmed")[2]:
        yield "the card says “Try again”"


def words_of(answer: str) -> str:
    return ANSWERS[answer].words if answer in ANSWERS else ""


def written_too_often(calls: list[Call], writes: list[Call]) -> Iterator[str]:
    for before, after in pairwise(writes):
        between = calls[calls.index(before) + 1 : calls.index(after)]
        if not any(call.operation == "get_customer" and call.status == 200 for call in between):
            yield "written again without a look"
        if before.executed:
            yield "written again after it was done"


def untrue(
    world: World, cell: Cell, answer: str, outcome: Outcome | None, card: str
) -> Iterator[str]:
    before, after = latched(cell.customer_id), (None, None)
    if cell.kind is Kind.MOVE:
        after = moved(cell.customer_id)  # type: ignore[assignment]  # both are pairs
    now = ids(world, cell.customer_id)
    match outcome:
        case Outcome.CLEARED | Outcome.MOVED:
            true = now == after
        case Outcome.REFUSED:
            true = now == before and "Nothing was changed" in card
        case Outcome.UNKNOWN:
            true = "[Check again]" in card and "Nothing was changed" not in card
        case Outcome.CHANGED:
            true = answer in LYING_READS and cell.meets != "write"
        case _:
            true = False
    if not true:
        yield f"“{title_of(card)}” though the ids went from {before} to {now}"


def forgotten(request: KeptRequest, writes: list[Call], thread: str) -> Iterator[str]:
    ended = [each for each in request.events if EVENTS[each.type].outcome]
    if not ended:
        yield "it has no outcome"
        return
    kept: Any = ended[-1].details.get("calls", [])
    real = [call.status for call in writes]
    said = [entry["status"] for entry in kept]
    if len(said) != len(real):
        yield f"the ledger keeps {said} of {real}"
        return
    # where the connection broke there is no telling which status arrived
    if any(
        sent is not None and got not in (sent, None) for sent, got in zip(real, said, strict=True)
    ):
        yield f"the ledger keeps {said} of {real}"
    missing = [status for status in said if status and f"HTTP {status}" not in thread]
    if missing:
        yield f"the thread lacks {missing}"
    if not all(entry["status"] or entry.get("why") for entry in kept):
        yield "a call without a status does not say why"


@pytest.mark.parametrize("answer", KINDS)
async def test_whatever_fusebill_answers_the_card_is_true(
    open_world: OpenWorld, answer: str
) -> None:
    async with open_world(timing=PACE, unlatch_move=True) as world:
        await post_cards(world)
        for cell in CELLS:
            cell.arm(world, answer)
        await confirm_all(world)
        requests = await asked(world)
        assert len(requests) == len(CELLS)
        found = [
            f"{cell}: {each}"
            for cell in CELLS
            for each in wrong(world, cell, answer, requests[cell.customer_id])
        ]
        world.fusebill.hang_up()
    assert found == []


async def misled(open_world: OpenWorld, url: str, answer: str) -> list[str]:
    """What is wrong with what Alice is told of a search and a read that meet an answer."""
    async with open_world(timing=replace(PACE, fusebill_read_s=2.0), database_url=url) as world:
        world.fusebill.misbehave(answer, times=None, seconds=SECONDS.get(answer, 0))
        # in this order: a search waits for the next minute once a read said that none is left
        for command in ("find Bikes", f"{BIKES} moved"):
            await world.slack.command("U0ALICE", command)
            await world.settled()
        told = world.ephemerals("U0ALICE")
        world.fusebill.hang_up()
    words = words_of(answer)
    found = [f"{answer}: {text}" for text in told if is_misleading(text, answer)]
    return found + [f"{answer}: nobody read “{words}”"] * all(words not in text for text in told)


def is_misleading(text: str, answer: str) -> bool:
    """Whether somebody is told to do what can't help, or that nothing can."""
    if "Something went wrong" in text:
        return True
    if answer in FINAL:
        return "Try again" in text
    failed = any(each in text for each in FAILED)
    return "won't help" in text or (failed and "Try again" not in text)


async def test_whatever_a_read_or_a_search_meets_people_are_told_what_is_known_of_trying_again(
    open_world: OpenWorld, tmp_path: Path
) -> None:
    # each waits for its tries, so a few wait side by side
    places = asyncio.Semaphore(16)

    async def in_turn(answer: str) -> list[str]:
        async with places:
            return await misled(open_world, f"sqlite:///{tmp_path}/{answer}.db", answer)

    found = await asyncio.gather(*map(in_turn, KINDS))
    assert [each for wrong_ones in found for each in wrong_ones] == []
