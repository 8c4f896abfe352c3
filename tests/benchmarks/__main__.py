"""`python -m tests.benchmarks`: measures the bots and writes the report beside this program."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from sqlalchemy.exc import SQLAlchemyError

from tests.benchmarks import report
from tests.benchmarks.doubles import Doubles
from tests.benchmarks.flows import FlowFailed
from tests.benchmarks.interpreter import Interpreter, default_python
from tests.benchmarks.ledgers import Ledgers
from tests.benchmarks.machine import machine, versions
from tests.benchmarks.measures import FULL_PLAN, QUICK_PLAN, Bench, Plan, Stage
from tests.benchmarks.results import Results, Run
from tests.benchmarks.rows import GROUPS, all_rows
from tests.benchmarks.samples import Repetition
from tests.benchmarks.servers import Cores, ServerFailed
from tests.benchmarks.variants import Variants

log = logging.getLogger("tests.benchmarks")


def main() -> None:
    """Run the benchmark as the command line says; exits with 1 if something was not measured."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    plan = QUICK_PLAN if arguments.quick else FULL_PLAN
    if arguments.repetitions:
        plan = replace(plan, repetitions=arguments.repetitions)
    output = arguments.output or (None if arguments.quick else report.HERE)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    results = Results.load(output / "results.json") if output else Results()
    program = Program(plan, Interpreter.of(arguments.python), Cores.available(), results, output)
    complete = asyncio.run(program.run(arguments.only))
    print(report.text(results, plan.history))
    sys.exit(not complete)


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {group:<14}{what}" for group, what in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"{__doc__}\n\ngroups of rows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="under five minutes; prints the report, writes nothing"
    )
    parser.add_argument(
        "--only",
        type=_groups,
        default=list(GROUPS),
        metavar="GROUP,…",
        help="measure these groups; the other rows keep their figures and dates",
    )
    parser.add_argument("--repetitions", type=int, help=f"default: {FULL_PLAN.repetitions}")
    parser.add_argument(
        "--python",
        default=default_python(),
        metavar="PATH",
        help="runs all variants written in Python, with the bot's dependencies alone "
        "(default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write the report there")
    return parser


def _groups(value: str) -> list[str]:
    groups = value.split(",")
    if unknown := [group for group in groups if group not in GROUPS]:
        raise argparse.ArgumentTypeError(f"no such group: {', '.join(unknown)}")
    return groups


@dataclass(frozen=True, slots=True)
class Program:
    """One run; after each repetition the report has what was measured so far."""

    plan: Plan
    python: Interpreter
    cores: Cores
    results: Results
    output: Path | None

    async def run(self, groups: list[str]) -> bool:
        """Measure these groups; returns whether all could be measured."""
        with (
            TemporaryDirectory(prefix="benchmarks") as folder,
            Ledgers(Path(folder)) as ledgers,
            self.cores.loading(),
        ):
            doubles = Doubles()
            async with doubles.serving():
                variants = Variants(self.python, ledgers, self.plan.history)
                bench = Bench(doubles, self.cores, Path(folder), self.plan, variants)
                return all([await self._stage(stage) for stage in bench.stages(groups)])

    async def _stage(self, stage: Stage) -> bool:
        began = perf_counter()
        measured: list[Repetition] = []
        for number in range(1, stage.repetitions + 1):
            log.info("%s: repetition %d of %d", ", ".join(stage.groups), number, stage.repetitions)
            try:
                measured.append([sample async for sample in stage.repetition()])
            except (FlowFailed, ServerFailed, SQLAlchemyError) as error:
                log.warning("%s: %s", ", ".join(stage.groups), error)
                return False
            self._report(stage, measured, (perf_counter() - began) / 60)
        return True

    def _report(self, stage: Stage, measured: list[Repetition], minutes: float) -> None:
        run = Run(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            minutes=round(minutes, 1),
            repetitions=len(measured),
            planned=stage.repetitions,
            command=shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]]),
            machine=machine(self.cores),
            versions=versions(self.python),
        )
        rows = list(all_rows(self.plan.history))
        self.results.update(rows, stage.groups, measured, run)
        if self.output:
            report.write(self.output, self.results, self.plan.history)


if __name__ == "__main__":
    main()
