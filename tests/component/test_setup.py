"""`unlatch-bot setup` at a terminal, against the simulators; what it writes and what it asks."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import stat
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.__main__ import main
from bot.app.examples import example
from bot.app.setup import write
from bot.inbound.manifest import manifest
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from tests.support.names import BIKES, CHANNEL

REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class Terminal:
    """A process at a pseudo terminal: what it printed, and the keys that somebody presses."""

    process: Process
    keys: int
    printed: str = ""
    read: int = 0

    async def asks(self, question: str, answer: str) -> None:
        """Wait for a question, and answer it."""
        await self.shows(question)
        os.write(self.keys, f"{answer}\n".encode())

    async def shows(self, text: str) -> None:
        """Wait until something is printed after what was waited for before."""
        async with asyncio.timeout(30):
            while (found := self.printed.find(text, self.read)) < 0:
                self.printed += await asyncio.to_thread(self._next)
        self.read = found + len(text)

    async def ended(self) -> int:
        """Wait for the end of the process; returns its exit code."""
        async with asyncio.timeout(30):
            return await self.process.wait()

    def _next(self) -> str:
        printed = os.read(self.keys, 65_536).decode()
        return printed.replace("\r\n", "\n")


@asynccontextmanager
async def at_a_terminal(
    folder: Path, slack: SimulatedSlack, fusebill: SimulatedFusebill
) -> AsyncIterator[Terminal]:
    """`unlatch-bot setup`, with the simulators' addresses and no secrets in its environment."""
    keys, screen = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "setup"),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "LANG": "C.UTF-8",
            "SLACK_API_URL": slack.api_url,
            "FUSEBILL_BASE_URL": fusebill.url,
        },
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    try:
        yield Terminal(process, keys)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(keys)


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


async def test_setup_goes_from_an_empty_folder_to_a_checked_bot_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with (
        SimulatedSlack() as slack,
        SimulatedFusebill() as fusebill,
        at_a_terminal(tmp_path, slack, fusebill) as terminal,
    ):
        await terminal.asks("Its address (empty: Socket Mode, which needs none): ", "")
        await terminal.asks("Bot User OAuth Token\nSLACK_BOT_TOKEN: ", slack.bot_token)
        await terminal.asks("connections:write\nSLACK_APP_TOKEN: ", slack.app_token)
        await terminal.asks("API Key\nFUSEBILL_API_KEY: ", fusebill.api_key)
        await terminal.shows("which only you can read.")
        await terminal.shows("✓ Socket Mode: Slack accepts the app-level token")
        await terminal.shows("✓ Fusebill: accepts the API key")
        await terminal.asks("Stax Bill ID (empty: no more): ", f"{BIKES}")
        await terminal.shows("Clears contact 101 and company 202. Can be undone.\nAsked by you")
        await terminal.asks("Stax Bill ID (empty: no more): ", "424242")
        await terminal.shows("Fusebill has no customer 424242.")
        await terminal.asks("Stax Bill ID (empty: no more): ", "")
        await terminal.shows("To start the bot: python -m bot socket")
        assert await terminal.ended() == 0
        secrets = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "FUSEBILL_API_KEY": fusebill.api_key,
        }
        assert (tmp_path / ".env").read_text() == "".join(f"{n}={v}\n" for n, v in secrets.items())
        assert mode_of(tmp_path / ".env") == 0o600
        assert not [value for value in secrets.values() if value in terminal.printed]
        assert {call.method for call in fusebill.calls} == {"GET"}
        assert slack.workspace.messages(CHANNEL) == []
    link = re.search(r"https://api\.slack\.com/apps\?\S+", terminal.printed)
    assert link is not None
    query = parse_qs(urlsplit(link[0]).query)
    assert query["new_app"] == ["1"]
    assert json.loads(query["manifest_json"][0]) == manifest(None)


async def test_setup_keeps_what_is_there_and_asks_only_for_what_is_missing_or_wrong(
    tmp_path: Path,
) -> None:
    dotenv = tmp_path / ".env"
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        kept = "# ours\nUNLATCH_TWO_PERSON=true\n"
        kept += f"SLACK_BOT_TOKEN={slack.bot_token}\nSLACK_SIGNING_SECRET={'0a' * 16}\n"
        dotenv.write_text(f"{kept}FUSEBILL_API_KEY=...\n# the end\n")
        dotenv.chmod(0o644)
        async with at_a_terminal(tmp_path, slack, fusebill) as terminal:
            await terminal.asks("API Key\nFUSEBILL_API_KEY: ", '"in quotes"')
            await terminal.shows("✗ FUSEBILL_API_KEY must not have quotes around it")
            await terminal.asks("FUSEBILL_API_KEY: ", fusebill.api_key)
            await terminal.asks("Stax Bill ID (empty: no more): ", "")
            await terminal.shows("To start the bot: python -m bot http")
            assert await terminal.ended() == 0
        assert dotenv.read_text() == f"{kept}FUSEBILL_API_KEY={fusebill.api_key}\n# the end\n"
    assert mode_of(dotenv) == 0o600
    assert "_TOKEN: " not in terminal.printed
    assert "api.slack.com/apps?" not in terminal.printed


def test_a_copied_example_is_filled_in_where_its_lines_are(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(example("env"))
    write(dotenv, "SLACK_BOT_TOKEN", "xoxb-1")
    write(dotenv, "SLACK_APP_TOKEN", "xapp-1")
    write(dotenv, "FUSEBILL_API_KEY", "a2V5")
    expected = example("env").replace("SLACK_BOT_TOKEN=xoxb-...", "SLACK_BOT_TOKEN=xoxb-1")
    expected = expected.replace("# SLACK_APP_TOKEN=xapp-...", "SLACK_APP_TOKEN=xapp-1")
    expected = expected.replace("FUSEBILL_API_KEY=...", "FUSEBILL_API_KEY=a2V5")
    assert dotenv.read_text() == expected.replace("\nSLACK_SIGNING", "\n# SLACK_SIGNING")


def test_without_a_terminal_setup_says_what_to_do_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["setup"]) == 1
    assert "example env" in capsys.readouterr().err


def test_the_bare_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "print the ledger, or verify it" in capsys.readouterr().out


def test_example_env_prints_the_example_of_all_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", "env"]) == 0
    assert capsys.readouterr().out == (REPOSITORY / ".env.example").read_text()
