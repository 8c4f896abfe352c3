"""Jobs on each database: who holds one, until when, and who may take it over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection, delete, insert, select, update

from bot.domain.models import EventType, Outcome
from bot.domain.outcomes import Result
from bot.ledger import ask_steps, decide_steps, due_jobs, jobs, work_steps
from bot.ledger.database.statements import Row
from bot.ledger.jobs import Job, Kind, LostHold
from bot.ledger.people import Act
from bot.ledger.tables import jobs as table
from bot.ledger.work_steps import Looked
from tests.support.damage import tamper
from tests.support.steps import BOB, HOLD, LATER, NOW, REQUEST, Process, card_of, process

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ID = REQUEST.id
OUTCOME = {ID: Result(Outcome.CLEARED)}


async def row(process: Process, kind: Kind, card_id: str = ID) -> Row:
    """A job as the ledger has it. Raises: LookupError if there is none."""
    found = await process.run(jobs.find, card_id, kind)
    if found is None:
        raise LookupError(kind)
    return found


async def add(process: Process, card_id: str, kind: str = Kind.WORK, **values: object) -> None:
    """Add a job that is due now and that nobody holds, but for these values."""
    new = {"card_id": card_id, "kind": kind, "due_at": NOW, "set_at": NOW}
    counts = {"takes": 0, "attempts": 0, "wanted": 1}
    await process.read(lambda c: c.execute(insert(table).values(new | counts | values)))


def cards(taken: list[Job]) -> list[str]:
    return [job.card_id for job in taken]


async def test_what_is_due_is_taken_longest_due_first(one: Process) -> None:
    for name, minutes in {"late": 2, "later": 1, "not yet": 60}.items():
        await add(one, name, due_at=NOW + timedelta(minutes=minutes))
    one.now = NOW + timedelta(minutes=2)
    assert cards(await one.take(Kind.WORK)) == ["later", "late"]


async def test_jobs_are_taken_by_kind_and_as_many_as_there_are_places(one: Process) -> None:
    for number in range(5):
        await add(one, f"to do {number}", due_at=NOW - number * SECOND)
        await add(one, f"to look at {number}", Kind.RECHECK, due_at=NOW - HOUR)
    assert cards(await one.take(Kind.WORK, 2)) == ["to do 4", "to do 3"]
    assert len(await one.take(Kind.WORK)) == 3
    assert await one.take(Kind.WORK) == []


async def test_one_of_ten_processes_that_look_at_once_takes_a_job(one: Process) -> None:
    await add(one, ID)
    others = [Process(one.database, f"process {number}") for number in range(10)]
    taken = await asyncio.gather(*(each.take(Kind.WORK) for each in others))
    assert sum(map(len, taken)) == 1
    assert (await row(one, Kind.WORK))["takes"] == 1


async def test_a_job_of_somebody_else_is_left_until_the_hold_is_over(
    one: Process, other: Process
) -> None:
    await one.confirmed()
    other.now = NOW + HOLD - SECOND
    assert await other.take(Kind.WORK) == []
    other.now = NOW + HOLD
    [taken] = await other.take(Kind.WORK)
    assert (taken.card_id, taken.previous) == (ID, "one")


async def test_work_counts_the_holds_that_lapsed(one: Process, other: Process) -> None:
    job = await one.confirmed()
    other.now = LATER
    [taken] = await other.take(Kind.WORK)
    assert (job.attempts, taken.attempts) == (0, 1)
    assert (await row(one, Kind.WORK))["attempts"] == 1


async def test_drawing_that_was_interrupted_is_no_failure(one: Process, other: Process) -> None:
    await one.confirmed()
    await one.record()
    other.now = LATER
    [taken] = await other.take(Kind.SHOW)
    assert (taken.previous, taken.attempts) == ("one", 0)


async def test_what_this_process_holds_and_does_not_run_is_taken_again_after_a_moment(
    one: Process,
) -> None:
    lost = await one.confirmed()
    one.now = NOW + SECOND
    assert await one.take(Kind.WORK) == []
    one.now = NOW + due_jobs.STEP_ENDS_WITHIN
    assert await one.take(Kind.WORK, running=[lost.id]) == []
    [again] = await one.take(Kind.WORK)
    assert (again.id, again.takes, again.attempts) == (lost.id, lost.takes + 1, 0)


async def test_jobs_that_run_here_take_no_places_of_those_that_are_due(one: Process) -> None:
    running = []
    for number in range(3):
        await add(one, f"runs {number}", holder="one", held_until=NOW, due_at=NOW - HOUR)
        running.append((await row(one, Kind.WORK, f"runs {number}"))["id"])
    await add(one, "is due")
    assert cards(await one.take(Kind.WORK, 1, running)) == ["is due"]


async def test_a_row_that_somebody_has_locked_holds_up_nobody(postgresql_url: str) -> None:
    async with process(postgresql_url) as one:
        await add(one, "locked", due_at=NOW - HOUR)
        await add(one, "free")
        locked = await row(one, Kind.WORK, "locked")
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [locked["id"]])
            async with asyncio.timeout(1.0):
                assert cards(await one.take(Kind.WORK)) == ["free"]


@pytest.mark.parametrize("kind", ["brew", ""])
async def test_a_job_of_a_kind_that_only_a_newer_version_knows_disturbs_nobody(
    one: Process, kind: str
) -> None:
    await add(one, "newer", kind, due_at=NOW - HOUR)
    await add(one, ID)
    taken = [await one.take(each) for each in Kind]
    assert [job.card_id for of_kind in taken for job in of_kind] == [ID]
    one.now = LATER
    assert (await row(one, kind, "newer"))["holder"] is None  # type: ignore[arg-type]  # unknown


async def test_a_job_whose_card_is_gone_or_unreadable_is_taken_like_others(
    one: Process, database_url: str
) -> None:
    await one.confirmed()
    await add(one, "no card")
    tamper(database_url, customer="oops")
    one.now = LATER
    assert sorted(cards(await one.take(Kind.WORK))) == [ID, "no card"]


async def test_a_job_that_is_set_again_is_due_at_the_earlier_time(one: Process) -> None:
    await one.set(ID, Kind.SHOW, NOW + HOUR)
    await one.set(ID, Kind.SHOW, NOW + 2 * HOUR)
    assert (await row(one, Kind.SHOW))["due_at"] == NOW + HOUR
    await one.set(ID, Kind.SHOW)
    found = await row(one, Kind.SHOW)
    assert (found["due_at"], found["wanted"], found["takes"]) == (NOW, 3, 0)


async def test_a_job_that_is_set_again_has_failed_never(one: Process) -> None:
    await add(one, ID, Kind.SHOW, attempts=7, due_at=NOW + HOUR)
    await one.set(ID, Kind.SHOW)
    assert (await row(one, Kind.SHOW))["attempts"] == 0


async def test_a_job_is_born_held_only_if_nobody_holds_it(one: Process, other: Process) -> None:
    await one.set(ID, Kind.SHOW, here=True)
    mine = one.held[Kind.SHOW]
    await other.set(ID, Kind.SHOW, here=True)
    assert Kind.SHOW not in other.held
    found = await row(one, Kind.SHOW)
    assert (found["holder"], found["takes"], found["wanted"]) == ("one", mine.takes, 2)
    other.now = LATER
    await other.set(ID, Kind.SHOW, here=True)
    assert other.held[Kind.SHOW].takes == mine.takes + 1


async def test_who_sets_a_job_that_it_holds_itself_keeps_its_hold(one: Process) -> None:
    await one.set(ID, Kind.SHOW, here=True)
    first = one.held[Kind.SHOW]
    one.now = NOW + SECOND
    await one.set(ID, Kind.SHOW, here=True)
    found = await row(one, Kind.SHOW)
    assert (found["takes"], found["held_until"]) == (first.takes, NOW + HOLD)
    assert await one.run(work_steps.shown, first, 0) is False


async def test_a_job_set_for_others_leaves_it_to_whoever_holds_it(
    one: Process, other: Process
) -> None:
    await one.set(ID, Kind.SHOW, here=True)
    await other.set(ID, Kind.SHOW)
    found = await row(one, Kind.SHOW)
    assert (found["holder"], found["held_until"]) == ("one", NOW + HOLD)


async def test_a_parked_job_is_taken_only_once_it_is_set_again(one: Process) -> None:
    await add(one, ID, Kind.SHOW, due_at=None, attempts=206)
    one.now = NOW + timedelta(days=30)
    assert await one.take(Kind.SHOW) == []
    await one.set(ID, Kind.SHOW)
    [taken] = await one.take(Kind.SHOW)
    assert taken.attempts == 0


async def test_a_start_has_drawn_what_was_given_up_or_failed(one: Process) -> None:
    await add(one, "given up", Kind.SHOW, due_at=None)
    await add(one, "failed", Kind.SHOW, due_at=NOW + HOUR, attempts=3)
    await add(one, "put off", Kind.SHOW, due_at=NOW + HOUR)
    await add(one, "held", Kind.SHOW, attempts=3, holder="other", held_until=NOW + HOLD)
    await add(one, "to do", Kind.WORK, due_at=NOW + HOUR, attempts=1)
    await one.run(due_jobs.show_all_again)
    assert sorted(cards(await one.take(Kind.SHOW))) == ["failed", "given up"]
    assert await one.take(Kind.WORK) == []


async def test_a_hold_is_renewed_while_its_job_runs(one: Process, other: Process) -> None:
    job = await one.confirmed()
    one.now = NOW + 20 * SECOND
    assert await one.run(due_jobs.renew, [job]) == {job.id}
    other.now = NOW + 40 * SECOND
    assert await other.take(Kind.WORK) == []
    other.now = one.now + HOLD
    assert len(await other.take(Kind.WORK)) == 1


async def test_only_what_is_still_held_is_renewed(one: Process, other: Process) -> None:
    lost = await one.confirmed()
    other.now = LATER
    await other.take(Kind.WORK)
    before = await row(one, Kind.WORK)
    one.now = LATER + SECOND
    assert await one.run(due_jobs.renew, [lost]) == set()
    assert await one.run(due_jobs.renew, []) == set()
    assert await row(one, Kind.WORK) == before


async def test_of_two_processes_each_renews_only_what_it_holds(
    one: Process, other: Process
) -> None:
    mine = await one.confirmed()
    await add(one, "others")
    [others] = await other.take(Kind.WORK)
    one.now = other.now = NOW + SECOND
    assert await one.run(due_jobs.renew, [mine, others]) == {mine.id}
    assert (await row(one, Kind.WORK, "others"))["held_until"] == NOW + HOLD
    assert await other.run(due_jobs.renew, [mine, others]) == {others.id}
    for card_id in (ID, "others"):
        assert (await row(one, Kind.WORK, card_id))["held_until"] == NOW + SECOND + HOLD


async def test_what_this_process_holds_and_does_not_run_is_not_renewed(one: Process) -> None:
    job = await one.confirmed()
    await add(one, "lost", holder="one", held_until=NOW + HOLD, takes=1)
    one.now = NOW + SECOND
    assert await one.run(due_jobs.renew, [job]) == {job.id}
    assert (await row(one, Kind.WORK, "lost"))["held_until"] == NOW + HOLD


async def test_a_job_that_was_let_go_is_not_renewed(one: Process) -> None:
    job = await one.confirmed()
    await one.run(jobs.put_off, job, HOUR)
    before = await row(one, Kind.WORK)
    assert await one.run(due_jobs.renew, [job]) == set()
    assert await row(one, Kind.WORK) == before


async def test_hundreds_of_holds_are_renewed_at_once(one: Process) -> None:
    first = await one.confirmed()
    held = {"holder": "one", "held_until": NOW + HOLD, "takes": 1}
    for number in range(300):
        await add(one, f"card {number}", Kind.SHOW, **held)
    query = select(table.c.id).where(table.c.kind == Kind.SHOW)
    ids = await one.read(lambda c: list(c.execute(query).scalars()))
    running = [replace(first, id=each, takes=1) for each in ids]
    one.now = NOW + SECOND
    assert await one.run(due_jobs.renew, running) == set(ids)
    assert (await row(one, Kind.SHOW, "card 299"))["held_until"] == NOW + SECOND + HOLD


async def test_a_row_that_is_locked_is_passed_over_by_the_renewal(postgresql_url: str) -> None:
    async with process(postgresql_url) as one:
        locked = await one.confirmed()
        await add(one, "free", holder="one", held_until=NOW + HOLD, takes=1)
        free = replace(locked, id=(await row(one, Kind.WORK, "free"))["id"])
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [locked.id])
            async with asyncio.timeout(1.0):
                assert await one.run(due_jobs.renew, [locked, free]) == {free.id}


Write = Callable[[Process, Job], Awaitable[object]]
WORK: dict[str, Write] = {
    "resumed": lambda p, job: p.run(work_steps.resumed, job, older_version=False),
    "begun": lambda p, job: p.run(work_steps.begun, job, [ID]),
    "recorded": lambda p, job: p.run(work_steps.recorded, job, OUTCOME, HOUR),
    "done": lambda p, job: p.run(jobs.end, job),
    "put off": lambda p, job: p.run(jobs.put_off, job, HOUR),
}
SHOW: dict[str, Write] = {
    "to show": lambda p, job: p.run(work_steps.as_it_is, job),
    "shown": lambda p, job: p.run(work_steps.shown, job, 3),
    "shown so far": lambda p, job: p.run(work_steps.shown_so_far, job, 2),
    "not shown": lambda p, job: p.run(work_steps.shown, job, 2, HOUR),
    "given up": lambda p, job: p.run(work_steps.given_up, job, 2, "gone"),
    "gone": lambda p, job: p.run(work_steps.given_up, job, 2, "gone", gone=True),
}
RECHECK: dict[str, Write] = {
    "rechecked": lambda p, job: p.run(work_steps.rechecked, job, {ID: Looked(EventType.RECHECKED)}),
}


async def everything(process: Process) -> list[object]:
    """The card, its events and its jobs, but for how often a job was taken."""

    def read(connection: Connection) -> list[object]:
        return [dict(each) for each in connection.execute(select(table)).mappings()]

    return [await process.card(), await process.read(read)]


async def require_refused(one: Process, other: Process, job: Job, write: Write) -> None:
    """Let another process take a job over: who held it can't write, and the new holder can."""
    other.now = one.now = LATER + HOUR
    [taken] = await other.take(Kind(job.kind))
    before = await everything(one)
    with pytest.raises(LostHold):
        await write(one, job)
    assert await everything(one) == before
    await write(other, taken)


