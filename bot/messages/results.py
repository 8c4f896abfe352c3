"""Words how a card ended or how far its work is: for its header, its lines and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bot.domain.meanings import (
    CHANGED_SINCE,
    EVENTS,
    LATER,
    OUTCOMES,
    VERDICTS,
    OutcomeMeaning,
    holds_now,
    is_done,
    meaning_of,
)
from bot.domain.models import Card, Event, EventType, Outcome, Request, Verdict
from bot.domain.values import value
from bot.messages.block_kit import HEADER_LENGTH, Line, bold, date, say, text, units
from bot.messages.outcomes import (
    actor,
    found_ids,
    later_line,
    outcome_lines,
    overtaker,
    place_of,
    why_of,
)
from bot.messages.phrases import (
    Links,
    amount,
    card_subject,
    change_inline,
    filled,
    first_ids,
    ids_inline,
    not_left_out,
    titled,
)

NOTHING_CHANGED = "Nothing was changed."
MAX_OVERTAKERS = 5
_OVERTAKEN = (EventType.OVERTAKEN, EventType.LEFT_OUT)
NEWER: Line = [say("A newer version of the bot recorded this; it knows more about it.")]


@value
class Result:
    """How a decided card ended: a `title`, lines, and for a table the words of each customer.

    `heading` is the title with what the card is about; counts say that by themselves.
    """

    title: str
    heading: str
    lines: list[Line]
    each: Sequence[str] = ()


def result_of(card: Card, links: Links) -> Result:
    """What holds now for a decided card's customers, or why nothing was done."""
    verdict = card.first.verdict or Verdict.CONFIRMED
    if card.is_pair and VERDICTS[verdict].executes:
        return _pair_result(card, links) or _ended(card, verdict, links)
    if not card.is_of_many:
        return _customer_result(card, links) or _ended(card, verdict, links)
    return _counted(card) if VERDICTS[verdict].executes else _ended(card, verdict, links)


def _customer_result(card: Card, links: Links) -> Result | None:
    """The last outcome of a card's one customer, or what came after it; None without any."""
    request = card.first
    if request.outcome and not request.outcome.is_known:
        return _named(OUTCOMES[request.outcome].heading, card, [NEWER])
    last, now = _last_outcome(request), holds_now(request)
    if last is None or now is None:
        return None
    lines = [*(later_lines(card, links) or outcome_lines(last, request, links))]
    return _named(now.heading, card, lines)


def _pair_result(card: Card, links: Links) -> Result | None:
    """What holds now for the customers of a pair: moved, half done, or not done."""
    first, last = card.requests
    event, last_event = map(_last_outcome, card.requests)
    now, last_now = map(holds_now, card.requests)
    if not (event and last_event and now and last_now):
        return None
    names = [titled(each.customer) for each in card.requests]
    if not is_done(first):
        return _named(now.heading, card, [*outcome_lines(event, first, links)])
    undone = [each.undone_by is not None for each in card.requests]
    if any(undone) and not all(undone) and is_done(last):
        return _half("⚠️ Half undone", f"{names[1]} is unlatched, {names[0]} is not latched")
    if not is_done(last) and not any(undone):
        # that nothing was changed is true of this half alone
        why = why_of(last_event).replace(NOTHING_CHANGED, "").strip()
        unknown = last.outcome is Outcome.UNKNOWN
        why = "Fusebill refused." if last.outcome is Outcome.REFUSED and not why else why
        said = replace(last_event, details={**last_event.details, "why": why})
        lines = [*outcome_lines(said, last, links)]
        how = f"it is not known whether {names[1]} is" if unknown else f"{names[1]} is not"
        title = f"{'❓' if unknown else '⚠️'} Half done"
        return _half(title, f"{names[0]} is unlatched, {how} latched", lines)
    later: list[Line] = [
        [text(name), say(": "), *line]
        for name, each in zip(names, card.requests, strict=True)
        for line in later_lines(Card((each,)), links)
    ]
    changed = next((each for each in (last_now, now) if not each.may_be_undone), None)
    moved = filled("Moved {}.", ids_inline(first.ids_before, links))
    return _named((changed or OUTCOMES[Outcome.MOVED]).heading, card, later or [moved])


