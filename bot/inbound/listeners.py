"""Handles Slack's payloads: acknowledges each one and calls the request service.

Slack never delivers an acknowledged click again, so a decision is in the ledger before its ack.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain.cells import Pages
from bot.domain.commands import (
    Ask,
    Command,
    Find,
    Help,
    History,
    Malformed,
    Many,
    Move,
    Pending,
    Place,
    Question,
    UndoOf,
)
from bot.domain.models import Card, Verdict
from bot.domain.pasted_text import ColumnChoice, LineError
from bot.domain.typed_text import parse
from bot.inbound.guard import Guard, ack_with, ack_with_error
from bot.inbound.payloads import (
    Payload,
    act,
    choice,
    clicker,
    meaning,
    message_of,
    moving,
    once_sent,
    place_of,
    pressed_by,
    typed_by,
    value,
)
from bot.ledger.database.engine import LedgerUnavailable
from bot.messages import answers, click_answers, forms, lists, paste_form
from bot.messages.block_kit import Message
from bot.messages.card import Action
from bot.requests.ask import Ask as Asking
from bot.requests.decide import Answer, Decide
from bot.requests.follow_ups import FollowUps
from bot.requests.lists import Lists
from bot.requests.paste import Paste
from bot.requests.people import By

log = structlog.get_logger(__name__)

FollowUp = Callable[[str, By], Awaitable[None]]
ANY_COMMAND = re.compile("^/")
"""The admin names the command in Slack; the payload's `command` says how."""


