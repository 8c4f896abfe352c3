"""Threads that do transactions: a single writer for SQLite, a pool for PostgreSQL.

Nobody waits for one longer than Slack waits for an ack; what nobody waits for is not done.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")
Work = Callable[[Connection], T]

ANSWERS_WITHIN_S = 2.0
"""Less than Slack's 3 s for an ack, so that the person who clicked can still be told."""
CONNECTIONS = 8
"""A few are enough: a transaction of ours takes about a millisecond."""
SHARED_COMMIT = 64
CLOSES_WITHIN_S = 5.0


class Job(Generic[T]):
    """One transaction: what is to be done, and what came of it."""

    def __init__(self, work: Work[T]) -> None:
        self.future: Future[T] = Future()
        self._work = work
        self._deadline = monotonic() + ANSWERS_WITHIN_S
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def do(self, connection: Connection) -> T:
        """Do it. Raises: TimeoutError where whoever asked has been told that it failed."""
        if monotonic() >= self._deadline:
            raise TimeoutError
        return self._work(connection)

    @contextmanager
    def over(self, connection: Connection) -> Iterator[None]:
        """While the connection is used: `hang_up` ends what a silent server would let hang."""
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

    def hang_up(self) -> None:
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
        if job.future.set_running_or_notify_cancel():
            _fulfil(job, self._transaction)

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
            jobs = [job for job in waiting if job and job.future.set_running_or_notify_cancel()]
            if not self._together(jobs):
                for job in jobs:
                    _fulfil(job, self._alone)

    def _together(self, jobs: list[Job[Any]]) -> bool:
        if len(jobs) == 1:
            return False
        try:
            with self._engine.begin() as connection:
                results = [job.do(connection) for job in jobs]
        except OperationalError as error:
            for job in jobs:
                job.future.set_exception(error)
            return True
        except Exception:  # noqa: BLE001  # whose fault it was shows when each runs alone
            return False
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
        return True

    def _alone(self, job: Job[T]) -> T:
        with self._engine.begin() as connection:
            return job.do(connection)


def _fulfil(job: Job[T], transaction: Callable[[Job[T]], T]) -> None:
    try:
        result = transaction(job)
    except Exception as error:  # noqa: BLE001  # it is the caller's to handle
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
