"""Words what happened to one customer: each event for the thread, and each outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from bot.domain.meanings import KINDS, OUTCOMES
from bot.domain.models import Event, EventType, HubSpotIds, Outcome, Request
from bot.messages.block_kit import Inline, Line, bold, code, cut, date, say, text, user
from bot.messages.fusebill_errors import answer_lines, call_details, call_lines, calls_of
from bot.messages.phrases import (
    ERROR_LENGTH,
    Links,
    ask_again,
    change_inline,
    display_name,
    ids_inline,
    reason_line,
)

_SENTENCES = {
    EventType.POSTED: "the card was posted late, and its life began then",
    EventType.REMINDED: "reminder: nobody had decided yet",
    EventType.RECLAIMED: "the work was interrupted and has been resumed",
    EventType.BEGUN: "its turn came, and the customer was still {}",
    EventType.RECHECKED: "read again: the customer is still {}",
    EventType.CUSTOMER_GONE: "read again: Fusebill has no such customer any more",
}
_NOT_CALLED = {
    Outcome.ALREADY_CLEAR: "The customer was no longer latched to anything. Nothing was done.",
    Outcome.ALREADY_LATCHED: "The customer has these ids already, by whom is not known."
    " Nothing was done.",
    Outcome.NOT_BEGUN: "Calls for other customers got no answer, so none was made for this one."
    " Nothing was done.",
    Outcome.STOPPED: "The work was stopped before this customer's turn. Nothing was done.",
}
_DONE_BY = {
    EventType.UNDONE: " undid this: the customer is latched as it was before",
    EventType.STOP_REQUESTED: " pressed Stop",
}


def event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    """Describe an event for the thread: when, who and what, in one or more lines."""
    if not event.type.is_known:
        name = text(event.type.replace("_", " "), limit=80)
        yield [date(event.at), say("  "), actor(event), say(": "), name]
        return
    first, *more = _event_lines(event, request, links)
    yield [date(event.at), say("  "), *first]
    yield from more


def _event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    who = actor(event)
    why = text(why_of(event), limit=ERROR_LENGTH)
    match event.type:
        case EventType.REQUESTED:
            yield from _requested(request, who, links)
        case EventType.ASK_DENIED | EventType.DECISION_DENIED:
            asked = " asked and" if event.type is EventType.ASK_DENIED else ""
            yield [who, say(f"{asked} was refused: “"), why, say("”")]
        case EventType.CONFIRMED | EventType.CANCELLED | EventType.DECLINED:
            yield [who, say(f" {event.type} it")]
            yield from reason_line(why_of(event))
        case EventType.EXPIRED:
            yield expiry_line(event, request, links)
        case (EventType.UNDONE | EventType.STOP_REQUESTED) as type_:
            yield [who, say(_DONE_BY[type_])]
        case EventType.LATCHED_AGAIN:
            again = bold(f"{latched_again_title(request)}: ")
            yield [again, *ids_inline(found_ids(event), links)]
        case (
            EventType.POSTED
            | EventType.REMINDED
            | EventType.RECLAIMED
            | EventType.BEGUN
            | EventType.RECHECKED
            | EventType.CUSTOMER_GONE
        ) as type_:
            yield [say(_SENTENCES[type_].replace("{}", _how_it_is(type_, request)))]
        case EventType.DELIVERY_FAILED:
            yield [say("the card or a reply could not be posted: "), why]
        case (
            EventType.CLEARED
            | EventType.RESTORED
            | EventType.MOVED
            | EventType.ALREADY_CLEAR
            | EventType.ALREADY_LATCHED
            | EventType.CHANGED
            | EventType.REFUSED
            | EventType.UNKNOWN
            | EventType.NOT_BEGUN
            | EventType.STOPPED
        ):
            outcome = Outcome(event.type)
            yield [bold(outcome_title(event, outcome)), *call_details(event)]
            yield from outcome_lines(event, outcome, request, links)
        case _:
            assert_never(event.type)


def _how_it_is(event: EventType, request: Request) -> str:
    if event is EventType.RECHECKED:
        return "as it was moved" if request.ids_after else "clear"
    return "latched" if request.ids_before else "not latched"


def _requested(request: Request, who: Inline, links: Links) -> Iterator[Line]:
    customer = request.customer
    name = display_name(customer)
    # without a name the number alone could be taken for one of HubSpot's
    subject = str(customer.customer_id) if name else f"customer {customer.customer_id}"
    named = [say(", "), text(name)] if name else []
    asked = say(f" asked to {KINDS[request.kind].asked_to} {subject}")
    yield [who, asked, *named, say(": "), *change_inline(request, links)]
    if request.reason:
        yield [say("Why: "), text(request.reason, limit=500)]


def outcome_title(event: Event, outcome: Outcome) -> str:
    """An outcome with its emoji, as it heads the card and the thread's reply."""
    # the usual title says "not done", which is true only if nothing was called
    if outcome is Outcome.CHANGED and event.details.get("called"):
        return "⚠️ Other ids than confirmed"
    meaning = OUTCOMES[outcome]
    return f"{meaning.emoji} {meaning.title}"


