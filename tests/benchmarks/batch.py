"""One card for fifty customers: how long people wait for it, for the work, and for the result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter

from tests.benchmarks import load
from tests.benchmarks.connection import Connection
from tests.benchmarks.doubles import Doubles
from tests.benchmarks.flows import CARD, READ, RESULT, UNLATCH, Flow, FlowFailed, Leg
from tests.benchmarks.samples import Figures
from tests.benchmarks.servers import Cores, output_of
from tests.benchmarks.variants import BATCH_SIZE

QUIET_S = 4.0
"""A batch has ended when nothing was called for so long: progress is shown every 3 seconds."""
_numbers = count(1)


@dataclass(slots=True)
class Batch(Flow):
    """A flow of many customers; the server may tell the person how far it is."""

    last_words: str = ""

    def tell(self, ephemeral: str) -> None:
        self.last_words = ephemeral

    def add(self, leg: Leg) -> None:
        self.legs.append(leg)
        if leg.name == CARD and not self.shown.done():
            self.shown.set_result(None)

    def figures(self) -> Figures:
        """The times, in milliseconds. Raises: FlowFailed if something was not done."""
        card, unlatched = self.first(CARD), self.cleared.issuperset(self.customer_ids)
        last = max((leg.ended for leg in self.legs if leg.name in (READ, UNLATCH)), default=0.0)
        result = self.first(RESULT, last)
        if card is None or result is None or not unlatched:
            done = f"{len(self.cleared)} of {len(self.customer_ids)} were unlatched"
            raise FlowFailed(f"{done}, the result was {'' if result else 'not '}shown")
        return {
            "preview_ms": (card.ended - self.commanded_at) * 1000,
            "work_ms": (last - self.clicked_at) * 1000,
            "result_ms": (result.ended - self.clicked_at) * 1000,
        }


async def by_card(doubles: Doubles, port: int) -> Figures:
    """Ask the server for one card and confirm it. Raises: FlowFailed."""
    batch = _batch()
    async with Connection(port) as connection:
        try:
            await load.ask(doubles, connection, batch)
        except TimeoutError:
            raise FlowFailed(f"no card of many; the server said {batch.last_words!r}") from None
        await asyncio.sleep(load.READING_S)
        await load.click(doubles, connection, batch)
        await _quiet(batch.legs)
    return batch.figures()


async def by_script(
    doubles: Doubles, command: Sequence[str], at_once: int, cores: Cores
) -> Figures:
    """Let a script do the same to as many customers. Raises: ServerFailed."""
    batch = _batch()
    doubles.expect(batch)
    arguments = [*command, str(at_once), *map(str, batch.customer_ids)]
    seconds = json.loads(await output_of(arguments, doubles.environment(), cores))
    return {"preview_ms": seconds["preview"] * 1000, "work_ms": seconds["work"] * 1000}


def _batch() -> Batch:
    number = next(_numbers)
    first = 88_000_000 + BATCH_SIZE * number
    return Batch(f"CBATCH{number}", tuple(range(first, first + BATCH_SIZE)))


async def _quiet(legs: list[Leg]) -> None:
    """Wait until no call was answered for a while, at most as long as any flow may take."""
    ends_at = perf_counter() + load.TIMEOUT_S
    seen, since = len(legs), perf_counter()
    while perf_counter() < min(since + QUIET_S, ends_at):
        await asyncio.sleep(0.1)
        if len(legs) != seen:
            seen, since = len(legs), perf_counter()