@pytest.mark.parametrize("step", WORK)
async def test_who_lost_the_hold_of_work_writes_nothing(
    one: Process, other: Process, step: str
) -> None:
    await require_refused(one, other, await one.confirmed(), WORK[step])


@pytest.mark.parametrize("step", SHOW)
async def test_who_lost_the_hold_of_drawing_writes_nothing(
    one: Process, other: Process, step: str
) -> None:
    await one.confirmed()
    await one.record()
    await require_refused(one, other, one.held[Kind.SHOW], SHOW[step])


@pytest.mark.parametrize("step", RECHECK)
async def test_who_lost_the_hold_of_a_recheck_writes_nothing(
    one: Process, other: Process, step: str
) -> None:
    await one.confirmed()
    await one.record(recheck_after=SECOND)
    one.now = NOW + SECOND
    [job] = await one.take(Kind.RECHECK)
    await require_refused(one, other, job, RECHECK[step])


async def test_who_lost_the_hold_of_a_reminder_reminds_nobody(one: Process, other: Process) -> None:
    await one.ask()
    await one.post(reminds=True)
    one.now = NOW + timedelta(minutes=10)
    [job] = await one.take(Kind.REMIND)
    other.now = one.now + HOLD
    await other.take(Kind.REMIND)
    with pytest.raises(LostHold):
        await one.run(work_steps.reminded, job, notifies=True)
    assert (await one.card()).events[-1].type is EventType.REQUESTED


