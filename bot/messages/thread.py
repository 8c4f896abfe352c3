"""Composes the replies in a card's thread: the result first, then what led to it; the reminder.

A reply about many customers names each that is not simply done, with Fusebill's words, those with
the same words together; what happened to many of them in the same way is said once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bot.domain.meanings import EVENTS, KINDS, OUTCOMES, VERDICTS
from bot.domain.models import Card, Event, EventType, Request
from bot.messages.block_kit import (
    HEADER_LENGTH,
    MESSAGE_LENGTH,
    TEXT_LENGTH,
    Line,
    Message,
    bold,
    date,
    lines,
    message,
    say,
    size,
    text,
    text_units,
    user,
)
from bot.messages.events import (
    actor,
    event_lines,
    expiry_line,
    latched_again_title,
    latched_again_words,
    outcome_lines,
    outcome_title,
    why_of,
)
from bot.messages.fusebill_errors import call_details
from bot.messages.phrases import Links, amount, mentions, reason_line, subject, titled
from bot.messages.results import counts, expiry_lines, progress

EVENTS_A_REPLY = 10
"""Of one customer."""
_COUNTED = frozenset({EventType.RECLAIMED, EventType.BEGUN, EventType.RECHECKED, EventType.UNDONE})
"""Happens to each customer by itself, in the same words."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, and how many of the card's events the thread shows with it."""

    message: Message
    shown: int


class _Happened(NamedTuple):
    """An event, and the request that it happened to."""

    request: Request
    event: Event


def lacks_reply(card: Card, shown: int) -> bool:
    """Whether a thread that shows this many of the card's events lacks more than quiet ones."""
    return any(not EVENTS[event.type].quiet for event in card.events[shown:])


