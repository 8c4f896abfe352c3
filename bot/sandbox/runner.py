"""Runs the real bot between the two simulators, with a page in the browser on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import webbrowser
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from bot.app.composition import Bot, build
from bot.app.server import listening
from bot.sandbox.fusebill.customers import moved_customers, sample_customers
from bot.sandbox.fusebill.simulator import KINDS, SimulatedFusebill
from bot.sandbox.page.api import PageApi
from bot.sandbox.past import give_past
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import Settings, Timing, checked

ANY_CALL = (
    "not_found",
    "key_refused",
    "rate_limited",
    "server_error",
    "bad_gateway",
    "door",
    "no_route",
    "login",
    "slow",
    "hang",
)
CHANGES = ("conflict", "lost_before", "lost_after", "empty", "late", "keeps_ids", "many_errors")
WITH_A_PAST = 3100090
CHANGING_CALLS = ("unlatch_customer", "latch_customer")


@dataclass(slots=True)
class Sandbox:
    """The running bot with its simulated Slack and Fusebill; the page is at `slack.url`."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    timing: Timing
    settings: Settings = field(init=False)
    bot: Bot = field(init=False)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start the bot, and have Slack call it."""
        async with AsyncExitStack() as stack:
            self.bot = await stack.enter_async_context(build(self.settings, self.timing))
            served = listening(self.bot, self.settings, "http")
            address, _ended = await stack.enter_async_context(served)
            self.slack.request_url = f"{address}/slack/events"
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Stop the bot, which finishes what was acknowledged."""
        await self._running.aclose()

    async def set_two_person(self, body: dict[str, object]) -> dict[str, object]:
        """Start the bot anew with the two-person rule on or off, as an admin would."""
        await self.stop()
        changed = {"unlatch_two_person": bool(body.get("on"))}
        self.settings = self.settings.model_copy(update=changed)
        await self.start()
        self.slack.page_changed()
        return {"ok": True}


async def run(*, port: int, open_browser: bool) -> None:
    """Serve the sandbox until Ctrl-C; port 0 picks a free one.

    Raises: OSError (the port is taken), InvalidSettings (an invalid `UNLATCH_…` variable).
    """
    stop = _stopped_by_signals()
    with TemporaryDirectory(prefix="unlatch-sandbox-") as folder:
        async with opened(Path(folder), port, past=WITH_A_PAST) as sandbox:
            _greet(sandbox.slack.url, folder)
            if open_browser:
                # in a thread: a browser in the terminal blocks until it is closed
                Thread(target=webbrowser.open, args=(sandbox.slack.url,), daemon=True).start()
            await stop.wait()
    print("Stopped. The sandbox's ledger was deleted.")


@asynccontextmanager
async def opened(
    folder: Path,
    port: int = 0,
    timing: Timing = Timing(),  # noqa: B008  # frozen
    *,
    past: int | None = None,
) -> AsyncIterator[Sandbox]:
    """Start the bot and its simulators, with the ledger in `folder`, and wait until they serve.

    `past` is a customer that was unlatched two days ago.
    Raises: OSError, InvalidSettings.
    """
    customers = sample_customers() | moved_customers()
    slack = SimulatedSlack(port)
    async with SimulatedFusebill(customers=customers) as fusebill:
        sandbox = Sandbox(slack, fusebill, timing)
        _add_page(sandbox)
        async with slack:
            fusebill.on_change = slack.page_changed
            sandbox.settings = _settings(slack, fusebill, folder)
            if past is not None:
                url = sandbox.settings.database_url.get_secret_value()
                await give_past(url, slack.workspace, customers[past])
            await sandbox.start()
            try:
                yield sandbox
            finally:
                # the bot finishes running work, and must not wait for a Fusebill that never answers
                fusebill.hang_up()
                await sandbox.stop()


def _settings(slack: SimulatedSlack, fusebill: SimulatedFusebill, folder: Path) -> Settings:
    """Fixed addresses and secrets; the rules (`UNLATCH_…`) may come from the environment."""
    fixed: dict[str, Any] = {
        "_env_file": None,
        "slack_bot_token": slack.bot_token,
        "slack_signing_secret": slack.signing_secret,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
        "fusebill_api_key": fusebill.api_key,
        "fusebill_base_url": fusebill.url,
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "host": "127.0.0.1",
        "port": 0,
        "log_level": "WARNING",
        "unlatch_move": os.environ.get("UNLATCH_MOVE", "true"),
    }
    return checked(Settings, **fixed)


def _add_page(sandbox: Sandbox) -> None:
    fusebill = sandbox.fusebill

    async def fault(body: dict[str, object]) -> dict[str, object]:
        fusebill.behave()
        kind = body.get("kind")
        for operation in CHANGING_CALLS if kind in CHANGES else (None,):
            if kind is not None:
                fusebill.misbehave(str(kind), operation=operation, times=None)
        return {"ok": True}

    async def reset(_body: dict[str, object]) -> dict[str, object]:
        fusebill.reset()
        return {"ok": True}

    PageApi(
        sandbox.slack,
        extra=lambda: _extra(sandbox),
        actions={"fault": fault, "reset": reset, "two-person": sandbox.set_two_person},
    )


def _extra(sandbox: Sandbox) -> dict[str, object]:
    """What the page shows besides the channel."""
    fusebill = sandbox.fusebill
    return {
        "two_person": sandbox.settings.unlatch_two_person,
        "customers": [
            {
                "id": customer["id"],
                "name": customer["companyName"],
                "reference": customer["reference"],
                "hubSpotId": customer["hubSpotId"],
                "hubSpotCompanyId": customer["hubSpotCompanyId"],
            }
            for customer in fusebill.customers.values()
        ],
        "faults": [{"kind": kind, "label": KINDS[kind]} for kind in (*ANY_CALL, *CHANGES)],
        "fault": fusebill.misbehaviour,
    }


def _greet(url: str, folder: str) -> None:
    print(
        f"A Slack channel to try it in: {url}\n"
        "Slack and Fusebill are simulated, on this machine only (loopback); nothing is real.\n"
        f"The ledger is in {folder} and is deleted when you stop with Ctrl-C.",
        flush=True,
    )


def _stopped_by_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
