"""Applies the rules to commands and clicks, and says why somebody is refused.

Each refusal is counted, logged and recorded. Verdicts are judged and recorded by the ledger's gate;
all else is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.decide_steps import Judge
from bot.messages import answers
from bot.ops.metrics import Metrics
from bot.requests.private_messages import By, PrivateMessages
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

    def at_home(self, by: By) -> By:
        """The same, with the person in the team that makes them at home, if one of theirs does."""
        return replace(by, person=self.policy.with_home_team(by.person))

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
