"""The steps of a card on each database: one decision wins, and the others learn of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from bot.domain.models import (
    Card,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind as RequestKind,
    Outcome,
    Request,
    Verdict,
)
from bot.domain.outcomes import Result
from bot.domain.policy import ALLOWED, Decision, recheck_at, reminder_at
from bot.domain.values import value
from bot.ledger import (
    ask_steps,
    decide_steps,
    jobs,
    lists,
    people,
    rows,
    same_customer,
    work_steps,
)
from bot.ledger.ask_steps import NoFollowUp, Overtaken
from bot.ledger.audit.export import Filter, read
from bot.ledger.database.engine import open_engine
from bot.ledger.decide_steps import Decided
from bot.ledger.jobs import Kind, LostHold
from bot.ledger.people import Act, Repeated
from bot.ledger.rows import NoSuchCard
from bot.ledger.tables import acts as act_table, jobs as job_table, requests
from bot.ledger.work_steps import Looked
from bot.messages import card as card_messages, lists as list_messages, thread
from bot.messages.phrases import Links
from tests.support.hostile import shown
from tests.support.ledger import broken
from tests.support.names import ALICE
from tests.support.steps import (
    BOB,
    LATER,
    LIFE,
    NOT_LISTED,
    NOW,
    REQUEST,
    TS,
    Process,
    card_of,
    not_listed,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ID = REQUEST.id
ANOTHER = replace(REQUEST, id="b" * 32)
OVERTAKEN = Decision(allowed=False, why="overtaken")
AT = reminder_at(NOW, NOW + LIFE)


def undo_of(card: Card, id_: str = "c" * 32) -> Request:
    """The request that undoes a card's first, in the card's thread."""
    first = card.first
    return replace(
        REQUEST, id=id_, kind=RequestKind.RELATCH, thread_ts=first.thread_ts, undoes=first.id
    )


async def kinds(process: Process, card_id: str = ID) -> set[str]:
    """The kinds of what is still to be done for a card."""
    query = select(job_table.c.kind).where(job_table.c.card_id == card_id)
    return await process.read(lambda c: set(c.execute(query).scalars()))


def story(card: Card) -> list[EventType]:
    return [event.type for event in card.events]


async def test_a_card_comes_back_as_it_was_written(one: Process) -> None:
    added = await one.ask()
    assert added.first == replace(
        REQUEST, is_open=True, event_count=1, head=added.events[-1].hash, events=added.first.events
    )
    assert await one.card() == added


async def test_an_unknown_card_is_none(one: Process) -> None:
    assert await one.read(lambda c: rows.read(c, "b" * 32)) is None


async def test_one_of_twenty_concurrent_deciders_wins(one: Process) -> None:
    await one.ask()
    results = await asyncio.gather(*(one.confirm() for _ in range(20)))
    assert Counter(result.taken for result in results) == {True: 1, False: 19}
    assert story(await one.card()) == [EventType.REQUESTED, EventType.CONFIRMED]


async def test_a_late_decider_gets_the_first_decision(one: Process) -> None:
    await one.confirmed()
    first = await one.card()
    one.now = NOW + SECOND
    assert (await one.confirm()).card == first
    assert (first.first.verdict, first.first.decider, first.first.decided_at) == (
        Verdict.CONFIRMED,
        BOB,
        NOW,
    )


async def test_a_click_after_the_expiry_does_not_count(one: Process) -> None:
    await one.ask()
    one.now = REQUEST.expires_at
    assert not (await one.confirm()).taken


@pytest.mark.parametrize(("late_s", "taken"), [(-1, False), (0, True), (1, True)])
async def test_a_card_does_not_expire_early(one: Process, late_s: int, taken: bool) -> None:  # noqa: FBT001  # parametrized
    await one.ask()
    await one.post()
    one.now = REQUEST.expires_at + timedelta(seconds=late_s)
    result = await one.run(decide_steps.decided, ID, Verdict.EXPIRED)
    assert result.taken is taken
    assert await kinds(one) == ({"show"} if taken else {"expire"})


async def test_who_is_refused_what_a_waiting_card_was_asked_for_with_leaves_a_refusal(
    one: Process,
) -> None:
    presses = [Act(each, while_open="ask again") for each in ("allowed", "refused", "repeated")]
    await one.run(ask_steps.asked, Card((REQUEST,)), presses[0], LIFE)
    await one.run(ask_steps.refused_to_ask, ANOTHER, NOT_LISTED, presses[1])
    assert story(await one.card(ANOTHER.id)) == [EventType.ASK_DENIED]
    repeated = await one.run(people.repeated, presses[2])
    assert repeated is not None
    assert repeated.card.id == ID


async def test_a_denied_decision_is_recorded_and_decides_nothing(one: Process) -> None:
    await one.ask()
    result = await one.confirm(judge=not_listed)
    assert (result.taken, result.decision, result.card.first.verdict) == (False, NOT_LISTED, None)
    denial = (await one.card()).events[-1]
    assert (denial.type, denial.actor) == (EventType.DECISION_DENIED, "U0BOB")
    assert denial.details == {"verdict": "confirmed", "why": "not on the list"}


async def test_deciding_an_unknown_card_raises_no_such_card(one: Process) -> None:
    with pytest.raises(NoSuchCard):
        await one.confirm()


async def test_one_of_two_follow_ups_confirmed_at_once_is_overtaken(
    one: Process, other: Process
) -> None:
    # in two threads: in one, the second could not even be asked
    two = [replace(ANOTHER, id=x * 32, kind=RequestKind.RELATCH, undoes=ID) for x in ("b", "c")]
    for request in two:
        await one.ask(request)
        await one.post(f"0.{request.id[0]}")

    def judge(_request: Request, overtaker: Request | None) -> Decision:
        return OVERTAKEN if overtaker else ALLOWED

    results = await asyncio.gather(
        *(
            process.confirm(request.id, judge=judge)
            for process, request in zip((one, other), two, strict=True)
        )
    )
    assert Counter((result.taken, result.decision.why) for result in results) == {
        (True, ""): 1,
        (False, "overtaken"): 1,
    }


async def test_of_two_cards_confirmed_at_once_for_a_customer_one_waits_for_the_other(
    one: Process, other: Process, database_url: str
) -> None:
    for process, request in ((one, REQUEST), (other, ANOTHER)):
        await process.ask(request)
        await process.post(f"0.{request.id[0]}")
    results = await asyncio.gather(one.confirm(ID), other.confirm(ANOTHER.id))
    assert [result.taken for result in results] == [True, True]
    waits = {result.card.id: result.card.first.waits_for for result in results}
    assert waits in ({ID: (ANOTHER.id,), ANOTHER.id: ()}, {ID: (), ANOTHER.id: (ID,)})
    assert broken(database_url) == []


async def test_a_card_whose_customer_was_changed_before_people_see_it_is_closed_as_it_is_posted(
    one: Process, database_url: str
) -> None:
    await one.ask(ANOTHER)
    posting = one.held[Kind.POST]
    await one.confirmed()
    await one.record()
    assert await one.run(work_steps.overtook, one.held[Kind.OVERTAKE]) == [ANOTHER.id]
    assert await one.run(decide_steps.overtaken, ANOTHER.id) is None
    assert await kinds(one, ANOTHER.id) == {"post"}
    one.held[Kind.POST] = posting
    await one.post("0.2")
    assert (await one.card(ANOTHER.id)).first.verdict is Verdict.OVERTAKEN
    assert await kinds(one, ANOTHER.id) == {"show"}
    assert broken(database_url) == []


async def test_a_click_closes_an_overtaken_card_that_nobody_has_closed_yet(
    one: Process, database_url: str
) -> None:
    await one.ask(ANOTHER)
    await one.post("0.2")
    await one.confirmed()
    await one.record()
    decided = await one.confirm(ANOTHER.id, act=Act("pressed"))
    assert (decided.taken, decided.closed) == (False, True)
    assert (decided.card.first.verdict, decided.card.first.decider) == (Verdict.OVERTAKEN, None)
    assert await kinds(one, ANOTHER.id) == {"show"}
    repeated = await one.confirm(ANOTHER.id, act=Act("pressed"))
    assert (repeated.repeated, repeated.closed) == (True, False)
    assert broken(database_url) == []


@pytest.mark.parametrize(
    ("outcome", "overtakes"),
    [
        *((each, True) for each in (Outcome.CLEARED, Outcome.RESTORED, Outcome.MOVED)),
        *((each, False) for each in (Outcome.UNKNOWN, Outcome.REFUSED, Outcome.ALREADY_CLEAR)),
        # what only a newer version knows may have changed the customer, or not
        (Outcome("swapped"), False),
    ],
)
async def test_only_a_known_change_overtakes(
    one: Process,
    database_url: str,
    outcome: Outcome,
    overtakes: bool,  # noqa: FBT001  # parametrized
) -> None:
    await one.ask(ANOTHER)
    await one.post("0.2")
    await one.confirmed()
    await one.record(outcome)
    assert ("overtake" in await kinds(one)) is overtakes
    assert bool(await one.run(decide_steps.overtaken, ANOTHER.id)) is overtakes
    assert (await one.card(ANOTHER.id)).first.is_open is not overtakes
    assert broken(database_url) == []


async def test_what_a_killed_process_overtook_is_closed_by_another(
    one: Process, other: Process
) -> None:
    await one.ask(ANOTHER)
    await one.post("0.2")
    await one.confirmed()
    await one.record()
    other.now = LATER
    [job] = await other.take(Kind.OVERTAKE)
    assert await other.run(work_steps.overtook, job) == [ANOTHER.id]
    with pytest.raises(LostHold):
        await one.run(work_steps.overtook, one.held[Kind.OVERTAKE])


async def test_who_overtook_a_card_is_looked_for_again_if_more_was_done_meanwhile(
    one: Process,
) -> None:
    await one.ask(ANOTHER)
    await one.post("0.2")
    await one.confirmed()
    await one.record()
    job = one.held[Kind.OVERTAKE]
    assert await one.run(work_steps.overtook, job) == [ANOTHER.id]
    await one.set(ID, Kind.OVERTAKE)
    assert not await one.run(jobs.end_unless_set_again, job)
    assert await one.run(decide_steps.overtaken, ANOTHER.id)
    assert await one.run(work_steps.overtook, job) == []
    assert await one.run(jobs.end_unless_set_again, job)


async def test_a_double_click_that_is_refused_is_one_refusal(one: Process) -> None:
    await one.ask()
    for milliseconds in (0, 150, 5000):
        one.now = NOW + timedelta(milliseconds=milliseconds)
        await one.confirm(judge=not_listed)
    assert story(await one.card()).count(EventType.DECISION_DENIED) == 2


async def test_a_thread_has_one_open_follow_up(one: Process, other: Process) -> None:
    await one.confirmed()
    card = await one.record()
    two = [Card((undo_of(card, x * 32),)) for x in ("b", "c")]
    results = await asyncio.gather(
        *(
            process.run(ask_steps.asked, undo, Act(undo.id), LIFE, None, (), card.requests)
            for process, undo in zip((one, other), two, strict=True)
        )
    )
    assert Counter(type(result) for result in results) == {Card: 1, NoFollowUp: 1}


async def test_an_undo_of_what_has_been_changed_since_is_not_added(one: Process) -> None:
    await one.confirmed()
    card = await one.record()
    await one.confirmed(ANOTHER, ts="2.1")
    await one.record()
    undo = Card((undo_of(card),))
    result = await one.run(ask_steps.asked, undo, Act("asks"), LIFE, None, (), card.requests)
    assert isinstance(result, Overtaken)
    assert result.by.id == ANOTHER.id


async def test_a_card_of_many_is_decided_with_all_its_requests(
    one: Process, other: Process
) -> None:
    card = await one.ask(*card_of(3))
    assert [event.number for event in card.events] == [1, 1, 1]
    await one.post()
    one.now = REQUEST.expires_at
    assert [job.card_id for job in await one.take(Kind.EXPIRE)] == [ID]
    one.now = NOW
    decided = (await one.confirm()).card
    assert [request.verdict for request in decided.requests] == [Verdict.CONFIRMED] * 3
    other.now = LATER
    [job] = await other.take(Kind.WORK)
    resumed = await other.run(work_steps.resumed, job, older_version=False)
    assert story(resumed).count(EventType.RECLAIMED) == 3
    stopped = await one.run(decide_steps.stopped, ID, BOB, Act("stops"))
    assert stopped.came_of_it == "stopped"
    assert stopped.card.is_stopping


async def test_work_that_is_taken_over_is_noted_for_what_is_left_of_it(
    one: Process, other: Process
) -> None:
    job = await one.confirmed(*card_of(2))
    await one.run(work_steps.recorded, job, {ID: Result(Outcome.CLEARED)}, HOUR)
    other.now = LATER
    [job] = await other.take(Kind.WORK)
    first, second = (await other.run(work_steps.resumed, job, older_version=False)).requests
    assert first.events[-1].type is EventType.CLEARED
    assert (second.events[-1].type, second.events[-1].details) == (
        EventType.RECLAIMED,
        {"claim": job.takes},
    )


@pytest.mark.parametrize("older_version", [False, True])
async def test_only_what_an_older_version_held_may_have_been_called_without_a_note(
    one: Process,
    older_version: bool,  # noqa: FBT001  # parametrized
) -> None:
    job = await one.confirmed()
    # the first commit may have taken effect though nobody knows
    for _ in range(2):
        card = await one.run(work_steps.resumed, job, older_version=older_version)
    assert card.first.is_begun is older_version
    assert story(card).count(EventType.RECLAIMED) == 1


async def test_a_call_is_noted_once_before_it_is_made(one: Process) -> None:
    job = await one.confirmed(*card_of(2))
    both = [request.id for request in card_of(2)]
    for _ in range(2):
        assert await one.run(work_steps.begun, job, both) == frozenset(both)
    assert story(await one.card()).count(EventType.BEGUN) == 2


async def test_a_stop_ends_what_nobody_has_begun(one: Process) -> None:
    job = await one.confirmed(*card_of(3))
    first, *rest = (request.id for request in card_of(3))
    await one.run(work_steps.begun, job, [first])
    await one.run(decide_steps.stopped, ID, BOB, Act("stops"))
    card = await one.card()
    assert [request.outcome for request in card.requests] == [None, *[Outcome.STOPPED] * 2]
    assert await one.run(work_steps.begun, job, rest) == frozenset()
    assert await kinds(one) == {"work", "show"}
    assert (await one.record()).is_finished
    outcomes = [request.outcome for request in (await one.card()).requests]
    assert outcomes == [Outcome.CLEARED, *[Outcome.STOPPED] * 2]


async def test_a_stop_before_the_first_call_leaves_no_work(one: Process) -> None:
    job = await one.confirmed(*card_of(2))
    await one.run(decide_steps.stopped, ID, BOB, Act("stops"))
    assert await kinds(one) == {"show"}
    assert await one.run(work_steps.begun, job, [ID]) == frozenset()
    with pytest.raises(LostHold):
        await one.run(work_steps.recorded, job, {ID: Result(Outcome.CLEARED)}, HOUR)
    assert (
        await one.run(decide_steps.stopped, ID, ALICE, Act("stops too"))
    ).came_of_it == "nothing"


async def test_the_same_act_changes_nothing_and_has_the_same_result(one: Process) -> None:
    act = Act("presses", while_open="a button")
    card = Card((REQUEST,))
    first = await one.run(ask_steps.asked, card, act, LIFE)
    again = await one.run(ask_steps.asked, Card((ANOTHER,)), act, LIFE)
    assert isinstance(first, Card)
    assert again == Repeated("asked", first)
    taken = await one.confirm(act=Act("confirms"))
    one.now = NOW + SECOND
    assert await one.confirm(act=Act("confirms")) == Decided(taken.card, taken=True, repeated=True)
    await one.ask(ANOTHER)
    for _ in range(2):
        denied = await one.confirm(ANOTHER.id, act=Act("may not"), judge=not_listed)
        one.now += HOUR / 10
        assert (denied.taken, denied.decision.why) == (False, NOT_LISTED.why)
    stops = [await one.run(decide_steps.stopped, ID, BOB, Act("stops")) for _ in range(2)]
    assert stops == [Repeated("stopped", await one.card())] * 2
    for _ in range(2):
        await one.run(
            ask_steps.refused_to_ask, replace(REQUEST, id="no"), NOT_LISTED, Act("may not ask")
        )
    before = await one.run(people.repeated, Act("may not ask"))
    assert before is not None
    assert before.why_refused(ALICE) == NOT_LISTED.why


async def test_a_stop_that_found_nothing_left_finds_nothing_left_again(one: Process) -> None:
    await one.ask()
    await one.run(decide_steps.decided, ID, Verdict.CANCELLED, ALICE)
    assert (await one.run(decide_steps.stopped, ID, BOB, Act("stops"))).came_of_it == "nothing"
    again = await one.run(decide_steps.stopped, ID, BOB, Act("stops"))
    assert again == Repeated("nothing", await one.card())


async def test_a_refused_act_is_refused_again_though_it_would_be_allowed_now(one: Process) -> None:
    await one.run(ask_steps.refused_to_ask, replace(REQUEST, id="no"), NOT_LISTED, Act("asks"))
    asked = await one.run(ask_steps.asked, Card((REQUEST,)), Act("asks"), LIFE)
    assert isinstance(asked, Repeated)
    assert asked.why_refused(ALICE) == NOT_LISTED.why


async def test_acts_that_share_a_button_are_one_while_its_card_is_open(one: Process) -> None:
    first = await one.run(ask_steps.asked, Card((REQUEST,)), Act("1", "a button"), LIFE)
    second = await one.run(ask_steps.asked, Card((ANOTHER,)), Act("2", "a button"), LIFE)
    assert isinstance(first, Card)
    assert second == Repeated("asked", first)
    await one.run(decide_steps.decided, ID, Verdict.CANCELLED, ALICE)
    third = await one.run(ask_steps.asked, Card((ANOTHER,)), Act("3", "a button"), LIFE)
    assert isinstance(third, Card)
    assert third.id == ANOTHER.id


async def test_an_act_is_forgotten_after_a_day(one: Process) -> None:
    await one.ask()
    for hours, left in ((23, 1), (25, 0)):
        one.now = NOW + timedelta(hours=hours)
        await one.run(people.forget_old)
        assert len(await one.read(lambda c: c.execute(select(act_table)).all())) == left


async def test_the_first_message_of_a_card_stays_its_message(one: Process) -> None:
    await one.ask()
    job = one.held[Kind.POST]
    await one.run(ask_steps.posted, job, TS, REQUEST.expires_at, reminds=False)
    again, _ = await one.run(ask_steps.posted, job, "9.9", REQUEST.expires_at, reminds=False)
    assert (again.first.message_ts, again.first.thread_ts) == (TS, TS)
    assert await kinds(one) == {"expire"}


async def test_a_click_may_be_quicker_than_the_note_that_the_card_was_posted(
    one: Process, database_url: str
) -> None:
    await one.ask()
    result = await one.run(decide_steps.decided, ID, Verdict.CANCELLED, ALICE, message_ts=TS)
    assert (result.taken, result.card.first.message_ts) == (True, TS)
    late = await one.post("9.9")
    assert (late.first.message_ts, await kinds(one)) == (TS, {"show"})
    assert broken(database_url) == []


async def test_a_card_that_was_posted_late_lives_from_then_on(
    one: Process, database_url: str
) -> None:
    await one.ask(*card_of(2))
    one.now, ends = NOW + HOUR, NOW + HOUR + LIFE
    card, _ = await one.run(ask_steps.posted, one.held[Kind.POST], TS, ends, reminds=True)
    assert {request.expires_at for request in card.requests} == {ends}
    assert story(card).count(EventType.POSTED) == 2
    assert await kinds(one) == {"expire", "remind"}
    assert broken(database_url) == []


async def test_a_request_whose_card_cannot_be_posted_ends(one: Process, database_url: str) -> None:
    await one.ask(*card_of(2))
    assert await one.run(ask_steps.not_posted, one.held[Kind.POST], "no such channel")
    card = await one.card()
    assert (card.first.is_open, story(card)[2:]) == (False, [EventType.DELIVERY_FAILED] * 2)
    assert await kinds(one) == set()
    assert not (await one.confirm()).taken
    assert broken(database_url) == []


async def test_what_is_drawn_later_is_told_once_the_card_is_posted(one: Process) -> None:
    await one.ask()
    await one.confirm(judge=not_listed)
    assert await kinds(one) == {"post"}
    await one.post()
    assert await kinds(one) == {"expire", "show"}


async def test_a_work_that_ends_has_its_card_drawn_and_its_customers_read_again(
    one: Process,
) -> None:
    await one.confirmed()
    card = await one.record(recheck_after=HOUR)
    assert (card.first.outcome, card.first.settled_at) == (Outcome.CLEARED, NOW)
    assert await kinds(one) == {"show", "recheck"}


async def test_a_card_that_is_shown_is_never_due_again(one: Process) -> None:
    await one.confirmed()
    await one.record()
    await one.run(lambda tx: people.remember_url(tx, ID, BOB, "https://example.com"))
    assert await one.run(work_steps.shown, one.held[Kind.SHOW], 3)
    assert await kinds(one) == set()
    assert (await one.card()).first.shown_events == 3
    assert await one.read(lambda c: people.urls_of(c, ID)) == []


async def test_a_card_stays_due_if_an_event_came_while_it_was_drawn(one: Process) -> None:
    await one.confirmed()
    cleared = await one.record()
    drawing = one.held[Kind.SHOW]
    await one.confirmed(undo_of(cleared), ts="1.2")
    await one.record(Outcome.RESTORED)
    assert await one.run(work_steps.shown, drawing, 3) is False
    card = await one.card()
    assert (card.first.undone_by, story(card)[-1]) == ("c" * 32, EventType.UNDONE)
    assert await kinds(one) == {"show"}


async def test_a_delivery_that_is_given_up_is_recorded_once(one: Process) -> None:
    await one.confirmed()
    await one.record()
    job = one.held[Kind.SHOW]
    await one.run(work_steps.given_up, job, 0, "no room")
    assert await one.take(Kind.SHOW) == []
    await one.set(ID, Kind.SHOW)
    [job] = await one.take(Kind.SHOW)
    await one.run(work_steps.given_up, job, 0, "no room")
    assert story(await one.card()).count(EventType.DELIVERY_FAILED) == 1


async def test_a_card_that_is_gone_leaves_nothing_to_show(one: Process) -> None:
    await one.confirmed()
    await one.record()
    await one.run(work_steps.given_up, one.held[Kind.SHOW], 0, "no card", gone=True)
    card = await one.card()
    assert (await kinds(one), card.events[-1].type) == (set(), EventType.DELIVERY_FAILED)
    assert card.first.shown_events == len(card.events)


async def test_a_late_press_has_a_card_drawn_again_that_is_not_being_drawn(one: Process) -> None:
    await one.confirmed()
    await one.record()
    assert await one.run(decide_steps.pressed_late, ID) is None
    await one.run(work_steps.shown, one.held[Kind.SHOW], 3)
    assert await one.run(decide_steps.pressed_late, ID) is None
    one.now = NOW + decide_steps.JUST_DRAWN
    assert await one.run(decide_steps.pressed_late, ID) == await one.card()
    assert await kinds(one) == {"show"}


async def reminders_due(process: Process) -> None:
    await process.ask()
    await process.post(reminds=True)
    process.now = AT


async def test_one_of_ten_processes_at_once_gets_the_reminder(one: Process) -> None:
    await reminders_due(one)
    others = [Process(one.database, f"process {number}", AT) for number in range(10)]

    async def remind(process: Process) -> Card | None:
        taken = await process.take(Kind.REMIND)
        return await process.run(work_steps.reminded, taken[0], notifies=True) if taken else None

    [card] = [each for each in await asyncio.gather(*map(remind, others)) if each]
    assert story(card) == [EventType.REQUESTED, EventType.REMINDED]
    assert await kinds(one) == {"expire"}


@pytest.mark.parametrize(
    ("minutes_late", "notifies"),
    [(4, True), (6, True), (0, False)],
    ids=["nearly expired", "expired", "nobody to notify"],
)
async def test_a_reminder_that_makes_no_sense_is_left_out(
    one: Process,
    minutes_late: int,
    notifies: bool,  # noqa: FBT001  # parametrized
) -> None:
    await reminders_due(one)
    one.now = AT + timedelta(minutes=minutes_late)
    [job] = await one.take(Kind.REMIND)
    assert await one.run(work_steps.reminded, job, notifies=notifies) is None
    assert len((await one.card()).events) == 1
    assert await kinds(one) == {"expire"}


async def test_a_decided_card_gives_no_reminder(one: Process) -> None:
    await reminders_due(one)
    await one.confirm()
    assert await one.take(Kind.REMIND) == []
    assert await kinds(one) == {"work", "show"}


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=4)])
async def test_a_click_counts_after_the_reminder_until_the_expiry(
    one: Process, late: timedelta
) -> None:
    await reminders_due(one)
    [job] = await one.take(Kind.REMIND)
    await one.run(work_steps.reminded, job, notifies=True)
    one.now = AT + late
    assert (await one.confirm()).taken


async def ask_later(process: Process, outcome: Outcome | None, at: datetime) -> None:
    """Confirm another request for the same customer, and record its outcome if it has one."""
    process.now = at
    await process.confirmed(replace(ANOTHER, asked_at=at, expires_at=at + LIFE), ts="2.1")
    if outcome:
        await process.record(outcome)


async def cleared_and_looked_at(process: Process, other: Outcome | None, at: datetime) -> Card:
    """The card after a recheck that found its customer latched, though `other` came later."""
    await process.confirmed()
    await process.record(recheck_after=HOUR)
    await ask_later(process, other, at)
    process.now = NOW + HOUR
    [job] = await process.take(Kind.RECHECK)
    again = NOW + 2 * HOUR
    found = {ID: Looked(EventType.LATCHED_AGAIN, {"found": {"vid": 7}}, again)}
    return await process.run(work_steps.rechecked, job, found)


@pytest.mark.parametrize("at", [NOW + HOUR, NOW - HOUR], ids=["", "the clock was set back"])
@pytest.mark.parametrize("outcome", [None, Outcome.RESTORED, Outcome.UNKNOWN])
async def test_a_later_request_of_the_customer_explains_what_a_recheck_shows(
    one: Process, outcome: Outcome | None, at: datetime
) -> None:
    card = await cleared_and_looked_at(one, outcome, at)
    assert card.events[-1].type is EventType.CLEARED
    # while the other is running, nobody knows
    assert ("recheck" in await kinds(one)) is (outcome is None)


async def test_a_later_request_that_changed_nothing_explains_nothing(one: Process) -> None:
    card = await cleared_and_looked_at(one, Outcome.REFUSED, NOW + HOUR)
    assert card.events[-1].type is EventType.LATCHED_AGAIN
    assert await kinds(one) == {"show"}


@pytest.mark.parametrize("is_overtaken", [False, True])
async def test_an_unknown_outcome_is_recorded_once_its_customer_shows_it(
    one: Process,
    is_overtaken: bool,  # noqa: FBT001  # parametrized
) -> None:
    await one.confirmed()
    await one.record(Outcome.UNKNOWN)
    if is_overtaken:
        await ask_later(one, Outcome.CLEARED, NOW + SECOND)
    found = {ID: Result(Outcome.CLEARED)}
    for recorded in ([], []) if is_overtaken else ([ID], []):
        looked = await one.run(work_steps.looked_again, ID, ALICE, found, HOUR)
        assert looked is not None
        card, ids, others = looked
        assert card.first.outcome is (Outcome.UNKNOWN if is_overtaken else Outcome.CLEARED)
        assert (list(ids), list(others)) == (recorded, [ID] if is_overtaken else [])


async def test_nothing_is_recorded_while_another_request_in_the_thread_is_open(
    one: Process,
) -> None:
    await one.confirmed()
    card = await one.record(Outcome.UNKNOWN)
    await one.ask(replace(undo_of(card), kind=RequestKind.UNLATCH, undoes=None))
    found = {ID: Result(Outcome.CLEARED)}
    assert await one.run(work_steps.looked_again, ID, ALICE, found, HOUR) is None
    assert (await one.card()).first.outcome is Outcome.UNKNOWN


CLEARED = replace(
    REQUEST, verdict=Verdict.CONFIRMED, outcome=Outcome.CLEARED, settled_at=NOW, events=()
)


@pytest.mark.parametrize(
    "request_",
    [
        replace(CLEARED, outcome=Outcome.ALREADY_CLEAR),
        replace(CLEARED, outcome=Outcome.RESTORED),
        replace(CLEARED, outcome=Outcome.UNKNOWN),
        replace(CLEARED, undone_by="b" * 32),
        replace(CLEARED, outcome=None),
    ],
    ids=["already clear", "restored", "unknown", "undone", "under way"],
)
def test_only_what_was_cleared_and_not_undone_is_rechecked(request_: Request) -> None:
    assert recheck_at(request_, 3600, NOW) is None


def test_a_recheck_is_due_once_and_for_a_week() -> None:
    assert recheck_at(CLEARED, 3600, NOW) == NOW + HOUR
    assert recheck_at(CLEARED, 0, NOW) is None
    assert recheck_at(CLEARED, 3600, NOW + timedelta(days=8)) is None
    for kind in (EventType.RECHECKED, EventType.LATCHED_AGAIN):
        done = Event(ID, 1, NOW, kind, "", {})
        assert recheck_at(replace(CLEARED, events=(done,)), 3600, NOW) is None


async def test_recent_requests_are_newest_first_and_can_be_of_one_customer(one: Process) -> None:
    for number, customer_id in enumerate([1, 2, 1, 2, 1]):
        one.now = NOW + number * SECOND
        customer = replace(REQUEST.customer, customer_id=customer_id)
        await one.ask(replace(REQUEST, id=str(number), customer=customer))
        await one.post(f"1.{number}")
    await one.run(
        ask_steps.refused_to_ask, replace(REQUEST, id="denied"), NOT_LISTED, Act("denied")
    )

    async def recent(customer_id: int | None, limit: int = 10) -> list[str]:
        found = await one.read(lambda c: lists.recent(c, customer_id, limit))
        return [request.id for request in found]

    assert await recent(1, 2) == ["4", "2"]
    assert await recent(None) == ["4", "3", "2", "1", "0"]


async def test_undecided_cards_are_counted(one: Process) -> None:
    assert await one.read(lists.waiting) == 0
    await one.ask()
    assert await one.read(lists.waiting) == 1
    await one.post(reminds=True)
    assert await one.read(lists.waiting) == 1
    await one.confirm()
    assert await one.read(lists.waiting) == 0


async def test_what_waits_for_somebody_to_take_it_is_overdue(one: Process) -> None:
    await one.ask()
    assert await one.read(lists.overdue_s) == 0
    one.now = LATER
    assert await one.read(lists.overdue_s) == (LATER - NOW).total_seconds()
    await one.take(Kind.POST)
    assert await one.read(lists.overdue_s) == 0


async def test_open_cards_are_listed_oldest_first_with_those_that_are_worked_on(
    one: Process,
) -> None:
    for number, name in enumerate("dcb"):
        one.now = NOW + number * SECOND
        await one.ask(*card_of(2, replace(REQUEST, id=name * 32)))
        await one.post(f"1.{number}")
    await one.confirm("c" * 32)
    await one.run(decide_steps.decided, "b" * 32, Verdict.CANCELLED, ALICE)
    found = await one.read(lists.still_open)
    assert [request.id[0] for request in found] == ["d", "c"]
    await one.record()
    one.now = NOW + LIFE
    assert await one.read(lists.still_open) == []


async def test_an_open_follow_up_of_another_thread_does_not_count(one: Process) -> None:
    await one.confirmed()
    card = await one.record()
    await one.ask(replace(undo_of(card), thread_ts="0.1"))
    assert await one.read(lambda c: same_customer.open_follow_up(c, card)) is None


@value
class NewerCustomer(Customer):
    """A customer as a newer version of the bot might keep it."""

    vat_id: str = "ATU12345678"


async def test_what_a_newer_version_wrote_is_kept_and_shown_as_it_is(
    one: Process, other: Process, database_url: str
) -> None:
    customer = NewerCustomer(**asdict(REQUEST.customer) | {"ids": HubSpotIds(101)})
    await one.ask(replace(REQUEST, kind=RequestKind("swap"), customer=customer))
    await one.post()
    await one.note(ID, EventType("swapped"), "U0BOB", into={"vid": 1, "portal": 2})
    newer = {
        "verdict": "postponed",
        "decider_id": BOB.user_id,
        "decider_team_id": BOB.team_id,
        "decided_at": NOW,
        "outcome": "swapped",
        "is_open": False,
    }
    await one.read(lambda c: c.execute(update(requests).values(newer)))
    later = {"card_id": ID, "kind": "brew", "due_at": NOW, "set_at": NOW}
    counts = {"takes": 0, "attempts": 0, "wanted": 1}
    await one.read(lambda c: c.execute(insert(job_table).values(later | counts)))
    other.now = LATER
    assert await other.take(Kind.SHOW) == []
    [recent] = await one.read(lambda c: lists.recent(c, None))
    assert (recent.kind, recent.verdict, recent.outcome) == ("swap", "postponed", "swapped")
    assert recent.customer == replace(REQUEST.customer, ids=HubSpotIds(101))
    assert "❓ swap swapped" in shown(list_messages.history(None, [(recent, None)], []))
    card = await one.card()
    drawn = shown(card_messages.draw(card, Links()))
    assert drawn.startswith("❓ Swapped: Stolen Bikes")
    assert "Postponed by <@U0BOB>" in drawn
    reply = thread.next_reply(card, 0, Links())
    assert reply is not None
    assert "<@U0BOB>: swapped" in shown(reply.message)
    assert broken(database_url) == []
    reader = open_engine(database_url, read_only=True)
    assert [row["event"] for row in read(reader, Filter())] == ["requested", "swapped"]
    reader.dispose()
