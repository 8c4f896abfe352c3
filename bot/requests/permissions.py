"""Applies the rules to commands and clicks, and says why somebody is refused.

Each refusal is counted, logged and recorded. Verdicts are judged and recorded by the ledger's gate;
all else is here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from bot.domain.models import Card, EventType, NewEvent, Person, Request, Verdict
from bot.domain.policy import Decision, Members, Policy, may_ask, may_decide, may_read
from bot.ledger.gate import Judge
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.ops.metrics import Metrics
from bot.requests.posting import CardPoster, Place
from bot.requests.publishing.redrawing import Redrawing
from bot.settings import Timing

log = structlog.get_logger(__name__)


class Permissions:
    """Each `may_…` says whether a person may do something; if not, the person is told why.

    `members` returns the members of the policy's user groups, without waiting for Slack.
    """

    def __init__(
        self,
        ledger: Ledger,
        poster: CardPoster,
        redrawing: Redrawing,
        policy: Policy,
        members: Callable[[], Members],
        metrics: Metrics,
        timing: Timing,
    ) -> None:
        self._ledger = ledger
        self._poster = poster
        self._redrawing = redrawing
        self._policy = policy
        self._members = members
        self._metrics = metrics
        self._timing = timing

    async def may_ask(
        self, person: Person, place: Place, reason: str, customer_id: int, typed: str
    ) -> bool:
        """Whether a person may ask for a card; a refusal is recorded with what was `typed`."""
        decision = may_ask(self._policy, person, place.channel_id, reason, self._members())
        return await self._allow_command(decision, person, place, customer_id, typed)

    async def may_read(
        self, person: Person, place: Place, command: str, customer_id: int = 0
    ) -> bool:
        """Whether a person may see customers and past requests here."""
        decision = may_read(self._policy, person, place.channel_id, self._members())
        return await self._allow_command(decision, person, place, customer_id, command)

    async def may_follow_up(self, card: Card, person: Person, place: Place) -> bool:
        """Whether a person may undo what a card did, or check it again."""
        decision = may_read(self._policy, person, card.first.channel_id, self._members())
        return await self._allow_click(decision, card, person, place)

    async def may_stop(self, card: Card, person: Person, place: Place) -> bool:
        """Whether a person may stop a card's work: whoever may cancel the card may."""
        decision = self.judge(person, Verdict.CANCELLED)(card.first, None)
        return await self._allow_click(decision, card, person, place)

    def judge(self, person: Person, verdict: Verdict) -> Judge:
        """The rules about this person's verdict, for the gate; a refusal is for it to record."""
        members = self._members()

        def judge(request: Request, other: Request | None) -> Decision:
            return may_decide(self._policy, request, verdict, person, members, other=other)

        return judge

    def count_refusal(self, decision: Decision, person: Person) -> None:
        """Count and log a refusal that the gate recorded."""
        self._metrics.refusals.labels(decision.label).inc()
        # an admin who wonders about a "stranger" finds here what to add to UNLATCH_TEAMS
        log.info("refused", label=decision.label, team_id=person.team_id)

    async def _allow_command(
        self, decision: Decision, person: Person, place: Place, customer_id: int, typed: str
    ) -> bool:
        if not decision.allowed:
            self.count_refusal(decision, person)
            await self._poster.deny(person, place, customer_id, typed, decision)
        return decision.allowed

    async def _allow_click(
        self, decision: Decision, card: Card, person: Person, place: Place
    ) -> bool:
        if decision.allowed:
            return True
        self.count_refusal(decision, person)
        now = datetime.now(UTC)
        why: dict[str, object] = {"why": decision.why}
        denial = NewEvent(now, EventType.DECISION_DENIED, person.user_id, why)
        if await self._ledger.deny(card.first, denial, now + self._timing.lease):
            self._redrawing.redraw(card.id)
        await self._poster.send_ephemeral(place, ephemerals.denied(decision.why, decision.channels))
        return False
