"""What people decide about a card: a click, the form that declines, and **Stop**.

**Cancel** on somebody else's card opens a form for the reason, which decides nothing, and declines
when it is sent. The gate itself is a step of the ledger, `decide_steps.decided`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from bot.domain.commands import Place
from bot.domain.models import Card, Person, Request, Verdict
from bot.ledger import decide_steps, people, rows
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.database.statements import clock
from bot.ledger.decide_steps import Decided
from bot.ledger.rows import NoSuchCard
from bot.messages import answers, click_answers
from bot.messages.block_kit import Message
from bot.messages.forms import decline_form
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.lists import Lists
from bot.requests.people import By, Permissions, PrivateMessages, warn_of_unknown_card
from bot.requests.runner import Runner
from bot.requests.show import Show

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 8.0

Answer = Message | Callable[[], Awaitable[Message]]
"""What a person is told; a function if Slack has to be asked for it, after the click's ack."""


@dataclass(eq=False, slots=True)
class Decide:
    """Takes the verdict of a button, or of the form that asks who declines for a reason."""

    _runner: Runner
    _show: Show
    _lists: Lists
    _permissions: Permissions
    _private: PrivateMessages
    _links: Links
    _metrics: Metrics

    async def decide(
        self, card_id: str, verdict: Verdict, by: By, message_ts: str, reason: str = ""
    ) -> Answer | None:
        """Decide a card; the verdict is in the ledger when this returns, and its work has begun.

        `message_ts` is the card that was clicked: a duplicate if Slack posted the card twice.
        Returns None if the verdict was taken, otherwise the message for the person.
        Raises: LedgerUnavailable.
        """
        person, place = by.person, by.place
        try:
            decided = await self._runner.run_urgently(
                decide_steps.decided,
                *(card_id, verdict, person, by.act),
                judge=self._permissions.judge(person, verdict),
                reason=reason,
                message_ts=message_ts,
                response_url=place.response_url,
            )
        except NoSuchCard:
            warn_of_unknown_card(card_id)
            return click_answers.NO_SUCH_REQUEST
        self._show.retire_soon(decided.card, message_ts)
        if decided.taken:
            if not decided.repeated:
                self._metrics.verdicts.labels(decided.card.first.kind, verdict).inc()
            return None
        if decided.mismatch:
            log.error("card not decided", why=decided.mismatch, card_id=card_id)
            return click_answers.MISMATCH
        if decided.closed:
            self._metrics.verdicts.labels(decided.card.first.kind, Verdict.OVERTAKEN).inc()
        if decided.decision.allowed:
            self._show.pressed_late(decided.card, message_ts, place.response_url)
            return click_answers.too_late(decided.card, person)
        return self._refusal(decided, person)

    def _refusal(self, decided: Decided, person: Person) -> Answer:
        if not decided.repeated:
            self._permissions.count_refusal(decided.decision, person)
        if decided.other:
            return partial(self._overtaken, decided.decision.why, decided.other)
        return answers.denied(decided.decision.why)

    async def _overtaken(self, why: str, other: Request) -> Message:
        return click_answers.overtaken(why, other, await self._lists.permalink(other))

    async def to_decline(self, card_id: str, by: By, message_ts: str) -> Card | Message | None:
        """The card of somebody else that a form may decline, or why this person gets no form.

        None of their own card: only its requester cancels without a form. A card that should no
        longer offer the button is brought up to date. Raises: LedgerUnavailable.
        """
        card, now = await self._runner.read(lambda c: (rows.read(c, card_id), clock(c)))
        if card is None or card.first.requester.user_id == by.person.user_id:
            return None
        if not card.first.is_open or card.first.expires_at <= now:
            before = await self._runner.run_urgently(people.repeated, by.act)
            if before and (why := before.why_refused(by.person)):
                return answers.denied(why)
            self._show.retire_soon(card, message_ts)
            self._show.pressed_late(card, message_ts, by.place.response_url)
            return click_answers.too_late(card, by.person)
        decision = self._permissions.judge(by.person, Verdict.DECLINED)(card.first, None)
        if decision.allowed:
            return card
        self._show.retire_soon(card, message_ts)
        self._permissions.count_refusal(decision, by.person)
        await self._runner.run_urgently(
            decide_steps.refused, card.id, by.person, decision.why, by.act
        )
        return answers.denied(decision.why)

    async def open_form(self, card: Card, place: Place, trigger_id: str, message_ts: str) -> None:
        """Open the form that asks why."""
        form = decline_form(card, message_ts, self._links, place.response_url)
        await self._private.open_form(place, trigger_id, form)

    async def stop(self, card_id: str, by: By) -> None:
        """Handle **Stop** on a card whose work is in progress, by its requester or a confirmer.

        The work goes on as soon as the ledger does, and must be stopped first: so try for a while.
        """
        try:
            await self._stop(card_id, by)
        except LedgerUnavailable as error:
            log.error("stop not recorded", why=str(error))  # noqa: TRY400  # expected
            await self._private.send(by.place, click_answers.not_stopped(uncertain=error.uncertain))

    async def _stop(self, card_id: str, by: By) -> None:
        card = await self._runner.read_patiently(STOP_TIMEOUT_S, lambda c: rows.read(c, card_id))
        if card is None:
            warn_of_unknown_card(card_id)
            await self._private.send(by.place, click_answers.NO_SUCH_REQUEST)
            return
        if not await self._permissions.may_stop(card, by):
            return
        stopped = await self._runner.run_patiently(
            STOP_TIMEOUT_S, decide_steps.stopped, card_id, by.person, by.act
        )
        if why := stopped.why_refused(by.person):
            await self._private.send(by.place, answers.denied(why))
        elif stopped.came_of_it == "nothing":
            self._show.pressed_late(card, card.first.message_ts or "", by.place.response_url)
            await self._private.send(by.place, click_answers.NOTHING_TO_STOP)