def _half(title: str, how: str, lines: Sequence[Line] = ()) -> Result:
    """Only one half of a pair is done; where the header is too short for who that is, a line."""
    heading = f"{title}: {how}"
    more = [] if units(heading) <= HEADER_LENGTH else [[text(how, limit=300), say(".")]]
    return Result(title, heading, [*more, *lines])


def _last_outcome(request: Request) -> Event | None:
    """The event that set the outcome; None without one, or if only a newer version knows it."""
    return next((each for each in reversed(request.events) if EVENTS[each.type].outcome), None)


def _named(title: str, card: Card, lines: list[Line], each: Sequence[str] = ()) -> Result:
    """A result whose title does not say by itself what the card is about."""
    return Result(title, f"{title}: {card_subject(card)}", lines, each)


def _counted(card: Card) -> Result:
    hint: Line = [say("The thread says why each of the others is not as asked.")]
    title = counts(card)
    lines = [*([hint] if any(not_as_asked(card)) else []), *later_lines(card, Links())]
    return Result(title, title, lines, [*map(state, card.requests)])


def _ended(card: Card, verdict: Verdict, links: Links) -> Result:
    """A card of which nothing was done, or not yet."""
    meaning, expired = VERDICTS[verdict], verdict is Verdict.EXPIRED
    each = _seen_at_expiry(card) if expired and card.is_of_many else []
    lines = [*_verdict_lines(card, verdict, links)]
    if verdict is not Verdict.OVERTAKEN:
        lines += overtaken_while_open(card, links)
    return _named(meaning.heading, card, lines, each)


def _verdict_lines(card: Card, verdict: Verdict, links: Links) -> Iterator[Line]:
    if not verdict.is_known:
        yield NEWER
    elif VERDICTS[verdict].executes:
        yield [say("The result is not known yet.")]
    elif verdict is Verdict.EXPIRED:
        yield _expiry_line(card, links)
    elif verdict is Verdict.OVERTAKEN:
        yield from overtaken_lines(card, links)
        yield [say("This card changed nothing.")]
    elif card.is_of_many:
        yield [say("This card changed nothing. The table is what it asked about.")]
    else:
        first = card.first
        pair = ids_inline(first.ids_before, links)
        ids = pair if card.is_pair else change_inline(first, links)
        yield filled("Nothing was changed. The card showed {}.", ids)


def _expiry_line(card: Card, links: Links) -> Line:
    """How the card expired, and how its customers were then."""
    expiry = event_of(card.first, Verdict.EXPIRED)
    if card.is_of_many:
        seen = Counter(_seen_at_expiry(card))
        counted = ", ".join(f"{number} {words}" for words, number in seen.items())
        # others may have changed those that it leaves out
        found: Line = [say(f"{counted or 'this card changed nothing'}.")]
    else:
        found = _seen_in(expiry, card.first, links) if expiry else []
    return [say(f"{_how_it_expired(expiry)}; "), *(found or [say("nothing was changed.")])]


def _how_it_expired(expiry: Event | None) -> str:
    """Why nobody decided a card, as the beginning of a sentence."""
    if expiry and expiry.details.get("early"):
        return "The clock of the bot's machine was set back, so the card ended early"
    if expiry and expiry.details.get("away"):
        return "Expired while the bot was away"
    return "Nobody decided in time"


def _seen_in(expiry: Event, request: Request, links: Links) -> Line:
    """What the customer is like, if the bot had to look: it had not watched the card all along."""
    if "unread" in expiry.details:
        unread = "the customer could not be read, so the bot doesn't know whether it was changed."
        return [say(unread)]
    if "found" not in expiry.details:
        return []
    ids, before = found_ids(expiry), request.ids_before
    if not ids:
        return [say(f"the customer is {'no longer' if before else 'not'} latched.")]
    now = "still " if ids == before else "now " if before else ""
    return filled(f"the customer is {now}latched to {{}}.", ids_inline(ids, links))


def _seen_at_expiry(card: Card) -> list[str]:
    """How each customer was when the card expired; empty if the bot did not have to look."""
    expiries = [event_of(request, Verdict.EXPIRED) for request in card.requests]
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


def overtaken_by(request: Request) -> Event | None:
    """The event that says which other request changed the customer first; None if none did."""
    events = (each for each in reversed(request.events) if each.type in _OVERTAKEN)
    return next((each for each in events if "by_request" in each.details), None)


