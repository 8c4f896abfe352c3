"""What a test asks of a ledger: its cards, what is due, and to let it fall due or be taken over.

No other helper names the ledger's classes, tables and columns, but `kept`, which reads rows,
`writing`, for tests of what reads a ledger, and `damage`, for what somebody breaks. The functions
take a database's URL, so that they serve a bot in this process and those in their own. They block:
where the bot reaches its database through this process (a proxy), call them in a thread, as `World`
does.

At the end stands a request as the tests of the ledger's own classes write it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, select, update

from bot.domain.models import (
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
from bot.domain.policy import Decision
from bot.ledger.audit.export import Filter, Row, read
from bot.ledger.audit.verify import verify
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.database.migrating import migrate
from bot.ledger.gate import DecisionResult
from bot.ledger.hash_chain import fingerprint
from bot.ledger.schema import Moment, card_id_of_row, events, metadata, requests, response_urls
from bot.ledger.store import Ledger
from bot.requests.publishing.publisher import MAX_PUBLISH_ATTEMPTS
from tests.support.kept import Due, Job, KeptCard, KeptRequest, cards_in

HOUR = timedelta(hours=1)
HOLD_LOST = "claim lost"
"""What the log says when a worker finds that another process has taken over its card."""


def create(database_url: str) -> None:
    """Create an empty ledger, or bring an older one up to date."""
    engine = open_engine(database_url)
    migrate(engine)
    engine.dispose()


def cards(database_url: str) -> list[KeptCard]:
    """All cards that Slack has, as far as the ledger knows, oldest first."""
    with reading(database_url) as connection:
        return cards_in(connection, requests.c.message_ts.is_not(None))


def card_at(database_url: str, ts: str) -> KeptCard:
    """The card whose message has this `ts`. Raises: ValueError if the ledger has none."""
    with reading(database_url) as connection:
        (card,) = cards_in(connection, requests.c.message_ts == ts)
    return card


def requests_about(database_url: str, customer_id: int) -> list[KeptRequest]:
    """The requests about one customer whose card Slack has, newest first."""
    about_it = requests.c.customer_id == customer_id
    with reading(database_url) as connection:
        found = cards_in(connection, about_it, requests.c.message_ts.is_not(None))
    return [each for card in reversed(found) for each in card.requests]


def story_of_all(database_url: str) -> list[str]:
    """The types of all events, in the order in which they were written."""
    with reading(database_url) as connection:
        return list(connection.execute(select(events.c.type).order_by(events.c.id)).scalars())


def what_is_due(database_url: str) -> list[Due]:
    """What is still to be done, also for cards that Slack does not have; soonest first."""
    with reading(database_url) as connection:
        due = [each for card in cards_in(connection) for each in card.due]
    return sorted(due, key=lambda each: each.at)


@contextmanager
def settling(database_url: str) -> Iterator[Callable[[], bool]]:
    """Asks, as often as wanted, whether nothing is still to be done for any decided card."""
    left = requests.c.verdict.is_not(None) & requests.c.due_at.is_not(None)
    engine = open_engine(database_url, read_only=True)

    def settled() -> bool:
        with engine.connect() as connection:
            return not connection.execute(select(func.count()).where(left)).scalar()

    yield settled
    engine.dispose()


def audit_rows(database_url: str, customer_id: int | None = None) -> list[Row]:
    """The ledger as an auditor reads it; with `customer_id`, what is about this customer."""
    engine = open_engine(database_url, read_only=True)
    rows = list(read(engine, Filter(customer_id=customer_id)))
    engine.dispose()
    return rows


def broken(database_url: str) -> list[str]:
    """What `audit --verify` finds."""
    engine = open_engine(database_url, read_only=True)
    try:
        return list(verify(engine))
    finally:
        engine.dispose()


def row_fingerprint(database_url: str, ts: str, *, posted: bool) -> str:
    """What the hash chain must vouch for of the one request of a card: see `fingerprint`."""
    with reading(database_url) as connection:
        rows = connection.execute(select(requests).where(requests.c.message_ts == ts))
        return fingerprint(dict(rows.mappings().one()), posted=posted)


def kept_urls(database_url: str, card_id: str) -> list[str]:
    """The response URLs that are kept for a card, whether or not they still work."""
    query = select(response_urls.c.url).where(response_urls.c.request_id == card_id)
    with reading(database_url) as connection:
        return list(connection.execute(query).scalars())


async def read_requests(database_url: str) -> list[Request]:
    """The first request of each card as the bot reads it, newest first, to call its parts with."""
    database = Database(open_engine(database_url, read_only=True))
    try:
        return list(await Ledger(database).recent_requests(None, limit=100))
    finally:
        await database.close()


def make_due(database_url: str, card_id: str, kind: Job, at: datetime | None = None) -> None:
    """Let something fall due now, or `at`: also what was done already, as a repetition.

    A card that is to expire sooner than it says is no longer what its events vouch for.
    """
    of_kind: dict[Job, ColumnElement[bool]] = {
        "work": (card_id_of_row == card_id) & requests.c.outcome.is_(None),
        "recheck": (card_id_of_row == card_id) & (requests.c.outcome == Outcome.CLEARED),
    }
    moment = at or datetime.now(UTC)
    # the first request holds the card's clock
    _change(database_url, of_kind.get(kind, requests.c.id == card_id), due_at=moment)
    if kind == "expire":
        _change(database_url, card_id_of_row == card_id, expires_at=moment)


def give_up_next_time(database_url: str, card_id: str) -> None:
    """Let the next attempt to show a card be the last; it waits for this attempt now."""
    _change(database_url, requests.c.id == card_id, deliveries=MAX_PUBLISH_ATTEMPTS - 1)


def lose_hold(database_url: str, card_id: str) -> None:
    """Let whoever holds a card lose it, as if another process had taken it over."""
    _change(database_url, card_id_of_row == card_id, claim=requests.c.claim + 1)


def age_urls(database_url: str, by: timedelta) -> None:
    """Let all response URLs be older, so that they expire sooner."""
    _move(database_url, [response_urls.c.expires_at], -by)


def set_back(database_url: str, by: timedelta) -> None:
    """Let all that the ledger holds lie later by so much, as if the clock had been set back since.

    The hashes of its events no longer fit.
    """
    for table in metadata.sorted_tables:
        _move(database_url, [each for each in table.c if isinstance(each.type, Moment)], by)


async def confirm_without_worker(
    database_url: str, card_id: str, decider: Person, outcome: Outcome | None = None
) -> None:
    """Confirm a card of one request, as a process does that hangs right after.

    With an `outcome`, it has recorded this as well, and the ledger takes it for shown.
    """
    now = datetime.now(UTC)
    database = Database(open_engine(database_url))
    try:
        ledger = Ledger(database)
        confirmed = NewEvent(now, EventType.CONFIRMED, decider.user_id, {})
        result = await ledger.decide(
            card_id, Verdict.CONFIRMED, confirmed, decider=decider, due_at=now + HOUR
        )
        if outcome is not None:
            event = NewEvent(now, EventType(outcome), "", {"why": "…", "found": {}})
            await ledger.record(result.request, event, outcome=outcome, due_at=None)
    finally:
        await database.close()


@contextmanager
def reading(database_url: str) -> Iterator[Connection]:
    """A connection that only reads."""
    engine = open_engine(database_url, read_only=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _change(database_url: str, where: ColumnElement[bool], **values: object) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        changed = connection.execute(update(requests).where(where).values(values)).rowcount
    engine.dispose()
    assert changed, "the ledger has no such card"


def _move(database_url: str, times: Sequence[Column[Any]], by: timedelta) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for time in times:
            table = time.table
            for row in connection.execute(select(table).where(time.is_not(None))).mappings().all():
                later = {time.name: row[time] + by}
                connection.execute(table.update().where(table.c.id == row["id"]).values(later))
    engine.dispose()


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
ASKED = NewEvent(NOW, EventType.REQUESTED, "U0ALICE", {"reason": "moved", "vid": 101})


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
