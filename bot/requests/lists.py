"""Answers one person's questions: finds customers, lists past and open requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bot.domain.commands import Ask, Doubt, Find, History, Move, Place, Question, UndoOf
from bot.domain.meanings import LATER, Past
from bot.domain.models import Customer, Request, Verdict
from bot.fusebill.errors import CustomerNotFound, FusebillError
from bot.ledger import lists as ledger_lists
from bot.ledger.database.engine import LedgerUnavailable
from bot.messages import answers, lists, questions
from bot.messages.lists import OpenRequest
from bot.messages.phrases import Links
from bot.requests.customers import Search
from bot.requests.people import By, Permissions, PrivateMessages
from bot.requests.runner import Runner
from bot.slack.client import Slack
from bot.slack.errors import SlackError

log = structlog.get_logger(__name__)

MAX_SHOWN = 10


@dataclass(eq=False, slots=True)
class Lists:
    """Reads from Fusebill and the ledger; changes nothing. `advisers` are whom to ask."""

    _runner: Runner
    _search: Search
    _slack: Slack
    _permissions: Permissions
    _private: PrivateMessages
    _links: Links

    async def explain(
        self, customer_id: int, reason: str, place: Place, error: FusebillError
    ) -> None:
        """Say why a customer could not be read; search for an unknown id as a reference."""
        log.info("customer not read", customer_id=customer_id, why=str(error))
        hits: Sequence[Customer] = ()
        if isinstance(error, CustomerNotFound):
            try:
                async with self._private.if_slow(place, answers.SEARCHING):
                    [found] = await self._search.named_by([Doubt(str(customer_id))])
                hits = found.customers
            except FusebillError as search_error:
                log.info("reference not looked up", why=str(search_error))
        if hits:
            asked = Ask((customer_id,), reason)
            meant = lists.did_you_mean(asked, hits, self._links, place.command)
            await self._private.send(place, meant)
        else:
            await self._private.send(place, answers.not_read(customer_id, error))

    async def find(self, by: By, find: Find) -> None:
        """Show customers whose id is in a text, or whose name, reference or email contains it."""
        text = find.text
        if not await self._permissions.may_read(by, f"{by.place.command} find {text}"):
            return
        try:
            async with self._private.if_slow(by.place, answers.SEARCHING):
                hits = await self._search.find(find)
        except FusebillError as error:
            await self._private.send(by.place, answers.search_failed(text, error))
            return
        more = not hits.complete
        found = lists.found(text, hits.customers, self._links, by.place.command, more=more)
        await self._private.send(by.place, found)

    async def ask_whom(self, by: By, question: Question) -> None:
        """Show the customers whom a text may name, each with a button that asks for its card."""
        doubts = question.meant.doubts
        typed = " ".join(
            [by.place.command, *(doubt.typed for doubt in doubts), question.meant.reason]
        )
        if not await self._permissions.may_ask(by, None, 0, typed):
            return
        try:
            async with self._private.if_slow(by.place, answers.SEARCHING):
                found = await self._search.named_by(doubts)
        except FusebillError as error:
            await self._private.send(by.place, answers.search_failed(doubts[0].typed, error))
            return
        hits = [each.customers for each in found]
        await self._private.send(
            by.place, questions.whom(question, hits, self._links, by.place.command)
        )

    async def history(self, by: By, history: History | UndoOf) -> None:
        """Show the last requests, each with a link to its card; draw again those that are stale."""
        customer_id = history.customer_id
        typed = f"{by.place.command} history"
        if not await self._permissions.may_read(by, typed, customer_id or 0):
            return
        try:
            requests, reasons = await self._runner.run(ledger_lists.history, customer_id)
        except LedgerUnavailable:
            await self._private.send(by.place, answers.ledger_down(pressed=False))
            return
        permalinks = await asyncio.gather(*map(self.permalink, requests))
        past = list(zip(requests, permalinks, strict=True))
        advisers = sorted(self._permissions.policy.confirmers)
        undoing = isinstance(history, UndoOf)
        said = lists.history(customer_id, past, advisers, reasons, undoing=undoing)
        await self._private.send(by.place, said)

    async def pending(self, by: By) -> None:
        """Show up to ten open requests, oldest first, those that the person may decide first."""
        if not await self._permissions.may_read(by, f"{by.place.command} pending"):
            return
        found = await self._runner.read(ledger_lists.still_open)
        judge = self._permissions.judge(by.person, Verdict.CONFIRMED)
        decidable = {each.id: not each.verdict and judge(each, None).allowed for each in found}
        # sorted() keeps the order of equals: oldest first
        ordered = sorted(found, key=lambda request: not decidable[request.id])
        shown = ordered[:MAX_SHOWN]
        urls = await asyncio.gather(*map(self.permalink, shown))
        listed = [
            OpenRequest(request, url, decidable[request.id])
            for request, url in zip(shown, urls, strict=True)
        ]
        await self._private.send(by.place, lists.pending(listed, len(ordered) - len(shown)))

    async def past(self, known: Sequence[Request], card_size: int) -> list[Past]:
        """What a card says of its customers' past; that of one customer links what it names."""
        urls = [await self.permalink(each) if card_size == 1 else None for each in known]
        return [_past_of(each, url) for each, url in zip(known, urls, strict=True)]

    async def say_who_waits(
        self, waiting: Sequence[Request], wanted: Ask | Move, place: Place
    ) -> bool:
        """Ask whether another card is wanted for customers whose cards wait; false if it can't."""
        shown = waiting[: questions.MAX_WAITING]
        urls = [*await asyncio.gather(*map(self.permalink, shown))]
        urls += [None] * (len(waiting) - len(shown))
        each = list(zip(waiting, urls, strict=True))
        asked = questions.waits_already(each, wanted, place.command)
        if asked is not None:
            await self._private.send(place, asked)
        return asked is not None

    async def permalink(self, request: Request) -> str | None:
        """The URL of a request's card; None if Slack can't say."""
        try:
            return await self._slack.permalink(request.channel_id, request.message_ts or "")
        except SlackError:
            return None


def _past_of(request: Request, url: str | None) -> Past:
    at = request.settled_at or request.asked_at
    later = next((event for event in reversed(request.events) if event.type in LATER), None)
    after_s = (later.at - at).total_seconds() if later else 0.0
    outcome, then = str(request.outcome or ""), str(later.type) if later else ""
    customer_id = request.customer.customer_id
    return Past(customer_id, outcome, at.timestamp(), then, after_s, url or "")
