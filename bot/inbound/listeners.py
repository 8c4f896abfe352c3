"""Handles Slack's payloads: acknowledges each one and calls the request service.

Slack never delivers an acknowledged click again, so a decision is in the ledger before its ack.
"""

from __future__ import annotations

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.domain.commands import (
    AmbiguousAsk,
    Ask,
    AskMany,
    Find,
    Help,
    History,
    Malformed,
    Many,
    Pending,
)
from bot.domain.models import Person, Request, Verdict
from bot.domain.typed_text import parse
from bot.inbound.guard import Guard, ack_with, ack_with_error
from bot.inbound.payloads import (
    Payload,
    clicker,
    is_direct,
    meaning,
    message_of,
    place_of,
    press,
    suggestion,
    typist,
    value,
)
from bot.ledger.database.engine import LedgerUnavailable
from bot.messages import click_answers, ephemerals, forms, lists
from bot.messages.block_kit import Message
from bot.messages.cards import Action
from bot.messages.many import ephemerals as many_ephemerals, paste_form
from bot.requests.deciding import Answer, Deciding
from bot.requests.pasting import Pasting
from bot.requests.pending import PendingList
from bot.requests.posting import Place
from bot.requests.service import RequestService

log = structlog.get_logger(__name__)


class Listeners:
    """One method for the command and for each button.

    `customer_url` is the address of a customer's page, with `{id}`, if the admin has set it.
    """

    def __init__(
        self,
        service: RequestService,
        deciding: Deciding,
        pasting: Pasting,
        pending: PendingList,
        guard: Guard,
        customer_url: str | None = None,
    ) -> None:
        self._customer_url = customer_url
        self._service = service
        self._deciding = deciding
        self._pasting = pasting
        self._pending = pending
        self._guard = guard

    def register(self, app: AsyncApp) -> None:
        """Register the listeners with Bolt."""
        app.command(ephemerals.COMMAND)(self._guard.listener(self.on_unlatch_command))
        app.action(Action.CONFIRM)(self._guard.listener(self.on_confirm_clicked))
        app.action(Action.CANCEL)(self._guard.listener(self.on_cancel_clicked))
        app.action(Action.UNDO)(self._guard.listener(self.on_undo_clicked))
        app.action(Action.CHECK)(self._guard.listener(self.on_check_clicked))
        app.action(Action.USE)(self._guard.listener(self.on_use_clicked))
        app.action(Action.STOP)(self._guard.listener(self.on_stop_clicked))
        app.action(Action.MEANT)(self._guard.listener(self.on_meaning_clicked))
        app.view(forms.DECLINE)(self._guard.listener(self.on_decline_sent))
        app.view(paste_form.PASTE)(self._guard.listener(self.on_many_sent))

    async def on_unlatch_command(self, ack: AsyncAck, body: Payload) -> None:
        """`/unlatch …`: acknowledges at once; the work follows."""
        person = typist(body)
        place = Place(body["channel_id"], body["response_url"])
        match parse(body.get("text", ""), self._customer_url):
            case Malformed(why=why, usage=usage):
                await ack_with(ack, ephemerals.malformed(why, usage))
            case Help():
                await ack_with(ack, lists.usage())
            case Ask() | AskMany() | AmbiguousAsk() | Many() if is_direct(body):
                await ack_with(ack, ephemerals.direct_message())
            case Ask() | AskMany() as ask:
                await ack()
                self._guard.spawn(self._asking(person, place, ask), place)
            case AmbiguousAsk(ambiguous=ambiguous):
                await ack_with(ack, many_ephemerals.which_meaning(ambiguous))
            case Many():
                await ack()
                opening = self._pasting.open_form(person, place, body["trigger_id"])
                self._guard.spawn(opening, place)
            case Find() as find:
                await ack()
                self._guard.spawn(self._service.find(person, place, find), place)
            case History() as history:
                await ack()
                self._guard.spawn(self._service.history(person, place, history), place)
            case Pending():
                await ack()
                self._guard.spawn(self._pending.show(person, place), place)

    async def on_confirm_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Unlatch customer**: decides, then acknowledges; the work follows."""
        await self._decide(ack, body, Verdict.CONFIRMED)

    async def on_cancel_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Cancel**: decides, then acknowledges; on somebody else's card, a form follows."""
        try:
            request = await self._deciding.others_request(value(body), clicker(body))
        except LedgerUnavailable as error:
            await self._answer_click(ack, body, _not_recorded(error))
            return
        if request is None:
            await self._decide(ack, body, Verdict.CANCELLED)
        else:
            await self._offer_form(ack, body, request)

    async def on_decline_sent(self, ack: AsyncAck, body: Payload) -> None:
        """**Decline** in the form: decides, then acknowledges, which closes the form."""
        try:
            declined = forms.read_declined(body["view"])
            answer = await self._deciding.decline(declined, clicker(body))
        except LedgerUnavailable as error:
            log.error("form not recorded", why=str(error))  # noqa: TRY400  # expected
            text = forms.LEDGER_UNCERTAIN if error.uncertain else forms.LEDGER_DOWN
            await ack_with_error(ack, text)
            return
        if answer is None:
            await ack()
        else:
            await ack(response_action="update", view=forms.answer_form(answer))

    async def _offer_form(self, ack: AsyncAck, body: Payload, request: Request) -> None:
        message_ts, person = message_of(body), clicker(body)
        try:
            refusal = await self._deciding.refusal(
                request, person, message_ts, place_of(body).response_url
            )
        except LedgerUnavailable as error:
            refusal = _not_recorded(error)
        if refusal is not None:
            await self._answer_click(ack, body, refusal)
            return
        await ack()
        place = place_of(body)
        opening = self._deciding.open_form(request, place, body["trigger_id"], message_ts)
        self._guard.spawn(opening, place)

    async def on_undo_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Undo…**: acknowledges; a new card follows."""
        await ack()
        place = place_of(body)
        self._guard.spawn(
            self._service.undo(value(body), clicker(body), place), place, pressed=True
        )

    async def on_check_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Check again**: acknowledges; the outcome or a new card follows."""
        await ack()
        place = place_of(body)
        checking = self._service.check_again(value(body), clicker(body), place)
        self._guard.spawn(checking, place, pressed=True)

    async def on_use_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Use this one**: the same as typing the id, whatever the reason begins with."""
        await ack()
        await self._ask_for(body, suggestion(body))

    async def on_stop_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """**Stop**: acknowledges; what is not begun is left alone."""
        await ack()
        place = place_of(body)
        stopping = self._service.stop(value(body), clicker(body), place)
        self._guard.spawn(stopping, place, interrupted=click_answers.stop_interrupted)

    async def on_meaning_clicked(self, ack: AsyncAck, body: Payload) -> None:
        """One of two meanings of a text: the same as typing it with its commas."""
        await ack()
        await self._ask_for(body, meaning(body))

    async def _ask_for(self, body: Payload, ask: Ask | AskMany | Malformed) -> None:
        """Ask for what a button stands for; if nobody knows what that is, say so."""
        place = place_of(body)
        if isinstance(ask, Malformed):
            log.error("button not understood", why=ask.why)
            self._guard.tell(place, ephemerals.malformed(ask.why))
        else:
            self._guard.spawn(self._asking(clicker(body), place, ask, press(body)), place)

    async def on_many_sent(self, ack: AsyncAck, body: Payload) -> None:
        """**Ask** in the form of `/unlatch many`: acknowledges, or says what is wrong."""
        sent = paste_form.read_sent(body["view"])
        ask = self._pasting.read(sent)
        if not isinstance(ask, Ask | AskMany):
            await ack(response_action="errors", errors=dict(ask))
            return
        await ack()
        place = Place(sent.channel_id, sent.response_url)
        # a double click, or "Try again?" after an answer that Slack did not get, sends it twice
        once = paste_form.identity(sent)
        self._guard.spawn(self._asking(clicker(body), place, ask, once), place)

    async def _asking(
        self, person: Person, place: Place, ask: Ask | AskMany, once: str | None = None
    ) -> None:
        if isinstance(ask, Ask):
            await self._service.ask(person, place, ask, once)
        else:
            await self._service.ask_many(person, place, ask, once)

    async def _decide(self, ack: AsyncAck, body: Payload, verdict: Verdict) -> None:
        try:
            message = await self._deciding.decide(
                value(body), verdict, clicker(body), place_of(body), message_of(body)
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
    return ephemerals.ledger_down(uncertain=error.uncertain)
