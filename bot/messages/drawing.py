"""What Slack shows of a card, whether it asks about one customer or about many."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.meanings import EVENTS
from bot.domain.models import CardHistory
from bot.messages import ephemerals
from bot.messages.block_kit import Message
from bot.messages.cards import confirmation_card, decided_card, working_card
from bot.messages.many.cards import (
    confirmation_card_of_many,
    decided_card_of_many,
    working_card_of_many,
)
from bot.messages.many.ephemerals import outcome_of_many_without_card
from bot.messages.many.threads import Reply, thread_replies
from bot.messages.phrases import Links
from bot.messages.threads import thread_reply

EVENTS_A_REPLY = 10


def confirmation(history: CardHistory, links: Links, notify: Sequence[str] = ()) -> Message:
    """The card that asks for a decision; `notify` are the users and user groups to mention."""
    if history.is_of_many:
        return confirmation_card_of_many(history, links, notify)
    return confirmation_card(history.first.request, links, notify)


def working(history: CardHistory, links: Links) -> Message:
    """The card while its customers are being unlatched or latched."""
    if history.is_of_many:
        return working_card_of_many(history, links)
    return working_card(history.first.request, links)


def decided(history: CardHistory, links: Links) -> Message:
    """The card with its result."""
    if history.is_of_many:
        return decided_card_of_many(history, links)
    return decided_card(history.first.request, history.first.events, links)


def outcome_without_card(history: CardHistory, links: Links, *, gone: bool) -> Message:
    """The outcome for one person, since the card can't show it; `gone`: it never will."""
    if history.is_of_many:
        return outcome_of_many_without_card(history, gone=gone)
    return ephemerals.outcome_without_card(
        history.first.request, history.first.events, links, gone=gone
    )


def lacks_reply(history: CardHistory, shown: Sequence[int]) -> bool:
    """Whether the thread lacks more than quiet events; it shows `shown[i]` events of request i."""
    return any(
        not EVENTS[event.type].quiet
        for each, through in zip(history.histories, shown, strict=True)
        for event in each.events[through:]
    )


def next_reply(history: CardHistory, shown: Sequence[int], links: Links) -> Reply | None:
    """The next reply that the thread lacks, None if it lacks none."""
    if not lacks_reply(history, shown):
        return None
    if history.is_of_many:
        return next(iter(thread_replies(history, shown, links)), None)
    events = history.first.events[shown[0] : shown[0] + EVENTS_A_REPLY]
    reply = thread_reply(events, history.first.request, links)
    return Reply(reply, (shown[0] + len(events),))
