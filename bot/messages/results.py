"""Words how a card ended or how far its work is: for its header, its lines and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.meanings import EVENTS, OUTCOMES, VERDICTS
from bot.domain.models import Card, Event, EventType, Outcome, Request, Verdict
from bot.messages.block_kit import Line, bold, code, date, say
from bot.messages.events import (
    actor,
    found_ids,
    how_it_expired,
    latched_again_title,
    outcome_lines,
    outcome_title,
    seen_at_expiry,
    why_of,
)
from bot.messages.phrases import (
    Links,
    amount,
    ask_again,
    change_inline,
    ids_inline,
    reason_line,
    subject,
)

MAX_NAMED = 10
NEWER: Line = [say("A newer version of the bot recorded this; it knows more about it.")]


@dataclass(frozen=True, slots=True)
class Result:
    """How a decided card ended: a `title`, lines, and for a table the words of each customer.

    `heading` is the title with what the card is about; counts say that by themselves.
    """

    title: str
    heading: str
    lines: list[Line]
    each: Sequence[str] = ()


def result_of(card: Card, links: Links) -> Result:
    """The result of a decided card: what came of its customers, or why nothing was done."""
    verdict = card.first.verdict or Verdict.CONFIRMED
    if not card.is_of_many:
        return _customer_result(card, links) or _ended(card, verdict, links)
    return _counted(card) if VERDICTS[verdict].executes else _ended(card, verdict, links)


def _customer_result(card: Card, links: Links) -> Result | None:
    """The last outcome of a card's one customer; None without any."""
    request = card.first
    if request.outcome and not request.outcome.is_known:
        unknown = OUTCOMES[request.outcome]
        return _named(f"{unknown.emoji} {unknown.title}", card, [NEWER])
    for event in reversed(request.events):
        if outcome := EVENTS[event.type].outcome:
            said = [*outcome_lines(event, outcome, request, links)]
            return _named(outcome_title(event, outcome), card, said)
    return None


def _named(title: str, card: Card, lines: list[Line], each: Sequence[str] = ()) -> Result:
    """A result whose title does not say by itself what the card is about."""
    return Result(title, f"{title}: {subject(card.first)}", lines, each)


def _counted(card: Card) -> Result:
    many = amount(len(card.requests), "customer")
    thread: Line = [say(" The thread says more about each that is not as asked.")]
    hint = thread if any(not_as_asked(card)) else []
    title = counts(card)
    lines: list[Line] = [[say(f"{many} on this card."), *hint]]
    return Result(title, title, lines, [*map(state, card.requests)])


def _ended(card: Card, verdict: Verdict, links: Links) -> Result:
    """A card of which nothing was done, or not yet."""
    meaning, expired = VERDICTS[verdict], verdict is Verdict.EXPIRED
    each = _seen_at_expiry(card) if expired and card.is_of_many else []
    lines = [*_verdict_lines(card, verdict, links)]
    return _named(f"{meaning.emoji} {meaning.title}", card, lines, each)


def _verdict_lines(card: Card, verdict: Verdict, links: Links) -> Iterator[Line]:
    if not verdict.is_known:
        yield NEWER
    elif VERDICTS[verdict].executes:
        yield [say("The result is not known yet.")]
    elif verdict is Verdict.EXPIRED:
        yield from expiry_lines(card, links)
    else:
        decided = _event_of(card.first, verdict)
        yield from reason_line(why_of(decided) if decided else "")
        if card.is_of_many:
            yield [say("Nothing was changed. The table is what the card showed.")]
        else:
            ids = change_inline(card.first, links)
            yield [say("Nothing was changed. The card showed: "), *ids]


def expiry_lines(card: Card, links: Links) -> Iterator[Line]:
    """How the card expired, how its customers were then, and how to try again."""
    expiry = _event_of(card.first, Verdict.EXPIRED)
    if card.is_of_many:
        seen = Counter(_seen_at_expiry(card))
        counted = ", ".join(f"{number} {words}" for words, number in seen.items())
        found: Line = [say(f"{counted}.")] if counted else []
    else:
        found = seen_at_expiry(expiry, card.first, links) if expiry else []
    yield [say(f"{how_it_expired(expiry)}; "), *(found or [say("nothing was changed.")])]
    yield [say("To try again: "), code(ask_again(card.first))]


