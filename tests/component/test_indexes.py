"""What a flow reads goes by an index, on both databases, however long the ledger gets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, Executable, Select, insert, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from bot.ledger import due_jobs, jobs, lists, rows, same_customer
from bot.ledger.database.engine import open_engine
from bot.ledger.database.statements import Statement
from bot.ledger.tables import jobs as job_table, requests
from tests.benchmarks.ledgers import Ledgers

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DUE: dict[str, object] = {
    "job_kind": "work",
    "now": NOW,
    "never_yet": NOW,
    "me": "one",
    "lost_by": NOW,
    "places": 16,
}
CARD: dict[str, object] = {"card_id": "a" * 32}
QUERIES: dict[str, tuple[Select[Any] | Statement, dict[str, object]]] = {
    "the card of a click": (rows.CARD_LOCKED, CARD),
    "the card of an outcome, and who waits": (same_customer.CARD_LOCKED_WITH_OTHERS, CARD),
    "the cards that wait for changed customers": (same_customer.WAITING, CARD),
    "the events of a card": (rows.EVENTS, CARD),
    "the cards of requests": (rows.CARDS_OF, {"ids": ["a" * 32]}),
    "what is due": (due_jobs.DUE, DUE),
    "what this process runs and holds": (due_jobs.MINE, {"ids": [7, 8], "me": "one"}),
    "a job of a card": (jobs.FIND, CARD | {"job_kind": "show"}),
    "whether a job is held": (jobs.FENCE, {"job_id": 7, "held": 1}),
    "what was done for a customer since a card was asked": (same_customer.SINCE_ASKED, CARD),
    "what changed a customer since": (same_customer.CHANGED_SINCE, {"request_ids": ["a" * 32]}),
    "an open follow-up": (
        same_customer.FOLLOW_UP,
        {"customers": [7], "channel": "C0", "thread": "1.2", **CARD},
    ),
    "what was done lately for a card's customers": (
        same_customer.UNDER_WAY,
        CARD | {"sent_since": NOW},
    ),
    "what is waited for": (same_customer.OF_IDS, {"request_ids": ["a" * 32]}),
    "how its calls ended": (same_customer.EVENTS_OF, {"request_ids": ["a" * 32]}),
    "what is open": (lists.OPEN, {"now": NOW}),
    "why requests were declined": (lists.DECLINED, {"request_ids": ["a" * 32]}),
    "how many cards wait": (lists.WAITING, {}),
    "how long anything is overdue": (lists.LONGEST_DUE, {"now": NOW}),
    "which cards are not shown": (lists.NOT_SHOWN, {"cards": ["a" * 32]}),
    "the last requests": (select(requests).order_by(requests.c.asked_at.desc()).limit(10), {}),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """A ledger of many requests, of which many are to be looked at again, or were given up."""
    server = request.getfixturevalue("postgresql_server") if request.param == "postgresql" else ""
    with Ledgers(tmp_path_factory.mktemp("large"), server) as ledgers:
        # large enough that PostgreSQL plans as for any larger one
        url = ledgers.filled(getattr(ledgers, request.param), 4_000, 1)
        engine = open_engine(url)
        with engine.begin() as connection:
            ids = connection.execute(select(requests.c.id)).scalars().all()
            new = {"set_at": NOW, "takes": 1, "attempts": 0, "wanted": 1}
            parked = [new | {"card_id": each, "kind": "show", "due_at": None} for each in ids]
            ahead = datetime(2027, 1, 1, tzinfo=UTC)
            looks = [new | {"card_id": each, "kind": "recheck", "due_at": ahead} for each in ids]
            connection.execute(insert(job_table), parked + looks)
            connection.execute(text("ANALYZE"))
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def test_no_query_of_a_flow_reads_a_whole_table(large: Connection) -> None:
    # in one test: filling a ledger takes longer than asking about all of them
    plans = {name: explained(large, *query) for name, query in QUERIES.items()}
    assert {name: plan for name, plan in plans.items() if reads_a_whole_table(plan)} == {}
    assert "jobs_due" in plans["what is due"]  # it is found by its kind and time


def reads_a_whole_table(plan: str) -> bool:
    if "index" not in plan.lower() and "primary key" not in plan.lower():
        return True
    # SQLite reads a table without one of its indexes
    scans = [line for line in plan.splitlines() if "SCAN" in line and "INDEX" not in line]
    return bool(scans) or "Seq Scan" in plan


class Explain(Executable, ClauseElement):
    """What a database says of how it would run a statement."""

    inherit_cache = False

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


@compiles(Explain)
def _explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    words = "EXPLAIN QUERY PLAN" if compiler.dialect.name == "sqlite" else "EXPLAIN"
    return f"{words} {compiler.process(element.query, **options)}"


def explained(
    connection: Connection, query: Select[Any] | Statement, values: dict[str, object]
) -> str:
    """The database's own plan."""
    core = query.core if isinstance(query, Statement) else query
    assert isinstance(core, Select)
    # the driver's own rows: SQLAlchemy takes the plan for what the query would return
    cursor = connection.execute(Explain(core.params(**values))).cursor
    assert cursor is not None
    return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())
