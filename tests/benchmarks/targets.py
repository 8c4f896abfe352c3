"""What the bot's speed is held to: ratios of one run, taken within each repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.measures import Record
from tests.benchmarks.variants import FULL


@dataclass(frozen=True, slots=True)
class Cell:
    """Which measurement: the variant, the delay of each leg, the number of people."""

    variant: str
    delay_ms: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of the bot, divided by `other`'s if given; at most `limit`, or `at_least` it."""

    what: str
    figure: str
    ours: Cell
    other: Cell | None
    limit: float
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The median over the repetitions, its spread, and whether the target was met."""

    what: str
    median: float
    low: float
    high: float
    limit: float
    met: bool


def results(records: Sequence[Record]) -> list[TargetResult]:
    """Every target that this run has the figures for."""
    return [result for target in _targets() if (result := _evaluate(target, records))]


def figure(records: Sequence[Record], name: str, cell: Cell) -> dict[int, float]:
    """A figure by repetition; the median if a repetition measured it several times."""
    measured: dict[int, list[float]] = {}
    for record in records:
        value = record.figures.get(name)
        if Cell(record.variant, record.delay_ms, record.concurrency) == cell and value is not None:
            measured.setdefault(record.repetition, []).append(value)
    return {repetition: median(values) for repetition, values in measured.items()}


def _evaluate(target: Target, records: Sequence[Record]) -> TargetResult | None:
    values = figure(records, target.figure, target.ours)
    if target.other:
        others = figure(records, target.figure, target.other)
        values = {n: value / others[n] for n, value in values.items() if others.get(n)}
    if not values:
        return None
    middle = median(values.values())
    met = middle >= target.limit if target.at_least else middle <= target.limit
    low, high = min(values.values()), max(values.values())
    return TargetResult(target.what, middle, low, high, target.limit, met)


def _targets() -> list[Target]:
    ours = "sqlite"
    alone, legs = Cell(ours, 0, 1), Cell(ours, 50, 64)
    targets = [
        Target(
            "command's ack p50, alone, over naive",
            "command_ack_p50_ms",
            alone,
            Cell("naive", 0, 1),
            0.05,
        ),
        Target(
            "click's ack p50, alone, over naive",
            "click_ack_p50_ms",
            alone,
            Cell("naive", 0, 1),
            0.25,
        ),
        Target(
            "flows/s, 50 ms legs, 64 people, over bolt-js",
            "flows_per_s",
            legs,
            Cell("bolt-js", 50, 64),
            1.15,
            at_least=True,
        ),
        Target(
            "result beyond its legs p50, alone, ms", "to_result_p50_ms", Cell(ours, 50, 1), None, 15
        ),
        Target("RSS under load over bolt-js", "rss_mb", legs, Cell("bolt-js", 50, 64), 0.6),
        Target("Slack calls a flow", "slack_calls", Cell(ours, 0, 16), None, 3),
        Target("Fusebill calls a flow", "fusebill_calls", Cell(ours, 0, 16), None, 3),
        Target("cold start over bare Bolt", "start_ms", Cell(ours, 0, 0), Cell("bare", 0, 0), 2),
    ]
    for delay in (0, 50):
        here = Cell(ours, delay, 16)
        at = f"{delay} ms legs"
        targets += [
            Target(
                f"CPU a flow, 16 people, {at}, over bolt-js",
                "cpu_ms",
                here,
                Cell("bolt-js", delay, 16),
                1.0,
            ),
            Target(
                f"CPU a flow, 16 people, {at}, over naive",
                "cpu_ms",
                here,
                Cell("naive", delay, 16),
                0.5,
            ),
            Target(
                f"CPU a flow, {at}, 64 people over 16", "cpu_ms", Cell(ours, delay, 64), here, 1.15
            ),
        ]
    for name in (ours, "postgresql"):
        empty, full = Cell(name, 0, 1), Cell(name + FULL, 0, 1)
        busy, busy_full = Cell(name, 0, 16), Cell(name + FULL, 0, 16)
        targets += [
            Target(
                f"whole flow p50, alone, {name} full over empty", "whole_p50_ms", full, empty, 1.1
            ),
            Target(
                f"CPU a flow, 16 people, {name} full over empty", "cpu_ms", busy_full, busy, 1.1
            ),
        ]
    return targets
