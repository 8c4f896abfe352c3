"""Measures groups of rows: each variant is a process of its own, loaded by simulated people."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

from tests.benchmarks import batch, load
from tests.benchmarks.doubles import Doubles
from tests.benchmarks.flows import Flow, FlowFailed
from tests.benchmarks.samples import Cell, Figures, Sample
from tests.benchmarks.servers import HOST, Cores, Server, ServerFailed, output_of, started
from tests.benchmarks.variants import (
    BATCH_FULL,
    FLOWS,
    FULL,
    JS,
    JS_LEDGER,
    PATIENT,
    POSTGRESQL,
    SCRIPT,
    SQLITE,
    Variant,
    Variants,
)

COOL_DOWN_S = 0.3
"""Covers the work that a server does after its last call, which belongs to the run."""
SLOW_READING_S = 2.5
"""Under valgrind a ledger needs longer to write the card's row."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    `flows` by the number of people, `flows_with_legs` of one person; `history` is the requests in a
    full ledger; `traced` the flows under callgrind; `memory` the flows of each of ten rounds.
    """

    repetitions: int
    flows: dict[int, int]
    flows_with_legs: int
    warm_up: int
    history: int
    starts: int
    traced: int
    memory: int


JS_WARM_UP = 500
"""Flows after which Node's compiler has nothing left to improve."""
FULL_PLAN = Plan(
    repetitions=8,
    flows={1: 60, 16: 320, 64: 640},
    flows_with_legs=20,
    warm_up=100,
    history=1_000_000,
    starts=3,
    traced=200,
    memory=2_000,
)
QUICK_PLAN = Plan(
    repetitions=1,
    flows={1: 20, 16: 96, 64: 192},
    flows_with_legs=6,
    warm_up=48,
    history=20_000,
    starts=1,
    traced=40,
    memory=200,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What measures some groups together; `repetition` measures each variant once, shuffled."""

    groups: tuple[str, ...]
    repetitions: int
    repetition: Callable[[], AsyncIterator[Sample]]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    doubles: Doubles
    cores: Cores
    folder: Path
    plan: Plan
    variants: Variants

    def stages(self, groups: Collection[str]) -> list[Stage]:
        """The stages that measure these groups; those of the flow share their servers."""
        flow = tuple(group for group in ("cpu", "acks", "full") if group in groups)
        often = self.plan.repetitions
        stages = [
            Stage(flow, often, lambda: self._flows(flow)),
            Stage(("batch",), often, self._batches),
            Stage(("starts",), often, self._starts),
            Stage(("instructions",), 1, self._instructions),
            Stage(("memory",), 1, self._memory),
        ]
        return [stage for stage in stages if any(group in groups for group in stage.groups)]

    async def _flows(self, groups: tuple[str, ...]) -> AsyncIterator[Sample]:
        cells = _cells(groups)
        names = list(dict.fromkeys(cell.variant for cell in cells))
        for name in random.sample(names, len(names)):
            variant = await self.variants.get(name)
            async with self._started(variant) as server:
                log.info("  %s", name)
                await self._warm_up(server, name)
                for cell in cells:
                    if cell.variant == name:
                        yield Sample(cell, await self._measured(server, cell))

    async def _warm_up(self, server: Server, name: str) -> None:
        self.doubles.delay_s = 0.0
        flows = JS_WARM_UP if name in (JS, JS_LEDGER) else self.plan.warm_up
        await load.run(self.doubles, server.port, flows=flows, people=16)

    async def _measured(self, server: Server, cell: Cell) -> Figures:
        with_legs = cell.people == 1 and cell.delay_ms
        flows = self.plan.flows_with_legs if with_legs else self.plan.flows[cell.people]
        self.doubles.forget()
        self.doubles.delay_s = cell.delay_ms / 1000
        await asyncio.sleep(COOL_DOWN_S)
        cpu_ms = server.cpu_ms()
        run = await load.run(self.doubles, server.port, flows=flows, people=cell.people)
        await asyncio.sleep(COOL_DOWN_S)
        figures = {
            "cpu_ms": (server.cpu_ms() - cpu_ms) / flows,
            "rss_mb": server.rss_mb(),
            "calls": self.doubles.calls.total() / flows,
        }
        _check(run)
        if run.flows_per_s:
            figures["flows_per_s"] = run.flows_per_s
        return figures | _times(run.flows)

    async def _batches(self) -> AsyncIterator[Sample]:
        for name in random.sample((SQLITE, SQLITE + BATCH_FULL, SCRIPT), 3):
            self.doubles.forget()
            if name == SCRIPT:
                command = self.variants.module("tests.benchmarks.rivals.script")
                self.doubles.delay_s = 0.05
                for at_once in (1, 8):
                    figures = await batch.by_script(self.doubles, command, at_once, self.cores)
                    yield Sample(Cell(SCRIPT, 50, at_once), figures)
                continue
            async with self._started(await self.variants.get(name)) as server:
                await self._warm_up(server, name)
                self.doubles.delay_s = 0.05
                yield Sample(Cell(name, 50, 1), await batch.by_card(self.doubles, server.port))

    async def _starts(self) -> AsyncIterator[Sample]:
        names = ["bare Bolt", SQLITE] * self.plan.starts
        for name in random.sample(names, len(names)):
            async with self._started(await self.variants.get(name)) as server:
                yield Sample(Cell(name), {"start_ms": server.start_ms})

    async def _instructions(self) -> AsyncIterator[Sample]:
        if not shutil.which("valgrind"):
            raise ServerFailed("valgrind is not installed")
        for name in ("floor", PATIENT):
            variant = await self.variants.get(name)
            out, prefix = self.folder / f"{name}.callgrind", f"--vgdb-prefix={self.folder}/vgdb"
            valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", prefix)
            command = (*valgrind, f"--callgrind-out-file={out}", *variant.command)
            async with self._started(replace(variant, command=command)) as server:
                await self._traced(server, self.plan.traced // 5)
                control = ("vgdb", prefix, f"--pid={server.pid}", "instrumentation")
                await output_of((*control, "on"), HOST, self.cores)
                await self._traced(server, self.plan.traced)
                await output_of((*control, "off"), HOST, self.cores)
            counted = _counted(out) / self.plan.traced
            log.info("  %s: %.2f million a flow", name, counted / 1e6)
            yield Sample(Cell(name, 0, 4), {"instructions": counted})

    async def _traced(self, server: Server, flows: int) -> None:
        self.doubles.delay_s = 0.0
        _check(
            await load.run(
                self.doubles, server.port, flows=flows, people=4, reading_s=SLOW_READING_S
            )
        )
        await asyncio.sleep(SLOW_READING_S)

    async def _memory(self) -> AsyncIterator[Sample]:
        """Compare the memory after ten rounds of flows with that after the first."""
        self.doubles.delay_s = 0.0
        async with self._started(await self.variants.get(SQLITE)) as server:
            sizes = []
            for _ in range(10):
                self.doubles.forget()
                flows = self.plan.memory
                _check(await load.run(self.doubles, server.port, flows=flows, people=16))
                await asyncio.sleep(COOL_DOWN_S)
                sizes.append(server.rss_mb())
            yield Sample(Cell(SQLITE, 0, 16), {"growth": sizes[-1] / sizes[0]})

    def _started(self, variant: Variant) -> AbstractAsyncContextManager[Server]:
        ledger = {variant.variable: variant.ledger()} if variant.ledger else {}
        environment = self.doubles.environment() | ledger
        return started(variant.command, environment, self.folder, self.cores)


def _cells(groups: tuple[str, ...]) -> list[Cell]:
    """The loads of these groups, each once."""
    cells: list[Cell] = []
    if "acks" in groups:
        cells += [Cell(name, 0, 1) for name in FLOWS] + [Cell(SQLITE, 50, 1)]
    if "cpu" in groups:
        cells += [Cell(name, *each) for name in FLOWS for each in ((0, 16), (50, 16), (50, 64))]
    if "full" in groups:
        names = (SQLITE, SQLITE + FULL, POSTGRESQL, POSTGRESQL + FULL)
        cells += [Cell(name, 0, people) for name in names for people in (1, 16)]
    return list(dict.fromkeys(cells))


def _check(run: load.Run) -> None:
    for failure in run.failures[:3]:
        log.warning("a flow failed: %s", failure)
    if len(run.failures) > len(run.flows) / 100:
        raise FlowFailed(f"{len(run.failures)} flows failed, the first: {run.failures[0]}")


def _counted(out: Path) -> int:
    """The instructions in callgrind's files of one process."""
    texts = [each.read_text(errors="replace") for each in out.parent.glob(f"{out.name}*")]
    return sum(int(n) for n in re.findall(r"^totals: (\d+)", "".join(texts), re.MULTILINE))


def _times(flows: list[Flow]) -> Figures:
    """The medians of the times, and the 99th percentile of the acks, in milliseconds."""
    acks = {
        "command_ack": [flow.command_ack_s for flow in flows],
        "click_ack": [flow.click_ack_s for flow in flows],
    }
    return {
        **{f"{name}_p50_ms": median(seconds) * 1000 for name, seconds in acks.items()},
        **{f"{name}_p99_ms": _p99(seconds) * 1000 for name, seconds in acks.items()},
        "to_result_p50_ms": median(flow.to_result_s for flow in flows) * 1000,
        "whole_p50_ms": median(flow.whole_s for flow in flows) * 1000,
    }


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]