def _seen_at_expiry(card: Card) -> list[str]:
    """How each customer was when the card expired; empty if the bot did not have to look."""
    expiries = [_event_of(request, Verdict.EXPIRED) for request in card.requests]
    looked = [
        each for each in expiries if each and not {"found", "unread"}.isdisjoint(each.details)
    ]
    return [*map(_seen, card.requests, expiries)] if looked else []


def _seen(request: Request, expiry: Event | None) -> str:
    if expiry is None or "found" not in expiry.details:
        return "could not be read"
    ids = found_ids(expiry)
    if not ids:
        return "no longer latched" if request.ids_before else "not latched"
    if ids == request.ids_before:
        return "still latched"
    return "latched to these ids" if ids == request.ids_after else "latched to other ids"


def _event_of(request: Request, verdict: Verdict) -> Event | None:
    """The event that set a verdict, if the request has it."""
    return next((each for each in request.events if EVENTS[each.type].verdict is verdict), None)


def counts(card: Card) -> str:
    """How many customers have which outcome: "✅ 45 unlatched · ❓ 1 unknown"."""
    found = _outcomes(card)
    return " · ".join(
        f"{OUTCOMES[each].emoji} {found[each]} {OUTCOMES[each].count}" for each in _in_order(found)
    )


def not_as_asked(card: Card) -> Iterator[str]:
    """Which customers are not as the card asked, by outcome: "❌ not done: 3100017, 3100025"."""
    for outcome in _in_order(_outcomes(card)):
        meaning = OUTCOMES[outcome]
        if not meaning.as_asked:
            named = _named_ids([each for each in card.requests if each.outcome is outcome])
            yield f"{meaning.emoji} {meaning.count}: {named}"


def progress(card: Card) -> str:
    """How far the work is, and what is not as asked: "31 of 47, 1 not done"."""
    found = _outcomes(card)
    others = [each for each in _in_order(found) if not OUTCOMES[each].as_asked]
    said = [f"{found[each]} {OUTCOMES[each].count}" for each in others]
    return ", ".join([f"{found.total()} of {len(card.requests)}", *said])


def _outcomes(card: Card) -> Counter[Outcome]:
    return Counter(each.outcome for each in card.requests if each.outcome)


def _in_order(outcomes: Collection[Outcome]) -> list[Outcome]:
    """Outcomes in the order of their table; those of a newer version of the bot come last."""
    known = [each for each in OUTCOMES if each in outcomes]
    return [*known, *(each for each in outcomes if not each.is_known)]


def state(request: Request) -> str:
    """A customer's result in a few words, and what came after it."""
    if request.outcome is None:
        return "⏳ not done yet" if request.is_begun else "waiting"
    meaning = OUTCOMES[request.outcome]
    title = f"{meaning.emoji} {meaning.title}"
    for event in request.events:
        if EVENTS[event.type].outcome is request.outcome:
            title = outcome_title(event, request.outcome)
    later = {event.type for event in request.events}
    if request.undone_by or EventType.UNDONE in later:
        return f"{title.lower()}, undone"
    return title.lower() + (", latched again" if EventType.LATCHED_AGAIN in later else "")


def later_lines(card: Card, links: Links) -> Iterator[Line]:
    """What happened to the customers after their result: undone by whom, or latched again."""
    undone = [each for each in card.events if each.type is EventType.UNDONE]
    for person in dict.fromkeys(event.actor for event in undone):
        theirs = [event for event in undone if event.actor == person]
        number = [say(f" ({amount(len(theirs), 'customer')})")] if card.is_of_many else []
        yield [bold("Undone by: "), actor(theirs[-1]), say(", "), date(theirs[-1].at), *number]
    again = [
        (request, event)
        for request in card.requests
        for event in request.events
        if event.type is EventType.LATCHED_AGAIN
    ]
    if again:
        request, last = max(again, key=lambda each: each[1].at)
        named: Line = [say(_named_ids([request for request, _event in again]))]
        what = named if card.is_of_many else ids_inline(found_ids(last), links)
        yield [bold(f"{latched_again_title(request)}: "), *what, say(", "), date(last.at)]


def _named_ids(requests: Sequence[Request]) -> str:
    """The first customers' ids, and how many more there are."""
    ids = ", ".join(str(request.customer.customer_id) for request in requests[:MAX_NAMED])
    more = len(requests) - MAX_NAMED
    return f"{ids} and {more} more" if more > 0 else ids
