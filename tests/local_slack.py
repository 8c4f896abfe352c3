"""`python -m tests.local_slack BINARY`: a journey against a Slack that somebody else has written.

`local-slack` is a local Slack of the npm registry, with Web API, Socket Mode, signed HTTP, forms
and response URLs. It shares no code and no author with the simulator of `bot.sandbox`, so it shows
where both read Slack's documentation differently. It checks no blocks and no scopes, knows no user
groups, and opens a form within half an hour of its trigger. Fusebill is the sandbox's.

    npm install --prefix /tmp/local-slack local-slack-linux-x64@0.1.8
    python -m tests.local_slack /tmp/local-slack/node_modules/local-slack-linux-x64/bin/local-slack
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from bot.app.composition import build
from bot.app.server import listening
from bot.ops import logs
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import text_of
from bot.settings import Mode, Settings
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM, UNDO
from tests.support.reading import parts

JOINERY = 3100025
COMMAND = "/unlatch-test"
TOKENS = {
    "botToken": "xoxb-local-slack",
    "appToken": "xapp-local-slack",
    "signingSecret": "0123456789abcdef" * 2,
}
BOT = "U0UNLATCH"
PEOPLE = {"U0ALICE": "alice", "U0BOB": "bob"}
WAITS_S = 15.0

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LocalSlack:
    """The running program: what people do in it, and what they see."""

    url: str
    session: aiohttp.ClientSession

    async def command(self, text: str) -> None:
        """Alice types the command."""
        typed = {"channel": CHANNEL, "user": "U0ALICE", "command": COMMAND, "text": text}
        await self._do("command", typed)

    async def press(self, user: str, message: Block, action_id: str) -> None:
        """Press the first button of this name."""
        button = next(each for each in parts(message["blocks"]) if _is(each, action_id))
        pressed = {"channel": CHANNEL, "user": user, "messageTs": message["ts"], "action": button}
        await self._do("interact", pressed)

    async def submit(self, user: str, typed: dict[str, str]) -> None:
        """Wait for a form, fill it in and send it; it must close."""
        async with self.session.ws_connect(f"{self.url}/ui") as browser:
            while not (state := (await browser.receive_json())).get("stack"):
                if state["t"] == "init" and state["state"]["modalStack"]:
                    break
            values = {
                name: {name: {"type": "plain_text_input", "value": text}}
                for name, text in typed.items()
            }
            await browser.send_json({"t": "view_submit", "user": user, "values": values})
            async with asyncio.timeout(WAITS_S):
                while (await browser.receive_json()).get("stack") != []:
                    pass

    async def message(self, *words: str) -> Block:
        """The newest message that has all these words, once there is one."""
        return await self._until(lambda found: all(word in _shown(found) for word in words))

    async def _until(self, is_it: Callable[[Block], bool]) -> Block:
        async with asyncio.timeout(WAITS_S):
            while not (found := [each for each in await self.messages() if is_it(each)]):
                await asyncio.sleep(0.05)  # it tells only browsers
        return found[-1]

    async def messages(self) -> list[Block]:
        """All messages of the channel, private ones and replies too."""
        async with self.session.get(f"{self.url}/_control/messages/{CHANNEL}") as answer:
            return list((await answer.json())["messages"])

    async def private_answers(self) -> str:
        """How many private answers there are, and how many of them repeat another."""
        private = [_shown(each) for each in await self.messages() if "ephemeral_to" in each]
        return (
            f"{len(private)} private answers, {len(private) - len(set(private))} of them repeated"
        )

    async def _do(self, what: str, body: object) -> None:
        async with self.session.post(f"{self.url}/_control/{what}", json=body) as answer:
            answer.raise_for_status()


def _is(block: Block, action_id: str) -> bool:
    return block.get("type") == "button" and block.get("action_id") == action_id


def _shown(message: Block) -> str:
    return text_of(message.get("blocks") or [])


async def journey(slack: LocalSlack, fusebill: SimulatedFusebill) -> AsyncIterator[str]:
    """Do what people do, and say each thing that was seen."""
    await slack.command("help")
    await slack.message(f"{COMMAND} pending")
    yield "a command is answered privately, under the name that was typed"

    await slack.command(f"{BIKES} moved")
    card = await slack.message(str(BIKES), "[Unlatch ")
    yield "a command posts a card"

    await slack.press("U0BOB", card, CONFIRM)
    done = await slack.message("✅ Unlatched", "[Undo…]")
    assert done["ts"] == card["ts"]
    assert [each.operation for each in fusebill.calls if each.method == "POST"]
    yield "a press calls Fusebill once and turns the card into the result"

    trail = await slack.message("<@U0BOB>", "confirmed")
    assert trail["thread_ts"] == card["ts"]
    yield "the card's thread has the trail"

    await slack.press("U0BOB", done, UNDO)
    undo = await slack.message("[Latch ")
    assert undo["thread_ts"] == card["ts"]
    await slack.press("U0ALICE", undo, CONFIRM)
    await slack.message("↩️ Restored")
    yield "Undo… posts a card in the thread, and a press on it latches the customer again"

    await slack.command(f"find {JOINERY}")
    await slack.press("U0ALICE", await slack.message("[Use this one]"), "unlatch_use")
    card = await slack.message(str(JOINERY), "[Unlatch ")
    yield "a button of a private answer posts a card"

    await slack.press("U0BOB", card, CANCEL)
    await slack.submit("U0BOB", {"reason": "wrong customer"})
    await slack.message("⛔ Declined", "wrong customer")
    yield "Cancel on somebody else's card opens a form, and sending that declines it"

    await slack.command("many")
    await slack.submit("U0ALICE", {"ids": f"{BIKES}\n{JOINERY}", "reason": "moved"})
    card = await slack.message("[Unlatch 2 customers]")
    await slack.press("U0BOB", card, CONFIRM)
    await slack.message("✅ 2 unlatched")
    yield "the form of many posts one card for two customers, and a press unlatches both"


@asynccontextmanager
async def _local_slack(binary: str, mode: Mode, bot_port: int) -> AsyncIterator[LocalSlack]:
    events = {"mode": "events", "requestUrl": f"http://127.0.0.1:{bot_port}/slack/events"}
    app = {"appId": "A0UNLATCH", "botUserId": BOT, "botName": "unlatch", **TOKENS}
    config = {
        "workspace": {"teamId": "T0LOCAL"},
        "app": app | (events if mode == "http" else {"mode": "socket"}),
        "users": [{"id": user, "name": name} for user, name in PEOPLE.items()],
        "channels": [{"id": CHANNEL, "name": "billing", "members": [*PEOPLE, BOT]}],
    }
    port = _free_port()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config))
        arguments = ("--config", str(path), "--port", str(port), "--base-host", "127.0.0.1")
        process = await asyncio.create_subprocess_exec(binary, *arguments, stdout=DEVNULL)
        try:
            async with aiohttp.ClientSession() as session:
                slack = LocalSlack(f"http://127.0.0.1:{port}", session)
                await _answers(slack)
                yield slack
        finally:
            process.terminate()
            await process.wait()


async def _answers(slack: LocalSlack) -> None:
    async with asyncio.timeout(WAITS_S):
        while True:
            try:
                await slack.messages()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
            else:
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def travel(binary: str, mode: Mode) -> None:
    """The journey with a bot of its own; prints what was seen."""
    port = _free_port()
    with TemporaryDirectory() as folder:
        async with _local_slack(binary, mode, port) as slack, SimulatedFusebill() as fusebill:
            values: dict[str, Any] = {
                "_env_file": None,
                "slack_bot_token": TOKENS["botToken"],
                "slack_app_token": TOKENS["appToken"],
                "slack_signing_secret": TOKENS["signingSecret"],
                "slack_api_url": f"{slack.url}/api/",
                "fusebill_api_key": fusebill.api_key,
                "fusebill_base_url": fusebill.url,
                "database_url": f"sqlite:///{folder}/ledger.db",
                "host": "127.0.0.1",
                "port": port,
            }
            settings = Settings(**values)
            async with build(settings) as bot, listening(bot, settings, mode):
                async for seen in journey(slack, fusebill):
                    print(f"{mode}: {seen}")
                while len(bot.tasks):
                    await asyncio.sleep(0.05)
                print(f"{mode}: {await slack.private_answers()}")


def main(arguments: list[str]) -> None:
    """Travel over HTTP and over Socket Mode; the first thing that is not seen ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_slack", description=__doc__)
    parser.add_argument("binary", help="local-slack of the npm package local-slack-linux-x64")
    parser.add_argument("--logs", action="store_true", help="print the bot's log, too")
    parsed = parser.parse_args(arguments)
    with redirect_stderr(sys.stderr if parsed.logs else io.StringIO()):
        logs.configure("INFO", "json")
        for mode in ("http", "socket"):
            asyncio.run(travel(parsed.binary, mode))


if __name__ == "__main__":
    main(sys.argv[1:])
