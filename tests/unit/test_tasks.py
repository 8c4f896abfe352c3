"""Background tasks are kept alive and drained; what failed is called again, as stamina would."""

from __future__ import annotations

import asyncio
import gc
from time import monotonic

import pytest

from bot.ops.tasks import BackgroundTasks, retried


async def test_a_running_task_is_not_garbage_collected() -> None:
    tasks, ended = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        # only the task holds this future
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, waited.set_result, None)
        await waited
        ended.set()

    tasks.spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_draining_also_waits_for_tasks_that_tasks_start() -> None:
    tasks, log = BackgroundTasks(), list[str]()

    async def second() -> None:
        await asyncio.sleep(0.01)
        log.append("second")

    async def first() -> None:
        await asyncio.sleep(0.01)
        tasks.spawn(second())
        log.append("first")

    tasks.spawn(first())
    assert await tasks.drain(5) == 0
    assert log == ["first", "second"]


async def test_late_tasks_are_cancelled_and_counted() -> None:
    tasks, log = BackgroundTasks(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaned up")

    tasks.spawn(work())
    tasks.spawn(work())
    await asyncio.sleep(0)
    assert await tasks.drain(0.01) == 2
    assert log == ["cleaned up", "cleaned up"]
    assert len(tasks) == 0


async def test_a_failing_task_is_logged_and_others_go_on(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tasks, done = BackgroundTasks(), asyncio.Event()

    async def fails() -> None:
        raise ValueError("on purpose")

    async def works() -> None:
        await asyncio.sleep(0.01)
        done.set()

    tasks.spawn(fails())
    tasks.spawn(works())
    assert await tasks.drain(5) == 0
    assert done.is_set()
    # an earlier test may have configured logging: then logs go through the standard library
    output = capsys.readouterr().out + caplog.text
    assert "task failed" in output
    assert "on purpose" in output


class Flaky:
    """Fails as often as it is told, after `takes_s` seconds each time."""

    def __init__(self, *failures: Exception, takes_s: float = 0.0) -> None:
        self._failures = list(failures)
        self._takes_s = takes_s
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(self._takes_s)
        if self._failures:
            raise self._failures.pop(0)
        return "done"


def every_error(_error: Exception) -> float:
    return 0.01


async def test_a_failure_is_called_again_until_the_attempts_are_used_up() -> None:
    for failures, calls in ((0, 1), (2, 3)):
        call = Flaky(*[ValueError()] * failures)
        assert await retried(call, every_error, attempts=3, timeout_s=None) == "done"
        assert call.calls == calls
    call = Flaky(*(ValueError(str(n)) for n in range(9)))
    with pytest.raises(ValueError, match="2"):
        await retried(call, every_error, attempts=3, timeout_s=None)
    assert call.calls == 3


async def test_a_failure_that_is_not_to_be_retried_is_raised_at_once() -> None:
    call = Flaky(KeyError("no"))
    with pytest.raises(KeyError, match="no"):
        await retried(call, lambda error: isinstance(error, ValueError), timeout_s=None)
    assert call.calls == 1


async def test_the_first_failure_says_how_long_to_wait() -> None:
    call, began = Flaky(ValueError()), monotonic()
    await retried(call, lambda _error: 0.2, attempts=3, timeout_s=None)
    assert monotonic() - began >= 0.2


async def test_the_time_of_the_first_try_counts_for_the_limit() -> None:
    call = Flaky(*(ValueError() for _ in range(9)), takes_s=0.1)
    with pytest.raises(ValueError):  # noqa: PT011  # the call's own
        await retried(call, every_error, timeout_s=0.05)
    assert call.calls == 1


async def test_a_cancelled_call_is_not_called_again() -> None:
    call = Flaky(takes_s=60)
    task = asyncio.create_task(retried(call, every_error, timeout_s=None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.calls == 1
