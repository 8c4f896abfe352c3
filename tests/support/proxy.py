"""Something between a client and a server that falls silent, or loses an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes bytes on, while it is open as a context manager; `opens` makes its own connections.

    While `speaks` is clear nothing passes. `loses_answer_to` is two texts: a client that has sent
    the first and then sends the second is cut off, though the server gets both.
    """

    def __init__(self, opens: Open) -> None:
        self.port = 0
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.loses_answer_to: tuple[bytes, bytes] | None = None
        self._opens = opens
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def freeze(self) -> None:
        """Let nothing pass on the connections that are open now; new ones are as good as new."""
        self.speaks.clear()
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        speaks = self.speaks
        there, back = await self._opens()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back, speaks, writer))
                group.create_task(self._pass(there, writer, speaks))
        except* (ConnectionError, EOFError):
            pass
        finally:
            self._lines.discard(line)
            back.close()
            writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        speaks: asyncio.Event,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        sent = b""
        while some := await reader.read(65536):
            await speaks.wait()
            writer.write(some)
            if client and self.loses_answer_to:
                sent += some
                first, second = self.loses_answer_to
                if second in sent.partition(first)[2]:
                    self.loses_answer_to = None
                    await writer.drain()
                    client.transport.abort()
        raise EOFError