def next_reply(card: Card, shown: int, links: Links) -> Reply | None:
    """The next reply that the thread lacks; None if only `quiet` events are missing, or none.

    Whoever has posted it goes on from its `shown`: nothing is said twice, except for the result in
    the first line, which also heads replies that only tell what led to it.
    """
    if not lacks_reply(card, shown):
        return None
    missing = _happened(card)[shown:]
    steps = _steps(missing) if card.is_of_many else [[each] for each in missing[:EVENTS_A_REPLY]]
    told = [each for step in steps for each in step]
    while not _fits(card, reply := _composed(card, told, missing, links)) and len(steps) > 1:
        steps = steps[: len(steps) // 2]
        told = [each for step in steps for each in step]
    return Reply(message(reply), shown + len(told))


def reminder(card: Card, notify: Sequence[str]) -> Message:
    """Remind the people to notify of a card that still waits for a decision."""
    return message(
        [
            [say("⏰ Still waiting for a decision: "), text(subject(card.first)), say(". ")],
            [say("It expires "), date(card.first.expires_at), say(". "), *mentions(notify)],
        ]
    )


def _happened(card: Card) -> list[_Happened]:
    """The card's events, in the order of `card.events`."""
    found = [_Happened(request, event) for request in card.requests for event in request.events]
    return sorted(found, key=lambda each: each.event.id)


def _steps(missing: Sequence[_Happened]) -> list[list[_Happened]]:
    """The events, with those together that happened to several customers at once."""
    steps: list[list[_Happened]] = []
    for each in missing:
        if steps and _is_of_step(each, steps[-1]):
            steps[-1].append(each)
        else:
            steps.append([each])
    return steps


def _is_of_step(each: _Happened, step: Sequence[_Happened]) -> bool:
    is_outcome = EVENTS[each.event.type].outcome is not None
    is_same = _sameness(each.event) == _sameness(step[0].event)
    return is_same and not is_outcome and all(other.request is not each.request for other in step)


def _sameness(event: Event) -> tuple[EventType, str, str]:
    return event.type, event.actor, why_of(event)


def _fits(card: Card, reply: list[Line]) -> bool:
    # One answer of Fusebill may be longer than a message's text, though never than its blocks: of
    # one customer the text is cut, as everywhere. Of many it would lose whole customers.
    is_text_whole = not card.is_of_many or text_units(reply) <= TEXT_LENGTH
    return is_text_whole and size([lines(reply)]) <= MESSAGE_LENGTH


def _composed(
    card: Card, told: Sequence[_Happened], missing: Sequence[_Happened], links: Links
) -> list[Line]:
    """A reply with the `told` ones of the missing events; the result among all of them heads it.

    A notification shows the first words only, so a reply about a result begins with it.
    """
    told = [each for each in told if _says_something(each.event)]
    result = next((each for each in reversed(missing) if _is_result(each.event)), None)
    heading = _heading(card, result, missing, links) if result else []
    if not card.is_of_many:
        return [*heading, *_about_one(told, result, links)]
    described = [(each, _description(each, links)) for each in told]
    others = [each for each, words in described if not words]
    return [*heading, *_each_customer(described), *_what_happened(card, others, links)]


def _says_something(event: Event) -> bool:
    """Whether an event is news: that a call begins is none, unless it had to wait for its turn."""
    return event.type is not EventType.BEGUN or bool(event.details.get("waited"))


def _is_result(event: Event) -> bool:
    meaning = EVENTS[event.type]
    ends = meaning.verdict is not None and not VERDICTS[meaning.verdict].executes
    return ends or meaning.outcome is not None or event.type is EventType.LATCHED_AGAIN


def _heading(
    card: Card, result: _Happened, missing: Sequence[_Happened], links: Links
) -> Iterator[Line]:
    """The result in one line that names who asked; for many customers, counts."""
    first, meaning = card.first, EVENTS[result.event.type]
    about: Line = [
        text(subject(first), limit=HEADER_LENGTH),
        say("  "),
        user(first.requester.user_id),
    ]
    if meaning.outcome:
        numbers = counts(card) if card.is_finished else f"⏳ {progress(card)}"
        title = numbers if card.is_of_many else outcome_title(result.event, meaning.outcome)
        yield [bold(f"{title}: "), *about]
    elif meaning.verdict:
        verdict = VERDICTS[meaning.verdict]
        yield [bold(f"{verdict.emoji} {verdict.title}: "), *about]
        yield from reason_line(why_of(result.event))
    else:
        number = sum(each.event.type is EventType.LATCHED_AGAIN for each in missing)
        which: Line = [say(f"{number} of {subject(first)}")]
        what = which if card.is_of_many else latched_again_words(result.event, first, links)
        people = {each.user_id for each in (first.requester, first.decider) if each}
        title = latched_again_title(result.request)
        yield [bold(f"{title}: "), *what, say(".  "), *mentions(sorted(people))]


def _about_one(told: Sequence[_Happened], result: _Happened | None, links: Links) -> Iterator[Line]:
    """The words of the result in the heading, then each event."""
    for each in told:
        outcome = EVENTS[each.event.type].outcome
        if each is result and outcome:
            yield from outcome_lines(each.event, outcome, each.request, links)
    for each in told:
        if each is result:
            yield from _short_lines(each, links)
        else:
            yield from event_lines(each.event, each.request, links)


def _short_lines(each: _Happened, links: Links) -> Iterator[Line]:
    """An event of which the heading says what came of it."""
    event, meaning = each.event, EVENTS[each.event.type]
    if meaning.outcome:
        # the emoji heads the reply, and need not be repeated
        title = outcome_title(event, meaning.outcome).partition(" ")[2].lower()
        yield [date(event.at), say(f"  {title}"), *call_details(event)]
    elif event.type is EventType.LATCHED_AGAIN:
        yield [date(event.at), say("  the customer was read again")]
    elif event.actor:
        yield [date(event.at), say("  "), actor(event), say(f" {event.type} it")]
    else:
        yield [date(event.at), say("  "), *expiry_line(event, each.request, links)]


def _each_customer(
    described: Sequence[tuple[_Happened, tuple[str, list[Line]] | None]],
) -> Iterator[Line]:
    """Each customer that is not simply done, in the card's order, with its words."""
    same: dict[str, tuple[str, list[Line], list[_Happened]]] = {}
    for each, said in sorted(described, key=lambda pair: pair[0].request.position):
        if said:
            same.setdefault(str(said), (*said, []))[2].append(each)
    for title, words, found in same.values():
        names = [
            [text(titled(request.customer), limit=HEADER_LENGTH), *call_details(event)]
            for request, event in found
        ]
        if len(names) == 1:
            yield [bold(f"{title}: "), *names[0]]
        else:
            yield [bold(f"{title}: "), say(amount(len(names), "customer"))]
            yield from ([say("• "), *name] for name in names)
        yield from words


def _description(each: _Happened, links: Links) -> tuple[str, list[Line]] | None:
    """A title and words for an event that concerns one customer; None if a count is enough."""
    request, event = each
    if event.type is EventType.LATCHED_AGAIN:
        return latched_again_title(request), [latched_again_words(event, request, links)]
    if event.type is EventType.CUSTOMER_GONE:
        return "🔎 Read again", [[say("Fusebill has no such customer any more.")]]
    outcome = EVENTS[event.type].outcome
    if outcome is None:
        return None
    words, meaning = list(outcome_lines(event, outcome, request, links)), OUTCOMES[outcome]
    earlier = (other for other in request.events if other.number < event.number)
    is_news = any(EVENTS[other.type].outcome for other in earlier)
    # a first line names the ids; more lines quote an answer that was not the usual one
    if meaning.as_asked and meaning.effective and len(words) == 1 and not is_news:
        return None
    return outcome_title(event, outcome), words


def _what_happened(card: Card, others: Sequence[_Happened], links: Links) -> Iterator[Line]:
    """What else happened, in order; the same that happened to many customers is said once."""
    same: dict[tuple[object, ...], list[_Happened]] = {}
    times = Counter[tuple[str, EventType]]()
    for each in others:
        request, event = each
        times[request.id, event.type] += 1
        is_counted = EVENTS[event.type].outcome is not None
        how = () if is_counted else (*_sameness(event), times[request.id, event.type])
        same.setdefault((event.type, *how), []).append(each)
    for found in same.values():
        yield from _shared_lines(card, found, links)


def _shared_lines(card: Card, found: Sequence[_Happened], links: Links) -> Iterator[Line]:
    request, event = found[0]
    meaning = EVENTS[event.type]
    if meaning.outcome:
        last = max(each.event.at for each in found)
        yield [date(last), say(f"  {len(found)} {OUTCOMES[meaning.outcome].count}")]
    elif event.type is EventType.REQUESTED:
        yield from _requested(card, event)
    elif event.type is EventType.EXPIRED:
        how, *_again = expiry_lines(card, links)
        yield [date(event.at), say("  "), *how]
    elif meaning.verdict:
        yield [date(event.at), say("  "), actor(event), say(f" {event.type} it")]
    else:
        line, *more = event_lines(event, request, links)
        many = amount(len(found), "customer")
        yield [*line, *([say(f" ({many})")] if event.type in _COUNTED else [])]
        yield from more


def _requested(card: Card, event: Event) -> Iterator[Line]:
    ask = KINDS[card.first.kind].ask.replace("{}", subject(card.first))
    left = len(card.left_out)
    left_out = f"; {amount(left, 'other')} left out, named on the card" if left else ""
    asked_to = f"{ask[0].lower()}{ask[1:]}"
    yield [date(event.at), say("  "), actor(event), say(f" asked to {asked_to}{left_out}")]
    if card.first.reason:
        yield [say("Why: "), text(card.first.reason, limit=500)]