async def test_who_lost_the_hold_of_posting_ends_no_request(one: Process, other: Process) -> None:
    await one.ask()
    job = one.held[Kind.POST]
    other.now = LATER
    await other.take(Kind.POST)
    with pytest.raises(LostHold):
        await one.run(ask_steps.not_posted, job, "no such channel")
    assert (await one.card()).first.is_open


async def test_the_same_process_that_takes_a_job_again_has_another_hold(one: Process) -> None:
    slow = await one.confirmed()
    one.now = LATER
    [again] = await one.take(Kind.WORK)
    with pytest.raises(LostHold):
        await one.run(work_steps.begun, slow, [ID])
    assert await one.run(work_steps.begun, again, [ID]) == {ID}


async def test_a_job_that_was_set_while_it_was_done_is_not_over(one: Process) -> None:
    await one.confirmed()
    await one.record()
    job = one.held[Kind.SHOW]
    await one.run(work_steps.as_it_is, job)
    await one.run(decide_steps.refused, ID, BOB, "not on the list", Act("presses"))
    assert await one.run(work_steps.shown, job, 3) is False
    await one.run(work_steps.as_it_is, job)
    assert await one.run(work_steps.shown, job, 4) is True
    with pytest.raises(LookupError):
        await row(one, Kind.SHOW)


