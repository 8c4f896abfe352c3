"""Asks about customers: reads them, records a card's requests, and posts the card.

A request is in the ledger before its card is posted, and its posting is a job. So a click may be
quicker than the note that the card was posted, and a bot that dies in between leaves a job that any
bot takes up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from uuid import uuid4

import structlog

from bot.domain.commands import AmbiguousAsk
from bot.domain.models import Card, Customer, Kind as RequestKind, LeftOut, Person, Request
from bot.fusebill.errors import CustomerNotFound, FusebillError, FusebillRefused
from bot.ledger import steps, work_steps
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.jobs import Job, Kind
from bot.ledger.steps import Act, Asked, Before, FollowUpOpen, NothingToFollow, Overtaken
from bot.messages import answers, card as card_messages, click_answers, questions
from bot.messages.block_kit import Message, cut
from bot.messages.fusebill_errors import reason as words_of
from bot.messages.phrases import Links, display_name
from bot.ops.metrics import Metrics
from bot.ops.retries import retried
from bot.requests.customers import Customers, Found, is_about_customer
from bot.requests.lists import Lists
from bot.requests.permissions import Permissions
from bot.requests.private_messages import Place, PrivateMessages
from bot.requests.runner import Runner
from bot.requests.show import Show, pause_after
from bot.settings import Timing
from bot.slack.client import Sent, Slack
from bot.slack.error_codes import THREAD_REFUSED, meaning_of
from bot.slack.errors import SlackBusy, SlackError, is_retryable, pause_of
from bot.slack.rate_limiter import meanwhile

log = structlog.get_logger(__name__)

MAX_POST_ATTEMPTS = 5
NOTE_TIMEOUT_S = 20.0
POSTED_AT_ONCE_S = 1.0
WAIT_NOTICE_AFTER_S = 3.0
WHY_LENGTH = 120
INTERRUPTED = "the bot was interrupted before the card was posted"
SLACK_AWAY = "Slack did not take the card in time"


class Ask:
    """Asks for cards: reads the customers, and records what is asked."""

    def __init__(
        self,
        runner: Runner,
        customers: Customers,
        lists: Lists,
        permissions: Permissions,
        private: PrivateMessages,
        links: Links,
        metrics: Metrics,
        *,
        expires_after_s: int,
    ) -> None:
        self._runner = runner
        self._customers = customers
        self._lists = lists
        self._permissions = permissions
        self._private = private
        self._links = links
        self._metrics = metrics
        self._expires_after = timedelta(seconds=expires_after_s)

    async def ask(
        self,
        person: Person,
        place: Place,
        customer_ids: Sequence[int],
        reason: str,
        act: Act,
        typed: str = "",
    ) -> None:
        """Read the customers and post one card for all that are latched.

        `typed` is the number as it was typed, if it was one. The same act again posts no card.
        """
        started = monotonic()
        person = self._permissions.policy.with_home_team(person)
        ids = ", ".join(map(str, customer_ids))
        all_typed = reason if len(customer_ids) == 1 else f"{ids} {reason}".rstrip()
        first_id = customer_ids[0]
        if not await self._permissions.may_ask(person, place, reason, act, first_id, all_typed):
            return
        found = await self._customers.read(customer_ids, place)
        latched = [each for each in found.values() if isinstance(each, Customer) and each.ids]
        if not latched:
            if not await self.came_before(act, person, place):
                await self._explain(found, place, reason, typed)
            return
        on_card = {customer.customer_id for customer in latched}
        left_out = [_left_out(i, each) for i, each in found.items() if i not in on_card]
        card = new_card(person, place, latched, reason)
        if await self.post(card, place, act, left_out):
            self._metrics.card_seconds.observe(monotonic() - started)
            if left_out and len(latched) == 1:
                others = answers.others_left_out(RequestKind.UNLATCH, left_out, self._links)
                await self._private.send(place, others)

    async def ask_once(
        self, person: Person, place: Place, customer_ids: Sequence[int], reason: str, act: Act
    ) -> None:
        """Ask as `ask` does, for a button or a form that people press twice."""
        if not await self.came_before(act, person, place):
            await self.ask(person, place, customer_ids, reason, act)

    async def offer_meanings(
        self, person: Person, place: Place, asked: AmbiguousAsk, act: Act
    ) -> None:
        """Ask which of two meanings a text has, if the person may ask at all."""
        person = self._permissions.policy.with_home_team(person)
        many = asked.ambiguous.many
        typed = f"{', '.join(map(str, many.customer_ids))} {many.reason}".rstrip()
        first_id = next(iter(many.customer_ids), 0)
        if await self._permissions.may_ask(person, place, None, act, first_id, typed):
            await self._private.send(place, questions.which_meaning(asked))

    async def _explain(self, found: Found, place: Place, reason: str, typed: str) -> None:
        """Say why there is nothing to ask about."""
        [(first_id, first), *others] = found.items()
        if others and (error := _common_error(list(found.values()))):
            await self._private.send(place, answers.not_read(first_id, error))
        elif others:
            left_out = [_left_out(*each) for each in found.items()]
            await self._private.send(place, answers.none_to_unlatch(left_out, self._links))
        elif isinstance(first, Customer):
            await self._private.send(place, answers.not_latched(first, self._links))
        else:
            await self._lists.explain(first_id, typed, reason, place, first)

    async def post(
        self,
        card: Card,
        place: Place,
        act: Act,
        left_out: Sequence[LeftOut] = (),
        follows: Sequence[Request] = (),
    ) -> bool:
        """Record a card's requests and post the card; false if there is none, which is told.

        `left_out` and `follows` as for `steps.asked`. Whoever wants a card may ask for it here, or
        there is none: also of an undo, and of a customer to check again.
        """
        first, door = card.first, replace(place, channel_id=card.first.channel_id)
        customer_id = first.customer.customer_id
        if not await self._permissions.may_ask(
            first.requester, door, first.reason, act, customer_id, first.reason
        ):
            return False
        try:
            result = await self._runner.run(
                steps.asked,
                *(card, act, self._expires_after, place.response_url, left_out, follows),
            )
        except LedgerUnavailable as error:
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected
            not_recorded = answers.not_recorded(card.first, uncertain=error.uncertain)
            await self._private.send(place, not_recorded)
            return False
        match result:
            case Asked(card=asked):
                return await self._is_posted(asked)
            case Before():
                await self._say_before(result, card.first.requester, place)
            case FollowUpOpen():
                await self._private.send(place, click_answers.follow_up_open())
            case NothingToFollow():
                is_undo = card.first.kind is RequestKind.RELATCH
                nothing = click_answers.nothing_to_undo if is_undo else click_answers.outcome_known
                await self._private.send(place, nothing())
            case Overtaken(by=by):
                url = await self._lists.permalink(by)
                await self._private.send(place, click_answers.changed_since(by, url))
        return False

    async def _is_posted(self, card: Card) -> bool:
        """Wait until the card's posting ends; whether it has a message then."""
        job = self._runner.running(card.id, Kind.POST)
        if job is None:
            return False
        await job.done.wait()
        return job.card is not None and job.card.first.message_ts is not None

    async def came_before(self, act: Act, person: Person, place: Place) -> bool:
        """Whether the same act was delivered before; then the person is told what came of it."""
        before = await self._runner.run(steps.came_before, act)
        if before:
            await self._say_before(before, person, place)
        return before is not None

    async def _say_before(self, before: Before, person: Person, place: Place) -> None:
        log.info("delivered before", card_id=before.card.id, came_of_it=before.came_of_it)
        why = before.why_refused(person)
        said = answers.denied(why) if why else click_answers.asked_already(before.card)
        await self._private.send(place, said)


