"""The gate executes only what a card's own first events name, whoever wrote to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, update

from bot.__main__ import main
from bot.ledger.tables import events, requests
from tests.support.by_hand import FORGED, chain, events_of, forge, rewrite, row_of, writing
from tests.support.ledger import confirm_without_worker, make_due, story_of_all
from tests.support.names import BOB, CANCEL, CONFIRM
from tests.support.reading import operations
from tests.support.world import World

JOINERY = 3100025
REFUSED = "🔒 This card doesn't match the ledger's record. Nothing was done; tell the bot's admin."


def put_another_on_it(connection: Connection, card_id: str, **columns: Any) -> None:
    """Put a request for a customer that nobody sees on a card, as right as one of the bot's."""
    asked_at = row_of(connection, card_id)["asked_at"] + timedelta(seconds=1)
    place: dict[str, Any] = {"card_id": card_id, "position": 2, "card_size": 1}
    forge(connection, card_id, asked_at, customer_id=JOINERY, **place | columns)


def another(connection: Connection, card_id: str) -> None:
    put_another_on_it(connection, card_id)


def another_and_both_say_so(connection: Connection, card_id: str) -> None:
    put_another_on_it(connection, card_id, card_size=2)
    connection.execute(update(requests).where(requests.c.id == card_id).values(card_size=2))


def another_in_front(connection: Connection, card_id: str) -> None:
    put_another_on_it(connection, card_id, position=0, card_size=2)
    connection.execute(update(requests).where(requests.c.id == card_id).values(card_size=2))


def another_in_front_without_events(connection: Connection, card_id: str) -> None:
    another_in_front(connection, card_id)
    connection.execute(delete(events).where(events.c.request_id == FORGED))
    nothing = {"events": 0, "head": ""}
    connection.execute(update(requests).where(requests.c.id == FORGED).values(nothing))


def another_customer_with_its_chain_made_anew(connection: Connection, card_id: str) -> None:
    row = row_of(connection, card_id) | {"customer_id": JOINERY}
    rewrite(connection, row, events_of(connection, card_id))


def another_event(connection: Connection, card_id: str) -> None:
    row, own = row_of(connection, card_id), events_of(connection, card_id)
    own.append({**own[-1], "id": 1_000, "type": "reminded"})
    chain(row, own)
    connection.execute(events.insert().values(own[-1]))


Change = Callable[[Connection, str], None]
CHANGES: tuple[Change, ...] = (
    another,
    another_and_both_say_so,
    another_in_front,
    another_in_front_without_events,
    another_customer_with_its_chain_made_anew,
    another_event,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_card_that_is_not_what_its_events_say_is_refused_and_reported(
    world: World,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = await world.ask()
    with writing(world.database_url) as connection:
        change(connection, (await world.kept(card)).id)
    calls, story = operations(world), story_of_all(world.database_url)
    customers = deepcopy(world.fusebill.customers)
    capsys.readouterr()
    for button in (CONFIRM, CANCEL):
        await world.press("U0ALICE", card, button)
        assert world.last_ephemeral("U0ALICE") == REFUSED
        assert "card not decided" in capsys.readouterr().out
    assert operations(world) == calls
    assert world.fusebill.customers == customers
    assert story_of_all(world.database_url) == story
    monkeypatch.setenv("DATABASE_URL", world.database_url)
    assert await asyncio.to_thread(main, ["audit", "--verify"]) == 1


async def test_work_that_is_taken_over_is_only_what_the_cards_events_say(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await world.ask()
    card_id = (await world.kept(card)).id
    confirm_without_worker(world.database_url, card_id, BOB)
    with writing(world.database_url) as connection:
        another_and_both_say_so(connection, card_id)
    calls = operations(world)
    make_due(world.database_url, card_id, "work")
    await world.slack.workspace.until(lambda: "card not executed" in capsys.readouterr().out)
    assert operations(world) == calls
    assert "cleared" not in story_of_all(world.database_url)
    with writing(world.database_url) as connection:
        connection.execute(delete(events).where(events.c.request_id == FORGED))
        connection.execute(delete(requests).where(requests.c.id == FORGED))
        connection.execute(update(requests).values(card_size=1))
    make_due(world.database_url, card_id, "work")
    await world.slack.workspace.until(lambda: "unlatch_customer" in operations(world))
    await world.kept_when(card, lambda kept: kept.first.outcome)
    assert operations(world).count("unlatch_customer") == 1
