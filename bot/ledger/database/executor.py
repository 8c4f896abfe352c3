"""Runs transactions in threads: one writer thread for SQLite, a thread pool for PostgreSQL.

Database drivers block, and the event loop must not. Slack also wants each click acknowledged within
3 s, so every transaction has a deadline: after it the caller gets a TimeoutError, and a transaction
that has not started is dropped. One that runs against a silent PostgreSQL server can't be
interrupted from Python, so its socket is shut down. SQLite allows one writer at a time and syncs
the disk at each commit, so transactions that arrive during a commit share the next one. Those that
somebody's click waits for go before those that draw cards and threads.
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from bot.ledger.database.statements import run

T = TypeVar("T")
Work = Callable[[Connection], T]
Callback = Callable[[], None]
Watch = Callable[[Connection], AbstractContextManager[None]]
"""Opens a block around each transaction of a connection, which ends after the commit."""

JOB_TIMEOUT_S = 2.0
"""Less than Slack's 3 s for an ack, so that the bot can still tell the person who clicked."""
CONNECTIONS = 8
"""A few are enough: a transaction takes about a millisecond."""
MAX_SHARED_COMMIT = 16
"""A click that arrives meanwhile waits for all of them."""
MIN_OTHERS = 4
"""So many jobs go with each commit of urgent ones, however many those are."""
CLOSE_TIMEOUT_S = 5.0


class Job(Generic[T]):
    """One transaction and a future for its result.

    Created on the event loop that waits for the future; run in a thread. An `urgent` one is what
    Slack's 3 s are waiting for.
    """

    def __init__(self, work: Work[T], *, urgent: bool = False) -> None:
        self.urgent = urgent
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.began = self.ended = False
        self._work = work
        self._deadline = monotonic() + JOB_TIMEOUT_S
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, connection: Connection) -> T:
        """Run the work on a connection. Raises: TimeoutError after the deadline."""
        # set before the deadline is looked at: `expire` may run in between
        self.began = True
        if monotonic() >= self._deadline:
            self.began = False
            raise TimeoutError
        return self._work(connection)

    def succeed(self, result: T) -> None:
        """Set the result; call it on the event loop."""
        self.ended = True
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Set the error; call it on the event loop."""
        self.ended = True
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self) -> None:
        """Time out the caller and cut the connection; call it on the event loop."""
        self._shut_down_socket()
        if not self.future.done():
            self.future.set_exception(TimeoutError())

    @contextmanager
    def using(self, connection: Connection) -> Iterator[None]:
        """While this is open, `expire` shuts down the connection's socket."""
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as duplicate:
            with self._lock:
                if monotonic() >= self._deadline:
                    raise TimeoutError
                self._socket = duplicate
            try:
                yield
            finally:
                with self._lock:
                    self._socket = None

    def _shut_down_socket(self) -> None:
        """Make the blocked thread fail, and let the server notice that the client is gone."""
        with self._lock, suppress(OSError):
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)


class Runner(Protocol):
    """Runs jobs in threads that it owns."""

    def submit(self, job: Job[Any]) -> None: ...

    def close(self) -> None: ...


class Pool:
    """Runs as many jobs at once as there are connections, half of them for urgent ones.

    So a click never waits behind rows that somebody has locked.
    """

    def __init__(self, engine: Engine, watch: Watch) -> None:
        self._engine = engine
        self._watch = watch
        half = CONNECTIONS // 2
        self._urgent = ThreadPoolExecutor(half, thread_name_prefix="ledger-urgent")
        self._others = ThreadPoolExecutor(half, thread_name_prefix="ledger")

    def submit(self, job: Job[Any]) -> None:
        (self._urgent if job.urgent else self._others).submit(self._serve, job)

    def close(self) -> None:
        self._urgent.shutdown()
        self._others.shutdown()

    def _serve(self, job: Job[Any]) -> None:
        if not job.future.cancelled():
            _call_back(job.loop, [_attempt(job, self._transaction)])

    def _transaction(self, job: Job[T]) -> T:
        while True:
            with (
                self._engine.connect() as connection,
                self._watch(connection),
                job.using(connection),
            ):
                used = connection.info.setdefault("used", [])
                transaction = connection.begin()
                try:
                    asked = run(connection, "SELECT clock_timestamp()")
                    connection.info["now"] = asked.fetchone()[0]
                except DBAPIError as error:
                    # this connection worked before: the server has been restarted since
                    if error.connection_invalidated and used:
                        continue
                    raise
                used[:] = [True]
                result = job.run(connection)
                transaction.commit()
                return result