class PostCards:
    """Does the job of posting a card; `bot_user_id` is the user that people invite."""

    def __init__(
        self,
        runner: Runner,
        slack: Slack,
        show: Show,
        private: PrivateMessages,
        links: Links,
        metrics: Metrics,
        timing: Timing,
        notify: Sequence[str] = (),
        *,
        expires_after_s: int,
    ) -> None:
        self._runner = runner
        self._slack = slack
        self._show = show
        self._private = private
        self._links = links
        self._metrics = metrics
        self._timing = timing
        self._notify = notify
        self._expires_after = timedelta(seconds=expires_after_s)
        self._told_of_wait: set[str] = set()
        self.bot_user_id = ""

    async def handle(self, job: Job) -> None:
        """Post a card and note that; end the request if Slack refuses the card."""
        is_new = job.card is not None
        card = job.card or await self._runner.run(work_steps.as_it_is, job)
        if card is None or not card.first.is_open or card.first.message_ts:
            await self._runner.run(work_steps.done_with, job)
            return
        if not is_new:
            if not job.attempts:
                log.warning("request without a card taken up", request_id=card.id)
            if card.first.expires_at <= job.taken_at:
                why = SLACK_AWAY if job.attempts else INTERRUPTED
                await self._end(job, card, why, answers.never_posted(card.first))
                return
        try:
            sent, expires_at = await self._post(job, card)
        except SlackError as error:
            await self._not_posted(job, card, error)
            return
        except asyncio.CancelledError:
            # the bot stops: whoever asked is told that no card will come, so none may
            if is_new:
                await self._end(job, card, INTERRUPTED, answers.stopped())
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
            return card_messages.draw(Card(tuple(expiring)), self._links, self._notify)

        async def notify() -> None:
            await asyncio.sleep(WAIT_NOTICE_AFTER_S)
            people = await self._private.people_of(card)
            await self._private.send_to(people[:1], answers.on_wait())

        async def post(thread_ts: str | None) -> Sent:
            return await retried(
                lambda: self._slack.post(
                    card.first.channel_id, message, thread_ts, on_wait=on_wait
                ),
                _should_retry,
                # each answer that Slack loses leaves a duplicate
                attempts=1 if job.attempts else MAX_POST_ATTEMPTS,
                timeout_s=None,
                wait_initial=0.5,
            )

        async with meanwhile(notify) as on_wait:
            try:
                sent = await post(card.first.thread_ts)
            except SlackError as error:
                if not card.first.thread_ts or error.code not in THREAD_REFUSED:
                    raise
                log.warning("follow-up posted in the channel", why=error.code)
                sent = await post(None)
        return sent, expires_at

    async def _note(self, job: Job, card: Card, sent: Sent, expires_at: datetime) -> None:
        """Note the card's `ts`; failing that, a click does, or another card is posted."""
        message_ts = sent.ts
        note = partial(steps.posted, reminds=bool(self._notify), is_whole=not sent.refused)
        now = await self._runner.run_patiently(NOTE_TIMEOUT_S, note, job, message_ts, expires_at)
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

    async def _not_posted(self, job: Job, card: Card, error: SlackError) -> None:
        """Try again later, as long as the card can be decided; end it if Slack says no."""
        log.warning("card not posted", why=error.code, channel_id=card.first.channel_id)
        if is_retryable(error):
            pause_s = pause_after(job.attempts, self._timing.pause_s)
            pause = timedelta(seconds=max(pause_s, error.retry_after_s or 0.0))
            job.attempts += 1
            await self._runner.run(work_steps.later, job, pause)
            await self._tell_of_wait(card)
            return
        said = answers.cannot_post(error.code, meaning_of(error.code).remedy, self.bot_user_id)
        await self._end(job, card, f"Slack did not take it: {error.code}", said)

    async def _tell_of_wait(self, card: Card) -> None:
        """Tell whoever asked that the card waits for Slack, once, as soon as Slack takes a word."""
        if card.id not in self._told_of_wait:
            people = await self._private.people_of(card)
            if await self._private.send_to(people[:1], answers.slack_away()):
                self._told_of_wait.add(card.id)

    async def _end(self, job: Job, card: Card, why: str, said: Message) -> None:
        """End a request without a card, then say so: nobody may see a card that was called off."""
        people = await self._private.people_of(card)
        if await self._runner.run(steps.unposted, job, why):
            await self._private.send_to(people, said)


