"""**Cancel** on somebody else's card: opens a form for the reason, and declines when it is sent.

Opening the form decides nothing. The gate is the ledger's, as for every other verdict.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from bot.domain.models import EventType, NewEvent, Person, Request, Verdict
from bot.ledger.engine import LedgerUnavailable
from bot.ledger.gate import DecisionResult, Judge, expired
from bot.ledger.store import Ledger
from bot.messages import ephemerals
from bot.messages.block_kit import Message
from bot.messages.forms import Declined, decline_form
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster, Place
from bot.requests.worker import Worker
from bot.slack.client import Slack, SlackError

log = structlog.get_logger(__name__)


class Declining:
    """Opens the form for somebody who may decide, and takes the verdict when it is sent."""

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        poster: CardPoster,
        worker: Worker,
        permissions: Permissions,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._poster = poster
        self._worker = worker
        self._permissions = permissions
        self._links = links
        self._metrics = metrics

    async def others_request(self, request_id: str, person: Person) -> Request | None:
        """The request, if it is somebody else's: only its requester cancels without a form.

        Raises: LedgerUnavailable.
        """
        request = await self._ledger.get(request_id)
        own = request is not None and request.requester.user_id == person.user_id
        return None if own else request

    async def refusal(
        self, request: Request, person: Person, message_ts: str, response_url: str
    ) -> Message | None:
        """Why this person gets no form: too late, or not allowed. None if they may decline.

        A card that should no longer offer the button is brought up to date.
        Raises: LedgerUnavailable.
        """
        now = datetime.now(UTC)
        if request.verdict or expired(request, now):
            self._retire_duplicate(request, message_ts)
            own = message_ts == request.message_ts
            self._worker.catch_up_soon(request, response_url if own else "")
            return ephemerals.too_late(request)
        decision = self._permissions.judge(person, Verdict.DECLINED)(request, None)
        if decision.allowed:
            return None
        # the gate records the refusal; it can't decide, as this judge refuses whatever it is asked
        result = await self._decide(
            request.id, person, "", message_ts, lambda _request, _other: decision
        )
        return self._answer(result, person, message_ts)

    async def open_form(
        self, request: Request, place: Place, trigger_id: str, message_ts: str
    ) -> None:
        """Open the form; if Slack doesn't, tell the person to press again."""
        try:
            form = decline_form(request, message_ts, self._links, place.response_url)
            await self._slack.open_form(trigger_id, form)
        except SlackError as error:
            log.warning("form not opened", why=error.code, request_id=request.id)
            await self._poster.send_ephemeral(place, ephemerals.form_not_opened())

    async def decline(self, declined: Declined, person: Person) -> Message | None:
        """Decline a request; the verdict is in the ledger when this returns.

        Returns None if the verdict was taken, otherwise what to tell the person.
        Raises: LedgerUnavailable.
        """
        try:
            result = await self._decide(
                declined.request_id,
                person,
                declined.reason,
                declined.message_ts,
                self._permissions.judge(person, Verdict.DECLINED),
                declined.response_url,
            )
        except KeyError:
            return ephemerals.no_such_request()
        return self._answer(result, person, declined.message_ts)

    async def _decide(
        self,
        request_id: str,
        person: Person,
        reason: str,
        message_ts: str,
        judge: Judge,
        response_url: str = "",
    ) -> DecisionResult:
        now = datetime.now(UTC)
        why: dict[str, object] = {"why": reason} if reason else {}
        event = NewEvent(now, EventType.DECLINED, person.user_id, why)
        try:
            return await self._ledger.decide(
                request_id,
                Verdict.DECLINED,
                event,
                decider=person,
                due_at=self._worker.lease(now),
                judge=judge,
                message_ts=message_ts,
                response_url=response_url or None,
            )
        except LedgerUnavailable as error:
            if error.uncertain:
                # the person is told that nobody knows; if it counted, the card must follow
                self._worker.start_if_decided(request_id, Verdict.DECLINED, event)
            raise

    def _answer(self, result: DecisionResult, person: Person, message_ts: str) -> Message | None:
        self._retire_duplicate(result.request, message_ts)
        if result.taken:
            self._metrics.verdicts.labels(result.request.kind, Verdict.DECLINED).inc()
            self._worker.start(result.card)
            return None
        if result.decision.allowed:
            self._worker.catch_up_soon(result.request)
            return ephemerals.too_late(result.request)
        self._permissions.count_refusal(result.decision, person)
        self._worker.update_thread_soon(result.request.id)
        return ephemerals.denied(result.decision.why)

    def _retire_duplicate(self, request: Request, message_ts: str) -> None:
        # a card that the ledger does not know yet is no duplicate
        if message_ts and request.message_ts and message_ts != request.message_ts:
            self._worker.retire_duplicate(request, message_ts)
