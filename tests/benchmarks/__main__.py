"""`python -m tests.benchmarks`: measures the variants, prints the tables, writes the JSON."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import report
from tests.benchmarks.doubles import Doubles
from tests.benchmarks.ledgers import Ledgers
from tests.benchmarks.measures import FULL, QUICK, Bench, Plan, Record
from tests.benchmarks.servers import Cores
from tests.benchmarks.variants import NAMES, variants

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Run the benchmark as the command line says."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("tests.benchmarks").setLevel(logging.INFO)
    plan = QUICK if arguments.quick else FULL
    if arguments.repetitions:
        plan = replace(plan, repetitions=arguments.repetitions)
    cores = Cores.available()
    records = asyncio.run(_run(plan, cores, arguments.variants, arguments.history))
    print(report.tables(records))
    command = shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    report.write(arguments.json, records, plan, cores, command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few flows, one repetition")
    parser.add_argument("--repetitions", type=int, help=f"default: {FULL.repetitions}")
    parser.add_argument("--variants", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument(
        "--history",
        type=int,
        default=0,
        metavar="REQUESTS",
        help="also measure the bot with this many requests in its ledger (1000000 takes minutes)",
    )
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="PATH")
    return parser


async def _run(plan: Plan, cores: Cores, names: list[str], history: int) -> list[Record]:
    with (
        TemporaryDirectory(prefix="benchmarks") as folder,
        Ledgers(Path(folder)) as databases,
        cores.loading(),
    ):
        doubles = Doubles()
        async with doubles.serving():
            chosen = await variants(names, databases, history)
            bench = Bench(doubles, cores, Path(folder), plan)
            return [
                record
                for number in range(1, plan.repetitions + 1)
                async for record in bench.repetition(number, chosen)
            ]


if __name__ == "__main__":
    main()
