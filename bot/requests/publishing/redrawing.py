"""Draws a card again in the background after something else than its own worker changed it.

That is a refusal, an undo, a press on a card that Slack did not update, or an older drawing that
came late. What fails here is left to the sweep.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from bot.domain.models import CardHistory, Request
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.leases import LostClaim
from bot.ledger.outbox import Outbox
from bot.ledger.store import Ledger
from bot.ops.background import BackgroundTasks
from bot.ops.retries import retried
from bot.requests.publishing.log_fields import about
from bot.requests.publishing.publisher import Publisher
from bot.settings import Timing
from bot.slack.client import SlackError

log = structlog.get_logger(__name__)


class Redrawing:
    """Each method starts a background task, and raises nothing."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        publisher: Publisher,
        tasks: BackgroundTasks,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._publisher = publisher
        self._tasks = tasks
        self._timing = timing

    def redraw(self, card_id: str) -> None:
        """Update card and thread after an event was added."""
        self._tasks.spawn(self._redraw(card_id))

    def redraw_over_late_drawing(self, card_id: str) -> None:
        """Draw a card once more that this process may have drawn after the one that took it over.

        A process that slept through its lease may wake in the middle of a call to Slack. The new
        holder can't know that its own drawing was replaced, and nothing else may be due. What is
        due stays due: it may be more than a drawing, such as to note what an undo undid.
        """
        self._tasks.spawn(self._redraw_if_finished(card_id))

    def show_stopping(self, history: CardHistory) -> None:
        """Show on a card that its work is being stopped."""
        self._tasks.spawn(self._show_stopping(history))

    def update_thread(self, card_id: str) -> None:
        """Post an undecided card's missing events to its thread."""
        self._tasks.spawn(self._publisher.update_thread(card_id))

    def retire_duplicate(self, request: Request, message_ts: str) -> None:
        """Remove the buttons from a duplicate card."""
        self._tasks.spawn(self._publisher.retire_duplicate(request, message_ts))

    def catch_up(self, request: Request, response_url: str = "") -> None:
        """Bring a card and its thread up to date after a press that the card should not offer.

        With the `response_url` of a press, the card that was pressed shows the result at once, even
        if the bot is not in the channel.
        """
        self._tasks.spawn(self._catch_up(request, response_url))

    async def _redraw(self, card_id: str, *, release: bool = True) -> None:
        try:
            history = await self._ledger.card_history(card_id)
            with (
                structlog.contextvars.bound_contextvars(**about(history.card.first)),
                self._tasks.busy_with(card_id),
            ):
                mine = [request.id for request in history.card.requests if release]
                await self._publisher.publish(history, mine)
        except LostClaim:
            log.warning("claim lost while drawing", request_id=card_id)
            self.redraw_over_late_drawing(card_id)
        except LedgerUnavailable as error:
            log.warning("redraw left to the sweep", request_id=card_id, why=str(error))

    async def _redraw_if_finished(self, card_id: str) -> None:
        try:
            # a connection to the database does not survive a long sleep either
            card = await retried(
                lambda: self._ledger.get_card(card_id),
                LedgerUnavailable,
                attempts=None,
                timeout_s=self._timing.lease_s / 3,
            )
        except LedgerUnavailable as error:
            log.warning("card not drawn once more", request_id=card_id, why=str(error))
            return
        # else its holder draws it when it is finished, which is later than what was drawn here
        if card and card.is_finished:
            await self._redraw(card_id, release=False)

    async def _show_stopping(self, history: CardHistory) -> None:
        try:
            await self._publisher.show_working(history)
        except SlackError as error:
            log.warning("card does not show yet that it is being stopped", why=error.code)
        # the work may have ended meanwhile, and Slack may have got the result first
        await self._redraw_if_finished(history.card.id)

    async def _catch_up(self, request: Request, response_url: str) -> None:
        now = datetime.now(UTC)
        try:
            hurried = await self._outbox.hurry(request.card_id, now, self._timing.lease)
            if hurried and response_url:
                history = await self._ledger.card_history(request.card_id)
                await self._publisher.replace_pressed(history, response_url)
        except LedgerUnavailable as error:
            log.warning("card not brought up to date", why=str(error))
