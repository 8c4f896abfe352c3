"""The ledger on each database: what is written comes back, in a chain of hashes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import pytest

from bot.domain.models import (
    Customer,
    EventType,
    HubSpotIds,
    Kind,
    NewEvent,
    Outcome,
    Verdict,
)
from bot.ledger.audit.export import Filter, read
from bot.ledger.audit.verify import verify
from bot.ledger.database.engine import open_engine
from bot.ledger.leases import Leases
from bot.ledger.store import Ledger
from bot.messages import lists
from bot.messages.cards import decided_card
from bot.messages.phrases import Links
from bot.messages.threads import thread_reply
from tests.support.hostile import shown
from tests.support.ledger import (
    ASKED,
    BOB,
    LATER,
    LEASE,
    NOW,
    REQUEST,
    cleared,
    confirm,
    confirmed,
    hash_of,
)


async def test_a_request_comes_back_as_it_was_written(ledger: Ledger) -> None:
    added = await ledger.add(REQUEST, ASKED)
    assert await ledger.get(REQUEST.id) == added == replace(REQUEST, events=1, head=added.head)


async def test_an_unknown_request_is_none(ledger: Ledger) -> None:
    assert await ledger.get("b" * 32) is None


async def test_each_event_holds_the_previous_hash_and_the_request_the_last(ledger: Ledger) -> None:
    history = await cleared(ledger, await confirmed(ledger))
    assert [event.number for event in history.events] == [1, 2, 3]
    assert [event.previous for event in history.events] == [
        "",
        *(e.hash for e in history.events[:-1]),
    ]
    assert all(event.hash == hash_of(event) for event in history.events)
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
    assert hash_of(replace(event, **change)) != event.hash  # type: ignore[arg-type]  # by name


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
