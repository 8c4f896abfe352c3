"""Sends signed commands and clicks, a given number of them at a time.

A command is in progress until its card is posted, a click until the result and the thread reply
are. The time in which a person reads the card (`READING_S`) does not count as in progress.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

from tests.benchmarks.connection import Connection
from tests.benchmarks.doubles import SIGNING_SECRET, TEAM_ID, Doubles
from tests.benchmarks.flows import Flow, FlowFailed
from tests.support.names import CONFIRM

READING_S = 0.5
"""Longer than any ledger needs to write the card's row under full load."""
PAUSE_S = 0.02
"""Between two requests when one person is alone, so that the server is idle at each."""
TIMEOUT_S = 60.0

_PERSON = {"id": "U0ALICE", "username": "alice", "name": "alice", "team_id": TEAM_ID}
_numbers = count(1)
"""Each act of a person has ids of its own, by which the bot knows it."""


@dataclass(slots=True)
class Run:
    """The flows of one run; `flows_per_s` is None for one person alone."""

    flows: list[Flow]
    failures: list[str]
    flows_per_s: float | None


async def run(
    doubles: Doubles, port: int, *, flows: int, people: int, reading_s: float = READING_S
) -> Run:
    """Run this many flows by this many people at once, who read each card for `reading_s`."""
    crowd = _Crowd(doubles, port, flows, reading_s, alone=people == 1)
    gc.collect()
    gc.disable()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(people):
                tasks.create_task(crowd.person())
    finally:
        gc.enable()
    return Run(crowd.done, crowd.failures, None if people == 1 else crowd.rate())


class _Crowd:
    def __init__(
        self, doubles: Doubles, port: int, flows: int, reading_s: float, *, alone: bool
    ) -> None:
        self._doubles = doubles
        self._port = port
        self._unasked = flows
        self._reading_s = reading_s
        self._alone = alone
        self._reading: deque[tuple[float, Flow]] = deque()
        self._settled_at: list[float] = []
        self.done: list[Flow] = []
        self.failures: list[str] = []

    async def person(self) -> None:
        """Alternate between asking and clicking a card that was read, until no card is left."""
        asked = False
        async with Connection(self._port) as connection:
            while self._unasked or self._reading:
                ready = bool(self._reading) and self._reading[0][0] <= perf_counter()
                asked = bool(self._unasked) and not (ready and asked)
                try:
                    await (self._ask(connection) if asked else self._click(connection))
                except (FlowFailed, TimeoutError) as error:
                    self.failures.append(str(error) or "no result in time")
                if self._alone:
                    await asyncio.sleep(PAUSE_S)

    def rate(self) -> float | None:
        """Flows a second in the middle of the run, where commands and clicks mix."""
        settled = len(self._settled_at)
        inner = self._settled_at[settled // 5 : settled * 7 // 10]
        return (len(inner) - 1) / (inner[-1] - inner[0]) if len(inner) > 1 else None

    async def _ask(self, connection: Connection) -> None:
        self._unasked -= 1
        number = next(_numbers)
        flow = Flow(f"C{number:09d}", (77_000_000 + number,))
        await ask(self._doubles, connection, flow)
        self._reading.append((perf_counter() + self._reading_s, flow))

    async def _click(self, connection: Connection) -> None:
        ready_at, flow = self._reading.popleft()
        await asyncio.sleep(max(0.0, ready_at - perf_counter()))
        await click(self._doubles, connection, flow)
        async with asyncio.timeout(TIMEOUT_S):
            await flow.settled
        self._settled_at.append(perf_counter())
        self.done.append(flow)


async def ask(doubles: Doubles, connection: Connection, flow: Flow) -> None:
    """Send the command of a flow and wait for its card. Raises: FlowFailed, TimeoutError."""
    doubles.expect(flow)
    body = urlencode(_command(flow, doubles.response_url(flow))).encode()
    flow.commanded_at = perf_counter()
    flow.command_ack_s = await _send(connection, body)
    async with asyncio.timeout(TIMEOUT_S):
        await flow.shown


async def click(doubles: Doubles, connection: Connection, flow: Flow) -> None:
    """Click the card's button that confirms; returns after the ack. Raises: FlowFailed."""
    body = urlencode({"payload": json.dumps(_click(flow, doubles.response_url(flow)))}).encode()
    flow.clicked_at = perf_counter()
    flow.click_ack_s = await _send(connection, body)


async def _send(connection: Connection, body: bytes) -> float:
    """Send one signed request; returns the seconds to its acknowledgement."""
    timestamp = str(int(time.time()))
    base = b"v0:" + timestamp.encode() + b":" + body
    digest = hmac.new(SIGNING_SECRET.encode(), base, hashlib.sha256).hexdigest()
    headers = {
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "Accept-Encoding": "gzip,deflate",
        "Accept": "application/json,*/*",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    began = perf_counter()
    status, answer = await connection.post("/slack/events", headers, body)
    seconds = perf_counter() - began
    if status != 200 or answer.strip():
        raise FlowFailed(f"acknowledged with {status} {answer!r}")
    return seconds


def _command(flow: Flow, response_url: str) -> dict[str, str]:
    return {
        "token": "benchmark",
        "team_id": TEAM_ID,
        "team_domain": "bench",
        "channel_id": flow.channel_id,
        "channel_name": "billing",
        "user_id": _PERSON["id"],
        "user_name": _PERSON["name"],
        "command": "/unlatch",
        "text": f"{', '.join(map(str, flow.customer_ids))} moved to the new portal",
        "api_app_id": "A0BENCH",
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": f"1.2.{next(_numbers)}",
    }


def _click(flow: Flow, response_url: str) -> dict[str, Any]:
    actions = next(block for block in flow.card["blocks"] if block["type"] == "actions")
    button = next(each for each in actions["elements"] if each["action_id"] == CONFIRM)
    return {
        "type": "block_actions",
        "user": _PERSON,
        "api_app_id": "A0BENCH",
        "token": "benchmark",
        "container": {
            "type": "message",
            "message_ts": flow.card_ts,
            "channel_id": flow.channel_id,
            "is_ephemeral": False,
        },
        "trigger_id": f"1.2.{next(_numbers)}",
        "team": {"id": TEAM_ID, "domain": "bench"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": flow.channel_id, "name": "billing"},
        "message": flow.card,
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [
            {
                **button,
                "block_id": actions.get("block_id", "b1"),
                "action_ts": f"1795000000.{next(_numbers)}",
            }
        ],
    }