async def test_a_clock_that_was_set_back_delays_no_work(one: Process, other: Process) -> None:
    await one.confirmed()
    other.now = NOW - HOUR
    [taken] = await other.take(Kind.WORK)
    assert taken.card_id == ID
    assert await other.take(Kind.WORK, running=[taken.id]) == []
    third = Process(one.database, "third", NOW - HOUR)
    assert await third.take(Kind.WORK) == []


async def test_a_clock_that_was_set_back_keeps_no_card_alive(one: Process) -> None:
    await one.ask()
    await one.post()
    one.now = NOW - HOUR
    assert cards(await one.take(Kind.EXPIRE)) == [ID]


@pytest.mark.parametrize("skew_s", [0, 1, 29])
async def test_clocks_that_differ_by_less_than_a_hold_take_nothing_away(
    one: Process, other: Process, skew_s: int
) -> None:
    await one.confirmed()
    await add(one, "later", due_at=NOW + HOUR)
    other.now = NOW - timedelta(seconds=skew_s)
    assert await other.take(Kind.WORK) == []


async def test_a_recheck_far_ahead_delays_no_drawing(one: Process) -> None:
    await one.confirmed()
    await one.record(recheck_after=timedelta(days=1))
    await one.run(work_steps.shown, one.held[Kind.SHOW], 3)
    await one.run(decide_steps.refused, ID, BOB, "not on the list", Act("presses"))
    assert (await row(one, Kind.SHOW))["due_at"] == NOW
    assert (await row(one, Kind.RECHECK))["due_at"] == NOW + timedelta(days=1)


