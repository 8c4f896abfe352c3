"""Draws a posted card and its thread as the ledger has them, for as long as Slack needs.

Drawing is a job, and whoever holds it is the only one who draws, so an older card never replaces a
newer one. Before it draws, it notes how often the job was set; if that has changed when Slack has
taken everything, something happened meanwhile, and it draws again. The ledger says how many of the
card's events the thread shows, so a retry posts only the rest. What Slack does not take is tried
again later and later, for about a week; the people who wait are told the result privately.

Three messages are not drawn here: a new card (`post_cards`), a reminder (`due`), and the answer to
one person. Two more are, for whoever presses on a card that should no longer have its buttons: the
pressed card is replaced at once, and a duplicate loses its buttons.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from bot.domain.models import Card
from bot.ledger import decide_steps, jobs, work_steps
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.jobs import Job, Kind, LostHold, Transaction
from bot.messages import answers, card as card_messages, thread
from bot.messages.block_kit import Message
from bot.messages.card import Deciders
from bot.messages.outcomes import place_of
from bot.messages.phrases import Links
from bot.messages.results import MAX_OVERTAKERS, overtaken_by
from bot.ops import logs
from bot.ops.metrics import Metrics
from bot.ops.tasks import BackgroundTasks
from bot.requests.people import PrivateMessages
from bot.requests.runner import Runner
from bot.settings import Timing
from bot.slack.client import Slack
from bot.slack.errors import (
    SlackBlocked,
    SlackError,
    SlackRefused,
    SlackUnavailable,
    advice,
)
from bot.slack.rate_limiter import MAX_WAIT_S

log = structlog.get_logger(__name__)

QUICK_PAUSE_S = 60.0
MAX_PAUSE_S = 3600.0
MAX_ATTEMPTS = 206
"""About a week of attempts, with the pauses of `pause_after`."""
SIMPLER_ATTEMPTS = 40
"""How often a card that Slack took only in a simpler form is drawn again, in about four hours."""
PATIENT_ATTEMPTS = 6
"""After so many attempts, about a minute, the people who wait are told the result privately."""


@dataclass(eq=False, slots=True)
class Show:
    """Does the job of drawing a card and its thread."""

    _runner: Runner
    _slack: Slack
    _private: PrivateMessages
    _links: Links
    _tasks: BackgroundTasks
    _metrics: Metrics
    _timing: Timing
    _deciders: Deciders

    async def handle(self, job: Job) -> None:
        """Draw the card and its thread until Slack has both, or until that has to wait."""
        try:
            await self._draw_until_shown(job)
        except LostHold:
            # a process that slept may have drawn over what its successor drew
            await self._runner.run(Transaction.set, job.card_id, Kind.SHOW)
            raise

    async def _draw_until_shown(self, job: Job) -> None:
        progress: Message | None = None
        shown = 0
        while True:
            card = job.take_card()
            # what people saw of its end may have led to another card in its thread
            if card is None or (card.is_finished and card.first.shown_events):
                card = await self._runner.run(work_steps.as_it_is, job)
            if card is None or card.first.message_ts is None:
                await self._runner.run(jobs.end, job)
                return
            with logs.fields(**about(card)):
                if card.first.verdict and not card.is_finished:
                    if self._runner.running(card.id, Kind.WORK):
                        progress = await self._draw_progress(job, card, progress)
                        continue
                    # whoever works on it sets this job again
                    if await self._runner.run(work_steps.shown, job, card.first.shown_events):
                        return
                    continue
                # a card as a step left it does not know what was posted meanwhile
                known = max(shown, card.first.shown_events)
                shown, is_over = await self._draw(job, card, known)
                if is_over:
                    return

    async def _draw_progress(self, job: Job, card: Card, before: Message | None) -> Message | None:
        """Show how far the work is, if it takes long; returns what was drawn last.

        Nothing is read for the first time: the work may wait because the ledger does not answer.
        """
        pause_s = self._timing.progress_every_s if before else self._timing.working_after_s
        try:
            async with asyncio.timeout(pause_s):
                await job.changed.wait()
        except TimeoutError:
            message = card_messages.draw(card, self._links, now=job.now())
            if message == before:
                return before
            try:
                # without waiting for a turn: by then it would be old
                await self._update(job, card, message, max_wait_s=0.0)
            except SlackError as error:
                log.warning("working card not shown", why=error.code)
            return message
        job.changed.clear()
        # a Stop is shown at once, as is the result
        return before

    async def _draw(self, job: Job, card: Card, known: int) -> tuple[int, bool]:
        """Draw the card once as it is, whose thread shows so many events.

        Returns how many it shows then, and whether that ends the job, or puts it off.
        """
        job.changed.clear()
        links = await self._links_of(card)
        message = card_messages.draw(card, links, self._deciders)
        drawn, replied = await asyncio.gather(
            self._update(job, card, message),
            self._draw_thread(job, card, known),
            return_exceptions=True,
        )
        for failure in (drawn, replied):
            if isinstance(failure, BaseException) and not isinstance(failure, SlackError):
                raise failure
        if not isinstance(drawn, BaseException) and not isinstance(replied, BaseException):
            again_in = None
            if drawn and job.attempts < SIMPLER_ATTEMPTS:
                pause_s = pause_after(job.attempts, self._timing.pause_s)
                job.attempts += 1
                log.warning("card shown more simply", why=drawn, again_in_s=pause_s)
                again_in = timedelta(seconds=pause_s)
            return replied, await self._runner.run(work_steps.shown, job, replied, again_in)
        shown = known if isinstance(replied, BaseException) else replied
        results = {"the card": drawn, "the trail": replied}
        failures = {what: e for what, e in results.items() if isinstance(e, SlackError)}
        return shown, await self._not_drawn(job, card, shown, failures)

    async def _links_of(self, card: Card) -> Links:
        """The links of a card, also to the cards that overtook it."""
        events = filter(None, map(overtaken_by, card.requests))
        places = list(dict.fromkeys(filter(None, map(place_of, events))))
        found = dict[tuple[str, str], str]()
        for place in places[:MAX_OVERTAKERS]:
            with suppress(SlackError):
                found[place] = await self._slack.permalink(*place)
        return replace(self._links, cards=found) if found else self._links

    async def _update(
        self, job: Job, card: Card, message: Message, *, max_wait_s: float = MAX_WAIT_S
    ) -> str:
        """Replace the card; returns why Slack did not take it whole."""
        job.require_held()
        sent = await self._slack.update(
            card.first.channel_id, card.first.message_ts or "", message, max_wait_s=max_wait_s
        )
        return sent.refused

    async def _draw_thread(self, job: Job, card: Card, known: int) -> int:
        """Post the events that the thread lacks; returns how many it shows then."""
        shown = known
        # without a thread they would go into the channel
        while card.first.thread_ts and (reply := thread.next_reply(card, shown, self._links)):
            if shown > known:
                # after each reply, so that a retry goes on from here
                await self._runner.run(work_steps.shown_so_far, job, shown)
            job.require_held()
            threads = (card.first.thread_ts, card.first.message_ts)
            await self._slack.post(card.first.channel_id, reply.message, *threads)
            shown = reply.shown
        return shown

    async def _not_drawn(
        self, job: Job, card: Card, shown: int, failures: Mapping[str, SlackError]
    ) -> bool:
        """Try again later; give up where that makes no sense. `failures` are by what they lost.

        False if there is more to draw at once.
        """
        job.attempts += 1
        lost = " and ".join(failures)
        await self._tell_result(job, card, failures.get("the card"), lost)
        passing = [each for each in failures.values() if isinstance(each, SlackUnavailable)]
        checks = {name: text for each in failures.values() for name, text in advice(each).items()}
        codes = ", ".join(sorted({each.code for each in failures.values()}))
        if passing and job.attempts <= MAX_ATTEMPTS:
            pause_s = pause_after(job.attempts - 1, self._timing.pause_s)
            pause_s = max([pause_s, *(each.retry_after_s or 0.0 for each in passing)])
            log.warning(
                "slack unavailable", why=codes, not_shown=lost, again_in_s=pause_s, **checks
            )
            again_in = timedelta(seconds=pause_s)
            return await self._runner.run(work_steps.shown, job, shown, again_in)
        self._metrics.undelivered.inc()
        log.error("gave up updating slack", why=codes, not_shown=lost, **checks)
        why = f"Slack did not take {lost}: {codes}"
        gone = not passing
        return await self._runner.run(work_steps.given_up, job, shown, why, gone=gone)

    async def _tell_result(
        self, job: Job, card: Card, failure: SlackError | None, lost: str
    ) -> None:
        """Tell people privately what the card can't show; a trail that is missing hides nothing."""
        if failure and card.is_finished and _may_last(failure, job):
            gone = not isinstance(failure, SlackUnavailable)
            text = answers.outcome_without_card(card, self._links, lost, gone=gone)
            await self._private.tell(card, text)

    def pressed_late(self, card: Card, message_ts: str, response_url: str) -> None:
        """Bring a card up to date after a press that it should not offer, in the background."""
        # a press's URL can only replace the card that was pressed
        own = message_ts == card.first.message_ts
        self._tasks.spawn(self._catch_up(card, response_url if own else ""))

    async def _catch_up(self, card: Card, response_url: str) -> None:
        try:
            stale = await self._runner.run(decide_steps.pressed_late, card.id)
        except LedgerUnavailable as error:
            log.warning("card not brought up to date", why=str(error))
            return
        if stale is None or not response_url:
            return
        try:
            # at once, even if the bot is not in the channel
            message = card_messages.draw(stale, await self._links_of(stale))
            await self._slack.replace_original(response_url, message)
        except SlackError as error:
            log.warning("pressed card not replaced", why=error.code)

    def retire_soon(self, card: Card, message_ts: str) -> None:
        """Remove the buttons from a duplicate card, in the background; not from the card itself."""
        # a card that the ledger does not know yet is no duplicate
        if message_ts and card.first.message_ts and message_ts != card.first.message_ts:
            self._tasks.spawn(self.retire_duplicate(card, message_ts))

    async def retire_duplicate(self, card: Card, message_ts: str) -> None:
        """Remove the buttons from a duplicate card, and link to the request's own card.

        Slack can post a card and lose its answer. The bot then posts it again, and the ledger
        knows only one of them.
        """
        channel_id = card.first.channel_id
        url = None
        with suppress(SlackError):
            url = await self._slack.permalink(channel_id, card.first.message_ts or "")
        try:
            await self._slack.update(channel_id, message_ts, card_messages.duplicate(card, url))
        except SlackError as error:
            log.warning("duplicate card not retired", why=error.code, message_ts=message_ts)


def pause_after(attempts: int, first_s: float) -> float:
    """The pause in seconds after so many failed attempts: doubled up to a minute, then 10 % longer.

    So an outage of an hour is over for a card a few minutes after it is over for Slack, and a
    channel that the bot was removed from costs a call an hour.
    """
    doublings = max(math.ceil(math.log2(QUICK_PAUSE_S / first_s)), 0)
    if attempts < doublings:
        return first_s * 2.0**attempts
    return min(QUICK_PAUSE_S * 1.1 ** min(attempts - doublings, 100), MAX_PAUSE_S)


def about(card: Card) -> dict[str, object]:
    """The fields that every log line about a card has."""
    first = card.first
    return {
        "request_id": first.id,
        "customer_id": first.customer.customer_id,
        "channel_id": first.channel_id,
        "message_ts": first.message_ts,
        "requester": first.requester.user_id,
        "decider": first.decider and first.decider.user_id,
    }


def _may_last(failure: SlackError, job: Job) -> bool:
    """Whether a failure may outlast the half hour in which people can be told privately."""
    refused = isinstance(failure, SlackRefused | SlackBlocked)
    return refused or job.attempts > PATIENT_ATTEMPTS
