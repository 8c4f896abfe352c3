"""Runs a bot in a process of its own whose clock is ahead or behind, with Debian's `faketime`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.settings import Mode
from tests.support.bot_process import environment
from tests.support.stage import Stage
from tests.support.world import settings_for

FAKETIME = shutil.which("faketime")
SWEEPS_S = 0.2
_RUN = f"""
import asyncio, sys
from bot.app.server import serve
from bot.ops import logs
from bot.settings import Timing, load
logs.configure("INFO", "json")
mode = sys.argv[1]
asyncio.run(serve(load(mode), mode, timing=Timing(sweep_every_s={SWEEPS_S})))
"""


@asynccontextmanager
async def bot_whose_clock_is(
    ahead_s: int, staged: Stage, *, mode: Mode = "http", **changes: object
) -> AsyncIterator[str]:
    """Start a bot in a new interpreter, its clock ahead by so many seconds; gives its address.

    It ends with SIGTERM. Its log goes to the stage's.
    """
    settings = settings_for(
        staged.slack, staged.fusebill, staged.folder, database_url=staged.database_url, **changes
    )
    log_file = staged.folder / "bot.log"
    before = len(staged.log)
    clock = await _of_faketime(ahead_s)
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _RUN, mode),
            env=os.environ | environment(settings) | clock,
            stdout=log,
            stderr=log,
        )
    try:
        await staged.until(lambda: '"listening"' in staged.log[before:], 90.0)
        lines = [json.loads(each) for each in staged.log[before:].splitlines() if "{" in each]
        port = next(each["port"] for each in lines if each["event"] == "listening")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _of_faketime(ahead_s: int) -> dict[str, str]:
    """What `faketime` sets for a program that it runs.

    It runs that beside itself, so it could not be stopped by a signal.
    """
    assert FAKETIME, "the test should have been skipped"
    command = (FAKETIME, "--exclude-monotonic", "-f", f"{ahead_s:+}s", "printenv")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _none = await process.communicate()
    found = dict(each.split("=", 1) for each in printed.decode().splitlines() if "=" in each)
    # memory that it removes at its end
    found.pop("FAKETIME_SHARED", None)
    return {name: value for name, value in found.items() if os.environ.get(name) != value}
