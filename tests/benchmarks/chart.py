"""Draws CPU a flow and acks of all bots as SVG; it reads on light and dark backgrounds."""

from __future__ import annotations

from html import escape

from tests.benchmarks.results import Results
from tests.benchmarks.rows import CLICK_ACK, COMMAND_ACK, CPU, CPU_LEGS, Column
from tests.benchmarks.samples import Spread
from tests.benchmarks.variants import FLOWS, POSTGRESQL, SQLITE

NAMES = {
    "floor": "aiohttp alone",
    "naive": "Bolt for Python",
    "bolt-js": "Bolt for JavaScript",
    "bolt-js with a ledger": "the same, with a ledger",
    SQLITE: "this bot, SQLite",
    POSTGRESQL: "this bot, PostgreSQL",
}
PANELS = (CPU, CPU_LEGS, COMMAND_ACK, CLICK_ACK)
WIDTH, HEIGHT = 860, 472
PANEL_WIDTH, PANEL_HEIGHT = 430, 216
LABELS, BARS, STEP, THICKNESS = 144, 212, 26, 16

_STYLE = """
  svg { color-scheme: light dark; font: 13px system-ui, sans-serif }
  text { fill: #1f2328 }
  .title { font-weight: 600 }
  .quiet { fill: #59636e }
  .bar { fill: #8c959f }
  .ours { fill: #0969da }
  .range { stroke: #1f2328; stroke-width: 1.5; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .bar { fill: #6e7681 }
    .ours { fill: #4493f8 }
    .range { stroke: #f0f6fc }
  }
"""


def svg(results: Results) -> str:
    """The chart: a panel for each figure, a bar for each bot, a line from lowest to highest."""
    panels = [
        _panel(column, results, (number % 2) * PANEL_WIDTH, number // 2 * PANEL_HEIGHT)
        for number, column in enumerate(PANELS)
    ]
    note = (
        "Medians; the thin lines reach from the lowest to the highest repetition. Less is better."
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<title>CPU a flow, and acks, of each bot</title>",
            f"<style>{_STYLE}</style>",
            *panels,
            f'<text class="quiet" x="8" y="{HEIGHT - 14}">{escape(note)}</text>',
            "</svg>\n",
        )
    )


def _panel(column: Column, results: Results, x: int, y: int) -> str:
    spreads = {name: results.rows.get(column.row(name).what) for name in FLOWS}
    longest = max((spread.highest for spread in spreads.values() if spread), default=1.0)
    bars = [
        _bar(name, spread, BARS / longest, 34 + STEP * number)
        for number, (name, spread) in enumerate(spreads.items())
    ]
    title = f'<text class="title" x="8" y="20">{escape(column.title)}</text>'
    return "\n".join((f'<g transform="translate({x} {y})">', title, *bars, "</g>"))


def _bar(name: str, spread: Spread | None, scale: float, y: int) -> str:
    middle = y + THICKNESS // 2
    label = f'<text x="8" y="{middle + 5}">{escape(NAMES[name])}</text>'
    if spread is None:
        quiet = f'<text class="quiet" x="{LABELS + 12}" y="{middle + 5}">not measured</text>'
        return label + quiet
    start = LABELS + 8
    width, low, high = (value * scale for value in (spread.median, spread.lowest, spread.highest))
    ours = " ours" if name in (SQLITE, POSTGRESQL) else ""
    return "".join(
        (
            label,
            f'<rect class="bar{ours}" x="{start}" y="{y}"',
            f' width="{width:.1f}" height="{THICKNESS}"/>',
            f'<path class="range" d="M{start + low:.1f} {middle}H{start + high:.1f}"/>',
            f'<text x="{start + max(width, high) + 8:.1f}" y="{middle + 5}">',
            f"{spread.median:.3g}</text>",
        )
    )
