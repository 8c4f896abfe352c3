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
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from bot.ledger.witness import witnessed

T = TypeVar("T")
Work = Callable[[Connection], T]

TIMEOUT_S = 2.0
"""Less than Slack's 3 s for an ack, so that the bot can still tell the person who clicked."""
CONNECTIONS = 8
"""A few are enough: a transaction takes about a millisecond."""
MAX_SHARED_COMMIT = 16
"""A click that arrives meanwhile waits for all of them."""
MIN_OTHERS = 4
"""So many others go with each commit of urgent ones, however many those are."""
CLOSE_TIMEOUT_S = 5.0


class Pending(Generic[T]):
    """One transaction and a future for its result.

    Created on the event loop that waits for the future; run in a thread, which says why it failed.
    An `urgent` one is what Slack's 3 s are waiting for.
    """

    def __init__(self, work: Work[T], *, urgent: bool = False) -> None:
        self.urgent = urgent
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.began = self.ended = False
        self.error: Exception | None = None
        self.result: T
        self._work = work
        self._deadline = monotonic() + TIMEOUT_S
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, connection: Connection) -> None:
        """Run the work on a connection. Raises: TimeoutError after the deadline."""
        # set before the deadline is looked at: `expire` may run in between
        self.began = True
        if monotonic() >= self._deadline:
            self.began = False
            raise TimeoutError
        self.result = self._work(connection)

    @staticmethod
    def end(together: Sequence[Pending[Any]]) -> None:
        """Give what came of each to whoever waits; call it on the event loop."""
        for one in together:
            one.ended = True
            if one.future.done():
                continue
            if one.error:
                one.future.set_exception(one.error)
            else:
                one.future.set_result(one.result)

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


class Pool:
    """Runs as many transactions at once as there are connections, half of them urgent ones.

    So a click never waits behind rows that somebody has locked.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        half = CONNECTIONS // 2
        self._urgent = ThreadPoolExecutor(half, thread_name_prefix="ledger-urgent")
        self._others = ThreadPoolExecutor(half, thread_name_prefix="ledger")

    def submit(self, one: Pending[Any]) -> None:
        (self._urgent if one.urgent else self._others).submit(self._serve, one)

    def close(self) -> None:
        self._urgent.shutdown()
        self._others.shutdown()

    def _serve(self, one: Pending[Any]) -> None:
        if one.future.cancelled():
            return
        try:
            self._run(one)
        except Exception as error:  # noqa: BLE001  # the caller handles it
            one.error = error
        _end([one])

    def _run(self, one: Pending[Any]) -> None:
        while True:
            with (
                self._engine.connect() as connection,
                witnessed(connection),
                one.using(connection),
            ):
                used = connection.info.setdefault("used", [])
                try:
                    transaction = connection.begin()
                except DBAPIError as error:
                    # this connection worked before: the server has been restarted since
                    if error.connection_invalidated and used:
                        continue
                    raise
                used[:] = [True]
                one.run(connection)
                transaction.commit()
                return


class SingleWriter:
    """One thread, one connection; transactions that arrive during a commit share the next one.

    The urgent ones come first, otherwise they keep their order. Each commit takes some of the
    others with it, so that they can't wait for ever.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: Connection | None = None
        self._urgent: deque[Pending[Any]] = deque()
        self._others: deque[Pending[Any]] = deque()
        self._is_more: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, one: Pending[Any]) -> None:
        (self._urgent if one.urgent else self._others).append(one)
        self._is_more.put(True)

    def close(self) -> None:
        self._is_more.put(False)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        # each says that it has come, so those that shared another's commit are passed over
        while self._is_more.get():
            if together := self._next():
                self._run(together)
        if self._kept:
            self._kept.close()

    def _next(self) -> list[Pending[Any]]:
        """Remove those that share the next commit, without those that nobody waits for."""
        found = [self._urgent.popleft() for _ in range(len(self._urgent))]
        room = max(MAX_SHARED_COMMIT - len(found), MIN_OTHERS)
        found += [self._others.popleft() for _ in range(min(room, len(self._others)))]
        return [one for one in found if not one.future.cancelled()]

    def _run(self, together: Sequence[Pending[Any]]) -> None:
        try:
            with self._transaction() as connection:
                for one in together:
                    one.run(connection)
        except Exception as error:  # noqa: BLE001  # the caller handles it
            if len(together) > 1 and not isinstance(error, OperationalError):
                # running each alone shows which one failed
                for one in together:
                    self._run([one])
                return
            for one in together:
                one.error = error
        _end(together)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Keep the connection for the next transaction, unless this one fails: it may be broken."""
        connection = self._kept or self._engine.connect()
        self._kept = None
        try:
            with witnessed(connection), connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._kept = connection


def _end(together: Sequence[Pending[Any]]) -> None:
    """Wake the event loop once for all of them: waking it costs more than ending them."""
    with suppress(RuntimeError):  # the loop was closed, so nobody waits
        together[0].loop.call_soon_threadsafe(Pending.end, together)