@dataclass(eq=False, slots=True)
class Listeners:
    """One method for the command and for each button."""

    _asking: Asking
    _decide: Decide
    _follow_ups: FollowUps
    _lists: Lists
    _paste: Paste
    _guard: Guard
    _pages: Pages

    def register(self, app: AsyncApp) -> None:
        """Register the listeners with Bolt."""
        app.command(ANY_COMMAND)(self._guard.listener(self.on_unlatch_command))
        app.action(Action.CONFIRM)(self._guard.listener(self.on_confirm_clicked))
        app.action(Action.CANCEL)(self._guard.listener(self.on_cancel_clicked))
        app.action(Action.UNDO)(self._guard.listener(self.on_undo_clicked))
        app.action(Action.CHECK)(self._guard.listener(self.on_check_clicked))
        app.action(Action.AGAIN)(self._guard.listener(self.on_again_clicked))
        app.action(Action.USE)(self._guard.listener(self.on_use_clicked))
        app.action(Action.ANYWAY)(self._guard.listener(self.on_anyway_clicked))
        app.action(Action.MOVE)(self._guard.listener(self.on_move_clicked))
        app.action(Action.STOP)(self._guard.listener(self.on_stop_clicked))
        app.view(forms.DECLINE)(self._guard.listener(self.on_decline_sent))
        app.view(paste_form.PASTE)(self._guard.listener(self.on_many_sent))
        app.view(forms.MOVE)(self._guard.listener(self.on_move_sent))

    async def on_unlatch_command(self, ack: AsyncAck, body: Payload) -> None:
        """`/unlatch …`: acknowledges at once; the work follows."""
        # whatever the payload lacks is missed before the ack, which can still say so
        by = typed_by(body)
        answer = self._answer(parse(body.get("text", ""), self._pages), by, body)
        if isinstance(answer, Message):
            await ack_with(ack, answer)
        else:
            await ack()
            self._guard.spawn(answer, by.place)

    def _answer(self, command: Command, by: By, body: Payload) -> Message | Awaitable[None]:  # noqa: C901, PLR0911  # a case a command
        """What to say at once of a command, or the work that it takes."""
        match command:
            case Malformed(why=why, usage=usage):
                return answers.malformed(why, usage, by.place.command)
            case Help():
                return lists.usage(by.place.command)
            case Ask() as ask:
                return self._asking.ask(by, ask)
            case Question(meant=Ask(doubts=())) as question:
                return self._asking.offer_meanings(by, question)
            case Question() as question:
                return self._lists.ask_whom(by, question)
            case Move(to=None, ids=ids) as move if not ids:
                return self._paste.open_move_form(by, body["trigger_id"], move)
            case Move() as move:
                return self._asking.ask(by, move)
            case Many():
                return self._paste.open_form(by, body["trigger_id"])
            case Find() as find:
                return self._lists.find(by, find)
            case History() | UndoOf() as history:
                return self._lists.history(by, history)
            case Pending():
                return self._lists.pending(by)

    async def on_confirm_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Unlatch …**: decides, then acknowledges; the work follows."""
        await self._take_verdict(ack, body, Verdict.CONFIRMED)

    async def on_cancel_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Cancel**: decides, then acknowledges; on somebody else's card, a form follows."""
        message_ts, by = message_of(body), pressed_by(body)
        found: Card | Answer | None
        try:
            found = await self._decide.to_decline(value(body), by, message_ts)
        except LedgerUnavailable as error:
            found = _not_recorded(error)
        if found is None:
            await self._take_verdict(ack, body, Verdict.CANCELLED)
        elif isinstance(found, Card):
            await ack()
            opening = self._decide.open_form(found, by.place, body["trigger_id"], message_ts)
            self._guard.spawn(opening, by.place)
        else:
            await self._answer_click(ack, body, found)

    async def on_decline_sent(self, ack: AsyncAck, body: Payload) -> None:
        """**Decline** in the form: decides, then acknowledges, which closes the form."""
        try:
            sent = forms.read_declined(body["view"])
            by = By(clicker(body), Place("", sent.response_url), act(body))
            answer = await self._decide.decide(
                sent.request_id, Verdict.DECLINED, by, sent.message_ts, sent.reason
            )
        except LedgerUnavailable as error:
            log.error("form not recorded", why=str(error))  # noqa: TRY400  # expected
            text = forms.LEDGER_UNCERTAIN if error.uncertain else forms.LEDGER_DOWN
            await ack_with_error(ack, text)
            return
        if answer is None:
            await ack()
        else:
            message = answer if isinstance(answer, Message) else await answer()
            await ack(response_action="update", view=forms.answer_form(message))

    async def on_undo_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Undo…**: acknowledges; a new card follows."""
        await self._follow_up(ack, body, self._follow_ups.undo)

    async def on_check_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Check again**: acknowledges; the outcome or a new card follows."""
        await self._follow_up(ack, body, self._follow_ups.check_again)

    async def on_again_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Ask again**: acknowledges; a new card follows."""
        await self._follow_up(ack, body, self._follow_ups.ask_again)

    async def _follow_up(self, ack: AsyncAck, body: Payload, follow: FollowUp) -> None:
        await ack()
        by = pressed_by(body)
        self._guard.spawn(follow(value(body), by), by.place, pressed=True)

    async def on_use_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Use this one**, or one of several meanings: the same as typing it."""
        await ack()
        self._ask_for(body)

    async def on_anyway_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Ask anyway**, though a card waits for the customer: the same as typing it."""
        await ack()
        self._ask_for(body, anyway=True)

    async def on_move_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Move…** on the result of an unlatch: a form asks what the customer moves to."""
        await ack()
        by = pressed_by(body)
        opening = self._paste.open_move_form(by, body["trigger_id"], moving(body))
        self._guard.spawn(opening, by.place)

    async def on_move_sent(self, ack: AsyncAck, body: Payload) -> None:
        """**Ask** in the form that moves a latch: acknowledges, or says what is wrong."""
        sent = forms.read_moved(body["view"])
        move = self._paste.read_move(sent)
        if not isinstance(move, Move):
            await ack(response_action="errors", errors=dict(move))
            return
        await ack()
        by = By(clicker(body), sent.place, act(body))
        self._guard.spawn(self._asking.ask(by, move), sent.place)

    async def on_stop_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Stop**: acknowledges; what has not begun stays as it is."""
        await ack()
        by, interrupted = pressed_by(body), click_answers.STOP_INTERRUPTED
        stopping = self._decide.stop(value(body), by)
        self._guard.spawn(stopping, by.place, interrupted=interrupted)

    def _ask_for(self, body: Payload, *, anyway: bool = False) -> None:
        """Ask for what a button stands for; if nobody knows what that is, say so."""
        ask, command = meaning(body)
        place = replace(place_of(body), command=command)
        if isinstance(ask, Malformed):
            log.error("button not understood", why=ask.why)
            self._guard.tell(place, answers.malformed(ask.why, command=command))
            return
        by = By(clicker(body), place, choice(body))
        if isinstance(ask, Ask) and self._paste.lacks_reason(ask):
            by = replace(by, act=act(body))
            asking = self._paste.open_form(by, body["trigger_id"], ask.customer_ids)
        else:
            asking = self._asking.ask(by, ask, anyway=anyway, once=True)
        self._guard.spawn(asking, place)

    async def on_many_sent(self, ack: AsyncAck, body: Payload) -> None:
        """**Ask** in the form of `/unlatch many`: acknowledges, or says what is wrong."""
        sent = paste_form.read_sent(body["view"])
        match self._paste.read(sent):
            case paste_form.Understood() as understood:
                await ack()
                # a double click, or "Try again?" after an answer that Slack did not get
                by = By(clicker(body), sent.place, once_sent(paste_form.identity(sent)))
                self._ask_pasted(by, understood.asked, understood.left_out)
            case ColumnChoice() as columns:
                await ack(response_action="update", view=self._paste.ask_column(sent, columns))
            case errors:
                await ack(response_action="errors", errors=dict(errors))

    def _ask_pasted(self, by: By, asked: Ask, left_out: Sequence[LineError]) -> None:
        if left_out:
            self._guard.tell(by.place, answers.lines_left_out(left_out))
        if asked.doubts:
            self._guard.spawn(self._lists.ask_whom(by, Question(asked)), by.place)
        else:
            self._guard.spawn(self._asking.ask(by, asked, once=True), by.place)

    async def _take_verdict(self, ack: AsyncAck, body: Payload, verdict: Verdict) -> None:
        try:
            message = await self._decide.decide(
                value(body), verdict, pressed_by(body), message_of(body)
            )
        except LedgerUnavailable as error:
            message = _not_recorded(error)
        await self._answer_click(ack, body, message)

    async def _answer_click(self, ack: AsyncAck, body: Payload, message: Answer | None) -> None:
        await ack()
        if message is not None:
            self._guard.tell(place_of(body), message)


def _not_recorded(error: LedgerUnavailable) -> Message:
    log.error("click not recorded", why=str(error))
    return answers.ledger_down(uncertain=error.uncertain)
