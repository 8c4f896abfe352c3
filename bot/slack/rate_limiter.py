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

PATIENCE_S = 600.0
APART_S = 1.1
"""Slack's own measure, one message a second in a channel, and a little for the way there."""


@dataclass(slots=True)
class _Line:
    not_before: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def over(self) -> bool:
        return not self.waiting and self.not_before <= monotonic()

    def hold(self, busy: SlackBusy) -> None:
        pause_s = APART_S if busy.retry_after_s is None else busy.retry_after_s
        self.not_before = max(self.not_before, monotonic() + pause_s)


class Pacer:
    """The lines in front of Slack, by what it counts: a method, and a channel where it matters."""

    def __init__(self) -> None:
        self._lines: dict[Key, _Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    async def run(
        self,
        key: Key,
        call: Callable[[], Awaitable[T]],
        *,
        patience_s: float = PATIENCE_S,
        held_up: Callable[[], None] = lambda: None,
    ) -> T:
        """What `call` returns, in its turn; `held_up` is called where that is not at once.

        Raises: SlackBusy where its turn does not come within `patience_s` seconds; what `call`
        raises.
        """
        deadline = monotonic() + patience_s
        line = self._line(key)
        if line is None:
            try:
                return await call()
            except SlackBusy as busy:
                line = self._form(key)
                line.hold(busy)
        held_up()
        line.waiting += 1
        try:
            return await _in_turn(line, call, deadline)
        finally:
            line.waiting -= 1

    def _line(self, key: Key) -> _Line | None:
        line = self._lines.get(key)
        return None if line is None or line.over() else line

    def _form(self, key: Key) -> _Line:
        # many may be told the same at the same moment: they all stand in one line
        line = self._line(key)
        if line is None:
            self._lines = {k: each for k, each in self._lines.items() if not each.over()}
            line = self._lines[key] = _Line()
        return line


async def _in_turn(line: _Line, call: Callable[[], Awaitable[T]], deadline: float) -> T:
    busy = SlackBusy("ratelimited")
    try:
        async with asyncio.timeout(deadline - monotonic()):
            await line.turn.acquire()
    except TimeoutError:
        raise busy from None
    try:
        while line.not_before < deadline:
            await asyncio.sleep(line.not_before - monotonic())
            line.not_before = monotonic() + APART_S
            try:
                return await call()
            except SlackBusy as error:
                busy = error
                line.hold(error)
        busy.retry_after_s = line.not_before - monotonic()
        raise busy
    finally:
        line.turn.release()


@asynccontextmanager
async def meanwhile(
    work: Callable[[], Coroutine[None, None, None]],
) -> AsyncIterator[Callable[[], None]]:
    """What goes on beside a call while it is held up: pass what this yields as `held_up`."""
    going_on: list[asyncio.Task[None]] = []

    def held_up() -> None:
        if not going_on:
            going_on.append(asyncio.create_task(work()))

    try:
        yield held_up
    finally:
        for task in going_on:
            task.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)
