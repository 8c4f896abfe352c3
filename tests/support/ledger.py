"""What a test asks of a ledger: its cards, what is due, and to let it fall due or be taken over.

No other helper names the ledger's classes, tables and columns, but `kept`, which reads rows,
`writing`, for tests of what reads a ledger, and `damage`, for what somebody breaks. The functions
take a database's URL, so that they serve a bot in this process and those in their own. They block:
where the bot reaches its database through this process (a proxy), call them in a thread, as `World`
does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, func, make_url, select, update

from bot.domain.models import Outcome, Person, Verdict
from bot.domain.outcomes import Result
from bot.ledger import decide_steps, work_steps
from bot.ledger.audit.export import Filter, Row, read
from bot.ledger.audit.verify import verify
from bot.ledger.database.engine import open_engine
from bot.ledger.database.migrating import migrate
from bot.ledger.hash_chain import NOT_POSTED, canonical_json, chained, fingerprint
from bot.ledger.jobs import Transaction
from bot.ledger.tables import (
    Moment,
    card_id_of_row,
    events,
    jobs,
    metadata,
    requests,
    response_urls,
)
from bot.requests.show import MAX_ATTEMPTS
from bot.settings import Timing
from tests.support.kept import Due, Job, KeptCard, KeptRequest, cards_in

HOLD = Timing().hold
"""As long as a bot holds a job; one that is held for much longer counts as free."""
HANGS = "a process that hangs"
HOLD_LOST = "hold lost"
"""What the log says when a worker finds that another process has taken over its card."""


def create(database_url: str) -> None:
    """Create an empty ledger, or bring an older one up to date."""
    if create_file(database_url):
        return
    engine = open_engine(database_url)
    migrate(engine)
    engine.dispose()


def create_file(database_url: str) -> bool:
    """Create an empty ledger if its file is missing, in a fraction of the bot's own time for it.

    Returns whether it did.
    """
    file = Path(make_url(database_url).database or "")
    if not database_url.startswith("sqlite") or file.exists():
        return False
    file.write_bytes(_empty_file())
    file.chmod(0o600)
    return True


@cache
def _empty_file() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        engine = open_engine(f"sqlite:///{file}")
        migrate(engine)
        engine.dispose()
        return file.read_bytes()


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


def is_set_in_the_future(database_url: str) -> bool:
    """Whether a job was set later than now, by the ledger's own word."""
    with reading(database_url) as connection:
        later = select(func.count()).where(jobs.c.set_at > datetime.now(UTC))
        return bool(connection.execute(later).scalar())


@contextmanager
def settling(database_url: str) -> Iterator[Callable[[], bool]]:
    """Asks, as often as wanted, whether nothing is still to be done for any decided card."""
    # an undecided card waits for its reminder and its expiry
    waits = jobs.c.kind.in_(["post", "remind", "expire"])
    with _reader(database_url) as engine:

        def settled() -> bool:
            with engine.connect() as connection:
                left = select(func.count()).where(~waits, jobs.c.due_at.is_not(None))
                return not connection.execute(left).scalar()

        yield settled


def audit_rows(database_url: str, customer_id: int | None = None) -> list[Row]:
    """The ledger as an auditor reads it; with `customer_id`, what is about this customer."""
    with _reader(database_url) as engine:
        return list(read(engine, Filter(customer_id=customer_id)))


def broken(database_url: str) -> list[str]:
    """What `audit --verify` finds."""
    with _reader(database_url) as engine:
        return list(verify(engine))


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


def make_due(database_url: str, card_id: str, kind: Job, at: datetime | None = None) -> None:
    """Let something fall due now, or `at`: also what was done already, as a repetition.

    A card that is to expire sooner than it says is no longer what its events vouch for.
    """
    moment = at or datetime.now(UTC)
    _set(database_url, card_id, kind, due_at=moment, holder=None, held_until=None)
    if kind == "expire":
        _change(database_url, card_id_of_row == card_id, expires_at=moment)


def give_up_next_time(database_url: str, card_id: str) -> None:
    """Let the next attempt to show a card be the last; it waits for this attempt now."""
    _set(database_url, card_id, "show", attempts=MAX_ATTEMPTS, due_at=datetime.now(UTC))


def lose_hold(database_url: str, card_id: str) -> None:
    """Let whoever holds a card's jobs lose them, as if another process had taken them over."""
    other = {"holder": "another process", "held_until": datetime.now(UTC) + HOLD}
    engine = open_engine(database_url)
    with engine.begin() as connection:
        held = jobs.c.holder.is_not(None)
        lost = update(jobs).where(jobs.c.card_id == card_id, held)
        connection.execute(lost.values(takes=jobs.c.takes + 1, **other))
    engine.dispose()


