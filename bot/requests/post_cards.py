"""Posts the card of requests that are in the ledger, and tells who asked if Slack refuses it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from bot.domain.commands import Place
from bot.domain.models import Card, Verdict
from bot.ledger import ask_steps, jobs, work_steps
from bot.ledger.jobs import Job
from bot.messages import answers, card as card_messages
from bot.messages.block_kit import Message
from bot.messages.card import Deciders
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.ops.tasks import meanwhile, retried
from bot.requests.people import PrivateMessages
from bot.requests.runner import Runner
from bot.requests.show import Show, pause_after
from bot.settings import Timing
from bot.slack.client import Sent, Slack
from bot.slack.error_codes import meaning_of
from bot.slack.errors import SlackBusy, SlackError, advice, is_retryable, pause_of

log = structlog.get_logger(__name__)

MAX_POST_ATTEMPTS = 5
NOTE_TIMEOUT_S = 20.0
POSTED_AT_ONCE_S = 1.0
WAIT_NOTICE_AFTER_S = 3.0
INTERRUPTED = "the bot was interrupted before the card was posted"
SLACK_AWAY = "Slack did not take the card in time"


@dataclass(eq=False, slots=True)
class PostCards:
    """Does the job of posting a card; `bot_user_id` is the user that people invite."""

    _runner: Runner
    _slack: Slack
    _show: Show
    _private: PrivateMessages
    _links: Links
    _metrics: Metrics
    _timing: Timing
    _deciders: Deciders
    _expires_after: timedelta
    _untold: set[str] = field(default_factory=set)
    bot_user_id: str = ""

    async def handle(self, job: Job) -> None:
        """Post a card and note that; end the request if Slack refuses the card."""
        is_new = job.card is not None
        card = job.card or await self._runner.run(work_steps.as_it_is, job)
        if card is None or not card.first.is_open or card.first.message_ts:
            await self._runner.run(jobs.end, job)
            return
        if not is_new:
            if not job.attempts:
                log.warning("request without a card taken up", request_id=card.id)
            if card.first.expires_at <= job.taken_at:
                why = SLACK_AWAY if job.attempts else INTERRUPTED
                await self._end(job, card, why, answers.never_posted(card, why))
                return
        try:
            sent, expires_at = await self._post(job, card)
        except SlackError as error:
            await self._not_posted(job, card, error)
            return
        except asyncio.CancelledError:
            # the bot stops: whoever asked is told that no card will come, so none may
            if is_new:
                await self._end(job, card, INTERRUPTED, answers.STOPPED)
            raise
        await self._note(job, card, sent, expires_at)

    async def _post(self, job: Job, card: Card) -> tuple[Sent, datetime]:
        """Returns what Slack took, and the expiry that it shows, counted from the posting."""
        expires_at = card.first.expires_at

        def message() -> Message:
            nonlocal expires_at
            job.require_held()
            now = job.now()
            if now - card.first.asked_at >= timedelta(seconds=POSTED_AT_ONCE_S):
                expires_at = now + self._expires_after
            expiring = [replace(each, expires_at=expires_at) for each in card.requests]
            return card_messages.draw(Card(tuple(expiring)), self._links, self._deciders)

        async def notify() -> None:
            await asyncio.sleep(WAIT_NOTICE_AFTER_S)
            await self._tell(card, answers.ON_WAIT)

        where = (card.first.channel_id, message, card.first.thread_ts, None)
        async with meanwhile(notify) as on_wait:
            sent = await retried(
                lambda: self._slack.post(*where, on_wait=on_wait),
                _should_retry,
                # each answer that Slack loses leaves a duplicate
                attempts=1 if job.attempts else MAX_POST_ATTEMPTS,
                timeout_s=None,
                wait_initial=0.5,
            )
        return sent, expires_at

    async def _note(self, job: Job, card: Card, sent: Sent, expires_at: datetime) -> None:
        """Note the card's `ts`; failing that, a click does, or another card is posted."""
        message_ts = sent.ts
        reminds = bool(self._deciders.notify)
        note = partial(ask_steps.posted, reminds=reminds, is_whole=not sent.refused)
        now, is_closed = await self._runner.run_patiently(
            NOTE_TIMEOUT_S, note, job, message_ts, expires_at
        )
        job.card = now
        if now.first.message_ts != message_ts:
            await self._show.retire_duplicate(now, message_ts)
        self._metrics.requests.labels(card.first.kind).inc()
        for request in now.requests:
            log.info(
                "asked",
                request_id=request.id,
                kind=request.kind,
                customer_id=request.customer.customer_id,
                user_id=request.requester.user_id,
                channel_id=request.channel_id,
                message_ts=message_ts,
            )
        if is_closed:
            self._metrics.verdicts.labels(now.first.kind, Verdict.OVERTAKEN).inc()

    async def _not_posted(self, job: Job, card: Card, error: SlackError) -> None:
        """Try again later, as long as the card can be decided; end it if Slack says no."""
        about = {"channel_id": card.first.channel_id, **advice(error)}
        log.warning("card not posted", why=error.code, **about)
        if is_retryable(error):
            pause_s = pause_after(job.attempts, self._timing.pause_s)
            pause = timedelta(seconds=max(pause_s, error.retry_after_s or 0.0))
            job.attempts += 1
            await self._runner.run(jobs.put_off, job, pause)
            await self._tell_of_wait(job, card)
            return
        said = answers.cannot_post(error.code, meaning_of(error.code).remedy, self.bot_user_id)
        await self._end(job, card, f"Slack did not take it: {error.code}", said)

    async def _tell_of_wait(self, job: Job, card: Card) -> None:
        """Tell whoever asked, once, that the card waits; only the bot that failed first does."""
        if job.attempts == 1 or card.id in self._untold:
            self._untold.add(card.id)
            if await self._tell(card, answers.SLACK_AWAY):
                self._untold.remove(card.id)

    async def _tell(self, card: Card, said: Message) -> bool:
        """Tell whoever asked something of a card that waits; whether Slack took it."""
        asked = (await self._private.people_of(card))[:1]
        places = [Place(card.first.channel_id, each.url) for each in asked]
        return all([await self._private.send(place, said) for place in places])

    async def _end(self, job: Job, card: Card, why: str, said: Message) -> None:
        """End a request without a card, then say so: nobody may see a card that was called off."""
        people = await self._private.people_of(card)
        if await self._runner.run(ask_steps.not_posted, job, why):
            await self._private.send_to(people, said)


def _should_retry(error: Exception) -> bool | float:
    # SlackBusy already waited as long as it may
    return not isinstance(error, SlackBusy) and pause_of(error)
