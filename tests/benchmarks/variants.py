"""The servers that are compared: the commands that start them, and their ledgers."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import ledgers
from tests.benchmarks.ledgers import Ledgers

BOLT_JS = "@slack/bolt@4"
RIVALS = Path(__file__).parent / "rivals"
NAMES = ("floor", "naive", "bolt-js", "sqlite", "postgresql")
FULL = " full"
"""Ends the name of a variant of the bot that is measured on a filled ledger."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A server of the flow; `ledger` gives the address of its database if it has one."""

    name: str
    command: tuple[str, ...]
    ledger: Callable[[], str] | None = None


def bare() -> Variant:
    """An empty Bolt app, as the yardstick for cold starts."""
    return Variant("bare", _module("tests.benchmarks.rivals.bare"))


async def variants(names: list[str], databases: Ledgers, history: int) -> list[Variant]:
    """The variants of these names; the bot's also with `history` requests if that is not 0."""
    return [variant for name in names for variant in await _variants_of(name, databases, history)]


async def _variants_of(name: str, databases: Ledgers, history: int) -> list[Variant]:
    if name in ("floor", "naive"):
        return [Variant(name, _module(f"tests.benchmarks.rivals.{name}"))]
    if name == "bolt-js":
        return [Variant(name, ("node", str(await _installed())))]
    new = databases.sqlite if name == "sqlite" else databases.postgresql
    empty = Variant(name, (*_module("bot"), "http"), new)
    if not history:
        return [empty]
    filled = new()
    await asyncio.to_thread(ledgers.fill, filled, history)
    return [empty, Variant(name + FULL, empty.command, lambda: filled)]


def bolt_js_folder() -> Path:
    """Where Bolt for JavaScript is installed: outside the repository, kept for the next run."""
    return Path(tempfile.gettempdir()) / "unlatch-bot-benchmarks" / "bolt-js"


async def _installed() -> Path:
    folder = bolt_js_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "@slack" / "bolt").is_dir():
        npm = await asyncio.create_subprocess_exec(
            "npm", "install", "--no-audit", "--no-fund", "--silent", BOLT_JS, cwd=folder
        )
        if await npm.wait():
            raise RuntimeError(f"npm could not install {BOLT_JS}")
    # Node looks for packages next to the program
    return Path(shutil.copy(RIVALS / "bolt.mjs", folder))


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