def overtaken_lines(card: Card, links: Links) -> Iterator[Line]:
    """Which other cards changed the customers first, with the customers where there are several."""
    found: dict[tuple[str, str], list[tuple[Request, Event]]] = {}
    for request in card.requests:
        if event := overtaken_by(request):
            found.setdefault(place_of(event) or ("", ""), []).append((request, event))
    for them in [*found.values()][:MAX_OVERTAKERS]:
        named = named_ids([request for request, _event in them])
        whose = f" for {named}" if len(card.requests) > 1 else ""
        yield [say(f"Another request came first{whose}: "), *overtaker(them[0][1], links)]
    if (more := len(found) - MAX_OVERTAKERS) > 0:
        yield [say(f"{amount(more, 'more card')} changed others of them.")]


def overtaken_while_open(card: Card, links: Links) -> list[Line]:
    """The customers that are left out of a card of many since another one changed them first."""
    return [[bold("⏩ Left out. "), *line] for line in overtaken_lines(card, links)]


def event_of(request: Request, verdict: Verdict | None) -> Event | None:
    """The event that set a verdict, if the request has it."""
    return next((each for each in request.events if EVENTS[each.type].verdict is verdict), None)


def counts(card: Card) -> str:
    """For how many customers what holds now: "✅ 45 unlatched · ❓ 1 unknown"."""
    now = [each for each in map(holds_now, card.requests) if each]
    found = Counter((each.emoji, each.count) for each in now)
    rows = [*OUTCOMES.values(), *LATER.values(), CHANGED_SINCE, *now]
    ordered = dict.fromkeys((each.emoji, each.count) for each in rows)
    return " · ".join(f"{emoji} {n} {said}" for emoji, said in ordered if (n := found[emoji, said]))


def not_as_asked(card: Card) -> Iterator[str]:
    """Which customers are not as the card asked, by outcome: "❌ not done: 3100017, 3100025"."""
    for meaning, requests in _by_outcome(card):
        if not meaning.as_asked:
            yield f"{meaning.emoji} {meaning.count}: {named_ids(requests)}"


def progress(card: Card) -> str:
    """How far the work is, and what is not as asked: "31 of 47, 1 not done"."""
    found, kept = _by_outcome(card), not_left_out(card)
    said = [f"{len(each)} {meaning.count}" for meaning, each in found if not meaning.as_asked]
    done = sum(each.outcome is not None for each in kept)
    return ", ".join([f"{done} of {len(kept)}", *said])


def _by_outcome(card: Card) -> list[tuple[OutcomeMeaning, list[Request]]]:
    """The requests that have an outcome; those of a newer version of the bot come last."""
    found: dict[Outcome, list[Request]] = {each: [] for each in OUTCOMES}
    for request in card.requests:
        if request.outcome:
            found.setdefault(request.outcome, []).append(request)
    return [(OUTCOMES[outcome], requests) for outcome, requests in found.items() if requests]


def state(request: Request) -> str:
    """What holds now for a customer, in a few words."""
    if request.outcome is None:
        return "⏳ not done yet" if request.is_begun else "waiting"
    return now.heading.lower() if (now := holds_now(request)) else ""


def later_lines(card: Card, links: Links) -> list[Line]:
    """What happened to the customers after their result: undone by whom, latched again, gone."""
    if not card.is_of_many:
        later = [event for event in card.first.events if event.type in LATER]
        return [later_line(later[-1], card.first, links)] if later else []
    lines: list[Line] = []
    undone = [each for each in card.events if each.type is EventType.UNDONE]
    for person in dict.fromkeys(event.actor for event in undone):
        theirs = [event for event in undone if event.actor == person]
        many = say(f" undid {amount(len(theirs), 'customer')}, ")
        lines.append([actor(theirs[-1]), many, date(theirs[-1].at), say(".")])
    again = [(r, e) for r in card.requests for e in r.events if e.type is EventType.LATCHED_AGAIN]
    if again:
        named = named_ids([request for request, _event in again])
        request, last = max(again, key=lambda each: each[1].at)
        meaning = meaning_of(last, request)
        title = meaning.heading if meaning else ""
        lines.append([say(f"{title}: {named}, "), date(last.at), say(".")])
    return lines


def named_ids(requests: Sequence[Request]) -> str:
    """The first customers' ids, and how many more there are."""
    return first_ids([request.customer.customer_id for request in requests])
