"""Words how the customers of a card fared: counts for its header, a few words for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from bot.domain.meanings import EVENTS, OUTCOMES
from bot.domain.models import (
    CardHistory,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Request,
    RequestHistory,
    Verdict,
)
from bot.messages.block_kit import Line, bold, code, date, say
from bot.messages.events import actor, ask_again, how_it_expired, outcome_title
from bot.messages.phrases import amount

MAX_NAMED = 10


def counts(history: CardHistory) -> str:
    """How many customers have which outcome: "✅ 45 unlatched · ❓ 1 unknown"."""
    found = _outcomes(history)
    return " · ".join(
        f"{OUTCOMES[each].emoji} {found[each]} {OUTCOMES[each].count}" for each in in_order(found)
    )


def not_as_asked(history: CardHistory) -> Iterator[str]:
    """Which customers are not as the card asked, by outcome: "❌ not done: 3100017, 3100025"."""
    requests = history.card.requests
    for outcome in in_order(_outcomes(history)):
        meaning = OUTCOMES[outcome]
        if not meaning.as_asked:
            named = named_ids([each for each in requests if each.outcome is outcome])
            yield f"{meaning.emoji} {meaning.count}: {named}"


def progress(history: CardHistory) -> str:
    """How far the work is, and what is not as asked: "31 of 47, 1 not done"."""
    found = _outcomes(history)
    others = [each for each in in_order(found) if not OUTCOMES[each].as_asked]
    said = [f"{found[each]} {OUTCOMES[each].count}" for each in others]
    return ", ".join([f"{found.total()} of {len(history.histories)}", *said])


def in_order(outcomes: Collection[Outcome]) -> list[Outcome]:
    """Outcomes in the order of their table; those of a newer version of the bot come last."""
    known = [each for each in OUTCOMES if each in outcomes]
    return [*known, *(each for each in outcomes if not each.is_known)]


def state(history: RequestHistory) -> str:
    """A customer's result in a few words, and what came after it."""
    request, later = history.request, {event.type for event in history.events}
    if request.outcome is None:
        return "⏳ not done yet" if request.claim else "waiting"
    meaning = OUTCOMES[request.outcome]
    title = f"{meaning.emoji} {meaning.title}"
    for event in history.events:
        if EVENTS[event.type].outcome is request.outcome:
            title = outcome_title(event, request.outcome)
    if request.undone_by or EventType.UNDONE in later:
        return f"{title.lower()}, undone"
    return title.lower() + (", latched again" if EventType.LATCHED_AGAIN in later else "")


def later_lines(history: CardHistory) -> Iterator[Line]:
    """What happened to the customers after their result: undone by whom, or latched again."""
    events = [event for each in history.histories for event in each.events]
    undone = [event for event in events if event.type is EventType.UNDONE]
    for person in dict.fromkeys(event.actor for event in undone):
        theirs = [event for event in undone if event.actor == person]
        yield [
            bold("Undone by: "),
            actor(theirs[-1]),
            say(", "),
            date(theirs[-1].at),
            say(f" ({amount(len(theirs), 'customer')})"),
        ]
    again = [
        (each.request, event)
        for each in history.histories
        for event in each.events
        if event.type is EventType.LATCHED_AGAIN
    ]
    if again:
        requests = [request for request, _event in again]
        at = max(event.at for _request, event in again)
        yield [bold("⚠️ Latched again: "), say(named_ids(requests)), say(", "), date(at)]


def named_ids(requests: Sequence[Request]) -> str:
    """The first customers' ids, and how many more there are."""
    ids = ", ".join(str(request.customer.customer_id) for request in requests[:MAX_NAMED])
    more = len(requests) - MAX_NAMED
    return f"{ids} and {more} more" if more > 0 else ids


def seen_at_expiry(history: CardHistory) -> list[str]:
    """How each customer was when the card expired; empty if the bot did not have to look."""
    expiries = [event_of(each, Verdict.EXPIRED) for each in history.histories]
    looked = [e for e in expiries if e and not {"found", "unread"}.isdisjoint(e.details)]
    if not looked:
        return []
    return [
        _seen(each.request, expiry)
        for each, expiry in zip(history.histories, expiries, strict=True)
    ]


def expiry_lines(history: CardHistory) -> Iterator[Line]:
    """How the card expired, how its customers were then, and how to try again."""
    expiry, seen = event_of(history.first, Verdict.EXPIRED), Counter(seen_at_expiry(history))
    how = how_it_expired(expiry)
    found = ", ".join(f"{number} {words}" for words, number in seen.items())
    yield [say(f"{how}; {found or 'nothing was changed'}.")]
    yield [say("To try again: "), code(ask_again(history.first.request))]


def event_of(history: RequestHistory, verdict: Verdict) -> Event | None:
    """The event that set a verdict, if the request has it."""
    return next((each for each in history.events if EVENTS[each.type].verdict is verdict), None)


def _outcomes(history: CardHistory) -> Counter[Outcome]:
    return Counter(each.request.outcome for each in history.histories if each.request.outcome)


def _seen(request: Request, expiry: Event | None) -> str:
    if expiry is None or "found" not in expiry.details:
        return "could not be read"
    ids = HubSpotIds.of(expiry.details["found"])
    relatch = request.kind is Kind.RELATCH
    if not ids:
        return "not latched" if relatch else "no longer latched"
    if ids != request.customer.ids:
        return "latched to other ids"
    return "latched to these ids" if relatch else "still latched"
