"""A clock that is set back, as the ledger sees it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Column, select

from bot.ledger.database.engine import open_engine
from bot.ledger.schema import Moment, events, requests, response_urls


def set_back(database_url: str, by: timedelta) -> None:
    """Let all that the ledger holds lie later by so much, as if the clock had been set back since.

    The hashes of its events no longer fit.
    """
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for table in (requests, events, response_urls):
            times: list[Column[object]] = [c for c in table.c if isinstance(c.type, Moment)]
            for row in connection.execute(select(table)).mappings().all():
                later = {c.name: row[c.name] + by for c in times if row[c.name] is not None}
                connection.execute(table.update().where(table.c.id == row["id"]).values(later))
    engine.dispose()
