"""Reports a run: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measures import Plan, Record
from tests.benchmarks.servers import Cores
from tests.benchmarks.targets import Cell, figure, results
from tests.benchmarks.variants import bolt_js_folder

COLUMNS = {
    "command_ack_p50_ms": "ack cmd p50",
    "command_ack_p99_ms": "p99",
    "click_ack_p50_ms": "ack click p50",
    "click_ack_p99_ms": "p99",
    "to_card_p50_ms": "card",
    "to_result_p50_ms": "result",
    "to_thread_p50_ms": "thread",
    "whole_p50_ms": "whole flow",
    "flows_per_s": "flows/s",
    "cpu_ms": "CPU ms",
    "rss_mb": "RSS MB",
    "slack_calls": "Slack calls",
    "fusebill_calls": "Fusebill calls",
    "transactions": "transactions",
    "failed": "failed",
}
_PACKAGES = (
    "slack-bolt",
    "slack-sdk",
    "aiohttp",
    "httpx",
    "sqlalchemy",
    "psycopg",
    "pydantic",
    "structlog",
)


def tables(records: Sequence[Record]) -> str:
    """Markdown tables: medians over the repetitions, cold starts, targets with their spread."""
    places = sorted({(r.delay_ms, r.concurrency) for r in records if r.concurrency})
    names = list(dict.fromkeys(record.variant for record in sorted(records, key=_order)))
    parts: list[str] = []
    for delay_ms, concurrency in places:
        rows = [
            [name, *(_median(records, key, Cell(name, delay_ms, concurrency)) for key in COLUMNS)]
            for name in names
            if figure(records, "cpu_ms", Cell(name, delay_ms, concurrency))
        ]
        parts.append(f"\n{delay_ms} ms legs, concurrency {concurrency} (ms, a flow)\n")
        parts.append(_table(["variant", *COLUMNS.values()], rows))
    parts.append("\nCold start to listening (ms)\n")
    parts.append(_table(["variant", "start", "with a new ledger"], _starts(records, names)))
    parts.append("\nTargets: median of the repetitions' ratios (lowest to highest)\n")
    parts.append(_table(["what", "measured", "target", "met"], _targets(records)))
    return "\n".join(parts)


def write(path: Path, records: Sequence[Record], plan: Plan, cores: Cores, command: str) -> None:
    """Write everything that was measured, and on which machine, as JSON."""
    run = {
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(cores),
        "versions": _versions(),
        "plan": asdict(plan),
        "targets": [asdict(result) for result in results(records)],
        "records": [asdict(record) for record in records],
    }
    path.write_text(json.dumps(run, indent=1) + "\n")


def _order(record: Record) -> int:
    order = ("floor", "naive", "bolt-js", "sqlite", "sqlite full", "postgresql", "postgresql full")
    return order.index(record.variant) if record.variant in order else len(order)


def _median(records: Sequence[Record], name: str, cell: Cell) -> str:
    values = figure(records, name, cell)
    return _number(median(values.values())) if values else "-"


def _starts(records: Sequence[Record], names: list[str]) -> list[list[str]]:
    return [
        [name, *(_median(records, key, Cell(name, 0, 0)) for key in ("start_ms", "first_start_ms"))]
        for name in names
    ]


def _targets(records: Sequence[Record]) -> list[list[str]]:
    return [
        [
            result.what,
            f"{_number(result.median)} ({_number(result.low)} to {_number(result.high)})",
            _number(result.limit),
            "yes" if result.met else "no",
        ]
        for result in results(records)
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(cores: Cores) -> dict[str, Any]:
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return {
        "processor": ", ".join(sorted(models)),
        "cores": os.cpu_count(),
        "server_core": cores.server,
        "load_core": cores.load,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    bolt = bolt_js_folder() / "node_modules" / "@slack" / "bolt" / "package.json"
    if bolt.exists():
        node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
        versions["node"] = node.stdout.strip()
        versions["@slack/bolt"] = json.loads(bolt.read_text())["version"]
    return versions
