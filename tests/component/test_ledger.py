"""The ledger on each database: the gate, the fencing token, the clock, the hash chain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.models import (
    Card,
    Customer,
    EventType,
    HubSpotIds,
    Kind,
    NewEvent,
    Outcome,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.domain.policy import ALLOWED, Decision
from bot.ledger.audit.export import Filter, read
from bot.ledger.audit.verify import verify
from bot.ledger.engine import Database, migrate, open_engine
from bot.ledger.gate import DecisionResult, FollowUpOpen, Overtaken
from bot.ledger.hash_chain import digest
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.store import Ledger
from bot.messages import lists
from bot.messages.cards import decided_card
from bot.messages.phrases import Links
from bot.messages.threads import thread_reply
from tests.support.hostile import shown

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LEASE = timedelta(seconds=30)
LATER = NOW + LEASE + timedelta(seconds=1)
ALICE, BOB = Person("U0ALICE", "T0SANDBOX"), Person("U0BOB", "T0PARTNER")
REQUEST = Request(
    id="a" * 32,
    kind=Kind.UNLATCH,
    customer=Customer(2554529, HubSpotIds(101, 434381295294), "Zoë", "Stolen Bikes 🚲", "2554530"),
    channel_id="C0BILLING",
    message_ts="1795476057.349284",
    thread_ts="1795476057.349284",
    requester=ALICE,
    reason="moved — “new” portal",
    asked_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    due_at=NOW + timedelta(minutes=15),
)
NOT_LISTED = Decision(allowed=False, why="not on the list")
OVERTAKEN = Decision(allowed=False, why="overtaken")
ASKED = NewEvent(NOW, EventType.REQUESTED, "U0ALICE", {"reason": "moved", "vid": 101})


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    engine = open_engine(database_url)
    migrate(engine)
    opened = Database(engine)
    yield opened
    await opened.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


async def confirm(ledger: Ledger, at: datetime = NOW, **result: object) -> DecisionResult:
    new_event = NewEvent(at, EventType.CONFIRMED, "U0BOB", {})
    values: dict[str, object] = {"decider": BOB, "due_at": at + LEASE, **result}
    return await ledger.decide(REQUEST.id, Verdict.CONFIRMED, new_event, **values)  # type: ignore[arg-type]  # by name


async def confirmed(ledger: Ledger) -> Request:
    await ledger.add(REQUEST, ASKED)
    return (await confirm(ledger)).request


async def cleared(ledger: Ledger, request: Request) -> RequestHistory:
    new_event = NewEvent(NOW, EventType.CLEARED, "", {"status": 200})
    return await ledger.record(
        request, new_event, outcome=Outcome.CLEARED, settled_at=NOW, due_at=NOW + LEASE
    )


async def test_a_request_comes_back_as_it_was_written(ledger: Ledger) -> None:
    added = await ledger.add(REQUEST, ASKED)
    assert await ledger.get(REQUEST.id) == added == replace(REQUEST, events=1, head=added.head)


async def test_an_unknown_request_is_none(ledger: Ledger) -> None:
    assert await ledger.get("b" * 32) is None


async def test_one_of_twenty_concurrent_deciders_wins(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    results = await asyncio.gather(*(confirm(ledger) for _ in range(20)))
    assert Counter(result.taken for result in results) == {True: 1, False: 19}
    assert [event.type for event in (await ledger.request_history(REQUEST.id)).events] == [
        EventType.REQUESTED,
        EventType.CONFIRMED,
    ]


async def test_a_late_decider_gets_the_first_decision(ledger: Ledger) -> None:
    first = await confirmed(ledger)
    assert (await confirm(ledger)).request == first
    assert (first.verdict, first.decider, first.decided_at) == (Verdict.CONFIRMED, BOB, NOW)


async def test_a_click_after_the_expiry_does_not_count(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    assert not (await confirm(ledger, REQUEST.expires_at)).taken


@pytest.mark.parametrize(("late_s", "taken"), [(-1, False), (0, True), (1, True)])
async def test_a_request_does_not_expire_early(ledger: Ledger, late_s: int, taken: bool) -> None:  # noqa: FBT001  # parametrized
    await ledger.add(REQUEST, ASKED)
    at = REQUEST.expires_at + timedelta(seconds=late_s)
    expired = NewEvent(at, EventType.EXPIRED, "", {})
    result = await ledger.decide(
        REQUEST.id, Verdict.EXPIRED, expired, decider=None, due_at=at + LEASE
    )
    assert result.taken is taken


async def test_a_denied_decision_is_recorded_and_decides_nothing(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    result = await confirm(ledger, judge=lambda _request, _other: NOT_LISTED)
    assert (result.taken, result.decision, result.request.verdict) == (False, NOT_LISTED, None)
    denial = (await ledger.request_history(REQUEST.id)).events[-1]
    assert (denial.type, denial.actor) == (EventType.DECISION_DENIED, "U0BOB")
    assert denial.details == {"verdict": "confirmed", "why": "not on the list"}


async def test_deciding_an_unknown_request_raises_key_error(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        await confirm(ledger)


@pytest.mark.parametrize("write", ["record", "change", "release"])
async def test_a_worker_that_lost_its_claim_writes_nothing(
    ledger: Ledger, leases: Leases, write: str
) -> None:
    request = await confirmed(ledger)
    reclaimed = await leases.reclaim([request], LATER, LATER + LEASE)
    assert reclaimed is not None
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "record": lambda: cleared(ledger, request),
        "change": lambda: leases.change(request, due_at=None),
        "release": lambda: leases.release(Card((request,)), [2], [request.id]),
    }
    with pytest.raises(LostClaim):
        await writes[write]()
    assert await ledger.request_history(REQUEST.id) == reclaimed.history.first


async def test_work_with_a_valid_lease_is_not_reclaimed(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    assert await leases.reclaim([request], NOW + LEASE - timedelta(seconds=1), LATER) is None


async def test_one_of_ten_concurrent_reclaimers_wins(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    reclaimers = [leases.reclaim([request], LATER, LATER + LEASE) for _ in range(10)]
    [reclaimed] = [each for each in await asyncio.gather(*reclaimers) if each]
    assert reclaimed.history.first.request.claim == request.claim + 1
    assert reclaimed.history.first.events[-1].type is EventType.RECLAIMED


async def test_reclaiming_a_finished_request_counts_an_attempt_without_an_event(
    ledger: Ledger,
    leases: Leases,
) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    reclaimed = await leases.reclaim([history.request], LATER, LATER + LEASE)
    assert reclaimed is not None
    first = reclaimed.history.first
    assert (first.request.publish_attempts, first.events) == (1, history.events)


async def test_overdue_requests_come_longest_overdue_first(ledger: Ledger, leases: Leases) -> None:
    due = {"late": 2, "later": 1, "not yet": 60}
    for name, minutes in due.items():
        at = NOW + timedelta(minutes=minutes)
        await ledger.add(replace(REQUEST, id=name, due_at=at), ASKED)
    await ledger.add(replace(REQUEST, id="done", due_at=None), ASKED)
    overdue = await leases.overdue(NOW + timedelta(minutes=2), LEASE)
    assert [request.id for request in overdue] == ["later", "late"]


async def test_a_fully_posted_request_is_never_due_again(ledger: Ledger, leases: Leases) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    await leases.release(Card((history.request,)), [3], [REQUEST.id])
    released = await ledger.get(REQUEST.id)
    assert released == replace(history.request, due_at=None, last_posted_event=3)


async def test_a_request_stays_due_if_an_event_came_while_it_was_drawn(
    ledger: Ledger, leases: Leases
) -> None:
    drawn = await cleared(ledger, await confirmed(ledger))
    undone = NewEvent(NOW, EventType.UNDONE, "U0BOB", {})
    await ledger.record(drawn.request, undone, fenced=False, due_at=LATER)
    await leases.release(Card((drawn.request,)), [3], [REQUEST.id])
    released = await ledger.get(REQUEST.id)
    assert released is not None
    assert released.due_at == LATER


async def test_a_failed_delivery_is_recorded(ledger: Ledger, leases: Leases) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    failure = NewEvent(NOW, EventType.DELIVERY_FAILED, "", {"why": "channel_not_found"})
    await leases.release(Card((history.request,)), [0], [REQUEST.id], failure=failure)
    after = await ledger.request_history(REQUEST.id)
    assert (after.request.due_at, after.events[-1].type) == (None, EventType.DELIVERY_FAILED)


async def test_each_event_holds_the_previous_hash_and_the_request_the_last(ledger: Ledger) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    assert [event.number for event in history.events] == [1, 2, 3]
    assert [event.previous for event in history.events] == [
        "",
        *(e.hash for e in history.events[:-1]),
    ]
    assert all(event.hash == digest(event) for event in history.events)
    assert (history.request.events, history.request.head) == (3, history.events[-1].hash)


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(microseconds=1)},
        {"type": EventType.REFUSED},
        {"actor": "U0ALICE"},
        {"details": {"status": 201}},
        {"number": 4},
        {"previous": "0" * 64},
        {"request_id": "b" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_event_no_longer_matches_its_hash(
    ledger: Ledger, change: dict[str, object]
) -> None:
    event = (await cleared(ledger, await confirmed(ledger))).events[-1]
    assert digest(replace(event, **change)) != event.hash  # type: ignore[arg-type]  # by name


async def test_recent_requests_are_newest_first_and_can_be_of_one_customer(
    ledger: Ledger,
) -> None:
    for number, customer_id in enumerate([1, 2, 1, 2, 1]):
        request = replace(
            REQUEST,
            id=str(number),
            customer=replace(REQUEST.customer, customer_id=customer_id),
            asked_at=NOW + timedelta(seconds=number),
        )
        await ledger.add(request, ASKED)
    await ledger.add(replace(REQUEST, id="denied", message_ts=None), ASKED)
    assert [request.id for request in await ledger.recent_requests(1, limit=2)] == ["4", "2"]
    assert [request.id for request in await ledger.recent_requests(None)] == [
        "4",
        "3",
        "2",
        "1",
        "0",
    ]


FOLLOW_UP = {"kind": Kind.RELATCH, "thread_ts": REQUEST.message_ts, "undoes": REQUEST.id}


async def test_one_of_two_follow_ups_confirmed_at_once_is_overtaken(
    ledger: Ledger,
) -> None:
    # in two threads: in one, the second could not even be asked
    two = [
        replace(REQUEST, id=x * 32, message_ts=f"1.{x}", **FOLLOW_UP | {"thread_ts": f"0.{x}"})  # type: ignore[arg-type]  # by name
        for x in ("b", "c")
    ]
    for request in two:
        await ledger.add(request, ASKED)
    at = NOW + timedelta(seconds=1)
    confirmation = NewEvent(at, EventType.CONFIRMED, "U0BOB", {})
    results = await asyncio.gather(
        *(
            ledger.decide(
                request.id,
                Verdict.CONFIRMED,
                confirmation,
                decider=BOB,
                due_at=at + LEASE,
                judge=lambda _request, other: OVERTAKEN if other else ALLOWED,
            )
            for request in two
        )
    )
    assert Counter((result.taken, result.decision.why) for result in results) == {
        (True, ""): 1,
        (False, "overtaken"): 1,
    }


async def test_undecided_cards_are_counted(ledger: Ledger) -> None:
    assert await ledger.waiting() == 0
    await ledger.add(REQUEST, ASKED)
    assert await ledger.waiting() == 1
    await confirm(ledger)
    assert await ledger.waiting() == 0


@dataclass(frozen=True, slots=True)
class NewerCustomer(Customer):
    """A customer as a newer version of the bot might keep it."""

    vat_id: str = "ATU12345678"


async def test_what_a_newer_version_wrote_is_kept_and_shown_as_it_is(
    ledger: Ledger, leases: Leases, database_url: str
) -> None:
    newer = replace(
        REQUEST,
        kind=Kind("swap"),
        customer=NewerCustomer(**asdict(REQUEST.customer) | {"ids": HubSpotIds(101)}),
    )
    added = await ledger.add(newer, ASKED)
    swapped = NewEvent(NOW, EventType("swapped"), "U0BOB", {"into": {"vid": 1, "portal": 2}})
    history = await ledger.record(
        added,
        swapped,
        verdict=Verdict("postponed"),
        decider=BOB,
        decided_at=NOW,
        outcome=Outcome("swapped"),
        due_at=NOW,
    )
    request = history.request
    assert (request.kind, request.verdict, request.outcome) == ("swap", "postponed", "swapped")
    assert [r.id for r in await leases.overdue(LATER, LEASE)] == [REQUEST.id]
    [recent] = await ledger.recent_requests(None)
    assert recent.customer == replace(REQUEST.customer, ids=HubSpotIds(101))
    assert "❓ swapped" in shown(lists.history(None, [(recent, None)], []))
    card = shown(decided_card(recent, history.events, Links()))
    assert card.startswith("❓ Swapped: Stolen Bikes")
    assert "Postponed by: <@U0BOB>" in card
    thread = shown(thread_reply(history.events, recent, Links()))
    assert "<@U0BOB>: swapped" in thread
    reader = open_engine(database_url, read_only=True)
    assert list(verify(reader)) == []
    assert [row["event"] for row in read(reader, Filter())] == ["requested", "swapped"]
    reader.dispose()


BACK = timedelta(hours=1)


async def test_a_clock_that_was_set_back_delays_no_work(ledger: Ledger, leases: Leases) -> None:
    request = await confirmed(ledger)
    assert [r.id for r in await leases.overdue(NOW - BACK, LEASE)] == [request.id]
    reclaimed = await leases.reclaim([request], NOW - BACK, NOW - BACK + LEASE)
    assert reclaimed is not None
    assert await leases.overdue(NOW - BACK, LEASE) == []


async def test_a_clock_that_was_set_back_keeps_no_card_alive(
    ledger: Ledger, leases: Leases
) -> None:
    await ledger.add(REQUEST, ASKED)
    assert [r.id for r in await leases.overdue(NOW - BACK, LEASE)] == [REQUEST.id]
    expired = NewEvent(NOW - BACK, EventType.EXPIRED, "", {})
    result = await ledger.decide(
        REQUEST.id, Verdict.EXPIRED, expired, decider=None, due_at=NOW - BACK + LEASE
    )
    assert result.taken


@pytest.mark.parametrize("skew_s", [0, 1, 29])
async def test_clocks_that_differ_by_less_than_a_lease_take_nothing_away(
    ledger: Ledger, leases: Leases, skew_s: int
) -> None:
    await ledger.add(replace(REQUEST, id="b" * 32), ASKED)
    await confirmed(ledger)
    assert await leases.overdue(NOW - timedelta(seconds=skew_s), LEASE) == []


async def test_a_thread_has_one_that_posts_in_it(ledger: Ledger, leases: Leases) -> None:
    request = await ledger.add(REQUEST, ASKED)
    card = Card((request,))
    taken = await asyncio.gather(*(leases.take_thread(card, NOW, LEASE) for _ in range(10)))
    assert Counter(map(str, taken)) == {"[0]": 1, "None": 9}
    await leases.leave_thread(card, [1])
    assert await leases.take_thread(card, NOW, LEASE) == [1]


@pytest.mark.parametrize("at", [LATER, NOW - BACK], ids=["later", "the clock was set back"])
async def test_a_thread_whose_poster_is_gone_can_be_taken(
    ledger: Ledger, leases: Leases, at: datetime
) -> None:
    card = Card((await ledger.add(REQUEST, ASKED),))
    assert await leases.take_thread(card, NOW, LEASE) == [0]
    assert await leases.take_thread(card, at, LEASE) == [0]


async def test_a_double_click_that_is_refused_is_one_refusal(ledger: Ledger) -> None:
    await ledger.add(REQUEST, ASKED)
    for milliseconds in (0, 150, 5000):
        at = NOW + timedelta(milliseconds=milliseconds)
        await confirm(ledger, at, judge=lambda _request, _other: NOT_LISTED)
    events = (await ledger.request_history(REQUEST.id)).events
    assert [event.type for event in events].count(EventType.DECISION_DENIED) == 2


async def test_a_thread_has_one_open_follow_up(ledger: Ledger) -> None:
    await cleared(ledger, await confirmed(ledger))
    two = [replace(REQUEST, id=x * 32, message_ts=f"1.{x}", **FOLLOW_UP) for x in ("b", "c")]  # type: ignore[arg-type]  # by name
    results = await asyncio.gather(
        *(ledger.add(request, ASKED) for request in two), return_exceptions=True
    )
    assert Counter(type(result) for result in results) == {Request: 1, FollowUpOpen: 1}


async def test_an_undo_of_what_has_been_changed_since_is_not_added(ledger: Ledger) -> None:
    await cleared(ledger, await confirmed(ledger))
    later = replace(REQUEST, id="b" * 32, message_ts="2.1", thread_ts="2.1")
    await ledger.add(later, ASKED)
    at = NOW + timedelta(minutes=1)
    result = await ledger.decide(
        later.id,
        Verdict.CONFIRMED,
        NewEvent(at, EventType.CONFIRMED, "U0BOB", {}),
        decider=BOB,
        due_at=at + LEASE,
    )
    await ledger.record(
        result.request,
        NewEvent(at, EventType.CLEARED, "", {}),
        outcome=Outcome.CLEARED,
        settled_at=at,
    )
    with pytest.raises(Overtaken) as raised:
        await ledger.add(replace(REQUEST, id="c" * 32, message_ts="1.2", **FOLLOW_UP), ASKED)  # type: ignore[arg-type]  # by name
    assert raised.value.by.id == later.id


async def test_a_refusal_is_drawn_soon_though_a_recheck_is_due_much_later(
    ledger: Ledger, leases: Leases
) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    recheck = NOW + timedelta(days=1)
    await leases.change(history.request, due_at=recheck)
    denial = NewEvent(NOW, EventType.DECISION_DENIED, "U0BOB", {"why": "not on the list"})
    denied = await ledger.deny(history.request, denial, NOW + LEASE)
    assert denied is not None
    assert denied.request.due_at == NOW + LEASE


async def test_a_card_of_many_is_decided_with_all_its_requests(
    ledger: Ledger, leases: Leases
) -> None:
    rest = [
        replace(REQUEST, id=x * 32, card_id=REQUEST.id, position=n, card_size=3, due_at=None)
        for n, x in ((2, "b"), (3, "c"))
    ]
    first = replace(REQUEST, card_size=3)
    card = await ledger.add_card(Card((first, *rest)), [ASKED] * 3)
    assert [r.id for r in await leases.overdue(REQUEST.expires_at, LEASE)] == [REQUEST.id]
    result = await confirm(ledger)
    assert [r.verdict for r in result.card.requests] == [Verdict.CONFIRMED] * 3
    assert [r.claim for r in result.card.requests] == [r.claim + 1 for r in card.requests]
    reclaimed = await leases.reclaim(result.card.requests, LATER, LATER + LEASE)
    assert reclaimed is not None
    assert len(reclaimed.mine) == 3
    stopped = NewEvent(LATER, EventType.STOP_REQUESTED, "U0BOB", {})
    assert await ledger.stop(REQUEST.id, stopped)
    assert await ledger.is_stopping(REQUEST.id)
