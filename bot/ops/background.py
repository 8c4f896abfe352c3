"""The tasks that go on after an acknowledgement, kept and drained by the server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

ENDS_WITHIN_S = 1.0


class BackgroundTasks:
    """A set of running tasks; none is lost to the garbage collector, none fails unseen."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._deadline: float | None = None

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start something that nobody waits for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, timeout_s: float) -> int:
        """Wait for what runs and what that starts; returns how many had to be cancelled.

        Who drains again goes on within the time of the first.
        """
        clock = asyncio.get_running_loop().time
        self._deadline = self._deadline or clock() + timeout_s
        while self._running and (left := self._deadline - clock()) > 0:
            await asyncio.wait(self._running, timeout=left)
        late = set(self._running)
        # a task that waits for something while it ends is told again, and then left
        for _ in range(2):
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=ENDS_WITHIN_S)
        return len(late)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", exc_info=error)
