"""Answers the host while the bot starts: it is alive, and not ready for Slack's requests.

A start may wait for Slack or the database for hours, and a host kills what answers no health check.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bot.inbound.manifest import EVENTS_PATH

HandOver = Callable[[], Awaitable[list[socket.socket]]]


class CannotListen(Exception):
    """The bot can't listen at `HOST` and `PORT`; the text says why and what to change."""

    def __init__(self, error: OSError) -> None:
        # asyncio's own text repeats the address
        if isinstance(error, socket.gaierror):
            why = f"can't listen on this HOST: {error.strerror}"
            super().__init__(f"{why}; it must be an address of this machine, such as 0.0.0.0")
        elif error.errno in (None, errno.EADDRNOTAVAIL):
            # from Python 3.13 on, asyncio skips such addresses, and has no number if none is left
            why = f"can't listen on this HOST: {os.strerror(errno.EADDRNOTAVAIL)}"
            super().__init__(f"{why}; it must be an address of this machine, such as 0.0.0.0")
        else:
            why = os.strerror(error.errno)
            super().__init__(f"can't listen on this port: {why}; set PORT to another")


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the address, one for each address that `host` stands for.

    Raises: CannotListen.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        raise CannotListen(error) from error
    try:
        return [each.dup() for each in server.sockets]
    finally:
        server.close()


@asynccontextmanager
async def answering(host: str, port: int, idle_s: float) -> AsyncIterator[HandOver]:
    """Answer at the address until the block ends or the sockets are handed over.

    Yields a function that accepts no more connections and returns the sockets. Connections that
    arrive from then on wait in the sockets' queue, so none is refused; those that were accepted
    before are still answered here. Raises: CannotListen.
    """
    sockets = await bind(host, port)
    accepting = [each.dup() for each in sockets]
    runner = web.AppRunner(
        _routes(), access_log=None, shutdown_timeout=0.5, keepalive_timeout=idle_s
    )

    async def hand_over() -> list[socket.socket]:
        for each in accepting:
            asyncio.get_running_loop().remove_reader(each.fileno())
        # asyncio drops a connection that it accepted in the same step in which its server closes
        await asyncio.sleep(0)
        for site in runner.sites:
            await site.stop()
        return sockets

    try:
        await runner.setup()
        for each in accepting:
            await web.SockSite(runner, each).start()
        yield hand_over
    finally:
        await runner.cleanup()
        for each in sockets:
            each.close()


def _routes() -> web.Application:
    async def alive(_request: web.Request) -> web.Response:
        return _last(web.json_response({"ok": True}))

    async def not_ready(_request: web.Request) -> web.Response:
        return _last(web.json_response({"ready": False, "process": "starting"}, status=503))

    served = web.Application()
    served.router.add_get("/healthz", alive)
    served.router.add_get("/readyz", not_ready)
    served.router.add_get("/metrics", not_ready)
    served.router.add_post(EVENTS_PATH, not_ready)
    return served


def _last(response: web.Response) -> web.Response:
    """The last response on its connection, so that the next request reaches the started bot."""
    response.force_close()
    return response
