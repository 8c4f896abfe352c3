"""The runner on each database: it starts what steps leave held, takes what is due, and renews."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select, union_all
from structlog.testing import capture_logs

from bot.domain.models import Card, Verdict
from bot.ledger import ask_steps, decide_steps, jobs
from bot.ledger.database.engine import Database
from bot.ledger.decide_steps import Decided
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.people import Act, Repeated
from bot.ledger.tables import acts, jobs as table, response_urls
from bot.ops.tasks import BackgroundTasks
from bot.requests.runner import PLACES, Handler, Runner
from bot.settings import Timing
from tests.support.steps import BOB, LIFE, REQUEST

QUICK = Timing(hold_s=0.6, sweep_every_s=0.05)
ID = REQUEST.id


class Handled:
    """What handlers did, by kind; each job takes until `release`, and is over then."""

    def __init__(self, runner: Runner, *kinds: Kind) -> None:
        self._runner = runner
        self.started: Counter[str] = Counter()
        self.release = asyncio.Event()
        runner.handle(dict.fromkeys(kinds, self._handle))

    async def _handle(self, job: Job) -> None:
        self.started[job.kind] += 1
        await self.release.wait()
        await self._runner.run(jobs.end, job)


def runner_on(
    database: Database,
    handlers: Mapping[Kind, Handler] | None = None,
    stopping: asyncio.Event | None = None,
    timing: Timing = QUICK,
) -> Runner:
    runner = Runner(database, BackgroundTasks(), timing, stopping or asyncio.Event())
    runner.handle(handlers or {})
    return runner


@asynccontextmanager
async def keeping(runner: Runner) -> AsyncIterator[None]:
    """Let a runner take and renew until the block ends."""
    task = asyncio.create_task(runner.keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not holds():  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.01)


async def add(runner: Runner, card_id: str, kind: str, **values: object) -> None:
    """Add a job that is due."""
    now = datetime.now(UTC)
    new = {"card_id": card_id, "kind": kind, "due_at": now, "set_at": now}
    counts = {"takes": 0, "attempts": 0, "wanted": 1}
    await runner.read(lambda c: c.execute(insert(table).values(new | counts | values)))


async def left(runner: Runner) -> list[str]:
    """The cards for which something is still to be done."""
    return await runner.read(lambda c: list(c.execute(select(table.c.card_id)).scalars()))


async def test_what_a_step_leaves_held_is_started_at_once(database: Database) -> None:
    runner = runner_on(database)
    handled = Handled(runner, Kind.POST)
    await runner.run(ask_steps.asked, Card((REQUEST,)), Act("asks"), LIFE)
    await until(lambda: handled.started == {"post": 1})
    assert runner.running(ID, Kind.POST)
    handled.release.set()
    await until(lambda: not runner.running(ID, Kind.POST))
    assert await left(runner) == []


async def test_what_another_process_left_is_taken(database: Database) -> None:
    runner = runner_on(database)
    handled = Handled(runner, Kind.WORK)
    handled.release.set()
    await add(runner, ID, Kind.WORK)
    async with keeping(runner):
        await until(lambda: handled.started == {"work": 1})


async def test_many_jobs_of_one_kind_keep_none_of_another_waiting(database: Database) -> None:
    runner = runner_on(database)
    looks, works = Handled(runner, Kind.RECHECK), Handled(runner, Kind.WORK)
    for number in range(50):
        await add(runner, f"card {number}", Kind.RECHECK)
    await add(runner, ID, Kind.WORK)
    async with keeping(runner):
        await until(lambda: works.started == {"work": 1})
        await asyncio.sleep(0.2)
        assert looks.started == {"recheck": PLACES[Kind.RECHECK]}
        looks.release.set()
        await until(lambda: looks.started == {"recheck": 50})
        works.release.set()


async def test_a_hold_is_renewed_as_long_as_its_job_runs(database: Database) -> None:
    one, other = runner_on(database), runner_on(database)
    mine, others = Handled(one, Kind.WORK), Handled(other, Kind.WORK)
    await add(one, ID, Kind.WORK)
    async with keeping(one):
        await until(lambda: mine.started == {"work": 1})
        async with keeping(other):
            await asyncio.sleep(3 * QUICK.hold_s)
            assert others.started == {}
            mine.release.set()
            others.release.set()


async def test_a_process_that_stops_renews_and_takes_nothing(database: Database) -> None:
    stopping = asyncio.Event()
    one, other = runner_on(database, stopping=stopping), runner_on(database)
    mine, others = Handled(one, Kind.WORK), Handled(other, Kind.WORK)
    await add(one, ID, Kind.WORK)
    async with keeping(one):
        await until(lambda: mine.started == {"work": 1})
        stopping.set()
        await add(one, "another", Kind.WORK)
        others.release.set()
        async with keeping(other):
            await until(lambda: others.started == {"work": 1})
            await asyncio.sleep(2 * QUICK.hold_s)
        assert (mine.started, others.started) == ({"work": 1}, {"work": 1})
        mine.release.set()


async def test_what_is_kept_no_longer_is_forgotten_at_the_start(database: Database) -> None:
    runner = runner_on(database)
    Handled(runner, *Kind)
    await runner.run(ask_steps.asked, Card((REQUEST,)), Act("asks"), LIFE, "https://new")
    await add_old(runner)
    assert await kept(runner) == {"asks", "old", "https://new", "https://old"}
    async with keeping(runner):
        await until_kept(runner, {"asks", "https://new"})


async def test_what_is_kept_no_longer_is_forgotten_again_after_a_pause(database: Database) -> None:
    runner = runner_on(database, timing=replace(QUICK, forget_every_s=1.5))
    Handled(runner, *Kind)
    await runner.run(ask_steps.asked, Card((REQUEST,)), Act("asks"), LIFE, "https://new")
    await add_old(runner)
    async with keeping(runner):
        await until_kept(runner, {"asks", "https://new"})
        await add_old(runner)
        # some looks at what is due
        await asyncio.sleep(0.3)
        assert await kept(runner) == {"asks", "old", "https://new", "https://old"}
        await until_kept(runner, {"asks", "https://new"})


async def add_old(runner: Runner) -> None:
    """Add an act and a response URL that are kept no longer."""
    now = datetime.now(UTC)
    act = {"id": "old", "card_id": ID, "at": now - timedelta(hours=25), "came_of_it": "asked"}
    url = {"request_id": ID, "user_id": "U0BOB", "url": "https://old", "expires_at": now}
    await runner.run(lambda tx: tx.connection.execute(insert(acts).values(act)))
    await runner.run(lambda tx: tx.connection.execute(insert(response_urls).values(url)))


async def kept(runner: Runner) -> set[str]:
    """The acts and the response URLs in the ledger."""

    def read(connection: Connection) -> set[str]:
        found = union_all(select(acts.c.id), select(response_urls.c.url))
        return set(connection.execute(found).scalars())

    return await runner.read(read)


async def until_kept(runner: Runner, expected: set[str]) -> None:
    async with asyncio.timeout(5.0):
        while await kept(runner) != expected:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.01)


async def test_a_job_that_fails_by_a_bug_is_put_off_and_logged_once(database: Database) -> None:
    async def fails(_job: Job) -> None:
        raise ZeroDivisionError

    runner = runner_on(database, {Kind.WORK: fails})
    handled = Handled(runner, Kind.SHOW)
    handled.release.set()
    with capture_logs() as logs:
        async with keeping(runner):
            await add(runner, ID, Kind.WORK)
            await until(lambda: bool(logs))
            await runner.run(set_now, Kind.WORK)
            await add(runner, ID, Kind.SHOW)
            await until(lambda: handled.started == {"show": 1})
            await asyncio.sleep(0.2)
    assert [line["event"] for line in logs] == ["job failed; audit --verify finds changed rows"]
    found = await runner.run(jobs.find, ID, Kind.WORK)
    assert found is not None
    assert found["holder"] is None
    assert found["due_at"] > datetime.now(UTC) + timedelta(seconds=50)


def set_now(tx: Transaction, kind: Kind) -> None:
    """Set a job of the card for now."""
    tx.set(ID, kind)


async def test_a_job_of_a_kind_that_nobody_here_does_is_left_alone(database: Database) -> None:
    runner = runner_on(database)
    handled = Handled(runner, Kind.WORK)
    handled.release.set()
    await add(runner, "newer", "brew")
    with capture_logs() as logs:
        async with keeping(runner):
            await add(runner, ID, Kind.WORK)
            await until(lambda: handled.started == {"work": 1})
            await asyncio.sleep(0.2)
    assert await left(runner) == ["newer"]
    assert logs == []


@pytest.mark.parametrize("verdict", [Verdict.CONFIRMED, Verdict.CANCELLED])
async def test_the_same_act_twice_at_once_is_answered_alike(
    database: Database, verdict: Verdict
) -> None:
    one, other = runner_on(database), runner_on(database)
    for runner in (one, other):
        Handled(runner, *Kind)
    await one.run(ask_steps.asked, Card((REQUEST,)), Act("asks"), LIFE)
    act = Act("presses")

    async def press(runner: Runner) -> Decided:
        return await runner.run_urgently(decide_steps.decided, ID, verdict, BOB, act)

    first, second = await asyncio.gather(press(one), press(other))
    assert (first.taken, second.taken) == (True, True)
    assert first.card == second.card


async def test_the_same_command_twice_at_once_asks_once(database: Database) -> None:
    one, other = runner_on(database), runner_on(database)
    for runner in (one, other):
        Handled(runner, *Kind)
    act = Act("asks")
    results = await asyncio.gather(
        *(each.run(ask_steps.asked, Card((REQUEST,)), act, LIFE) for each in (one, other))
    )
    assert Counter(map(type, results)) == {Card: 1, Repeated: 1}
