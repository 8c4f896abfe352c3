"""Rate limiter for Slack calls: after a 429, queues calls per method and channel, 1.1 s apart.

Slack limits each method, posts also per channel, and answers 429 with a `Retry-After` when a limit
is reached. If each call then retried by itself, all would come back at the same moment, be refused
again, and overtake each other. So calls go straight through until the first 429 for a key; then
they queue in order of arrival, one at a time, and start no earlier than Slack asked. A queue is
dropped after it is empty and its pause is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

from bot.slack.errors import SlackBusy

T = TypeVar("T")
Key = tuple[str, str]

MAX_WAIT_S = 600.0
SPACING_S = 1.1
"""Slack allows one message per second and channel; the rest is for network delay."""


@dataclass(slots=True)
class _Queue:
    not_before: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_idle(self) -> bool:
        return not self.waiting and self.not_before <= monotonic()

    def pause(self, busy: SlackBusy) -> None:
        pause_s = SPACING_S if busy.retry_after_s is None else busy.retry_after_s
        self.not_before = max(self.not_before, monotonic() + pause_s)


class RateLimiter:
    """The queues of waiting calls by key: a method, and a channel ("" where Slack ignores it)."""

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
        """Run `call`, in its turn if there is a queue, and return its result.

        Calls `on_wait` when it has to wait.
        Raises: SlackBusy if the turn does not come within `max_wait_s` seconds; whatever `call`
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
        # several calls may get a 429 at the same moment: they share one queue
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
            queue.not_before = monotonic() + SPACING_S
            try:
                return await call()
            except SlackBusy as error:
                busy = error
                queue.pause(error)
        busy.retry_after_s = queue.not_before - monotonic()
        raise busy
    finally:
        queue.turn.release()
