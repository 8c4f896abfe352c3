"""Background tasks that the server drains when it stops, shared writes, and retries.

A retry costs nothing at first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

import stamina
import structlog

log = structlog.get_logger(__name__)

CANCEL_TIMEOUT_S = 1.0
T = TypeVar("T")
R = TypeVar("R")


class BackgroundTasks:
    """A set of running tasks: keeps them from the garbage collector and logs their failures."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._deadline: float | None = None

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a task that nobody awaits."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, timeout_s: float) -> int:
        """Wait for all tasks and the tasks they start; returns how many had to be cancelled.

        A second drain shares the first deadline.
        """
        clock = asyncio.get_running_loop().time
        self._deadline = self._deadline or clock() + timeout_s
        while self._running and (left := self._deadline - clock()) > 0:
            await asyncio.wait(self._running, timeout=left)
        late = set(self._running)
        # a task that waits again while it is being cancelled gets a second cancel, then is left
        for _ in range(2):
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=CANCEL_TIMEOUT_S)
        return len(late)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task failed", exc_info=error)


@asynccontextmanager
async def meanwhile(
    work: Callable[[], Coroutine[Any, Any, object]],
) -> AsyncIterator[Callable[[], None]]:
    """Yield a function that starts something beside a block, at most once, until the block's end.

    What it raises is dropped.
    """
    tasks: list[asyncio.Task[object]] = []

    def start() -> None:
        if not tasks:
            tasks.append(asyncio.create_task(work()))

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def beside(
    work: Callable[[], Coroutine[Any, Any, object]], after_s: float = 0.0
) -> AsyncIterator[None]:
    """Run something while a block runs, if that takes so long; what it raises is dropped."""
    async with meanwhile(work) as start:
        timer = asyncio.get_running_loop().call_later(after_s, start)
        try:
            yield
        finally:
            timer.cancel()


@dataclass(eq=False, slots=True)
class Batches(Generic[T, R]):
    """Writes values of several tasks together: what arrives during one write goes into the next."""

    _write: Callable[[Sequence[T]], Awaitable[R]]
    _waiting: list[tuple[T, asyncio.Future[R]]] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def add(self, value: T) -> R:
        """Write a value, perhaps with others; returns what the write did."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((value, future))
        async with self._turn:
            if not future.done():
                batch, self._waiting = self._waiting, []
                try:
                    result = await self._write([each for each, _future in batch])
                except BaseException as error:  # noqa: BLE001  # each task that waits raises it
                    for _value, waiting in batch:
                        waiting.set_exception(error)
                        # one that was cancelled raises nothing
                        waiting.exception()
                else:
                    for _value, waiting in batch:
                        waiting.set_result(result)
        return future.result()


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Pauses in seconds that double up to the longest, without end."""
    while True:
        yield first_s
        first_s = min(2 * first_s, longest_s)


async def retried(
    call: Callable[[], Awaitable[T]],
    on: type[Exception] | Callable[[Exception], bool | float],
    *,
    timeout_s: float | None,
    **options: Any,  # noqa: ANN401  # stamina's own
) -> T:
    """Await `call()`, and after a failure as often as `stamina.retry_context` would.

    The first try is a plain await, since stamina's machinery costs as much as a small call. Only
    its failure is handed to stamina, which then decides whether and when there is another.
    """
    started = monotonic()
    try:
        return await call()
    except Exception as error:  # noqa: BLE001  # raised again below
        failure: Exception | None = error
    left_s = None if timeout_s is None else timeout_s - (monotonic() - started)
    async for attempt in stamina.retry_context(on=on, timeout=left_s, **options):
        with attempt:
            if failure is None:
                return await call()
            first, failure = failure, None
            raise first
    raise AssertionError("unreachable: the last attempt returns or raises")
