"""The results that are kept: medians, lowest and highest of each row, and how they were measured.

A run replaces the rows of the groups that it measured; the others stay, with their own date.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.benchmarks.rows import GROUPS, Row
from tests.benchmarks.samples import Repetition, Spread


@dataclass(frozen=True, slots=True)
class Run:
    """When, how and on what a group was measured; `machine` and `versions` as people read them."""

    at: str
    minutes: float
    repetitions: int
    planned: int
    command: str
    machine: str
    versions: str


@dataclass(slots=True)
class Results:
    """Runs by their group, rows by their text."""

    runs: dict[str, Run] = field(default_factory=dict)
    rows: dict[str, Spread] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Results:
        """What the last runs left; empty if there is no such file."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text())
        runs = {group: Run(**run) for group, run in kept["runs"].items() if group in GROUPS}
        return cls(runs, {what: Spread(**spread) for what, spread in kept["rows"].items()})

    def update(
        self, rows: list[Row], groups: tuple[str, ...], repetitions: list[Repetition], run: Run
    ) -> None:
        """Replace the rows of these groups, and drop rows that the report no longer has."""
        measured = {row.what: row.measured(repetitions) for row in rows if row.group in groups}
        kept = {row.what: self.rows.get(row.what) for row in rows if row.group not in groups}
        self.rows = {what: each for what, each in (kept | measured).items() if each}
        self.runs |= dict.fromkeys(groups, run)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
