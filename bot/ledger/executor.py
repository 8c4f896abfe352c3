"""Threads that do transactions: a single writer for SQLite, a pool for PostgreSQL.

Nobody waits for one longer than Slack waits for an ack; what nobody waits for is not done.
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")
Work = Callable[[Connection], T]
Ending = Callable[[], None]

ANSWERS_WITHIN_S = 2.0
"""Less than Slack's 3 s for an ack, so that the person who clicked can still be told."""
CONNECTIONS = 8
"""A few are enough: a transaction of ours takes about a millisecond."""
SHARED_COMMIT = 64
CLOSES_WITHIN_S = 5.0


class Job(Generic[T]):
    """One transaction: what is to be done, and a future for what came of it.

    Made on the event loop that waits for the future; done in a thread.
    """

    def __init__(self, work: Work[T]) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.began = self.ended = False
        self._work = work
        self._deadline = monotonic() + ANSWERS_WITHIN_S
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def do(self, connection: Connection) -> T:
        """Do it. Raises: TimeoutError where whoever asked has been told that it failed."""
        if monotonic() >= self._deadline:
            raise TimeoutError
        self.began = True
        return self._work(connection)

    def succeed(self, result: T) -> None:
        """Hand the result over, on the event loop."""
        self.ended = True
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Hand the error over, on the event loop."""
        self.ended = True
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self) -> None:
        """Let nobody wait for it any longer, on the event loop."""
        self._hang_up()
        if not self.future.done():
            self.future.set_exception(TimeoutError())

    @contextmanager
    def over(self, connection: Connection) -> Iterator[None]:
        """While the connection is used: `expire` ends what a silent server would let hang."""
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            with self._lock:
                if monotonic() >= self._deadline:
                    raise TimeoutError
                self._line = line
            try:
                yield
            finally:
                with self._lock:
                    self._line = None

    def _hang_up(self) -> None:
        """Shut the connection that it runs on: whoever waits for it fails, and the server too."""
        with self._lock, suppress(OSError):
            if self._line:
                self._line.shutdown(socket.SHUT_RDWR)


class Runner(Protocol):
    """Does jobs in threads of its own."""

    def submit(self, job: Job[Any]) -> None: ...

    def close(self) -> None: ...


class Pool:
    """As many jobs side by side as there are connections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="ledger")

    def submit(self, job: Job[Any]) -> None:
        self._threads.submit(self._serve, job)

    def close(self) -> None:
        self._threads.shutdown()

    def _serve(self, job: Job[Any]) -> None:
        if not job.future.cancelled():
            _hand_over(job.loop, [_ending(job, self._transaction)])

    def _transaction(self, job: Job[T]) -> T:
        while True:
            with self._engine.connect() as connection, job.over(connection):
                used = connection.info.setdefault("used", [])
                try:
                    connection.execute(select(1))
                except DBAPIError as error:
                    # a connection that was good once: the server has been restarted since
                    if error.connection_invalidated and used:
                        continue
                    raise
                used[:] = [True]
                result = job.do(connection)
                connection.commit()
                return result


class SingleWriter:
    """One thread, one connection; what waits while a commit is under way shares the next one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: Connection | None = None
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, job: Job[Any]) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(CLOSES_WITHIN_S)

    def _serve(self) -> None:
        closing = False
        while not closing:
            waiting = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(waiting) < SHARED_COMMIT:
                    waiting.append(self._jobs.get_nowait())
            closing = None in waiting
            jobs = [job for job in waiting if job and not job.future.cancelled()]
            if jobs:
                endings = self._together(jobs) or [_ending(job, self._alone) for job in jobs]
                _hand_over(jobs[0].loop, endings)
        if self._kept:
            self._kept.close()

    def _together(self, jobs: Sequence[Job[Any]]) -> list[Ending]:
        """Do them in one commit; nothing where each has to be done alone."""
        if len(jobs) == 1:
            return []
        try:
            with self._transaction() as connection:
                results = [job.do(connection) for job in jobs]
        except OperationalError as error:
            return [partial(job.fail, error) for job in jobs]
        except Exception:  # noqa: BLE001  # whose fault it was shows when each runs alone
            return []
        return [partial(job.succeed, result) for job, result in zip(jobs, results, strict=True)]

    def _alone(self, job: Job[T]) -> T:
        with self._transaction() as connection:
            return job.do(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One after the other on a kept connection; what failed on it may have broken it."""
        connection = self._kept or self._engine.connect()
        self._kept = None
        try:
            with connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._kept = connection


def _ending(job: Job[T], transaction: Callable[[Job[T]], T]) -> Ending:
    try:
        return partial(job.succeed, transaction(job))
    except Exception as error:  # noqa: BLE001  # it is the caller's to handle
        return partial(job.fail, error)


def _hand_over(loop: asyncio.AbstractEventLoop, endings: Sequence[Ending]) -> None:
    """Tell the event loop all at once: waking it costs more than what it is told."""

    def told() -> None:
        for ending in endings:
            ending()

    with suppress(RuntimeError):  # it was closed meanwhile, and nobody waits
        loop.call_soon_threadsafe(told)
