"""`python -m tests.versions`: do the released versions read what this one writes?

Checks each released version out of git into a temporary worktree, writes a ledger with this one,
takes its schema back, and lets the old code read, list and verify it. Only 0.1.0's `--verify` is
not asked: it covers the card's `ts` with the first event, which later versions write before there
is a card. Nor can it read a verdict that it does not know. The other direction is
`tests/resilience/test_versions.py`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM, UNDO
from tests.support.older import FIRST, LAST, migrate_to
from tests.support.world import QUICK, World, settings_for

FIRST_IMPORTS = """
from bot.database import Database, open_engine, require_current
from bot.ledger import Ledger
Ledger.recent_requests = Ledger.history
"""
IMPORTS = """
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.database.migrating import require_current
from bot.ledger.store import Ledger
"""
RELEASED = {
    "0.1.0": ("ea2c74a", FIRST, FIRST_IMPORTS),
    "1.0.0": ("91058d3", LAST, IMPORTS),
}
"""For each released version: its commit, the schema that it needs, and how it reads that."""
READ = """
import asyncio, sys

async def main(url):
    engine = open_engine(url)
    require_current(engine)
    database = Database(engine)
    ledger = Ledger(database)
    requests = await ledger.recent_requests(None, 100)
    for request in requests:
        print(request.kind, request.verdict, request.outcome, len(request.customer.name) > 0)
    await database.close()

asyncio.run(main(sys.argv[1]))
"""


async def write(folder: Path, *, overtakes: bool) -> str:
    """Write a ledger with this version: asked, refused, cleared, undone, cancelled.

    With `overtakes`, also a card that the bot closed by itself.
    """
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SimulatedSlack())
        fusebill = await stack.enter_async_context(SimulatedFusebill())
        settings = settings_for(slack, fusebill, folder, unlatch_two_person=True)
        bot = await stack.enter_async_context(build(settings, QUICK))
        address, _ended = await stack.enter_async_context(listening(bot, settings, "http"))
        slack.request_url = f"{address}/slack/events"
        url = settings.database_url.get_secret_value()
        world = World(slack, fusebill, bot, address, url)
        card = await world.ask()
        if overtakes:
            await world.ask()
        await world.press("U0ALICE", card, CONFIRM)
        await world.press("U0BOB", card, CONFIRM)
        await world.press("U0BOB", card, UNDO)
        await world.press("U0ALICE", slack.workspace.thread(CHANNEL, card.ts)[-1], CONFIRM)
        await world.press("U0ALICE", await world.ask(f"{BIKES} by mistake"), CANCEL)
        at_once = [await world.ask(f"{BIKES} card {number}") for number in range(2)]
        await asyncio.gather(*(slack.click("U0BOB", each.ts, CONFIRM) for each in at_once))
        await world.settled()
        await world.ask("3100042 waits")
        return url


def run(folder: Path, *words: str, **environment: str) -> str:
    """Run the old code with this Python; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:3])} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def check(version: str) -> None:
    """Let a released version read what this one writes. Raises: SystemExit if it can't."""
    commit, revision, imports = RELEASED[version]
    known = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        print(f"{version}: skipped, its commit {commit} is not in this copy's git history")
        return
    with TemporaryDirectory() as folder:
        url = asyncio.run(write(Path(folder), overtakes=revision != FIRST))
        migrate_to(url, revision)
        old = Path(folder) / "old"
        subprocess.run(["git", "worktree", "add", "--detach", old, commit], check=True)
        try:
            print(run(old, "-c", imports + READ, url), end="")
            if revision != FIRST:
                print(run(old, "-m", "bot", "audit", "--verify", DATABASE_URL=url), end="")
            lines = run(old, "-m", "bot", "audit", "--json", DATABASE_URL=url).splitlines()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", old], check=True)
        print(f"{version}: reads and lists {len(lines)} events")


if __name__ == "__main__":
    for each in RELEASED:
        check(each)
