"""Composes the replies in a card's thread: a line for each act, in the order of time; the reminder.

What the card says is not said again. On a card of many the table shows only how each customer
ended, so here each that is not simply done has Fusebill's words, those with the same words
together; what happened to many of them in the same way is said once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from bot.domain.meanings import EVENTS, KINDS, LATER, VERDICTS, OutcomeMeaning, meaning_of
from bot.domain.models import Card, Event, EventType, Request
from bot.domain.values import value
from bot.messages.block_kit import (
    MESSAGE_LENGTH,
    TEXT_LENGTH,
    Line,
    Message,
    bold,
    date,
    escape,
    lines,
    message,
    say,
    size,
    text,
    text_units,
    units,
)
from bot.messages.fusebill_errors import calls_line, was_usual
from bot.messages.outcomes import (
    actor,
    found_ids,
    outcome_lines,
    why_of,
)
from bot.messages.phrases import (
    ERROR_LENGTH,
    Links,
    amount,
    card_subject,
    filled,
    ids_inline,
    mentions,
    titled,
)
from bot.messages.results import progress, result_of

EVENTS_A_REPLY = 10
"""Of one customer."""
_SENTENCES = {
    EventType.POSTED: "The bot posted the card late",
    EventType.ASK_DENIED: "{} asked and was refused",
    EventType.DECISION_DENIED: "{} was refused",
    EventType.CONFIRMED: "{} confirmed",
    EventType.CANCELLED: "{} cancelled",
    EventType.DECLINED: "{} declined",
    EventType.EXPIRED: "Expired",
    EventType.OVERTAKEN: "The bot closed the card: another request came first",
    EventType.REMINDED: "The bot reminded the people to notify",
    EventType.RECLAIMED: "The bot resumed interrupted work",
    EventType.BEGUN: "The customer's turn came",
    EventType.STOP_REQUESTED: "{} pressed Stop",
    EventType.UNDONE: "{} undid it",
    EventType.RECHECKED: "The bot read the customer again: unchanged since",
    EventType.LATCHED_AGAIN: "The bot read the customer again: latched to ",
    EventType.CUSTOMER_GONE: "The bot read the customer again: Fusebill no longer has it",
    EventType.DELIVERY_FAILED: "The bot could not post the card or a reply",
}
_SAYS_WHY = frozenset({EventType.ASK_DENIED, EventType.DECISION_DENIED, EventType.DELIVERY_FAILED})
"""The card does not say why."""
_COUNTED = frozenset(
    {
        EventType.RECLAIMED,
        EventType.BEGUN,
        EventType.RECHECKED,
        EventType.UNDONE,
    }
)
"""Happens to each customer by itself, in the same words."""


@value
class Reply:
    """A reply, and how many of the card's events the thread shows with it."""

    message: Message
    shown: int


class _Happened(NamedTuple):
    """An event, and the request that it happened to."""

    request: Request
    event: Event

    @property
    def end(self) -> OutcomeMeaning | None:
        """How it left the customer, of which the table shows no more; None of any other act."""
        is_undo = self.event.type is EventType.UNDONE
        return None if is_undo else meaning_of(self.event, self.request)


