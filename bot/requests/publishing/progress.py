"""Shows on a card that its work is under way, if that takes long, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog

from bot.domain.models import Card, CardHistory, RequestHistory
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.leases import Leases, LostClaim
from bot.ledger.store import Ledger
from bot.requests.publishing.publisher import Publisher
from bot.settings import Timing
from bot.slack.client import SlackError

log = structlog.get_logger(__name__)


class Progress:
    """Draws cards while their worker is at work."""

    def __init__(
        self, ledger: Ledger, leases: Leases, publisher: Publisher, timing: Timing
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._publisher = publisher
        self._timing = timing

    @asynccontextmanager
    async def shown_while_working(self, card: Card) -> AsyncIterator[None]:
        """Show on the card that the work is in progress, if it takes long, and how far it is."""
        finished, showing = asyncio.Event(), list[asyncio.Task[None]]()

        def begin() -> None:
            showing.append(asyncio.create_task(self._show_working(card, finished)))

        timer = asyncio.get_running_loop().call_later(self._timing.working_after_s, begin)
        try:
            yield
        except asyncio.CancelledError:
            for task in showing:
                task.cancel()
            raise
        finally:
            timer.cancel()
            finished.set()
            # the "in progress" card must not arrive after the result
            await asyncio.gather(*showing, return_exceptions=True)

    async def _show_working(self, card: Card, finished: asyncio.Event) -> None:
        first = card.first
        while not finished.is_set():
            try:
                # a process that slept must not draw over the result of the one that took over
                with suppress(LedgerUnavailable):
                    await self._leases.change(first, due_at=datetime.now(UTC) + self._timing.lease)
                await self._publisher.show_working(await self._progress(card))
            except SlackError as error:
                log.warning("working card not shown", why=error.code)
            except LostClaim as error:
                log.warning("working card not shown", why=str(error))
            if first.card_size == 1:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), self._timing.progress_every_s)

    async def _progress(self, card: Card) -> CardHistory:
        """The card with the outcomes so far; without the ledger, as it was when it was decided."""
        if card.first.card_size > 1:
            with suppress(LedgerUnavailable):
                return await self._ledger.card_history(card.id)
        return CardHistory(tuple(RequestHistory(request, ()) for request in card.requests))
