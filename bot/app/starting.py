"""Answers the host while the bot starts: it is alive, and not ready for Slack's requests.

A start may wait for Slack or the database for hours, and a host kills what answers no health check.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bot.inbound.manifest import EVENTS_PATH

HandOver = Callable[[], Awaitable[list[socket.socket]]]


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the address, one for each address that `host` stands for.

    Raises: OSError.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    try:
        return [each.dup() for each in server.sockets]
    finally:
        server.close()


@asynccontextmanager
async def answering(host: str, port: int, idle_s: float) -> AsyncIterator[HandOver]:
    """Answer at the address until the block ends or the sockets are handed over.

    Yields a function that stops answering and returns the sockets. Connections that arrive from
    then on wait in the sockets' queue, so none is refused. Raises: OSError.
    """
    sockets = await bind(host, port)
    runner = web.AppRunner(
        _routes(), access_log=None, shutdown_timeout=0.5, keepalive_timeout=idle_s
    )

    async def hand_over() -> list[socket.socket]:
        await runner.cleanup()
        return sockets

    try:
        await runner.setup()
        for each in sockets:
            await web.SockSite(runner, each.dup()).start()
        yield hand_over
    finally:
        await runner.cleanup()
        for each in sockets:
            each.close()


def _routes() -> web.Application:
    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def not_ready(_request: web.Request) -> web.Response:
        response = web.json_response({"ready": False, "process": "starting"}, status=503)
        # so that the next request reaches the started bot
        response.force_close()
        return response

    served = web.Application()
    served.router.add_get("/healthz", alive)
    served.router.add_get("/readyz", not_ready)
    served.router.add_get("/metrics", not_ready)
    served.router.add_post(EVENTS_PATH, not_ready)
    return served
