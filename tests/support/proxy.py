"""A TCP proxy between a client and a server that can be far, go silent, or lose an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

HEADER = 5
READY_FOR_QUERY = b"Z"
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Forwards bytes while it is open as a context manager; `opens` connects to the server.

    While `speaks` is clear, nothing is forwarded. `loses_answer_to` is a pair of texts: once a
    client has sent the first and then the second, the server gets both, but the client is cut off.
    With `loses_second` the server does not get the second either. A round trip takes `distance_s`
    longer. `round_trips` counts those to a PostgreSQL: each ends with its "ready for query".
    """

    def __init__(self, opens: Open) -> None:
        self.port = 0
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.loses_answer_to: tuple[bytes, bytes] | None = None
        self.loses_second = False
        self.distance_s = 0.0
        self.round_trips = 0
        self._opens = opens
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def freeze(self) -> None:
        """Stop forwarding on the open connections; new connections work."""
        self.speaks.clear()
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        speaks = self.speaks
        server_reader, server_writer = await self._opens()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server_writer, speaks, writer))
                group.create_task(self._forward(server_reader, writer, speaks))
        except* (ConnectionError, EOFError):
            pass
        finally:
            self._connections.discard(connection)
            server_writer.close()
            writer.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        speaks: asyncio.Event,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        sent = answered = b""
        while chunk := await reader.read(65536):
            await speaks.wait()
            if not client:
                answered = self._count(answered + chunk)
            cuts = False
            if client and self.loses_answer_to:
                sent += chunk
                first, second = self.loses_answer_to
                cuts = second in sent.partition(first)[2]
            if not (cuts and self.loses_second):
                self._write(writer, chunk)
            if client and cuts:
                self.loses_answer_to = None
                await writer.drain()
                client.transport.abort()
        raise EOFError

    def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        def arrive() -> None:
            # whoever it was for may have gone meanwhile
            if not writer.is_closing():
                writer.write(chunk)

        if self.distance_s:
            asyncio.get_running_loop().call_later(self.distance_s / 2, arrive)
        else:
            writer.write(chunk)

    def _count(self, answered: bytes) -> bytes:
        """Count the messages of a PostgreSQL that say it is ready; returns what is incomplete."""
        while len(answered) >= HEADER and len(answered) > (size := _size(answered)):
            self.round_trips += answered.startswith(READY_FOR_QUERY)
            answered = answered[size + 1 :]
        return answered


def _size(message: bytes) -> int:
    # postgresql.org/docs/current/protocol-overview.html: a letter, then the length of the rest
    return int.from_bytes(message[1:HEADER])
