"""What a flow reads goes by an index, on both databases, however long the ledger gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Select, select

from bot.ledger import due_requests, queries, same_customer
from bot.ledger.database.engine import open_engine
from bot.ledger.database.migrating import migrate
from bot.ledger.database.statements import Statement
from bot.ledger.tables import requests

QUERIES: dict[str, tuple[Select[Any] | Statement, dict[str, object]]] = {
    "the request of a click": (queries.ONE, {"request_id": "a" * 32}),
    "the events of a request": (queries.EVENTS_OF, {"request_id": "a" * 32}),
    "what is overdue": (
        queries.OVERDUE,
        dict(queries.clock_limits(datetime.now(UTC), timedelta(seconds=30))),
    ),
    "how long anything is overdue": (queries.LONGEST_DUE, {}),
    "what else was done for a customer": (
        same_customer.OTHERS,
        {"card_id": "a" * 32},
    ),
    "the card of a click": (queries.CARD, {"card_id": "a" * 32}),
    "the events of a card": (queries.EVENTS_OF_CARD, {"card_id": "a" * 32}),
    "what a thread shows": (queries.SHOWN, {"card_id": "a" * 32}),
    "whether a card is being stopped": (queries.STOPPING, {"card_id": "a" * 32}),
    "what changed a customer since": (
        same_customer.CHANGED_SINCE,
        {"customer": 7, "request_id": "a" * 32, "since": "cleared"},
    ),
    "an open follow-up": (
        same_customer.FOLLOW_UP,
        {"customers": [7], "channel": "C0", "thread": "1.2", "card_id": "a" * 32},
    ),
    "what is open": (due_requests.OPEN, {"now": datetime.now(UTC)}),
    "why requests were declined": (due_requests.DECLINED, {"request_ids": ["a" * 32]}),
    "the last requests": (
        select(requests).order_by(requests.c.asked_at.desc()).limit(10),
        {},
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_of_a_flow_reads_a_whole_table(database_url: str, name: str) -> None:
    engine = open_engine(database_url)
    migrate(engine)
    try:
        with engine.begin() as connection:
            plan = explained(connection, *QUERIES[name])
    finally:
        engine.dispose()
    assert "index" in plan.lower(), plan
    assert "Seq Scan" not in plan, plan


def explained(
    connection: Connection, query: Select[Any] | Statement, values: dict[str, object]
) -> str:
    """The database's own plan, on PostgreSQL as it would be for a large table."""
    core = query.core if isinstance(query, Statement) else query
    assert isinstance(core, Select)
    compiled = core.params(**values).compile(
        connection, compile_kwargs={"literal_binds": True, "render_postcompile": True}
    )
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    if connection.dialect.name == "postgresql":
        # an empty table is read whole whatever indexes there are
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    rows = connection.exec_driver_sql(f"{explain}{compiled}".replace("%", "%%"))
    return "\n".join(" ".join(map(str, row)) for row in rows)
