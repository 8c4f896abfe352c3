"""Builds the replies in the thread of a card of many customers.

The result is first, then each customer that is not simply done, with Fusebill's words; what
happened to the card, or to many customers in the same way, is said once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.meanings import EVENTS, VERDICTS
from bot.domain.models import CardHistory, Event, EventType
from bot.messages.block_kit import (
    MESSAGE_LENGTH,
    TEXT_LENGTH,
    Line,
    Message,
    bold,
    lines,
    message,
    say,
    size,
    text_units,
    user,
)
from bot.messages.events import reason_line
from bot.messages.many.events import Item, Key, Missing, customer_items, shared_items
from bot.messages.many.results import counts, progress
from bot.messages.phrases import Links, amount, mentions

TRAIL_LENGTH = 2_000
"""How much of a reply's text what led to the result may take; more of it goes before, by itself."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, and for each request the number of the last event that the thread has with it."""

    message: Message
    through: tuple[int, ...]


def thread_replies(history: CardHistory, shown: Sequence[int], links: Links) -> list[Reply]:
    """The replies, in order, that the thread lacks; none if only `quiet` events are missing.

    `shown` are the numbers of the last event of each request that the thread has. Whoever has
    posted a reply goes on from its `through`: nothing is said twice, except for the summary.
    """
    missing = [
        [event for event in each.events if event.number > number]
        for each, number in zip(history.histories, shown, strict=True)
    ]
    if all(EVENTS[event.type].quiet for events in missing for event in events):
        return []
    customers = customer_items(history, missing, links)
    named = {key for item in customers for key in item.events}
    *earlier, trail = _packed(shared_items(history, missing, named, links), TRAIL_LENGTH)
    summary = list(_summary(history, missing))
    beside = text_units([*summary, *_lines(trail)])
    first, *others = _packed(customers, TEXT_LENGTH, beside)
    batches = [
        *((_lines(each), each) for each in earlier),
        ([*summary, *_lines(first), *_lines(trail)], [*first, *trail]),
        *((_lines(each), each) for each in others),
    ]
    return list(_replies(batches, missing, shown))


def _replies(
    batches: Sequence[tuple[list[Line], list[Item]]], missing: Missing, shown: Sequence[int]
) -> Iterator[Reply]:
    said = set[Key]()
    for content, items in batches:
        said.update(key for item in items for key in item.events)
        if content:
            yield Reply(message(content), tuple(_through(missing, shown, said)))


def _through(missing: Missing, shown: Sequence[int], said: Collection[Key]) -> Iterator[int]:
    """The last event of each request up to which all is said."""
    for index, (events, number) in enumerate(zip(missing, shown, strict=True)):
        numbers = [event.number for event in events]
        unsaid = [each for each in numbers if (index, each) not in said]
        yield max((each for each in numbers if not unsaid or each < unsaid[0]), default=number)


def _packed(items: Sequence[Item], length: int, beside: int = 0) -> list[list[Item]]:
    """The items in batches, of which each fits into a message; `beside` is said with the first."""
    batches: list[list[Item]] = [[]]
    taken, weight = beside, beside
    for item in items:
        more, heavier = text_units(item.lines), size([lines(item.lines)])
        if taken + more > length or weight + heavier > MESSAGE_LENGTH:
            batches.append([])
            taken = weight = 0
        batches[-1].append(item)
        taken, weight = taken + more, weight + heavier
    return batches


def _lines(items: Sequence[Item]) -> list[Line]:
    return [line for item in items for line in item.lines]


def _summary(history: CardHistory, missing: Missing) -> Iterator[Line]:
    """The result of the card in one line that names the requester; no line if there is no news."""
    events = [event for each in missing for event in each]
    first, requests = history.first.request, history.card.requests
    many, requester = amount(len(requests), "customer"), user(first.requester.user_id)
    again = sum(event.type is EventType.LATCHED_AGAIN for event in events)
    ended = next((event for event in events if _ends(event)), None)
    if any(EVENTS[event.type].outcome for event in events):
        done = all(request.outcome for request in requests)
        yield [
            bold(f"{counts(history) if done else f'⏳ {progress(history)}'}: "),
            say(f"{many}  "),
            requester,
        ]
    elif ended and (verdict := EVENTS[ended.type].verdict):
        meaning = VERDICTS[verdict]
        yield [bold(f"{meaning.emoji} {meaning.title}: "), say(f"{many}  "), requester]
        yield from reason_line(str(ended.details.get("why", "")))
    elif again:
        people = {first.requester.user_id, *([first.decider.user_id] if first.decider else [])}
        yield [
            bold("⚠️ Latched again: "),
            say(f"{again} of {many}.  "),
            *mentions(sorted(people)),
        ]


def _ends(event: Event) -> bool:
    verdict = EVENTS[event.type].verdict
    return verdict is not None and not VERDICTS[verdict].executes
