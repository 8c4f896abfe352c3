"""`/unlatch pending`: shows one person which cards wait, and what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from bot.domain.models import Person, Request, Verdict
from bot.domain.policy import Members, Policy, may_decide, may_read
from bot.ledger.due_requests import DueRequests
from bot.messages.pending import OpenRequest, pending
from bot.ops.metrics import Metrics
from bot.requests.posting import CardPoster, Place
from bot.slack.client import Slack, SlackError

log = structlog.get_logger(__name__)

MAX_SHOWN = 10


class PendingList:
    """Reads the open requests and applies the rules to each; changes nothing.

    `members` returns the members of the policy's user groups, without waiting for Slack.
    """

    def __init__(
        self,
        due_requests: DueRequests,
        slack: Slack,
        poster: CardPoster,
        policy: Policy,
        members: Callable[[], Members],
        metrics: Metrics,
    ) -> None:
        self._due_requests = due_requests
        self._slack = slack
        self._poster = poster
        self._policy = policy
        self._members = members
        self._metrics = metrics

    async def show(self, person: Person, place: Place) -> None:
        """Show up to ten, oldest first, those that the person may decide before the others."""
        decision = may_read(self._policy, person, place.channel_id, self._members())
        if not decision.allowed:
            self._metrics.refusals.labels(decision.label).inc()
            log.info("refused", label=decision.label)
            await self._poster.deny(person, place, 0, "/unlatch pending", decision)
            return
        found = await self._due_requests.open(datetime.now(UTC))
        decidable = {each.id: self._may_decide(each, person) for each in found}
        # sorted() keeps the order of equals: oldest first
        ordered = sorted(found, key=lambda request: not decidable[request.id])
        shown = ordered[:MAX_SHOWN]
        urls = await asyncio.gather(*map(self._permalink, shown))
        listed = [
            OpenRequest(request, url, decidable[request.id])
            for request, url in zip(shown, urls, strict=True)
        ]
        await self._poster.send_ephemeral(place, pending(listed, len(ordered) - len(shown)))

    def _may_decide(self, request: Request, person: Person) -> bool:
        if request.verdict:
            return False
        verdict, members = Verdict.CONFIRMED, self._members()
        return may_decide(self._policy, request, verdict, person, members).allowed

    async def _permalink(self, request: Request) -> str | None:
        try:
            return await self._slack.permalink(request.channel_id, request.message_ts or "")
        except SlackError:
            return None
