"""Slack's side of Socket Mode: the bot opens WebSockets and receives requests as envelopes.

Each envelope goes to one connection, in turn.
Source: docs.slack.dev/apis/events-api/using-socket-mode.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import uuid
from typing import Any

from aiohttp import ClientConnectionError, WSMsgType, web

from bot.sandbox.slack.delivery import ACK_WITHIN_S, Delivery
from bot.sandbox.slack.workspace import APP_ID

MAX_LINKS = 10
HEARTBEAT_S = 30.0


class SocketMode:
    """Serves Socket Mode; `links` are the connections that receive envelopes."""

    def __init__(self) -> None:
        self.links: list[web.WebSocketResponse] = []
        self._all: set[web.WebSocketResponse] = set()
        self._tickets: set[str] = set()
        self._acks: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._turn = 0

    def open(self, url: str) -> str:
        """A WebSocket URL that can be used once; `url` is the server's own."""
        ticket = secrets.token_hex(16)
        self._tickets.add(ticket)
        return f"{url.replace('http', 'ws', 1)}link/?ticket={ticket}&app_id={APP_ID}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection: say hello, then receive acks until either side closes it."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets or len(self.links) >= MAX_LINKS:
            raise web.HTTPForbidden(text="no such link")
        self._tickets.remove(ticket)
        link = web.WebSocketResponse(heartbeat=HEARTBEAT_S, timeout=1.0)
        await link.prepare(request)
        self._all.add(link)
        try:
            await link.send_json(self._hello())
            self.links.append(link)
            await self._receive(link)
        finally:
            self._forget(link)
            self._all.discard(link)
        return link

    async def deliver(
        self, kind: str, payload: dict[str, Any], *, accepts_response: bool
    ) -> Delivery:
        """Send an envelope of type `kind` to one connection, and wait for its ack."""
        link = self.links[self._turn % len(self.links)]
        self._turn += 1
        envelope_id = str(uuid.uuid4())
        envelope: dict[str, Any] = {"envelope_id": envelope_id, "type": kind, "payload": payload}
        envelope["accepts_response_payload"] = accepts_response
        ack = self._acks[envelope_id] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        try:
            async with asyncio.timeout(ACK_WITHIN_S):
                await link.send_json(envelope)
                answer = await ack
        except (TimeoutError, ClientConnectionError):
            return Delivery(0, "", time.monotonic() - started)
        finally:
            del self._acks[envelope_id]
        reply = answer.get("payload")
        body = json.dumps(reply) if accepts_response and reply else ""
        return Delivery(200, body, time.monotonic() - started)

    async def disconnect(self, reason: str) -> None:
        """Ask every connection to leave (`refresh_requested`, `warning`, `link_disabled`).

        They receive no more envelopes; `link_disabled` also closes them, as Slack does.
        """
        retired, self.links = self.links, []
        message = {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink"}}
        for link in retired:
            await link.send_json(message)
            if reason == "link_disabled":
                await link.close()

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(link.close() for link in list(self._all)))

    def _hello(self) -> dict[str, Any]:
        debug = {"host": "applink", "build_number": 1, "approximate_connection_time": 18_060}
        return {
            "type": "hello",
            "num_connections": len(self._all),
            "debug_info": debug,
            "connection_info": {"app_id": APP_ID},
        }

    async def _receive(self, link: web.WebSocketResponse) -> None:
        async for message in link:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                answer = json.loads(message.data)
                ack = self._acks.get(answer["envelope_id"])
            except (ValueError, LookupError, TypeError):
                # Slack ignores everything but acks.
                continue
            if ack is not None and not ack.done():
                ack.set_result(answer)

    def _forget(self, link: web.WebSocketResponse) -> None:
        if link in self.links:
            self.links.remove(link)
