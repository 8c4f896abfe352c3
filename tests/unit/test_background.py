"""Tasks that go on after an acknowledgement: kept, drained, and none fails unseen."""

from __future__ import annotations

import asyncio
import gc

import pytest

from bot.ops.background import BackgroundTasks


async def test_a_task_runs_and_is_forgotten_when_it_is_done() -> None:
    tasks, done = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        done.set()

    tasks.spawn(work())
    assert len(tasks) == 1
    assert await tasks.drain(5) == 0
    assert done.is_set()
    assert len(tasks) == 0


async def test_a_running_task_is_not_lost_to_the_garbage_collector() -> None:
    tasks, ended = BackgroundTasks(), asyncio.Event()

    async def work() -> None:
        # nobody but the task itself holds this future
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, waited.set_result, None)
        await waited
        ended.set()

    tasks.spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_draining_waits_for_what_the_tasks_start_in_turn() -> None:
    tasks, told = BackgroundTasks(), list[str]()

    async def second() -> None:
        await asyncio.sleep(0.01)
        told.append("second")

    async def first() -> None:
        await asyncio.sleep(0.01)
        tasks.spawn(second())
        told.append("first")

    tasks.spawn(first())
    assert await tasks.drain(5) == 0
    assert told == ["first", "second"]


async def test_what_is_late_is_cancelled_and_counted() -> None:
    tasks, told = BackgroundTasks(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cleaned up")

    tasks.spawn(work())
    tasks.spawn(work())
    await asyncio.sleep(0)
    assert await tasks.drain(0.01) == 2
    assert told == ["cleaned up", "cleaned up"]
    assert len(tasks) == 0


async def test_draining_nothing_takes_no_time() -> None:
    async with asyncio.timeout(1):
        assert await BackgroundTasks().drain(60) == 0


async def test_a_task_that_fails_is_logged_and_stops_no_other(
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
    # wherever logs go by now: to the console, or through the standard library
    told = capsys.readouterr().out + caplog.text
    assert "task failed" in told
    assert "on purpose" in told


async def test_a_task_that_was_cancelled_is_no_failure(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tasks = BackgroundTasks()
    tasks.spawn(asyncio.Event().wait())
    assert await tasks.drain(0.01) == 1
    assert "task failed" not in capsys.readouterr().out + caplog.text
