"""The bot with longer waits, for callgrind: fifty times slower, it would show and check more.

`python -m tests.benchmarks.patient`
"""

from __future__ import annotations

import asyncio
import gc

from bot.app.server import serve
from bot.ops import logs
from bot.settings import Timing, load

TIMING = Timing(
    hold_s=900.0,
    execution_s=300.0,
    fusebill_read_s=60.0,
    fusebill_write_s=60.0,
    sweep_every_s=600.0,
    working_after_s=60.0,
    idle_s=120.0,
)


def frozen(_address: str) -> None:
    """Keep what was loaded from the garbage collector, as a bot's own start does."""
    gc.freeze()


if __name__ == "__main__":
    settings = load("http")
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(serve(settings, "http", timing=TIMING, started=frozen))
