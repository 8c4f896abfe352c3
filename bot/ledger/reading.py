"""Reads requests and their events, as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from bot.domain.models import Card, CardHistory, Request, RequestHistory
from bot.ledger import gate, queries, same_customer
from bot.ledger.database.engine import Database
from bot.ledger.mapping import request_of
from bot.ledger.schema import requests


class Reader:
    """Every method is one transaction and raises LedgerUnavailable if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, request_id: str) -> Request | None:
        """The request as it is now, None if there is none."""
        return await self._database.run(lambda c: queries.find(c, request_id))

    async def get_card(self, card_id: str) -> Card | None:
        """The card as it is now, None if there is none."""
        return await self._database.run(lambda c: queries.find_card(c, card_id))

    async def request_history(self, request_id: str) -> RequestHistory:
        """The request with all its events. Raises: KeyError."""

        def work(connection: Connection) -> RequestHistory:
            request = queries.find(connection, request_id)
            if request is None:
                raise KeyError(request_id)
            return queries.history_of(connection, request)

        return await self._database.run(work)

    async def card_history(self, card_id: str) -> CardHistory:
        """The card with all its events. Raises: KeyError."""

        def work(connection: Connection) -> CardHistory:
            card = queries.find_card(connection, card_id)
            if card is None:
                raise KeyError(card_id)
            return queries.card_history_of(connection, card)

        return await self._database.run(work)

    async def recent_requests(self, customer_id: int | None, limit: int = 10) -> Sequence[Request]:
        """The last requests with a card, newest first, of one customer; or of all, one a card."""
        query = select(requests).where(requests.c.message_ts.is_not(None))
        if customer_id is not None:
            query = query.where(requests.c.customer_id == customer_id)
        else:
            query = query.where(requests.c.position == 1)
        query = query.order_by(requests.c.asked_at.desc()).limit(limit)

        def work(connection: Connection) -> Sequence[Request]:
            return [request_of(row) for row in connection.execute(query).mappings()]

        return await self._database.run(work)

    async def open_follow_up(self, card: Card) -> Request | None:
        """A request of another card in the same thread that is undecided or being executed."""
        return await self._database.run(lambda c: same_customer.open_follow_up(c, card))

    async def changed_since(self, request: Request) -> Request | None:
        """The last other request that changed the customer after this one did, or may have."""
        return await self._database.run(lambda c: gate.changed_since(c, request))

    async def unfinished(self, request_ids: Sequence[str]) -> bool:
        """Whether any of these requests is still being executed."""
        values = {"request_ids": list(request_ids)}
        return await self._database.run(
            lambda c: bool(c.execute(queries.UNFINISHED, values).scalar_one())
        )

    async def is_stopping(self, card_id: str) -> bool:
        """Whether somebody stopped a card's work."""
        return await self._database.run(lambda c: queries.is_stopping(c, card_id))

    async def waiting(self) -> int:
        """How many cards are undecided."""
        return await self._database.run(lambda c: int(c.execute(queries.WAITING).scalar_one()))

    async def longest_due(self) -> datetime | None:
        """The earliest `due_at`: in the past, if the sweep has not come to that request yet."""
        return await self._database.run(lambda c: c.execute(queries.LONGEST_DUE).scalar())
