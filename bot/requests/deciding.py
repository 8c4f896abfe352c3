"""The verdicts about a card; the gate is the ledger's.

**Cancel** on somebody else's card opens a form for the reason, which decides nothing, and declines
when it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import structlog

from bot.domain.models import EventType, NewEvent, Person, Request, Verdict
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.gate import DecisionResult, Judge, expired
from bot.ledger.store import Ledger
from bot.messages import click_answers, ephemerals
from bot.messages.block_kit import Message
from bot.messages.forms import Declined, decline_form
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.lookup import Lookup
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster, Place
from bot.requests.publishing.redrawing import Redrawing
from bot.requests.work.worker import Worker
from bot.slack.client import Slack, SlackError, is_verdict

log = structlog.get_logger(__name__)


Answer = Message | Callable[[], Awaitable[Message]]
"""What a person is told; a function if Slack has to be asked for it, after the click's ack."""


class Deciding:
    """Takes the verdict of a button, or of the form that asks who declines for a reason."""

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        lookup: Lookup,
        poster: CardPoster,
        worker: Worker,
        redrawing: Redrawing,
        permissions: Permissions,
        links: Links,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._slack = slack
        self._lookup = lookup
        self._poster = poster
        self._worker = worker
        self._redrawing = redrawing
        self._permissions = permissions
        self._links = links
        self._metrics = metrics

    async def decide(
        self, card_id: str, verdict: Verdict, person: Person, place: Place, message_ts: str
    ) -> Answer | None:
        """Decide a card; the verdict is in the ledger when this returns.

        `message_ts` is the card that was clicked: a duplicate if Slack posted the card twice.
        Returns None if the verdict was taken, otherwise the message for the person.
        Raises: LedgerUnavailable.
        """
        url = place.response_url
        try:
            result = await self._take(
                card_id, verdict, person, message_ts, response_url=url, redraw_url=url
            )
        except KeyError:
            return click_answers.no_such_request()
        if result.other:
            return partial(self._overtaken, result.decision.why, result.other)
        return _answer(result)

    async def _overtaken(self, why: str, other: Request) -> Message:
        return click_answers.overtaken(why, other, await self._lookup.permalink(other))

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
            self._catch_up(request, message_ts, response_url)
            return click_answers.too_late(request)
        decision = self._permissions.judge(person, Verdict.DECLINED)(request, None)
        if decision.allowed:
            return None
        # the gate records the refusal; it can't decide, as this judge refuses whatever it is asked
        result = await self._take(
            request.id,
            Verdict.DECLINED,
            person,
            message_ts,
            judge=lambda _request, _other: decision,
        )
        return _answer(result)

    async def open_form(
        self, request: Request, place: Place, trigger_id: str, message_ts: str
    ) -> None:
        """Open the form; if Slack doesn't, tell the person to press again."""
        try:
            form = decline_form(request, message_ts, self._links, place.response_url)
            await self._slack.open_form(trigger_id, form)
        except SlackError as error:
            log.warning("form not opened", why=error.code, request_id=request.id)
            await self._poster.send_ephemeral(
                place, click_answers.form_not_opened(certain=is_verdict(error))
            )

    async def decline(self, declined: Declined, person: Person) -> Message | None:
        """Decline a request; the verdict is in the ledger when this returns.

        Returns None if the verdict was taken, otherwise what to tell the person.
        Raises: LedgerUnavailable.
        """
        try:
            result = await self._take(
                declined.request_id,
                Verdict.DECLINED,
                person,
                declined.message_ts,
                reason=declined.reason,
                response_url=declined.response_url,
            )
        except KeyError:
            return click_answers.no_such_request()
        return _answer(result)

    async def _take(
        self,
        card_id: str,
        verdict: Verdict,
        person: Person,
        message_ts: str,
        *,
        judge: Judge | None = None,
        reason: str = "",
        response_url: str = "",
        redraw_url: str = "",
    ) -> DecisionResult:
        """Put a verdict to the gate, and have done what follows from it.

        With a `redraw_url`, a card that was pressed too late shows the result at once.
        """
        now = datetime.now(UTC)
        why: dict[str, object] = {"why": reason} if reason else {}
        event = NewEvent(now, EventType(verdict), person.user_id, why)
        try:
            result = await self._ledger.decide(
                card_id,
                verdict,
                event,
                decider=person,
                due_at=self._worker.lease(now),
                judge=judge or self._permissions.judge(person, verdict),
                message_ts=message_ts,
                response_url=response_url,
            )
        except LedgerUnavailable as error:
            if error.uncertain:
                # the person is told that nobody knows; if the click counted, the work must follow
                self._worker.start_if_decided(card_id, verdict, event)
            raise
        request = result.request
        self._retire_duplicate(request, message_ts)
        if result.taken:
            self._metrics.verdicts.labels(request.kind, verdict).inc()
            self._worker.start(result.card, result.after)
        elif result.decision.allowed:
            self._catch_up(request, message_ts, redraw_url)
        else:
            self._permissions.count_refusal(result.decision, person)
            self._redrawing.update_thread(request.id)
        return result

    def _catch_up(self, request: Request, message_ts: str, response_url: str) -> None:
        # a press's URL can only replace the card that was pressed
        own = message_ts == request.message_ts
        self._redrawing.catch_up(request, response_url if own else "")

    def _retire_duplicate(self, request: Request, message_ts: str) -> None:
        # a card that the ledger does not know yet is no duplicate
        if message_ts and request.message_ts and message_ts != request.message_ts:
            self._redrawing.retire_duplicate(request, message_ts)


def _answer(result: DecisionResult) -> Message | None:
    """What to tell the person; None if the verdict was taken."""
    if result.taken:
        return None
    if result.decision.allowed:
        return click_answers.too_late(result.request)
    return ephemerals.denied(result.decision.why)
