"""Who acts and where, what they may do, and what only they are told.

Each refusal is counted, logged, recorded and told. Verdicts are judged and recorded by the ledger's
gate; all else is here. Private messages go through the `response_url`s that Slack gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from bot.domain.commands import Place
from bot.domain.models import Card, Customer, Kind, Person, Request, Verdict
from bot.domain.policy import (
    IN_DIRECT_MESSAGE,
    Decision,
    Members,
    Policy,
    may_ask,
    may_decide,
    may_read,
)
from bot.domain.values import value
from bot.ledger import ask_steps, decide_steps, people
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.decide_steps import Judge
from bot.ledger.people import Act, ResponseUrl
from bot.messages import answers
from bot.messages.block_kit import Form, Message
from bot.ops.metrics import Metrics
from bot.ops.tasks import beside, retried
from bot.requests.runner import Runner
from bot.slack.client import Slack
from bot.slack.error_codes import Remedy, meaning_of
from bot.slack.errors import (
    SlackError,
    SlackUnavailable,
    advice,
    is_verdict,
    pause_of,
)

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
TIMEOUT_S = 8.0
SLOW_AFTER_S = 1.5
TRIGGER_USED = "exchanged_trigger_id"


@value
class By:
    """By whom something is asked or pressed, where, and by which act of theirs."""

    person: Person
    place: Place
    act: Act


def warn_of_unknown_card(card_id: str) -> None:
    """Log a press on a card that this ledger does not have, and what that means."""
    log.warning(
        "pressed card is not in this ledger",
        card_id=card_id[:64],
        check="Another bot may run with the same Slack app, on another ledger: each then gets some"
        " of the presses. Stop one of them, or give it an app of its own. If there is only this"
        " one, DATABASE_URL names another ledger than before.",
    )


@dataclass(eq=False, slots=True)
class PrivateMessages:
    """Tells people what others need not see. A failure is logged, not raised."""

    _runner: Runner
    _slack: Slack

    async def send(self, place: Place, message: Message) -> bool:
        """Tell the person who typed or clicked here; whether Slack took it."""
        if not place.response_url:
            log.warning("ephemeral not delivered", why="Slack sent no response_url")
            return False
        try:
            await retried(
                lambda: self._slack.send_ephemeral(place.response_url, message),
                pause_of,
                attempts=MAX_ATTEMPTS,
                timeout_s=TIMEOUT_S,
                wait_initial=0.3,
            )
        except SlackError as error:
            log.warning("ephemeral not delivered", why=error.code)
            return False
        return True

    async def open_form(self, place: Place, trigger_id: str, form: Form) -> None:
        """Open a form for the person who typed or clicked here; say so if it may not have opened.

        A trigger works once, so one that was used belongs to an act that was delivered before.
        """
        try:
            await self._slack.open_form(trigger_id, form)
        except SlackError as error:
            log.warning("form not opened", why=error.code, **advice(error))
            if error.code != TRIGGER_USED:
                is_persons = meaning_of(error.code).remedy is Remedy.PERSON
                passes = is_persons or not is_verdict(error)
                await self.send(place, answers.form_not_opened(error.code, passes=passes))

    def if_slow(self, place: Place, message: Message) -> AbstractAsyncContextManager[None]:
        """Tell the person who waits here, once, if the block takes longer than a moment."""
        return beside(lambda: self.send(place, message), SLOW_AFTER_S)

    async def tell(self, card: Card, message: Message) -> None:
        """Tell the requester and the decider of a card what it can't show, once.

        The ledger keeps their URLs until then, as long as these work.
        """
        used = await self.send_to(await self.people_of(card), message)
        if used:
            try:
                await self._runner.read(lambda c: people.forget_urls(c, used))
            except LedgerUnavailable as error:
                log.warning("people may be told twice", why=str(error))

    async def people_of(self, card: Card) -> Sequence[ResponseUrl]:
        """The URLs of the people of a card, newest first; none if the ledger does not answer."""
        try:
            return await self._runner.read(lambda c: people.urls_of(c, card.id))
        except LedgerUnavailable as error:
            log.warning("people of a card not known yet", why=str(error))
            return ()

    async def send_to(self, urls: Sequence[ResponseUrl], message: Message) -> Sequence[ResponseUrl]:
        """Tell each person once; returns the URLs that are not needed any more."""
        told, used = set[str](), list[ResponseUrl]()
        for url in urls:
            try:
                if url.user_id not in told:
                    await self._slack.send_ephemeral(url.url, message)
                    told.add(url.user_id)
                used.append(url)
            except SlackUnavailable as error:
                log.warning("result not sent to a person yet", why=error.code)
            except SlackError as error:
                used.append(url)
                log.warning("result not sent to a person", why=error.code)
        return used


@dataclass(eq=False, slots=True)
class Permissions:
    """Each `may_…` says whether a person may do something; if not, the person is told why.

    `members` returns the members of the policy's user groups, without waiting for Slack.
    """

    _runner: Runner
    _private: PrivateMessages
    policy: Policy
    _members: Callable[[], Members]
    _metrics: Metrics

    async def may_ask(
        self,
        by: By,
        reason: str | None,
        customer_id: int = 0,
        typed: str = "",
        *,
        moves: bool = False,
    ) -> bool:
        """Whether a person may ask for a card; a refusal is recorded with what was `typed`.

        Every way to a card passes here. A `reason` of None is asked for later; `moves` as for the
        policy.
        """
        decision = IN_DIRECT_MESSAGE
        if not by.place.is_direct:
            rules = self.policy, by.person, by.place.channel_id, reason, self._members()
            decision = may_ask(*rules, moves=moves)
        return await self._allow_command(decision, by, customer_id, typed)

    async def may_read(self, by: By, command: str, customer_id: int = 0) -> bool:
        """Whether a person may see customers and past requests here."""
        decision = may_read(self.policy, by.person, by.place.channel_id, self._members())
        return await self._allow_command(decision, by, customer_id, command)

    async def may_follow_up(self, card: Card, by: By) -> bool:
        """Whether a person may undo what a card did, or check it again."""
        decision = may_read(self.policy, by.person, card.first.channel_id, self._members())
        return await self._allow_click(decision, card, by)

    async def may_stop(self, card: Card, by: By) -> bool:
        """Whether a person may stop a card's work: whoever may cancel the card may."""
        decision = self.judge(by.person, Verdict.CANCELLED)(card.first, None)
        return await self._allow_click(decision, card, by)

    def requester(self, by: By) -> Person:
        """Who asks for a card, in the team that makes them at home, if one of theirs does."""
        return self.policy.with_home_team(by.person)

    def judge(self, person: Person, verdict: Verdict) -> Judge:
        """The rules about this person's verdict, for the gate; a refusal is for it to record."""
        members = self._members()

        def judge(request: Request, other: Request | None) -> Decision:
            return may_decide(self.policy, request, verdict, person, members, other=other)

        return judge

    def count_refusal(self, decision: Decision, person: Person) -> None:
        """Count and log a refusal that the gate recorded."""
        self._metrics.refusals.labels(decision.label).inc()
        # an admin who wonders about a "stranger" finds here what to add to UNLATCH_TEAMS
        log.info("refused", label=decision.label, team_id=person.team_id)

    async def _allow_command(
        self, decision: Decision, by: By, customer_id: int, typed: str
    ) -> bool:
        """`customer_id` is 0 if the command named no customer."""
        if decision.allowed:
            return True
        self.count_refusal(decision, by.person)
        # the step dates it
        now = datetime.now(UTC)
        denied = Request(
            id=uuid4().hex,
            kind=Kind.UNLATCH,
            customer=Customer(customer_id),
            channel_id=by.place.channel_id,
            message_ts=None,
            thread_ts=None,
            requester=by.person,
            reason=typed,
            asked_at=now,
            expires_at=now,
        )
        try:
            await self._runner.run(ask_steps.refused_to_ask, denied, decision, by.act)
        except LedgerUnavailable as error:
            log.error("refusal not recorded", why=str(error))  # noqa: TRY400  # expected
        await self._private.send(by.place, answers.denied(decision.why, decision.channels))
        return False

    async def _allow_click(self, decision: Decision, card: Card, by: By) -> bool:
        if decision.allowed:
            return True
        self.count_refusal(decision, by.person)
        await self._runner.run(decide_steps.refused, card.id, by.person, decision.why, by.act)
        await self._private.send(by.place, answers.denied(decision.why, decision.channels))
        return False