def next_reply(card: Card, shown: int, links: Links) -> Reply | None:
    """The next reply that the thread lacks; None if only `quiet` events are missing, or none.

    Whoever has posted it goes on from its `shown`: nothing is said twice. A notification, which
    shows the first words of a message's text, begins with the result that the reply leads to.
    """
    found = [_Happened(request, event) for request in card.requests for event in request.events]
    missing = sorted(found, key=lambda each: each.event.id)[shown:]
    if all(EVENTS[each.event.type].quiet for each in missing):
        return None
    first = _result(card) if any(_is_result(each.event) for each in missing) else ""
    told = missing if card.is_of_many else missing[:EVENTS_A_REPLY]
    reply = _composed(card, told, links)
    # what happened to several customers at once is never said in two replies
    is_whole = _fits(card, first, reply)
    steps = [] if is_whole else [[*step] for _, step in groupby(told, _sameness)]
    while len(steps) > 1 and not _fits(card, first, reply):
        steps = steps[: len(steps) // 2]
        told = [each for step in steps for each in step]
        reply = _composed(card, told, links)
    return Reply(message(reply, first=first), shown + len(told))


def reminder(card: Card, notify: Sequence[str]) -> Message:
    """Remind the people to notify of a card that still waits for a decision."""
    return message(
        [
            [say("⏰ Still waiting for a decision: "), text(card_subject(card)), say(". ")],
            [say("It expires "), date(card.first.expires_at), say(". "), *mentions(notify)],
        ]
    )


def _sameness(each: _Happened) -> tuple[object, ...]:
    """What an event has in common with those of other customers.

    An outcome has nothing, nor has a refusal, of which a person may get many.
    """
    event = each.event
    by_itself = EVENTS[event.type].outcome or event.type is EventType.DECISION_DENIED
    return event.type, event.actor, why_of(event), by_itself and event.id


def _fits(card: Card, first: str, reply: list[Line]) -> bool:
    # One answer of Fusebill may be longer than a message's text, though never than its blocks: of
    # one customer the text is cut, as everywhere. Of many it would lose whole customers.
    is_text_whole = (
        not card.is_of_many or units(escape(first)) + 1 + text_units(reply) <= TEXT_LENGTH
    )
    return is_text_whole and size(lines(reply)) <= MESSAGE_LENGTH


def _is_result(event: Event) -> bool:
    meaning = EVENTS[event.type]
    ends = meaning.verdict is not None and not VERDICTS[meaning.verdict].executes
    return ends or meaning.outcome is not None or event.type is EventType.LATCHED_AGAIN


def _result(card: Card) -> str:
    """What the card says first, with what it is about."""
    if card.first.verdict is None:
        return ""
    if not card.is_finished:
        return f"⏳ {progress(card)}: {card_subject(card)}"
    return f"{result_of(card, Links()).title}: {card_subject(card)}"


def _composed(card: Card, told: Sequence[_Happened], links: Links) -> list[Line]:
    """A line for each act, and on a card of many more where the table can't say it."""
    if card.is_of_many:
        acts = [line for found in _together(told, links) for line in _lines_of(found, links)]
    else:
        said = [each for each in told if _says_something(each.event)]
        acts = [line for each in said for line in _act_lines(card, each, links)]
    again = any(event.type is EventType.LATCHED_AGAIN for _request, event in told)
    first = card.first
    people = {each.user_id for each in (first.requester, first.decider) if each}
    return [*acts, mentions(sorted(people))] if again else acts


def _act_lines(card: Card, each: _Happened, links: Links) -> Iterator[Line]:
    """An act; of a pair by its customer's name, and what belongs to the card once."""
    request, event = each
    line = event_line(event, request, links)
    own = EVENTS[event.type].outcome or event.type in (*LATER, EventType.RECHECKED)
    if card.is_pair and own:
        yield [text(titled(request.customer)), say(": "), *line]
    elif request.position == 1:
        yield line


def _says_something(event: Event) -> bool:
    """Whether an event is news: that a call begins is none, unless it had to wait for its turn."""
    return event.type is not EventType.BEGUN or bool(event.details.get("waited"))


def event_line(event: Event, request: Request, links: Links) -> Line:
    """An act in one line: who, what, when, what Fusebill said, how long that took."""
    when: Line = [say(" · "), date(event.at)]
    meaning = meaning_of(event, request)
    if meaning and EVENTS[event.type].outcome:
        checked = [actor(event), say(" checked again: ")] if event.actor else []
        return [*checked, say(meaning.heading), *when, *calls_line(event)]
    if not event.type.is_known:
        name = text(event.type.replace("_", " "), limit=80)
        return [actor(event), say(": "), name, *when]
    if event.type is EventType.REQUESTED:
        asked = "asked for an undo" if request.undoes else KINDS[request.kind].asked
        return [actor(event), say(f" {asked}"), *when]
    ids = ids_inline(found_ids(event), links) if event.type is EventType.LATCHED_AGAIN else []
    said = event.type in _SAYS_WHY and why_of(event)
    why = [say(": "), text(why_of(event), limit=ERROR_LENGTH)] if said else []
    return [*filled(_SENTENCES[event.type], [actor(event)]), *ids, *when, *why]


def _together(told: Sequence[_Happened], links: Links) -> list[list[_Happened]]:
    """What happened to a card of many, in order; the same of several customers together."""
    same: dict[tuple[object, ...], list[_Happened]] = {}
    times = Counter[tuple[str, EventType]]()
    for each in told:
        request, event = each
        if not _says_something(event):
            continue
        times[request.id, event.type] += 1
        if _is_simply_done(each):
            how: tuple[object, ...] = ()
        elif each.end:
            how = (event.actor, str(_words(each, links)))
        else:
            how = (*_sameness(each), times[request.id, event.type])
        same.setdefault((event.type, *how), []).append(each)
    return list(same.values())


def _is_simply_done(each: _Happened) -> bool:
    """Whether a count is enough: done as asked, with the usual answer, at the first look."""
    request, event = each
    if each.end is None or not each.end.is_done:
        return False
    earlier = (other for other in request.events if other.number < event.number)
    is_news = any(EVENTS[other.type].outcome for other in earlier)
    return not is_news and was_usual(event)


def _words(each: _Happened, links: Links) -> list[Line]:
    """What the table has no room for: why, and Fusebill's words."""
    request, event = each
    if event.type is EventType.LATCHED_AGAIN:
        return [ids_inline(found_ids(event), links)]
    return [*outcome_lines(event, request, links)] if each.end and not each.end.is_done else []


def _lines_of(found: Sequence[_Happened], links: Links) -> Iterator[Line]:
    """One act on a card of many, with the customers to whom it happened."""
    (request, event), end = found[0], found[0].end
    if end and _is_simply_done(found[0]):
        last = max(each.event.at for each in found)
        yield [say(f"{end.emoji} {len(found)} {end.count} · "), date(last)]
    elif end:
        yield from _each_customer(end, found, links)
    else:
        many = amount(len(found), "customer")
        counted = [say(f" ({many})")] if event.type in _COUNTED else []
        yield [*event_line(event, request, links), *counted]


def _each_customer(end: OutcomeMeaning, found: Sequence[_Happened], links: Links) -> Iterator[Line]:
    """The customers that ended in the same way, by name, and the words about them."""
    event, title = found[0].event, end.heading
    checked = [actor(event), say(" checked again: ")] if event.actor else []
    names = [
        [text(titled(request.customer)), say(" · "), date(each.at), *calls_line(each)]
        for request, each in sorted(found, key=lambda pair: pair[0].position)
    ]
    if len(names) == 1:
        yield [*checked, bold(f"{title}: "), *names[0]]
    else:
        yield [*checked, bold(f"{title}: "), say(amount(len(names), "customer"))]
        yield from ([say("• "), *name] for name in names)
    yield from _words(found[0], links)