def outcome_lines(event: Event, outcome: Outcome, request: Request, links: Links) -> Iterator[Line]:
    """Describe an outcome: which ids, why, and what to do."""
    ids = change_inline(request, links)
    match outcome:
        case Outcome.CLEARED | Outcome.RESTORED | Outcome.MOVED:
            yield from _done_lines(outcome, request, links)
            yield from _shown_by(event, f"the ids are {'there' if request.ids_after else 'gone'}")
        case Outcome.ALREADY_CLEAR | Outcome.ALREADY_LATCHED:
            yield [say(_NOT_CALLED[outcome])]
            yield [say("The card showed "), *ids]
        case Outcome.NOT_BEGUN | Outcome.STOPPED:
            yield [say(_NOT_CALLED[outcome])]
        case Outcome.CHANGED:
            yield from _changed(event, request, links)
        case Outcome.REFUSED:
            why = cut(why_of(event), ERROR_LENGTH)
            yield [bold(why or "Fusebill refused. Nothing was changed.")]
            yield from answer_lines(event)
            if event.details.get("may_pass") and request.card_size == 1:
                yield [say("To try again: "), code(ask_again(request))]
        case Outcome.UNKNOWN:
            yield [bold("We don't know yet whether this was done. ")]
            if why := why_of(event):
                yield [text(why, limit=ERROR_LENGTH)]
            yield from answer_lines(event)
            yield [say("Check again reads the customer and changes nothing by itself.")]
        case _:
            assert_never(outcome)


def _done_lines(done: Outcome, request: Request, links: Links) -> Iterator[Line]:
    if done is Outcome.MOVED:
        yield [bold("Moved: "), *change_inline(request, links)]
    elif done is Outcome.RESTORED:
        yield [bold("Latched again to: "), *ids_inline(request.ids_after, links)]
    else:
        yield [bold("Cleared: "), *ids_inline(request.ids_before, links)]


def _shown_by(event: Event, seen: str) -> Iterator[Line]:
    """How the result is known; nothing if one call simply showed it with a 200."""
    calls = calls_of(event)
    read_back = event.details.get("how") == "read_back"
    if not calls:
        if read_back:
            yield [say("Fusebill's reply did not show this, but reading the customer again did.")]
    elif read_back:
        *before, last = call_lines(calls)
        yield from before
        yield [*last, say(f"; read back: {seen}.")]
    elif [call.get("status") for call in calls] != [200]:
        yield from call_lines(calls)


def _changed(event: Event, request: Request, links: Links) -> Iterator[Line]:
    if event.details.get("called"):
        yield [say("Fusebill was called, or may have been, and the customer now has other ids.")]
        yield [say("We can't tell whether the bot or somebody else changed them.")]
        yield from call_lines(calls_of(event))
    else:
        yield [say(KINDS[request.kind].left_alone)]
    yield [bold("On the card: "), *change_inline(request, links)]
    yield [bold("Now: "), *ids_inline(found_ids(event), links)]
    if request.ids_before:
        again = f"{request.command} {request.customer.customer_id}"
        yield [say("To see the new ids and decide: "), code(again)]


def expiry_line(event: Event, request: Request, links: Links) -> Line:
    """How a card expired, and what the customer is like if the bot had to look."""
    how = how_it_expired(event)
    how = how[0].lower() + how[1:]
    how = how if how.startswith("expired") else f"expired: {how}"
    found = seen_at_expiry(event, request, links)
    return [say(f"{how}; "), *found] if found else [say(how)]


def how_it_expired(expiry: Event | None) -> str:
    """Why nobody decided a card, as the beginning of a sentence."""
    if expiry and expiry.details.get("early"):
        return "The clock of the bot's machine was set back, so the card ended early"
    if expiry and expiry.details.get("away"):
        return "Expired while the bot was away"
    return "Nobody decided in time"


def seen_at_expiry(expiry: Event, request: Request, links: Links) -> Line:
    """What the customer is like, if the bot had to look: it had not watched the card all along."""
    if "unread" in expiry.details:
        return [say("the customer could not be read, so we don't know whether it was changed.")]
    if "found" not in expiry.details:
        return []
    ids, before = found_ids(expiry), request.ids_before
    if not ids:
        return [say(f"the customer is {'no longer' if before else 'not'} latched.")]
    now = "still " if ids == before else "now " if before else ""
    return [say(f"the customer is {now}latched to "), *ids_inline(ids, links), say(".")]


def latched_again_title(request: Request) -> str:
    """That a customer is no longer as the bot left it."""
    return "⚠️ Changed since" if request.ids_after else "⚠️ Latched again"


def latched_again_words(event: Event, request: Request, links: Links) -> Line:
    """What a customer is latched to again, and which ids were cleared or set when."""
    found, ours = found_ids(event), request.ids_after or request.ids_before
    how = "set" if request.ids_after else "cleared"
    about = (
        [say(f", the ids that were {how} at ")]
        if found == ours
        else [say("; "), *ids_inline(ours, links), say(f" were {how} at ")]
    )
    return [*ids_inline(found, links), *about, date(request.settled_at or event.at)]


def found_ids(event: Event) -> HubSpotIds:
    """The HubSpot ids that an event says the customer had; keys of a newer version are ignored."""
    return HubSpotIds.of(event.details.get("found"))


def actor(event: Event) -> Inline:
    """Mention the person who caused an event, or name the bot."""
    return user(event.actor) if event.actor else say("the bot")


def why_of(event: Event) -> str:
    """The reason that an event keeps; empty if there is none."""
    return str(event.details.get("why") or "")
