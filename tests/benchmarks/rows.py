"""What the report shows: the figures that the bot is held to, and the bots side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.samples import Cell, Repetition, Spread, values
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
)

GROUPS = {
    "cpu": "16 and 64 people: CPU, flows a second, memory, acks under load",
    "acks": "one person: acks, and the result beyond its legs",
    "full": "the ledger of many requests over an empty one",
    "starts": "cold starts",
    "instructions": "instructions a flow, counted by callgrind",
    "memory": "memory after many flows over after few",
    "batch": "50 customers on one card, and a script's loop beside it",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a variant, divided by `other`'s if given; its target is a limit, or a least."""

    group: str
    what: str
    figure: str
    ours: Cell
    other: Cell | None = None
    target: float | None = None
    at_least: bool = False
    unit: str = ""

    def measured(self, repetitions: list[Repetition]) -> Spread | None:
        """The figure, or the ratio within each repetition; None if it was not measured."""
        found = values(repetitions, self.figure, self.ours)
        if self.other:
            others = values(repetitions, self.figure, self.other)
            found = {n: value / others[n] for n, value in found.items() if others.get(n)}
        return Spread.of(list(found.values())) if found else None

    def met(self, measured: Spread) -> bool | None:
        """Whether the target is reached; None if there is none."""
        if self.target is None:
            return None
        reached = measured.median
        return reached >= self.target if self.at_least else reached <= self.target


def over(
    other: str,
    group: str,
    what: str,
    figure: str,
    ours: Cell,
    *,
    target: float,
    at_least: bool = False,
) -> Row:
    """A row that compares two variants under the same load."""
    cell = Cell(other, ours.delay_ms, ours.people)
    what = f"{what}, over {'bare aiohttp' if other == 'floor' else other}"
    return Row(group, what, figure, ours, cell, target, at_least=at_least)


def targets(history: int) -> Iterator[Row]:
    """The rows of the report's first table; `history` is how many requests a full ledger holds."""
    no_legs, legs, crowd = Cell(SQLITE, 0, 16), Cell(SQLITE, 50, 16), Cell(SQLITE, 50, 64)
    alone = Cell(SQLITE, 0, 1)
    peer, js, bare = JS_LEDGER, JS, "floor"
    cpu = "CPU a flow"
    for load, cell in (
        ("16 people, 0 ms legs", no_legs),
        ("16 people, 50 ms legs", legs),
        ("64 people, 50 ms legs", crowd),
    ):
        yield over(peer, "cpu", f"{cpu}, {load}", "cpu_ms", cell, target=1.0)
        if cell is not legs:
            what = f"flows/s, {load}"
            yield over(peer, "cpu", what, "flows_per_s", cell, target=1.1, at_least=True)
        if cell is not crowd:
            what = f"click's ack p50, {load}"
            yield over(peer, "cpu", what, "click_ack_p50_ms", cell, target=1.2)
    yield over(js, "cpu", f"{cpu}, 16 people, 50 ms legs", "cpu_ms", legs, target=1.0)
    what, on_postgresql = f"{cpu}, 16 people, 50 ms legs", Cell(POSTGRESQL, 50, 16)
    yield Row("cpu", f"{what}, PostgreSQL over SQLite", "cpu_ms", on_postgresql, legs, 1.5)
    what = "instructions a flow, 4 people"
    yield over(bare, "instructions", what, "instructions", Cell(PATIENT, 0, 4), target=2.5)
    for kind, alone_at_most, crowd_at_most in (("command", 1.7, 1.0), ("click", 2.4, 2.0)):
        what, figure = f"{kind}'s ack p50, one person", f"{kind}_ack_p50_ms"
        yield over(bare, "acks", what, figure, alone, target=alone_at_most)
        what, figure = f"{kind}'s ack p99, 64 people, 50 ms legs", f"{kind}_ack_p99_ms"
        yield over(js, "cpu", what, figure, crowd, target=crowd_at_most)
    what = "result beyond its legs, one person, 50 ms legs"
    yield Row("acks", what, "to_result_p50_ms", Cell(SQLITE, 50, 1), target=10, unit="ms")
    yield over("bare Bolt", "starts", "cold start", "start_ms", Cell(SQLITE), target=1.7)
    yield over(js, "cpu", "RSS, 64 people", "rss_mb", crowd, target=0.6)
    for name, title in ((SQLITE, "SQLite"), (POSTGRESQL, "PostgreSQL")):
        ledger = f"{title}, ledger of {history:,} requests over an empty one"
        for what, figure, people in (("whole flow", "whole_p50_ms", 1), (cpu, "cpu_ms", 16)):
            full, empty = Cell(name + FULL, 0, people), Cell(name, 0, people)
            yield Row("full", f"{what}, {ledger}", figure, full, empty, target=1.1)
    yield from _memory_and_batch()


def _memory_and_batch() -> Iterator[Row]:
    what = "memory after ten times as many flows"
    yield Row("memory", what, "growth", Cell(SQLITE, 0, 16), target=1.05)
    for name, ledger in ((SQLITE, "empty ledger"), (SQLITE + BATCH_FULL, "10,000 in the ledger")):
        cell = Cell(name, 50, 1)
        for what, figure, target in (
            ("command to card", "preview_ms", 1500),
            ("click to the last customer's last call", "work_ms", 2500),
            ("click to the result on the card", "result_ms", None),
        ):
            text = f"50 customers, {what}, {ledger}"
            yield Row("batch", text, figure, cell, target=target, unit="ms")
    ours, script = Cell(SQLITE, 50, 1), Cell(SCRIPT, 50, 8)
    for what, figure in (("preview", "preview_ms"), ("work", "work_ms")):
        text = f"50 customers, {what}, over a script's, 8 at a time"
        yield Row("batch", text, figure, ours, script, target=1.1)
    for at_once in (1, 8):
        for what, figure in (("reading", "preview_ms"), ("reading and unlatching", "work_ms")):
            text = f"50 customers, a script {what} {at_once} at a time"
            yield Row("batch", text, figure, Cell(SCRIPT, 50, at_once), unit="ms")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that all variants of the flow are compared by."""

    group: str
    title: str
    figure: str
    delay_ms: int
    people: int

    def row(self, variant: str) -> Row:
        """The figure of one variant."""
        cell = Cell(variant, self.delay_ms, self.people)
        return Row(self.group, f"{variant}: {self.title}", self.figure, cell)


COMMAND_ACK = Column("acks", "command's ack, 1 person, ms", "command_ack_p50_ms", 0, 1)
CLICK_ACK = Column("acks", "click's ack, 1 person, ms", "click_ack_p50_ms", 0, 1)
CPU = Column("cpu", "CPU a flow, 16 people, 0 ms legs, ms", "cpu_ms", 0, 16)
CPU_LEGS = Column("cpu", "CPU a flow, 16 people, 50 ms legs, ms", "cpu_ms", 50, 16)
COLUMNS = (
    COMMAND_ACK,
    CLICK_ACK,
    Column("cpu", "command's ack p99, 64 people, ms", "command_ack_p99_ms", 50, 64),
    Column("cpu", "click's ack p99, 64 people, ms", "click_ack_p99_ms", 50, 64),
    Column("cpu", "flows/s, 64 people", "flows_per_s", 50, 64),
    CPU,
    CPU_LEGS,
    Column("cpu", "RSS, MB", "rss_mb", 50, 64),
    Column("cpu", "remote calls a flow", "calls", 50, 64),
)


def all_rows(history: int) -> Iterator[Row]:
    """Every row that results.json keeps."""
    yield from targets(history)
    for column in COLUMNS:
        yield from map(column.row, FLOWS)
