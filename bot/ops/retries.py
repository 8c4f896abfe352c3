"""Retries that cost nothing until something fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

import stamina

T = TypeVar("T")


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