class SingleWriter:
    """One thread, one connection; jobs that arrive during a commit share the next one."""

    def __init__(self, engine: Engine, watch: Watch) -> None:
        self._engine = engine
        self._watch = watch
        self._kept: Connection | None = None
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, job: Job[Any]) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        waiting = _Waiting()
        while self._arrived(waiting):
            jobs = waiting.next()
            if jobs:
                callbacks = self._run_together(jobs) or [
                    _attempt(job, self._run_alone) for job in jobs
                ]
                _call_back(jobs[0].loop, callbacks)
        if self._kept:
            self._kept.close()

    def _arrived(self, waiting: _Waiting) -> bool:
        """Take in the jobs that have arrived, or wait for one; false if the last one was run."""
        with suppress(queue.Empty):
            while not waiting.closing:
                waiting.add(self._jobs.get_nowait() if waiting else self._jobs.get())
        return bool(waiting) or not waiting.closing

    def _run_together(self, jobs: Sequence[Job[Any]]) -> list[Callback]:
        """Run all jobs in one commit; empty where each has to run alone."""
        if len(jobs) == 1:
            return []
        try:
            with self._transaction() as connection:
                results = [job.run(connection) for job in jobs]
        except OperationalError as error:
            return [partial(job.fail, error) for job in jobs]
        except Exception:  # noqa: BLE001  # running each alone shows which one failed
            return []
        return [partial(job.succeed, result) for job, result in zip(jobs, results, strict=True)]

    def _run_alone(self, job: Job[T]) -> T:
        with self._transaction() as connection:
            return job.run(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Keep the connection for the next transaction, unless this one fails: it may be broken."""
        connection = self._kept or self._engine.connect()
        self._kept = None
        try:
            with self._watch(connection), connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._kept = connection


class _Waiting:
    """The jobs that wait for the writer: the urgent ones first, otherwise in their order.

    Each commit takes some of the others with it, so that they can't wait for ever.
    """

    def __init__(self) -> None:
        self.closing = False
        self._urgent: list[Job[Any]] = []
        self._others: deque[Job[Any]] = deque()

    def __bool__(self) -> bool:
        return bool(self._urgent or self._others)

    def add(self, job: Job[Any] | None) -> None:
        """Add a job; None says that no more will come."""
        if job is None:
            self.closing = True
        else:
            (self._urgent if job.urgent else self._others).append(job)

    def next(self) -> list[Job[Any]]:
        """Remove the jobs that share the next commit, without those that nobody waits for."""
        jobs = [*self._urgent]
        self._urgent.clear()
        room = max(MAX_SHARED_COMMIT - len(jobs), MIN_OTHERS)
        jobs += [self._others.popleft() for _ in range(min(room, len(self._others)))]
        return [job for job in jobs if not job.future.cancelled()]


def _attempt(job: Job[T], transaction: Callable[[Job[T]], T]) -> Callback:
    try:
        return partial(job.succeed, transaction(job))
    except Exception as error:  # noqa: BLE001  # the caller handles it
        return partial(job.fail, error)


def _call_back(loop: asyncio.AbstractEventLoop, callbacks: Sequence[Callback]) -> None:
    """Wake the event loop once for all callbacks: waking it costs more than running them."""

    def run_all() -> None:
        for callback in callbacks:
            callback()

    with suppress(RuntimeError):  # the loop was closed, so nobody waits
        loop.call_soon_threadsafe(run_all)
