"""Background tasks: they are kept alive and drained, and their failures are logged."""

from __future__ import annotations

import asyncio
import gc

import pytest

from bot.ops.tasks import BackgroundTasks


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