async def test_a_card_of_many_has_one_job_of_a_kind(one: Process) -> None:
    await one.confirmed(*card_of(3))
    await one.record(recheck_after=HOUR)
    found = await one.read(lambda c: list(c.execute(select(table.c.kind)).scalars()))
    assert Counter(found) == {"show": 1, "recheck": 1}


async def test_the_number_of_a_job_that_ended_is_never_given_again(one: Process) -> None:
    await add(one, "first")
    first = (await row(one, Kind.WORK, "first"))["id"]
    await one.read(lambda c: c.execute(delete(table)))
    await add(one, "second")
    assert (await row(one, Kind.WORK, "second"))["id"] > first


async def test_the_same_act_twice_at_once_leaves_one_job(one: Process, other: Process) -> None:
    await one.ask()
    await one.post()
    act = Act("pressed")
    results = await asyncio.gather(
        *(each.confirm(act=act) for each in (one, other)), return_exceptions=True
    )
    assert sum(Kind.WORK in each.held for each in (one, other)) == 1
    assert len(results) == 2
    assert (await row(one, Kind.WORK))["takes"] == 1


async def test_a_hold_of_this_process_alone_lets_no_one_call_after_it_ended(one: Process) -> None:
    job = await one.confirmed()
    job.require_held()
    job.deadline = jobs.seconds()
    with pytest.raises(LostHold):
        job.require_held()


async def test_a_job_knows_the_databases_time(one: Process) -> None:
    job = await one.confirmed()
    assert NOW <= job.now() < NOW + 5 * SECOND
    await one.read(lambda c: c.execute(update(table).values(held_until=NOW)))
    [taken] = await Process(one.database, "third", LATER).take(Kind.WORK)
    assert LATER <= taken.now() < LATER + 5 * SECOND
