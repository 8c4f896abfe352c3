"""Whose turn it is where Slack lets only so much through; where it lets all through, nobody waits.

The first SlackBusy makes a line of its key: whoever comes waits behind who came before, and they go
one at a time, a second apart, not before Slack said. A line that nobody stands in is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

from bot.slack.errors import SlackBusy

T = TypeVar("T")
Key = tuple[str, str]

MAX_WAIT_S = 600.0
APART_S = 1.1
"""Slack's own measure, one message a second in a channel, and a little for the way there."""


@dataclass(slots=True)
class _Queue:
    not_before: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_idle(self) -> bool:
        return not self.waiting and self.not_before <= monotonic()

    def pause(self, busy: SlackBusy) -> None:
        pause_s = APART_S if busy.retry_after_s is None else busy.retry_after_s
        self.not_before = max(self.not_before, monotonic() + pause_s)


class RateLimiter:
    """The lines in front of Slack, by what it counts: a method, and a channel where it matters."""

    def __init__(self) -> None:
        self._queues: dict[Key, _Queue] = {}

    def __len__(self) -> int:
        return len(self._queues)

    async def run(
        self,
        key: Key,
        call: Callable[[], Awaitable[T]],
        *,
        max_wait_s: float = MAX_WAIT_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> T:
        """What `call` returns, in its turn; `on_wait` is called where that is not at once.

        Raises: SlackBusy where its turn does not come within `max_wait_s` seconds; what `call`
        raises.
        """
        deadline = monotonic() + max_wait_s
        queue = self._queue(key)
        if queue is None:
            try:
                return await call()
            except SlackBusy as busy:
                queue = self._open_queue(key)
                queue.pause(busy)
        on_wait()
        queue.waiting += 1
        try:
            return await _call_in_turn(queue, call, deadline)
        finally:
            queue.waiting -= 1

    def _queue(self, key: Key) -> _Queue | None:
        queue = self._queues.get(key)
        return None if queue is None or queue.is_idle() else queue

    def _open_queue(self, key: Key) -> _Queue:
        # many may be told the same at the same moment: they all stand in one line
        queue = self._queue(key)
        if queue is None:
            self._queues = {k: each for k, each in self._queues.items() if not each.is_idle()}
            queue = self._queues[key] = _Queue()
        return queue


async def _call_in_turn(queue: _Queue, call: Callable[[], Awaitable[T]], deadline: float) -> T:
    busy = SlackBusy("ratelimited")
    try:
        async with asyncio.timeout(deadline - monotonic()):
            await queue.turn.acquire()
    except TimeoutError:
        raise busy from None
    try:
        while queue.not_before < deadline:
            await asyncio.sleep(queue.not_before - monotonic())
            queue.not_before = monotonic() + APART_S
            try:
                return await call()
            except SlackBusy as error:
                busy = error
                queue.pause(error)
        busy.retry_after_s = queue.not_before - monotonic()
        raise busy
    finally:
        queue.turn.release()


@asynccontextmanager
async def meanwhile(
    work: Callable[[], Coroutine[None, None, None]],
) -> AsyncIterator[Callable[[], None]]:
    """What goes on beside a call while it is held up: pass what this yields as `on_wait`."""
    going_on: list[asyncio.Task[None]] = []

    def on_wait() -> None:
        if not going_on:
            going_on.append(asyncio.create_task(work()))

    try:
        yield on_wait
    finally:
        for task in going_on:
            task.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)
