"""A compiled statement gives what SQLAlchemy would give, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from bot.ledger.database.engine import open_engine, reason
from bot.ledger.database.statements import Statement, run
from bot.ledger.rows import request_row
from bot.ledger.tables import requests, response_urls
from tests.support.hostile import CARD

NOON = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
ADD = Statement(insert(response_urls))
ALL = Statement(select(response_urls).order_by(response_urls.c.id))
OF_BO = Statement(
    select(response_urls.c.url).where(
        response_urls.c.user_id == "UBO", response_urls.c.expires_at > bindparam("now")
    )
)
AMONG = Statement(
    select(response_urls.c.user_id)
    .where(
        response_urls.c.user_id.in_(bindparam("people", expanding=True)),
        response_urls.c.request_id.in_([CARD.id, "another"]),
    )
    .order_by(response_urls.c.id),
    "people",
)
MOVE = Statement(update(response_urls).where(response_urls.c.user_id == bindparam("who")))
FORGET = Statement(delete(response_urls).where(response_urls.c.user_id == bindparam("who")))


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = open_engine(database_url)
    with engine.connect() as connection:
        connection.execute(insert(requests), request_row(CARD))
        yield connection
        connection.rollback()
    engine.dispose()


def row(user_id: str, expires_at: datetime = NOON) -> dict[str, object]:
    url = f"https://hooks.slack.com/{user_id}?a=100%"
    return {"request_id": CARD.id, "user_id": user_id, "url": url, "expires_at": expires_at}


def test_rows_are_those_that_sqlalchemy_reads(connection: Connection) -> None:
    ADD.many(connection, [row("UBO"), row("UAL")])
    expected = [dict(found) for found in connection.execute(ALL.core).mappings()]
    assert ALL.rows(connection, {}) == expected


@pytest.mark.parametrize("people", [[], ["UBO"], ["UBO", "UCY"], ["UCY", "UAL", "UBO"]])
def test_a_list_of_any_length_is_a_parameter(connection: Connection, people: list[str]) -> None:
    ADD.many(connection, [row(each) for each in ("UAL", "UBO", "UCY")])
    expected = [each for each in ("UAL", "UBO", "UCY") if each in people]
    # the second time as it was compiled at the first
    for _ in range(2):
        found = AMONG.rows(connection, {"people": people})
        assert [each["user_id"] for each in found] == expected


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5))])
def test_a_time_keeps_its_moment_whatever_its_zone(connection: Connection, zone: timezone) -> None:
    ADD.execute(connection, row("UBO", NOON.astimezone(zone)))
    assert [found["expires_at"] for found in ALL.rows(connection, {})] == [NOON]


def test_values_written_in_the_statement_count_beside_the_parameters(
    connection: Connection,
) -> None:
    ADD.many(connection, [row("UBO"), row("UAL")])
    assert OF_BO.row(connection, {"now": NOON}) is None
    assert OF_BO.row(connection, {"now": NOON - timedelta(seconds=1)}) == {"url": row("UBO")["url"]}


def test_an_insert_returns_the_id_of_each_row(connection: Connection) -> None:
    given = ADD.insert(connection, [row("UBO"), row("UAL")])
    given += ADD.insert(connection, [row("UCY")])
    assert [found["id"] for found in ALL.rows(connection, {})] == given


def test_a_change_returns_how_many_rows_it_changed(connection: Connection) -> None:
    ADD.many(connection, [row("UBO"), row("UBO"), row("UAL")])
    assert MOVE.execute(connection, {"who": "UBO", "url": "new"}) == 2
    assert [found["url"] for found in ALL.rows(connection, {})] == ["new", "new", row("UAL")["url"]]
    assert FORGET.execute(connection, {"who": "UCY"}) == 0


def test_a_refusal_of_the_database_is_sqlalchemys_error(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)not[ -]null"):
        ADD.execute(connection, row("UBO") | {"url": None})


def test_the_reason_of_a_refusal_shows_no_values(connection: Connection) -> None:
    with pytest.raises(DBAPIError) as refused:
        ADD.execute(connection, row("UBO") | {"request_id": None})
    assert "hooks.slack.com" not in reason(refused.value)


def test_a_lost_connection_is_given_up(postgresql_url: str) -> None:
    engine = open_engine(postgresql_url)
    with engine.connect() as connection:
        own = run(connection, "SELECT pg_backend_pid()").fetchone()[0]
        with engine.connect() as other:
            run(other, "SELECT pg_terminate_backend(%s)", (own,))
            other.commit()
        with pytest.raises(OperationalError) as lost:
            run(connection, "SELECT 1")
        assert lost.value.connection_invalidated
        assert connection.invalidated
    engine.dispose()
