"""Calls again what failed, as stamina would: the first try counts, and costs nothing."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from bot.ops.tasks import retried


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
