"""The forms of `/unlatch many` and `/unlatch move`: opens them, and reads what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.cells import Pages
from bot.domain.commands import Ask, Move
from bot.domain.moves import read_fields
from bot.domain.pasted_text import ColumnChoice
from bot.messages.block_kit import Form
from bot.messages.forms import REASON, MoveSent, move_form
from bot.messages.paste_form import (
    NO_REASON,
    Errors,
    Sent,
    Understood,
    column_form,
    paste_form,
    understood,
)
from bot.requests.people import By, Permissions, PrivateMessages


@dataclass(eq=False, slots=True)
class Paste:
    """Opens the form for somebody who may ask; the rules are checked again when it is sent."""

    _private: PrivateMessages
    _permissions: Permissions
    _pages: Pages

    async def open_form(
        self,
        by: By,
        trigger_id: str,
        customer_ids: Sequence[int] = (),
    ) -> None:
        """Open the form; who may not ask, or gets no form from Slack, is told so privately."""
        place = by.place
        typed = ", ".join(map(str, customer_ids)) or f"{place.command} many"
        first_id = customer_ids[0] if customer_ids else 0
        if not await self._permissions.may_ask(by, None, first_id, typed):
            return
        form = paste_form(place, datetime.now(UTC), customer_ids, needs_reason=self._needs_reason)
        await self._private.open_form(place, trigger_id, form)

    async def open_move_form(self, by: By, trigger_id: str, move: Move) -> None:
        """Open the form that asks what a customer moves to; its reason may be typed already."""
        place = by.place
        asked = (by, None, move.customer_id, move.reason)
        if await self._permissions.may_ask(*asked, moves=True):
            form = move_form(move, place, needs_reason=self._needs_reason)
            await self._private.open_form(place, trigger_id, form)

    def read_move(self, sent: MoveSent) -> Move | Errors:
        """What a form that was sent asks for, or what is wrong by field."""
        read = (sent.customer_id, sent.fields, sent.reason)
        found = read_fields(*read, self._pages)
        if isinstance(found, dict):
            return found
        if self._needs_reason and not found.reason:
            return {REASON: NO_REASON}
        # what an unlatch took from the customer is what another one gets
        return replace(found, ids=sent.cleared) if found.to else found

    def lacks_reason(self, ask: Ask) -> bool:
        """Whether a button asks for customers without a reason, and the rules want one."""
        return self._permissions.policy.require_reason and not ask.reason

    def read(self, sent: Sent) -> Understood | ColumnChoice | Errors:
        """What a form that was sent asks for, a choice of columns, or what is wrong by field."""
        now = datetime.now(UTC)
        return understood(sent, now, needs_reason=self._needs_reason, pages=self._pages)

    def ask_column(self, sent: Sent, choice: ColumnChoice) -> Form:
        """The form that was sent once more, with a choice of columns."""
        return column_form(sent, choice, needs_reason=self._needs_reason)

    @property
    def _needs_reason(self) -> bool:
        return self._permissions.policy.require_reason
