"""Measures one server at a time: starts it, warms it up, loads it at each delay and concurrency."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tests.benchmarks import ledgers, load
from tests.benchmarks.doubles import Doubles
from tests.benchmarks.flows import READ, UNLATCH, Flow
from tests.benchmarks.servers import Cores, Server, started
from tests.benchmarks.variants import Variant, bare

Figures = dict[str, float | None]

COOL_DOWN_S = 0.3
"""Covers the work that a server does after its last call, which belongs to the run."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: `flows` for each concurrency, `delays_ms` of each remote call."""

    repetitions: int
    delays_ms: tuple[int, ...]
    flows: dict[int, int]
    warm_up: int
    starts: int


FULL = Plan(5, (0, 50), {1: 60, 16: 320, 64: 640}, warm_up=200, starts=5)
QUICK = Plan(1, (0, 50), {1: 10, 16: 60, 64: 120}, warm_up=60, starts=2)


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one variant in one repetition; concurrency 0 stands for its cold start."""

    repetition: int
    variant: str
    delay_ms: int
    concurrency: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    doubles: Doubles
    cores: Cores
    folder: Path
    plan: Plan

    async def repetition(self, number: int, variants: list[Variant]) -> AsyncIterator[Record]:
        """Measure every variant once, in random order, then the cold starts."""
        for variant in random.sample(variants, len(variants)):
            async for record in self._variant(number, variant):
                yield record
        async for record in self._starts(number, variants):
            yield record

    async def _variant(self, number: int, variant: Variant) -> AsyncIterator[Record]:
        url = variant.ledger() if variant.ledger else ""
        # start it once before, so that the measured process does not create the ledger
        await self._start_ms(variant, url)
        async with started(
            variant.command, self._environment(url), self.folder, self.cores
        ) as server:
            log.info("repetition %d: %s", number, variant.name)
            self.doubles.delay_s = 0.0
            await load.run(self.doubles, server.port, flows=self.plan.warm_up, concurrency=16)
            for delay_ms in self.plan.delays_ms:
                self.doubles.delay_s = delay_ms / 1000
                for concurrency, flows in self.plan.flows.items():
                    figures = await self._measured(server, url, flows, concurrency)
                    yield Record(number, variant.name, delay_ms, concurrency, figures)
            self.doubles.delay_s = 0.0

    async def _measured(self, server: Server, url: str, flows: int, concurrency: int) -> Figures:
        self.doubles.forget()
        await asyncio.sleep(COOL_DOWN_S)
        written = ledgers.transactions(url) if url else 0
        cpu_ms = server.cpu_ms()
        run = await load.run(self.doubles, server.port, flows=flows, concurrency=concurrency)
        await asyncio.sleep(COOL_DOWN_S)
        cpu_ms = server.cpu_ms() - cpu_ms
        for failure in run.failures[:3]:
            log.warning("a flow failed: %s", failure)
        return {
            **_times(run.flows),
            "flows_per_s": run.flows_per_s,
            "cpu_ms": cpu_ms / flows,
            "rss_mb": server.rss_mb(),
            **_calls(self.doubles.calls, flows),
            "transactions": (ledgers.transactions(url) - written) / flows if url else None,
            "failed": float(len(run.failures)),
        }

    async def _starts(self, number: int, variants: list[Variant]) -> AsyncIterator[Record]:
        """Measure cold starts: bare Bolt, and each variant with a new and an existing ledger."""
        for _ in range(self.plan.starts):
            candidates = [bare(), *variants]
            for variant in random.sample(candidates, len(candidates)):
                url = variant.ledger() if variant.ledger else ""
                first = await self._start_ms(variant, url)
                again = await self._start_ms(variant, url)
                figures: Figures = {"start_ms": again, "first_start_ms": first if url else None}
                yield Record(number, variant.name, 0, 0, figures)

    async def _start_ms(self, variant: Variant, url: str) -> float:
        environment = self._environment(url)
        async with started(variant.command, environment, self.folder, self.cores) as server:
            return server.start_ms

    def _environment(self, url: str) -> dict[str, str]:
        ledger = {"DATABASE_URL": url} if url else {}
        return self.doubles.environment() | ledger


def _times(flows: list[Flow]) -> Figures:
    """The median and the 99th percentile of each time, in milliseconds."""
    figures: Figures = {}
    for name, seconds in {
        "command_ack": [flow.command_ack_s for flow in flows],
        "click_ack": [flow.click_ack_s for flow in flows],
        "to_card": [flow.to_card_s for flow in flows],
        "to_result": [flow.to_result_s for flow in flows],
        "to_thread": [flow.to_thread_s for flow in flows],
        "whole": [flow.whole_s for flow in flows],
    }.items():
        figures[f"{name}_p50_ms"] = median(seconds) * 1000 if seconds else None
        figures[f"{name}_p99_ms"] = _p99(seconds) * 1000 if len(seconds) > 1 else None
    return figures


def _p99(values: Iterable[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


def _calls(calls: Counter[str], flows: int) -> Figures:
    fusebill = calls[READ] + calls[UNLATCH]
    return {"slack_calls": (calls.total() - fusebill) / flows, "fusebill_calls": fusebill / flows}
