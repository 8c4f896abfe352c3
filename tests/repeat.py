"""`python -m tests.repeat [times] [pytest's arguments]`: repeats the failure tests.

Runs the tests of crashes, instances, stops, outages and bursts the given number of times (20),
stops at the first failure, and prints totals. It is also the pytest plugin that counts them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

from tests.support.names import CHANNEL
from tests.support.stage import Stage
from tests.support.world import World

FILES = [
    "tests/resilience",
    "tests/component/test_ephemeral_delivery.py",
    "tests/component/test_socket_mode.py",
    "tests/component/test_jobs.py",
    "tests/component/test_steps.py",
    "tests/component/test_runner.py",
    "tests/component/test_engine.py",
]
COUNTS = Counter[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Function) -> None:
    """Count what happened in a test, before its fixtures are closed."""
    COUNTS["tests"] += 1
    for value in item.funcargs.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Stage | World):
                COUNTS.update(_counted(each))


def pytest_sessionfinish() -> None:
    """Write this worker's counts to a file for the parent process."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    Path(os.environ["COUNTS"], worker).write_text(json.dumps(COUNTS))


def _counted(stage: Stage | World) -> dict[str, int]:
    workspace, slack, fusebill = stage.slack.workspace, stage.slack.calls, stage.fusebill.calls
    replies = [message for message in workspace.everything(CHANNEL) if message.thread_ts]
    bots = stage.bots if isinstance(stage, Stage) else []
    return {
        "processes": len(bots),
        "kills": sum(bot.process.exitcode == -signal.SIGKILL for bot in bots),
        "calls to Slack": len(slack),
        "of them failed": sum(not call.answer.get("ok") for call in slack),
        "calls to Fusebill": len(fusebill),
        "of those failed": sum(call.status not in (200, 204) for call in fusebill),
        "unlatch calls": sum(call.operation == "unlatch_customer" for call in fusebill),
        "cards": len(workspace.messages(CHANNEL)),
        "lines in threads": sum(
            len(b.get("elements", ())) for reply in replies for b in reply.blocks
        ),
        "ephemerals": len(workspace.all_ephemerals()),
    }


def main(arguments: list[str]) -> int:
    times = int(arguments.pop(0)) if arguments and arguments[0].isdecimal() else 20
    if not any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        arguments = [*FILES, *arguments]
    total, began = Counter[str](), monotonic()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.repeat",
        "-q",
        "-x",
        "-n",
        "auto",
        *arguments,
    ]
    for number in range(1, times + 1):
        with TemporaryDirectory() as folder:
            done = subprocess.run(
                command, env={"RACES": "30"} | os.environ | {"COUNTS": folder}, check=False
            )
            for counts in Path(folder).iterdir():
                total.update(json.loads(counts.read_text()))
        sys.stdout.write(f"{number} of {times}: {dict(total)}\n")
        sys.stdout.flush()
        if done.returncode:
            return done.returncode
    sys.stdout.write(f"no failure in {times} times, {monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
