"""Asks about customers: reads them, and records a card's requests and that it is to be posted.

A request is in the ledger before its card is posted, and its posting is a job. So a click may come
before the ledger says that the card was posted, and a bot that dies in between leaves a job that
any bot takes up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from time import monotonic
from uuid import uuid4

import structlog

from bot.domain import commands
from bot.domain.commands import Move, Place, Question
from bot.domain.meanings import Past, is_move
from bot.domain.models import (
    Card,
    Customer,
    HubSpotIds,
    Kind as RequestKind,
    LeftOut,
    Person,
    Request,
)
from bot.domain.moves import moved
from bot.fusebill.errors import FusebillError
from bot.ledger import ask_steps, people
from bot.ledger.ask_steps import Known, NoFollowUp, Overtaken
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.jobs import Kind
from bot.ledger.people import Repeated
from bot.messages import answers, click_answers, questions
from bot.messages.block_kit import Message
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.requests.customers import Customers, ReadEach, common_error, left_out_of
from bot.requests.lists import Lists
from bot.requests.people import By, Permissions, PrivateMessages
from bot.requests.runner import Runner

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Ask:
    """Asks for cards: reads the customers, and records what is asked."""

    _runner: Runner
    _customers: Customers
    _lists: Lists
    _permissions: Permissions
    _private: PrivateMessages
    _links: Links
    _metrics: Metrics
    _expires_after: timedelta

    async def ask(
        self, by: By, wanted: commands.Ask | Move, *, anyway: bool = False, once: bool = False
    ) -> None:
        """Read the customers and post one card for all that are latched, or for a move.

        The same act again posts no card; `once` finds that out first, for a button or a form, which
        people press twice. If a card waits for one of the customers already, it is only posted if
        the person wants it `anyway`.
        """
        started = monotonic()
        if once and await self.is_repeated(by):
            return
        moves, ids = isinstance(wanted, Move), wanted.customer_ids
        several = ", ".join(map(str, ids)) if not moves and len(ids) > 1 else ""
        typed = f"{several} {wanted.reason}".strip()
        if not await self._permissions.may_ask(by, wanted.reason, ids[0], typed, moves=moves):
            return
        found = await self._customers.read(ids, by.place)
        who = self._permissions.requester(by), by.place
        drafted = _draft(found, who, wanted, self._links)
        if isinstance(drafted, Message) or drafted is None:
            if not await self.is_repeated(by):
                await self._explain(found, by.place, wanted.reason, drafted)
            return
        card, left_out = drafted
        if await self.post(card, by, left_out, past=None, wanted=None if anyway else wanted):
            self._metrics.card_seconds.observe(monotonic() - started)
            if left_out and len(card.requests) == 1:
                others = answers.others_left_out(RequestKind.UNLATCH, left_out, self._links)
                await self._private.send(by.place, others)

    async def offer_meanings(self, by: By, asked: Question) -> None:
        """Ask which of two meanings a text has, if the person may ask at all."""
        many = asked.meant
        typed = f"{', '.join(map(str, many.customer_ids))} {many.reason}".rstrip()
        first_id = next(iter(many.customer_ids), 0)
        if await self._permissions.may_ask(by, None, first_id, typed):
            await self._private.send(by.place, questions.which_meaning(asked, by.place.command))

    async def _explain(
        self, found: ReadEach, place: Place, reason: str, why: Message | None
    ) -> None:
        """Say why there is nothing to ask about."""
        [(first_id, first), *others] = found.items()
        if why:
            await self._private.send(place, why)
        elif others and (error := common_error(list(found.values()))):
            await self._private.send(place, answers.not_read(first_id, error))
        elif others:
            left_out = [left_out_of(*each) for each in found.items()]
            await self._private.send(place, answers.none_to_unlatch(left_out, self._links))
        elif isinstance(first, Customer):
            await self._private.send(place, answers.not_latched(first, self._links))
        else:
            await self._lists.explain(first_id, reason, place, first)

    async def post(
        self,
        card: Card,
        by: By,
        left_out: Sequence[LeftOut] = (),
        follows: Sequence[Request] = (),
        past: Sequence[Past] | None = (),
        wanted: commands.Ask | Move | None = None,
    ) -> bool:
        """Record a card's requests and post the card; false if there is none, which is told.

        `left_out`, `follows` and `past` as for `ask_steps.asked`. If cards wait for the customers
        already, the person is asked first whether they want what is `wanted`. Whoever wants a card
        may ask for it here, or there is none: also of an undo, and of a customer to check again.
        """
        first, place = card.first, by.place
        asker = By(first.requester, replace(place, channel_id=first.channel_id), by.act)
        customer_id = first.customer.customer_id
        if not await self._permissions.may_ask(
            asker, first.reason, customer_id, first.reason, moves=is_move(first)
        ):
            return False
        try:
            result = await self._runner.run(
                ask_steps.asked,
                *(card, by.act, self._expires_after, place.response_url, left_out, follows, past),
            )
        except LedgerUnavailable as error:
            log.error("request not recorded", why=str(error))  # noqa: TRY400  # expected
            not_recorded = answers.not_recorded(card.first, uncertain=error.uncertain)
            await self._private.send(place, not_recorded)
            return False
        match result:
            case Known(requests=known):
                waiting = [each for each in known if each.is_open]
                if wanted and waiting and await self._lists.say_who_waits(waiting, wanted, place):
                    return False
                past = [] if is_move(first) else await self._lists.past(known, first.card_size)
                return await self.post(card, by, left_out, follows, past)
            case Card() as asked:
                return await self._is_posted(asked, place, is_follow_up=bool(follows))
            case Repeated():
                await self._say_repeated(result, by)
            case NoFollowUp.OPEN:
                await self._private.send(place, click_answers.FOLLOW_UP_OPEN)
            case NoFollowUp.NOTHING:
                undoes = card.first.undoes is not None
                nothing = click_answers.NOTHING_TO_UNDO if undoes else click_answers.OUTCOME_KNOWN
                await self._private.send(place, nothing)
            case Overtaken(by=other):
                url = await self._lists.permalink(other)
                await self._private.send(place, click_answers.changed_since(other, url))
        return False

    async def _is_posted(self, card: Card, place: Place, *, is_follow_up: bool) -> bool:
        """Wait until the card's posting ends; whether it has a message then.

        Whoever pressed for a follow-up looks at the channel, so they get its link.
        """
        job = self._runner.running(card.id, Kind.POST)
        if job is None:
            return False
        await job.done.wait()
        posted = job.card
        if posted is None or posted.first.message_ts is None:
            return False
        if is_follow_up:
            url = await self._lists.permalink(posted.first)
            await self._private.send(place, click_answers.follow_up_posted(url))
        return True

    async def is_repeated(self, by: By) -> bool:
        """Whether the same act was delivered before; then the person is told what came of it."""
        before = await self._runner.run(people.repeated, by.act)
        if before:
            await self._say_repeated(before, by)
        return before is not None

    async def _say_repeated(self, before: Repeated, by: By) -> None:
        log.info("delivered before", card_id=before.card.id, came_of_it=before.came_of_it)
        why = before.why_refused(by.person)
        if why:
            await self._private.send(by.place, answers.denied(why))
            return
        first = before.card.first
        url = await self._lists.permalink(first) if first.message_ts else None
        await self._private.send(by.place, click_answers.asked_already(before.card, url))


def new_card(
    person: Person,
    place: Place,
    customers: Sequence[Customer],
    reason: str,
    *,
    kind: RequestKind = RequestKind.UNLATCH,
    after: Sequence[HubSpotIds | None] = (),
    follows: Sequence[Request] = (),
    undoes: bool = False,
) -> Card:
    """A card that asks about these customers, not recorded yet: the step dates it.

    `after` has the new ids of each customer of a move. A card that `follows` requests, one for each
    customer, goes into the thread of the first, and with `undoes` is to undo them.
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
            to=to,
            card_id=card_id,
            command=before.command if before else place.command,
            position=position,
            card_size=len(customers),
        )
        for position, (customer, to) in enumerate(zip_longest(customers, after), 1)
    ]
    if follows:
        # what follows an undo is another attempt to undo the same request
        requests = [
            replace(request, undoes=before.undoes or (before.id if undoes else None))
            for request, before in zip(requests, follows, strict=True)
        ]
    return Card(tuple(requests))


