"""The hash chain on each database: each event covers the one before, and its own content."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.models import EventType
from bot.ledger import rows
from bot.ledger.database.statements import Row
from bot.ledger.hash_chain import canonical_json, digest
from tests.support.steps import NOW, REQUEST, Process


async def stored_events(process: Process) -> list[Row]:
    """The events of a card that was cleared, as the ledger has them."""
    await process.confirmed()
    await process.record()
    return await process.read(lambda c: rows.EVENTS.rows(c, {"card_id": REQUEST.id}))


async def test_each_event_holds_the_previous_hash_and_the_request_the_last(one: Process) -> None:
    events = await stored_events(one)
    assert [event["number"] for event in events] == [1, 2, 3]
    assert [event["previous"] for event in events] == ["", *(e["hash"] for e in events[:-1])]
    assert all(event["hash"] == digest(event) for event in events)
    first = (await one.card()).first
    assert (first.event_count, first.head) == (3, events[-1]["hash"])


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW + timedelta(microseconds=1)},
        {"type": EventType.REFUSED},
        {"actor": "U0ALICE"},
        {"details": canonical_json({"status": 201})},
        {"number": 4},
        {"previous": "0" * 64},
        {"request_id": "b" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_event_no_longer_matches_its_hash(
    one: Process, change: dict[str, Any]
) -> None:
    event = (await stored_events(one))[-1]
    assert digest(event | change) != event["hash"]


async def test_an_event_is_never_earlier_than_the_cards_last(one: Process) -> None:
    await one.confirmed()
    one.now = NOW - timedelta(hours=1)
    card = await one.record()
    assert (card.events[-1].at, card.first.settled_at) == (NOW, NOW)
