"""Writes what was measured: README.md's tables, the chart and results.json."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.benchmarks import chart
from tests.benchmarks.results import Results, Run
from tests.benchmarks.rows import COLUMNS, GROUPS, Row, targets
from tests.benchmarks.samples import Spread
from tests.benchmarks.variants import FLOWS

HERE = Path(__file__).parent
BEGIN, END = "<!-- written by the program -->\n", "<!-- end of what the program writes -->\n"
NOT_MEASURED = "not measured"
NAMES = {
    "floor": "aiohttp alone (floor)",
    "naive": "Bolt for Python, unchanged (naive)",
    "bolt-js": "Bolt for JavaScript (bolt-js)",
    "bolt-js with a ledger": "Bolt for JavaScript with a ledger",
    "sqlite": "**this bot**, SQLite",
    "postgresql": "**this bot**, PostgreSQL",
}


def write(folder: Path, results: Results, history: int) -> None:
    """Write the report into a folder; the text around the tables is README.md's own."""
    before, _, rest = (HERE / "README.md").read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = [before, BEGIN, text(results, history), END, after]
    (folder / "README.md").write_text("".join(parts))
    (folder / "chart.svg").write_text(chart.svg(results))
    results.save(folder / "results.json")


def text(results: Results, history: int) -> str:
    """The report as Markdown."""
    rows = [_target(row, results.rows.get(row.what)) for row in targets(history)]
    sides = [
        [NAMES[name], *(_median(results.rows.get(each.row(name).what)) for each in COLUMNS)]
        for name in FLOWS
    ]
    return "\n".join(
        (
            "\n## The targets\n",
            _table(["what", "target", "measured (lowest to highest)", "met"], rows),
            "\n## The bots side by side\n",
            "![CPU a flow, and acks, of each bot](chart.svg)\n",
            _table(["medians", *(column.title for column in COLUMNS)], sides),
            "\n## How it was measured\n",
            *_runs(results),
            "",
        )
    )


def _target(row: Row, measured: Spread | None) -> list[str]:
    target = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {row.target:g}"
    unit = f" {row.unit}" if row.unit else ""
    if measured is None:
        return [row.what, target and target + unit, NOT_MEASURED, ""]
    low, high = number(measured.lowest), number(measured.highest)
    shown = f"{number(measured.median)}{unit} ({low} to {high})"
    met = {True: "yes", False: "**no**", None: ""}[row.met(measured)]
    return [row.what, target and target + unit, shown, met]


def _runs(results: Results) -> Iterable[str]:
    """A paragraph for the groups of each run, and what no run has measured."""

    def same(group: str) -> tuple[str, ...]:
        run = results.runs[group]
        return run.at[:10], run.command, run.machine, run.versions

    for _, several in groupby(sorted(results.runs, key=same), key=same):
        groups = list(several)
        run = results.runs[groups[0]]
        yield f"- On {run.at[:10]}, by `{run.command}`: {run.machine}; {run.versions}."
        for extent, together in groupby(groups, key=lambda group: _extent(results.runs[group])):
            yield f"  - {'; '.join(GROUPS[group] for group in together)}: {extent}"
    missing = [group for group in GROUPS if group not in results.runs]
    if missing:
        yield f"- Not measured: {'; '.join(GROUPS[group] for group in missing)}."
        yield f"  `python -m tests.benchmarks --only {','.join(missing)}` measures them."


def _extent(run: Run) -> str:
    several = "repetition" if run.planned == 1 else "repetitions"
    cut_off = "" if run.repetitions == run.planned else f" of {run.planned}"
    return f"{run.repetitions}{cut_off} {several}, {run.minutes:.1f} minutes"


def number(value: float) -> str:
    """A figure with three digits, or all before its point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _median(measured: Spread | None) -> str:
    return number(measured.median) if measured else NOT_MEASURED


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