def _draft(
    found: ReadEach, who: tuple[Person, Place], wanted: commands.Ask | Move, links: Links
) -> tuple[Card, Sequence[LeftOut]] | Message | None:
    """The card that is wanted, and who is not on it.

    Why there is nothing to move; None if there is nothing to unlatch.
    """
    customers = [each for each in found.values() if isinstance(each, Customer)]
    if isinstance(wanted, Move):
        if why := _why_not_moved(found, wanted, links):
            return why
        changed, after = moved(customers, wanted)
        return new_card(*who, changed, wanted.reason, kind=RequestKind.MOVE, after=after), ()
    latched = {each.customer_id: each for each in customers if each.ids}
    if not latched:
        return None
    left_out = [left_out_of(i, each) for i, each in found.items() if i not in latched]
    return new_card(*who, list(latched.values()), wanted.reason), left_out


def _why_not_moved(found: ReadEach, move: Move, links: Links) -> Message | None:
    """Why there is nothing to move, or nowhere; None if there is."""
    for customer_id, each in found.items():
        if isinstance(each, FusebillError):
            return answers.not_read(customer_id, each)
    first, *others = [each for each in found.values() if isinstance(each, Customer)]
    whose, why = first, ""
    if not others:
        after = replace(first.ids, **move.ids)
        if first.ids == after:
            why = "as you typed. There is nothing to move."
        elif not after:
            why = "and would have no ids left. That is an unlatch."
    elif move.ids and first.ids:
        why = "again, so there is nothing to give away."
    elif not (move.ids or first.ids):
        why = "so there is nothing to move."
    elif others[0].ids:
        whose = others[0]
        why = "so it can't take other ids. It has to be unlatched first, or moved elsewhere."
    return answers.not_moved(whose, why, links) if why else None
