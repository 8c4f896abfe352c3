"""A kept-alive HTTP/1.1 connection that uses very little CPU on the load's core."""

from __future__ import annotations

import asyncio
from typing import Self


class Connection:
    """One connection to a server on loopback; it reconnects if the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Send one request; returns the status and the body."""
        reader, writer = await self._opened()
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split(" ", 2)[1])
        if "transfer-encoding: chunked" in head:
            return status, await _chunked(reader)
        length = head.partition("content-length:")[2].partition("\r\n")[0]
        return status, await reader.readexactly(int(length or 0))

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # if the server closed the idle connection, its end of file is already here
        if self._reader is None or self._writer is None or self._reader.at_eof():
            if self._writer is not None:
                self._writer.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
