"""Applies the rules to commands and clicks, and says why somebody is refused.

Each refusal is counted, logged and recorded. Verdicts are judged and recorded by the ledger's gate;
all else is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog

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
from bot.ledger import ask_steps, decide_steps
from bot.ledger.acts import Act
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.decide_steps import Judge
from bot.messages import answers
from bot.ops.metrics import Metrics
from bot.requests.private_messages import Place, PrivateMessages
from bot.requests.runner import Runner

log = structlog.get_logger(__name__)


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
        person: Person,
        place: Place,
        reason: str | None,
        act: Act,
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
        if not place.is_direct:
            rules = self.policy, person, place.channel_id, reason, self._members()
            decision = may_ask(*rules, moves=moves)
        return await self._allow_command(decision, person, place, customer_id, typed, act)

    async def may_read(
        self, person: Person, place: Place, command: str, act: Act, customer_id: int = 0
    ) -> bool:
        """Whether a person may see customers and past requests here."""
        decision = may_read(self.policy, person, place.channel_id, self._members())
        return await self._allow_command(decision, person, place, customer_id, command, act)

    async def may_follow_up(self, card: Card, person: Person, place: Place, act: Act) -> bool:
        """Whether a person may undo what a card did, or check it again."""
        decision = may_read(self.policy, person, card.first.channel_id, self._members())
        return await self._allow_click(decision, card, person, place, act)

    async def may_stop(self, card: Card, person: Person, place: Place, act: Act) -> bool:
        """Whether a person may stop a card's work: whoever may cancel the card may."""
        decision = self.judge(person, Verdict.CANCELLED)(card.first, None)
        return await self._allow_click(decision, card, person, place, act)

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
        self,
        decision: Decision,
        person: Person,
        place: Place,
        customer_id: int,
        typed: str,
        act: Act,
    ) -> bool:
        """`customer_id` is 0 if the command named no customer."""
        if decision.allowed:
            return True
        self.count_refusal(decision, person)
        # the step dates it
        now = datetime.now(UTC)
        denied = Request(
            id=uuid4().hex,
            kind=Kind.UNLATCH,
            customer=Customer(customer_id),
            channel_id=place.channel_id,
            message_ts=None,
            thread_ts=None,
            requester=person,
            reason=typed,
            asked_at=now,
            expires_at=now,
        )
        try:
            await self._runner.run(ask_steps.refused_to_ask, denied, decision, act)
        except LedgerUnavailable as error:
            log.error("refusal not recorded", why=str(error))  # noqa: TRY400  # expected
        await self._private.send(place, answers.denied(decision.why, decision.channels))
        return False

    async def _allow_click(
        self, decision: Decision, card: Card, person: Person, place: Place, act: Act
    ) -> bool:
        if decision.allowed:
            return True
        self.count_refusal(decision, person)
        await self._runner.run(decide_steps.refused, card.id, person, decision.why, act)
        await self._private.send(place, answers.denied(decision.why, decision.channels))
        return False
