"""`python -m tests.walk`: which modules and functions of the bot does a click pass?

Serves the real bot over HTTP between the simulators, sends what a person does, and counts with a
profiler, in all threads, what is entered at least once from the request's arrival until Slack shows
the result and the bot is at rest. With `--list` it prints them, in the order of their first entry.
Not counted are the simulators, lambdas, comprehensions, and what the tests themselves call.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import bot
from bot.app.composition import build
from bot.app.server import listening
from bot.ops import logs
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack
from bot.settings import Timing
from tests.support.names import BIKES, CHANNEL, CONFIRM
from tests.support.world import World, settings_for

JOINERY = 3100025
TEN = range(5_000_001, 5_000_011)
HOME, TESTS = Path(bot.__file__).parent, str(Path(__file__).parent)
QUIET = Timing(sweep_every_s=3600.0, working_after_s=3600.0)
"""What depends on how long something takes is left out: what is due later, signs of progress."""


@dataclass(slots=True)
class Walk:
    """What was entered: a module and a function's name in it, in the order of their first entry."""

    name: str
    functions: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def modules(self) -> list[str]:
        """The modules, in the order of their first entry."""
        return list(dict.fromkeys(module for module, _function in self.functions))

    def summary(self) -> str:
        """One line: how many modules and functions."""
        return f"{self.name}: {len(self.modules)} modules, {len(self.functions)} functions"

    def listing(self) -> Iterator[str]:
        """A line for each module, with its functions."""
        for each in self.modules:
            names = [function for module, function in self.functions if module == each]
            yield f"  {each}: {', '.join(names)}"


class Profiler:
    """Notes what all threads enter while somebody walks."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        self._modules: dict[str, str | None] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch this thread and all that are started meanwhile."""
        before, before_in_threads = sys.getprofile(), threading.getprofile()
        threading.setprofile(self._entered)
        sys.setprofile(self._entered)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(before_in_threads)

    async def watch(self, name: str, doing: Awaitable[object]) -> Walk:
        """Do something; returns what was entered meanwhile."""
        self._walk = walk = Walk(name)
        try:
            await doing
        finally:
            self._walk = None
        return walk

    def _entered(self, frame: FrameType, event: str, _argument: object) -> None:
        walk = self._walk
        if walk is None or event != "call":
            return
        code, caller = frame.f_code, frame.f_back
        module = self._module_of(code.co_filename)
        if module is None or code.co_name.startswith("<"):
            return
        if caller is None or not caller.f_code.co_filename.startswith(TESTS):
            walk.functions.setdefault((module, code.co_qualname))

    def _module_of(self, file: str) -> str | None:
        if file not in self._modules:
            path = Path(file)
            inside = path.is_relative_to(HOME) and not path.is_relative_to(HOME / "sandbox")
            parts = path.with_suffix("").relative_to(HOME).parts if inside else ()
            self._modules[file] = ".".join(("bot", *parts)) if inside else None
        return self._modules[file]


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SimulatedSlack())
        fusebill = await stack.enter_async_context(SimulatedFusebill())
        settings = settings_for(slack, fusebill, folder)
        built = await stack.enter_async_context(build(settings, QUIET))
        address, _ended = await stack.enter_async_context(listening(built, settings, "http"))
        slack.request_url = f"{address}/slack/events"
        url = settings.database_url.get_secret_value()
        world = World(slack, fusebill, built, address, url)
        # what is done once, at the start or by the first click, belongs to nobody's
        await _confirm(world, await _ask(world, f"{JOINERY} moved"), "✅ Unlatched")
        yield world


async def _ask(world: World, text: str) -> PostedMessage:
    before = len(world.slack.workspace.messages(CHANNEL))
    await world.slack.command("U0ALICE", text)
    await world.slack.workspace.until(
        lambda: len(world.slack.workspace.messages(CHANNEL)) > before, 30.0
    )
    await world.settled()
    return world.slack.workspace.messages(CHANNEL)[-1]


async def _confirm(world: World, card: PostedMessage, result: str) -> None:
    await world.slack.click("U0BOB", card.ts, CONFIRM)
    await world.slack.workspace.until(
        lambda: result in world.card(card) and result in world.thread(card), 30.0
    )
    await world.settled()


async def walks() -> list[Walk]:
    """A command, its click, a command for ten customers, and its click, one after the other."""
    profiler = Profiler()
    with profiler.installed(), TemporaryDirectory() as folder:
        async with _world(Path(folder)) as world:
            world.fusebill.customers |= {
                each: dict(world.fusebill.customers[BIKES], id=each) for each in TEN
            }
            messages = world.slack.workspace.messages
            asked = await profiler.watch("a command", _ask(world, f"{BIKES} moved"))
            clicked = await profiler.watch(
                "a click", _confirm(world, messages(CHANNEL)[-1], "✅ Unlatched")
            )
            many = f"{', '.join(map(str, TEN))} moved"
            asked_ten = await profiler.watch("a command for ten", _ask(world, many))
            clicked_ten = await profiler.watch(
                "a click for ten", _confirm(world, messages(CHANNEL)[-1], "✅ 10 unlatched")
            )
    return [clicked, asked, asked_ten, clicked_ten]


def main(arguments: list[str]) -> None:
    """Walk, and print a line for each, or all that was entered."""
    parser = argparse.ArgumentParser(prog="python -m tests.walk", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the modules and functions")
    listed = parser.parse_args(arguments).list
    # the bot logs, as it does where it runs
    with redirect_stderr(io.StringIO()):
        logs.configure("INFO", "json")
        found = asyncio.run(walks())
    for walk in found:
        print(walk.summary())
        if listed:
            print(*walk.listing(), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
