"""Describes what happened to a card of many customers, as items that are said together or not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.meanings import EVENTS, OUTCOMES
from bot.domain.models import CardHistory, Event, EventType, Kind, RequestHistory
from bot.messages.block_kit import HEADER_LENGTH, Line, bold, date, say, text
from bot.messages.events import (
    actor,
    event_lines,
    outcome_lines,
    outcome_title,
)
from bot.messages.fusebill_calls import call_details
from bot.messages.many.results import expiry_lines
from bot.messages.phrases import Links, amount, titled
from bot.messages.threads import latched_again_words

MAX_TOGETHER = 15
"""How many customers one item names, so that it fits into a message's text."""
_COUNTED = frozenset({EventType.RECLAIMED, EventType.BEGUN, EventType.RECHECKED, EventType.UNDONE})
"""Happens to each customer by itself, in the same words."""

Key = tuple[int, int]
"""An event of a card: the index of its request, and its number there."""
Missing = Sequence[Sequence[Event]]
"""For each request of a card, the events that the thread lacks."""


@dataclass(frozen=True, slots=True)
class Item:
    """Lines that belong together, and the events that they tell of."""

    lines: list[Line]
    events: frozenset[Key]


@dataclass(frozen=True, slots=True)
class _Happened:
    """An event, the index of its request, and the request's history."""

    index: int
    event: Event
    history: RequestHistory

    @property
    def key(self) -> Key:
        return self.index, self.event.number


def customer_items(history: CardHistory, missing: Missing, links: Links) -> list[Item]:
    """Each customer that is not simply done, with its words; those with the same words together."""
    groups: dict[str, tuple[str, list[Line], list[_Happened]]] = {}
    for each in _all(history, missing):
        if described := _description(each, links):
            title, words = described
            groups.setdefault(f"{title}{words}", (title, words, []))[2].append(each)
    return [
        Item(_customer_lines(title, words, part), frozenset(each.key for each in part))
        for title, words, found in groups.values()
        for part in _parts(found)
    ]


def shared_items(
    history: CardHistory, missing: Missing, said: Collection[Key], links: Links
) -> list[Item]:
    """What else happened, in order; what happened to many customers in the same way is one item."""
    groups: dict[tuple[object, ...], list[_Happened]] = {}
    for each in _all(history, missing):
        if each.key not in said:
            groups.setdefault(_sameness(each, missing), []).append(each)
    in_order = sorted(groups.values(), key=lambda found: min(each.event.at for each in found))
    return [
        Item(list(_shared_lines(found, history, links)), frozenset(each.key for each in found))
        for found in in_order
    ]


def _all(history: CardHistory, missing: Missing) -> Iterator[_Happened]:
    for index, (each, events) in enumerate(zip(history.histories, missing, strict=True)):
        yield from (_Happened(index, event, each) for event in events)


def _description(each: _Happened, links: Links) -> tuple[str, list[Line]] | None:
    """A title and words for an event that concerns one customer; None if a count is enough."""
    event, request = each.event, each.history.request
    if event.type is EventType.LATCHED_AGAIN:
        return "⚠️ Latched again", [latched_again_words(event, request, links)]
    outcome = EVENTS[event.type].outcome
    if outcome is None:
        return None
    words, meaning = list(outcome_lines(event, outcome, request, links)), OUTCOMES[outcome]
    earlier = (e for e in each.history.events if e.number < event.number)
    is_news = any(EVENTS[e.type].outcome for e in earlier)
    # a first line names the ids; more lines quote an answer that was not the usual one
    if meaning.as_asked and meaning.effective and len(words) == 1 and not is_news:
        return None
    return outcome_title(event, outcome), words


def _customer_lines(title: str, words: list[Line], found: Sequence[_Happened]) -> list[Line]:
    names = [
        [
            text(titled(each.history.request.customer), limit=HEADER_LENGTH),
            *call_details(each.event),
        ]
        for each in found
    ]
    if len(names) == 1:
        return [[bold(f"{title}: "), *names[0]], *words]
    heading = [bold(f"{title}: "), say(amount(len(names), "customer"))]
    return [heading, *([say("• "), *name] for name in names), *words]


def _parts(found: list[_Happened]) -> Iterator[list[_Happened]]:
    for start in range(0, len(found), MAX_TOGETHER):
        yield found[start : start + MAX_TOGETHER]


def _sameness(each: _Happened, missing: Missing) -> tuple[object, ...]:
    """What events that are said as one have in common."""
    event = each.event
    if EVENTS[event.type].outcome:
        return (event.type,)
    before = [e for e in missing[each.index] if e.type is event.type and e.number < event.number]
    return (event.type, event.actor, str(event.details.get("why", "")), len(before))


def _shared_lines(found: Sequence[_Happened], history: CardHistory, links: Links) -> Iterator[Line]:
    last = max((each.event for each in found), key=lambda event: event.at)
    first = found[0].event
    outcome, verdict = EVENTS[first.type].outcome, EVENTS[first.type].verdict
    if outcome:
        yield [date(last.at), say(f"  {len(found)} {OUTCOMES[outcome].count}")]
    elif first.type is EventType.REQUESTED:
        yield from _requested(first, history)
    elif first.type is EventType.EXPIRED:
        how, *_again = expiry_lines(history)
        yield [date(first.at), say("  "), *how]
    elif verdict:
        yield [date(first.at), say("  "), actor(first), say(f" {first.type} it")]
    else:
        line, *more = event_lines(first, found[0].history.request, links)
        many = amount(len(found), "customer")
        yield [*line, *([say(f" ({many})")] if first.type in _COUNTED else [])]
        yield from more


def _requested(event: Event, history: CardHistory) -> Iterator[Line]:
    request, many = history.first.request, amount(len(history.histories), "customer")
    doing = f"latch {many} again" if request.kind is Kind.RELATCH else f"unlatch {many}"
    left = len(history.left_out)
    left_out = f"; {amount(left, 'other')} left out, named on the card" if left else ""
    yield [date(event.at), say("  "), actor(event), say(f" asked to {doing}{left_out}")]
    if request.reason:
        yield [say("Why: "), text(request.reason, limit=500)]
