"""The servers that are compared: the commands that start them, and their ledgers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.interpreter import Interpreter, kept_folder
from tests.benchmarks.ledgers import Ledgers
from tests.benchmarks.servers import ServerFailed

BOLT_JS = "@slack/bolt@4"
NODE = "node@24"
"""npm has Node itself: `node:sqlite` needs a newer one than most systems have."""
RIVALS = Path(__file__).parent / "rivals"
SQLITE, POSTGRESQL, SCRIPT, PATIENT = "sqlite", "postgresql", "script", "patient"
JS, JS_LEDGER = "bolt-js", "bolt-js with a ledger"
FLOWS = ("floor", "naive", JS, JS_LEDGER, SQLITE, POSTGRESQL)
"""The servers of the flow, in the order of the report."""
FULL, BATCH_FULL = " full", " batch full"
"""End the names of variants with a filled ledger: of single cards, and of cards for 50."""
BATCH_HISTORY, BATCH_SIZE = 10_000, 50


@dataclass(frozen=True, slots=True)
class Variant:
    """A server of the flow; `ledger` gives the address of its database if it has one.

    `variable` is the setting that takes the address.
    """

    name: str
    command: tuple[str, ...]
    ledger: Callable[[], str] | None = None
    variable: str = "DATABASE_URL"


class Variants:
    """Makes variants by their names; what takes long is done when it is first needed."""

    def __init__(self, python: Interpreter, ledgers: Ledgers, history: int) -> None:
        self._python = python
        self._ledgers = ledgers
        self._history = history
        self._filled: dict[str, str] = {}

    async def get(self, name: str) -> Variant:
        """The variant of this name: installs Bolt for JavaScript, or fills a ledger, once.

        Raises: ServerFailed.
        """
        match name:
            case "floor" | "naive" | "bare Bolt":
                rival = name.removesuffix(" Bolt")
                return Variant(name, self.module(f"tests.benchmarks.rivals.{rival}"))
            case "bolt-js":
                return Variant(name, await _in_node("bolt.mjs"))
            case "bolt-js with a ledger":
                command = await _in_node("ledger.mjs")
                return Variant(name, command, self._ledgers.new_file, "LEDGER")
            case "patient":
                return Variant(name, self.module("tests.benchmarks.patient"), self._ledgers.sqlite)
        command = (*self.module("bot"), "http")
        new = self._ledgers.postgresql if name.startswith(POSTGRESQL) else self._ledgers.sqlite
        if name in (SQLITE, POSTGRESQL):
            return Variant(name, command, new)
        if name not in self._filled:
            size = BATCH_SIZE if name.endswith(BATCH_FULL) else 1
            how_many = BATCH_HISTORY if name.endswith(BATCH_FULL) else self._history
            self._filled[name] = await asyncio.to_thread(self._ledgers.filled, new, how_many, size)
        return Variant(name, command, lambda: self._filled[name])

    def module(self, name: str, *arguments: str) -> tuple[str, ...]:
        """The command that runs a module on the Python of all variants."""
        return (self._python.path, "-m", name, *arguments)


def bolt_js_folder() -> Path:
    """Where Bolt for JavaScript is installed: outside the repository, kept for the next run."""
    return kept_folder() / "bolt-js"


def node() -> Path:
    """Node as npm installed it there."""
    return bolt_js_folder() / "node_modules" / ".bin" / "node"


async def _in_node(program: str) -> tuple[str, ...]:
    """The command that runs one of the programs for Node; installs what they need, once."""
    folder = bolt_js_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not ((folder / "node_modules" / "@slack" / "bolt").is_dir() and node().exists()):
        npm = await asyncio.create_subprocess_exec(
            "npm", "install", "--no-audit", "--no-fund", "--silent", BOLT_JS, NODE, cwd=folder
        )
        if await npm.wait():
            raise ServerFailed(f"npm could not install {BOLT_JS} and {NODE}")
    # Node looks for packages next to the program
    for each in RIVALS.glob("*.mjs"):
        shutil.copy(each, folder)
    return str(node()), str(folder / program)