def new_card(
    person: Person,
    place: Place,
    customers: Sequence[Customer],
    reason: str,
    *,
    kind: RequestKind = RequestKind.UNLATCH,
    follows: Sequence[Request] = (),
) -> Card:
    """A card that asks about these customers, not recorded yet: the step dates it.

    A card that `follows` requests, one for each customer, goes into the thread of the first.
    """
    now = datetime.now(UTC)
    card_id = uuid4().hex
    before = follows[0] if follows else None
    requests = [
        Request(
            id=uuid4().hex if position > 1 else card_id,
            kind=kind,
            customer=customer,
            channel_id=before.channel_id if before else place.channel_id,
            message_ts=None,
            thread_ts=before.thread_ts if before else None,
            requester=person,
            reason=reason,
            asked_at=now,
            expires_at=now,
            card_id=card_id,
            position=position,
            card_size=len(customers),
        )
        for position, customer in enumerate(customers, 1)
    ]
    if kind is RequestKind.RELATCH:
        # a relatch that follows a relatch is another attempt to undo the same request
        requests = [
            replace(request, undoes=undone.undoes or undone.id)
            for request, undone in zip(requests, follows, strict=True)
        ]
    return Card(tuple(requests))


def _should_retry(error: Exception) -> bool | float:
    # SlackBusy already waited as long as it may
    return is_retryable(error) and not isinstance(error, SlackBusy) and pause_of(error)


def _common_error(results: Sequence[Customer | FusebillError]) -> FusebillError | None:
    """Why none of the customers could be read; None if any was, or if each has its own reason."""
    errors = [each for each in results if isinstance(each, FusebillError)]
    if len(errors) < len(results) or any(map(is_about_customer, errors)):
        return None
    return errors[0]


def _left_out(customer_id: int, result: Customer | FusebillError) -> LeftOut:
    match result:
        case Customer():
            return LeftOut(customer_id, "not latched to anything", display_name(result))
        case CustomerNotFound():
            return LeftOut(customer_id, "not known in Fusebill")
        case _:
            own_words = type(result) is FusebillRefused and result.texts
            why = result.texts[0] if own_words else words_of(result)
            return LeftOut(customer_id, f"could not be read: {cut(why, WHY_LENGTH)}")
