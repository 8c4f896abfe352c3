"""**Undo…**, **Check again**, **Ask again**: all read the customers before they offer anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from weakref import WeakValueDictionary

import structlog

from bot.domain import commands
from bot.domain.commands import Move, Place
from bot.domain.meanings import is_done, is_move, may_be_checked, undoable
from bot.domain.models import Card, Customer, HubSpotIds, Kind, LeftOut, Request
from bot.domain.outcomes import Result, compare
from bot.fusebill.errors import FusebillError
from bot.ledger import rows, same_customer, work_steps
from bot.ledger.people import Act
from bot.messages import answers, click_answers
from bot.messages.block_kit import Message
from bot.messages.fusebill_errors import reason
from bot.messages.outcomes import to_ask_again
from bot.messages.phrases import Links, display_name
from bot.ops.metrics import Metrics
from bot.requests.ask import Ask, new_card
from bot.requests.customers import Customers, ReadEach
from bot.requests.lists import Lists
from bot.requests.people import By, Permissions, PrivateMessages, warn_of_unknown_card
from bot.requests.runner import Runner
from bot.requests.show import Show

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class FollowUps:
    """Handles the buttons of a card's result."""

    _runner: Runner
    _ask: Ask
    _customers: Customers
    _show: Show
    _lists: Lists
    _permissions: Permissions
    _private: PrivateMessages
    _links: Links
    _metrics: Metrics
    _recheck_after: timedelta
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def undo(self, card_id: str, by: By) -> None:
        """Post a card in the same thread that offers to latch the customers to their old ids."""
        async with self._lock(card_id):
            card = await self._pressed(card_id, by, undoable, click_answers.NOTHING_TO_UNDO)
            if card and await self._has_room(card, by.place):
                wanted = undoable(card)
                await self._undo(wanted, by, whole=card.is_pair or len(wanted) == 1)

    async def _undo(self, wanted: Sequence[Request], by: By, *, whole: bool) -> None:
        """Offer to undo what nothing else has changed since; the rest is left out and named.

        With `whole`, all or nothing.
        """
        ids = [request.id for request in wanted]
        others = await self._runner.read(lambda c: same_customer.overtakers(c, ids))
        if whole and others:
            other = next(iter(others.values()))
            url = await self._lists.permalink(other)
            await self._private.send(by.place, click_answers.changed_since(other, url))
            return
        unchanged = [request for request in wanted if request.id not in others]
        left_out = [_left_out(r, _changed_by(others[r.id])) for r in wanted if r.id in others]
        found = await self._read(unchanged, by.place)
        restorable: list[tuple[Request, Customer]] = []
        for request in unchanged:
            customer = found[request.customer.customer_id]
            if isinstance(customer, FusebillError):
                left_out.append(_left_out(request, f"could not be read: {reason(customer)}"))
            elif customer.ids == request.ids_after:
                restorable.append((request, customer))
            elif whole:
                latched = click_answers.latched_meanwhile(customer, self._links)
                await self._private.send(by.place, latched)
                return
            else:
                left_out.append(_left_out(request, "latched to other ids now"))
        if restorable and not (whole and left_out):
            await self._offer_undo(restorable, left_out, by)
        elif not whole:
            await self._private.send(by.place, click_answers.nothing_left_to_undo(left_out))

    async def _offer_undo(
        self,
        restorable: Sequence[tuple[Request, Customer]],
        left_out: Sequence[LeftOut],
        by: By,
    ) -> None:
        requests = [request for request, _customer in restorable]
        why, kind, customers = requests[0].reason, Kind.MOVE, [each for _r, each in restorable]
        after: list[HubSpotIds | None] = [request.ids_before for request in requests]
        if not any(request.ids_after for request in requests):
            # nothing but the old ids: its card keeps them as the customer's
            kind, after = Kind.RELATCH, []
            customers = [replace(each, ids=request.ids_before) for request, each in restorable]
        undo = new_card(
            self._permissions.requester(by),
            by.place,
            customers,
            f"Undo: {why}" if why else "Undo",
            kind=kind,
            after=after,
            follows=requests,
            undoes=True,
        )
        if await self._ask.post(undo, by, left_out, requests) and left_out and len(requests) == 1:
            others = answers.others_left_out(kind, left_out, self._links)
            await self._private.send(by.place, others)

    async def check_again(self, card_id: str, by: By) -> None:
        """Read the customers whose outcome is unknown: record it, or ask anew about the rest."""
        async with self._lock(card_id):
            card = await self._pressed(card_id, by, _unknown, click_answers.OUTCOME_KNOWN)
            if card and await self._has_room(card, by.place):
                await self._check(card, _unknown(card), by)

    async def ask_again(self, card_id: str, by: By) -> None:
        """Ask anew about the customers that are not as the card asked, with its reason."""
        async with self._lock(card_id):
            card = await self._pressed(
                card_id, by, to_ask_again, click_answers.NOTHING_TO_ASK_AGAIN
            )
            if card:
                await self._ask_anew(card, by)

    async def _ask_anew(self, card: Card, by: By) -> None:
        wanted = to_ask_again(card)
        # people press twice, and two of them at once
        act = Act(by.act.id, while_open=f"again {card.id}")
        again = replace(by, place=replace(by.place, command=card.first.command), act=act)
        if undone := [each.undoes for each in wanted if each.undoes]:
            [first, *_] = await self._runner.read(lambda c: sorted(rows.cards_of(c, undone)))
            await self.undo(first, again)
        elif is_move(card.first):
            await self._ask.ask(again, _move_of(card))
        else:
            ids = tuple(request.customer.customer_id for request in wanted)
            await self._ask.ask(again, commands.Ask(ids, card.first.reason))

    async def _check(self, card: Card, unknown: Sequence[Request], by: By) -> None:
        found = await self._read(unknown, by.place)
        results: dict[str, Result] = {}
        still_latched: list[Request] = []
        for request in unknown:
            customer = found[request.customer.customer_id]
            if isinstance(customer, FusebillError):
                continue
            result = compare(customer.ids, request, called=True)
            if result is None:
                still_latched.append(request)
            else:
                results[request.id] = result
        # an act that leads to a card is kept with that card
        recording = None if still_latched else by.act
        if results and not await self._record(card, results, by, recording):
            return
        if card.is_pair and still_latched:
            still_latched = [request for request in card.requests if not is_done(request)]
        if still_latched:
            again = new_card(
                self._permissions.requester(by),
                by.place,
                [request.customer for request in still_latched],
                card.first.reason,
                kind=card.first.kind,
                after=[request.to for request in still_latched],
                follows=still_latched,
            )
            await self._ask.post(again, by, follows=still_latched)

    async def _record(
        self,
        card: Card,
        results: Mapping[str, Result],
        by: By,
        act: Act | None,
    ) -> bool:
        """Record outcomes that the customers show now; false if another request is open."""
        looked = await self._runner.run(
            work_steps.looked_again, card.id, by.person, results, self._recheck_after, act
        )
        if looked is None:
            await self._private.send(by.place, click_answers.FOLLOW_UP_OPEN)
            return False
        now, recorded, others = looked
        for request in now.requests:
            if request.id in recorded and request.outcome:
                self._metrics.outcomes.labels(request.kind, request.outcome).inc()
        if others:
            changed_by = [others[each.id] for each in now.requests if each.id in others]
            url = await self._lists.permalink(changed_by[0]) if len(changed_by) == 1 else None
            said = click_answers.unknown_since(changed_by, url, now.first.command)
            await self._private.send(by.place, said)
        elif not recorded:
            await self._private.send(by.place, click_answers.OUTCOME_KNOWN)
        return True

    def _lock(self, card_id: str) -> asyncio.Lock:
        """One press on a card at a time: people press twice.

        This saves reads and is no promise: another instance has locks of its own, so what must not
        happen twice is asked again in the transaction that writes it.
        """
        return self._locks.setdefault(card_id, asyncio.Lock())

    async def _pressed(
        self, card_id: str, by: By, wanted: Callable[[Card], Sequence[Request]], nothing: Message
    ) -> Card | None:
        """The card as it is now, if something of it is wanted and the person may; else None."""
        if await self._ask.is_repeated(by):
            return None
        card = await self._runner.read(lambda c: rows.read(c, card_id))
        if card is None:
            warn_of_unknown_card(card_id)
            await self._private.send(by.place, click_answers.NO_SUCH_REQUEST)
        elif await self._permissions.may_follow_up(card, by):
            if wanted(card):
                return card
            self._show.pressed_late(card, card.first.message_ts or "", "")
            await self._private.send(by.place, nothing)
        return None

    async def _has_room(self, card: Card, place: Place) -> bool:
        """Whether no other request in the card's thread is open; if one is, the person is told."""
        other = await self._runner.read(lambda c: same_customer.open_follow_up(c, card))
        if other:
            await self._private.send(place, click_answers.FOLLOW_UP_OPEN)
        return other is None

    async def _read(self, requests: Sequence[Request], place: Place) -> ReadEach:
        """Read the customers of requests; tell the person why one could not be read."""
        ids = [request.customer.customer_id for request in requests]
        found = await self._customers.read(ids, place)
        for customer_id in ids:
            if isinstance(error := found[customer_id], FusebillError):
                await self._private.send(place, click_answers.not_read(customer_id, error))
                # one is enough: the reason is mostly the same for all
                break
        return found


def _unknown(card: Card) -> list[Request]:
    return [request for request in card.requests if may_be_checked(request)]


def _move_of(card: Card) -> Move:
    """What was typed for a card that moves a customer's latch."""
    first, *others = card.requests
    # the first half of a pair is not done twice: the other customer gets the ids that it had
    ids = card.requests[-1].to if is_done(first) or not others else None
    named = {} if ids is None else asdict(ids)
    to = others[0].customer.customer_id if others else None
    return Move(first.customer.customer_id, named, to, first.reason)


def _changed_by(other: Request) -> str:
    """What another request does, or did, to a customer that it leaves an undo without."""
    if other.outcome is None:
        return "being changed by another request"
    known = not may_be_checked(other)
    return f"{'changed' if known else 'perhaps changed'} since by another request"


def _left_out(request: Request, why: str) -> LeftOut:
    return LeftOut(request.customer.customer_id, why, display_name(request.customer))