def end_holds(database_url: str) -> None:
    """Let the process that hangs hold nothing any more, as after its death."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        hangs = update(jobs).where(jobs.c.holder == HANGS)
        connection.execute(hangs.values(held_until=datetime.now(UTC)))
    engine.dispose()


def age_urls(database_url: str, by: timedelta) -> None:
    """Let all response URLs be older, so that they expire sooner."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        _move(connection, [response_urls.c.expires_at], -by)
    engine.dispose()


def set_back(database_url: str, by: timedelta) -> None:
    """Let all that the ledger holds lie later by so much, as if the clock had been set back since.

    A negative time has passed instead. The hashes fit what was moved.
    """
    engine = open_engine(database_url)
    # all at once: a bot must not find what is due by one table and not by another
    with engine.begin() as connection:
        # a step locks requests before jobs, and each would wait for the other
        connection.execute(select(requests.c.id).order_by(requests.c.id).with_for_update())
        for table in metadata.sorted_tables:
            _move(connection, [each for each in table.c if isinstance(each.type, Moment)], by)
        for row in connection.execute(select(requests)).mappings().all():
            _chain_again(connection, dict(row))
    engine.dispose()


def confirm_without_worker(
    database_url: str, card_id: str, decider: Person, outcome: Outcome | None = None
) -> None:
    """Confirm a card of one request, as a process does that hangs in its call.

    With an `outcome`, it has recorded this as well, and the ledger takes it for shown.
    """
    engine = open_engine(database_url)
    with engine.begin() as connection:
        hangs = Transaction(connection, HANGS, HOLD)
        decide_steps.decided(hangs, card_id, Verdict.CONFIRMED, decider)
        hangs.finish()
        (job,) = (each for each in hangs.held if each.kind == "work")
        begins = Transaction(connection, HANGS, HOLD)
        work_steps.begun(begins, job, [card_id])
        begins.finish()
        if outcome is not None:
            result = Result(outcome, {"why": "…", "found": {}, "calls": []})
            records = Transaction(connection, HANGS, HOLD)
            work_steps.recorded(records, job, {card_id: result}, timedelta())
            records.finish()
            connection.execute(jobs.delete().where(jobs.c.card_id == card_id))
    engine.dispose()


@contextmanager
def reading(database_url: str) -> Iterator[Connection]:
    """A connection that only reads."""
    with _reader(database_url) as engine, engine.connect() as connection:
        yield connection


@contextmanager
def _reader(database_url: str) -> Iterator[Engine]:
    """An engine that only reads, without a connection before and after."""
    free = _free_readers(database_url)
    engine = free.pop() if free else open_engine(database_url, read_only=True)
    try:
        yield engine
    finally:
        engine.dispose()
        free.append(engine)


@lru_cache(maxsize=4)
def _free_readers(_database_url: str) -> list[Engine]:
    """Engines that were used: what each has compiled is most of the cost of reading."""
    return []


def _change(database_url: str, where: ColumnElement[bool], **values: object) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        changed = connection.execute(update(requests).where(where).values(values)).rowcount
    engine.dispose()
    assert changed, "the ledger has no such card"


def _set(database_url: str, card_id: str, kind: Job, **values: object) -> None:
    """Change a card's job, or set it first."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        job = (jobs.c.card_id == card_id) & (jobs.c.kind == kind)
        if not connection.execute(update(jobs).where(job).values(values)).rowcount:
            new = {"takes": 0, "attempts": 0, "wanted": 1, "set_at": datetime.now(UTC)}
            insert = jobs.insert().values(new | {"card_id": card_id, "kind": kind} | values)
            connection.execute(insert)
    engine.dispose()


def _move(connection: Connection, times: Sequence[Column[Any]], by: timedelta) -> None:
    for time in times:
        table = time.table
        for row in connection.execute(select(table).where(time.is_not(None))).mappings().all():
            later = {time.name: row[time] + by}
            connection.execute(table.update().where(table.c.id == row["id"]).values(later))


def _chain_again(connection: Connection, row: dict[str, Any]) -> None:
    """Let a request's events vouch for its row and for each other, as they are now."""
    again = row | {"events": 0, "head": ""}
    chain = select(events).where(events.c.request_id == row["id"]).order_by(events.c.number)
    for event in connection.execute(chain).mappings().all():
        details = json.loads(event["details"])
        if vouched := details.get("row"):
            details["row"] = fingerprint(row, posted=not vouched.startswith(NOT_POSTED))
        text = canonical_json(details)
        new = chained(again, event["at"], event["type"], event["actor"], text)
        connection.execute(update(events).where(events.c.id == event["id"]).values(new))
        again |= {"events": new["number"], "head": new["hash"]}
    mine = update(requests).where(requests.c.id == row["id"])
    connection.execute(mine.values(head=again["head"]))
