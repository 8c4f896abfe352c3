"""Describes what happened to a request: the result on its card, and the lines in its thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from bot.domain.meanings import EVENTS, OUTCOMES, VERDICTS
from bot.domain.models import Event, EventType, HubSpotIds, Kind, Outcome, Request, Verdict
from bot.messages.block_kit import Inline, Line, bold, code, cut, date, say, text, user
from bot.messages.fusebill_calls import answer_lines, call_details, call_lines, calls_of
from bot.messages.phrases import ERROR_LENGTH, Links, display_name, ids_inline

NEWER: Line = [say("A newer version of the bot recorded this; it knows more about it.")]
_SENTENCES = {
    EventType.POSTED: "the card was posted late, and its life began then",
    EventType.REMINDED: "reminder: nobody had decided yet",
    EventType.RECLAIMED: "the work was interrupted and has been resumed",
    EventType.BEGUN: "its turn came, and the customer was still latched",
    EventType.RECHECKED: "read again: the customer is still clear",
}
_DONE_BY = {
    EventType.UNDONE: " undid this: the customer is latched as it was before",
    EventType.STOP_REQUESTED: " pressed Stop",
}


@dataclass(frozen=True, slots=True)
class ResultText:
    """The result of a decided request: a title for the card's header, and lines."""

    title: str
    lines: list[Line]


def result_text(request: Request, events: Sequence[Event], links: Links) -> ResultText:
    """Describe a decided request by its last outcome, or by its verdict if it has no outcome."""
    if request.outcome and not request.outcome.is_known:
        unknown = OUTCOMES[request.outcome]
        return ResultText(f"{unknown.emoji} {unknown.title}", [NEWER])
    for event in reversed(events):
        if outcome := EVENTS[event.type].outcome:
            title = outcome_title(event, outcome)
            return ResultText(title, [*outcome_lines(event, outcome, request, links)])
    verdict = request.verdict or Verdict.CONFIRMED
    meaning = VERDICTS[verdict]
    decided = next((event for event in events if EVENTS[event.type].verdict is verdict), None)
    lines = [*_verdict_lines(verdict, decided, request, links)]
    return ResultText(f"{meaning.emoji} {meaning.title}", lines)


def event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    """Describe an event for the thread: when, who and what, in one or more lines."""
    if not event.type.is_known:
        name = text(event.type.replace("_", " "), limit=80)
        yield [date(event.at), say("  "), actor(event), say(": "), name]
        return
    first, *more = _event_lines(event, request, links)
    yield [date(event.at), say("  "), *first]
    yield from more


def found_ids(event: Event) -> HubSpotIds:
    """The HubSpot ids that an event says the customer had; keys of a newer version are ignored."""
    found: Any = event.details.get("found")
    known = found if isinstance(found, dict) else {}
    return HubSpotIds(known.get("vid"), known.get("company_id"))


def actor(event: Event) -> Inline:
    """Mention the person who caused an event, or name the bot."""
    return user(event.actor) if event.actor else say("the bot")


def ask_again(request: Request) -> str:
    """What to type or click to make the same request again."""
    if request.kind is Kind.RELATCH:
        return "Undo…"
    return f"/unlatch {'many' if request.card_size > 1 else request.customer.customer_id}"


def _verdict_lines(
    verdict: Verdict, event: Event | None, request: Request, links: Links
) -> Iterator[Line]:
    if not verdict.is_known:
        yield NEWER
        return
    match verdict:
        case Verdict.CONFIRMED:
            yield [say("The result is not known yet.")]
        case Verdict.CANCELLED:
            ids = ids_inline(request.customer.ids, links)
            yield [say("Nothing was changed. The card showed: "), *ids]
        case Verdict.DECLINED:
            yield from reason_line(str(event.details.get("why", "")) if event else "")
            ids = ids_inline(request.customer.ids, links)
            yield [say("Nothing was changed. The card showed: "), *ids]
        case Verdict.EXPIRED:
            found = _found(event, request, links) if event else ()
            yield [say(f"{how_it_expired(event)}; "), *(found or [say("nothing was changed.")])]
            yield [say("To try again: "), code(ask_again(request))]
        case _:
            assert_never(verdict)


def _found(expiry: Event, request: Request, links: Links) -> Line:
    """What the customer is like, if the bot had to look: it had not watched the card all along."""
    if "unread" in expiry.details:
        return [say("the customer could not be read, so we don't know whether it was changed.")]
    if "found" not in expiry.details:
        return []
    ids = HubSpotIds.of(expiry.details["found"])
    relatch = request.kind is Kind.RELATCH
    if not ids:
        return [say(f"the customer is {'not' if relatch else 'no longer'} latched.")]
    same = ids == request.customer.ids
    latched = "latched to " if relatch else "still latched to " if same else "now latched to "
    return [say(f"the customer is {latched}"), *ids_inline(ids, links), say(".")]


def expiry_line(event: Event, request: Request, links: Links) -> Line:
    """How a card expired, and what the customer is like if the bot had to look."""
    how = how_it_expired(event)
    how = how[0].lower() + how[1:]
    how = how if how.startswith("expired") else f"expired: {how}"
    found = _found(event, request, links)
    return [say(f"{how}; "), *found] if found else [say(how)]


def how_it_expired(expiry: Event | None) -> str:
    """Why nobody decided a card, as the beginning of a sentence."""
    if expiry and expiry.details.get("early"):
        return "The clock of the bot's machine was set back, so the card ended early"
    if expiry and expiry.details.get("away"):
        return "Expired while the bot was away"
    return "Nobody decided in time"


def reason_line(reason: str) -> Iterator[Line]:
    """Why somebody declined; no line without a reason."""
    if reason:
        yield [bold("Reason: "), text(reason, limit=500)]


def outcome_title(event: Event, outcome: Outcome) -> str:
    """An outcome with its emoji, as it heads the card and the thread's reply."""
    # the usual title says "not done", which is true only if nothing was called
    if outcome is Outcome.CHANGED and event.details.get("called"):
        return "⚠️ Other ids than confirmed"
    meaning = OUTCOMES[outcome]
    return f"{meaning.emoji} {meaning.title}"


def outcome_lines(event: Event, outcome: Outcome, request: Request, links: Links) -> Iterator[Line]:
    """Describe an outcome: which ids, why, and what to do."""
    ids = ids_inline(request.customer.ids, links)
    match outcome:
        case Outcome.CLEARED:
            yield [bold("Cleared: "), *ids]
            yield from _shown_by(event, "the ids are gone")
        case Outcome.RESTORED:
            yield [bold("Latched again to: "), *ids]
            yield from _shown_by(event, "the ids are there")
        case Outcome.ALREADY_CLEAR:
            yield [say("The customer was no longer latched to anything. Nothing was done.")]
            yield [say("The card showed "), *ids]
        case Outcome.CHANGED:
            yield from _changed(event, request, links)
        case Outcome.REFUSED:
            why = cut(str(event.details.get("why", "")), ERROR_LENGTH)
            yield [bold(why or "Fusebill refused. Nothing was changed.")]
            yield from answer_lines(event)
            if event.details.get("may_pass") and request.card_size == 1:
                yield [say("To try again: "), code(ask_again(request))]
        case Outcome.UNKNOWN:
            yield [bold("We don't know yet whether this was done. ")]
            if reason := event.details.get("why"):
                yield [text(str(reason), limit=ERROR_LENGTH)]
            yield from answer_lines(event)
            yield [say("Check again reads the customer and changes nothing by itself.")]
        case Outcome.STOPPED:
            yield [say("The work was stopped before this customer's turn. Nothing was done.")]
        case _:
            assert_never(outcome)


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
    relatch = request.kind is Kind.RELATCH
    if event.details.get("called"):
        yield [say("Fusebill was called, or may have been, and the customer now has other ids.")]
        yield [say("We can't tell whether the bot or somebody else changed them.")]
        yield from call_lines(calls_of(event))
    elif relatch:
        yield [say("The customer has been latched to something else, so it was left alone.")]
    else:
        yield [say("The HubSpot ids are not the ones that were confirmed, so nothing was done.")]
    yield [bold("On the card: "), *ids_inline(request.customer.ids, links)]
    yield [bold("Now: "), *ids_inline(found_ids(event), links)]
    if not relatch:
        again = code(f"/unlatch {request.customer.customer_id}")
        yield [say("To see the new ids and decide: "), again]


def _event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    who = actor(event)
    why = text(str(event.details.get("why", "")), limit=ERROR_LENGTH)
    match event.type:
        case EventType.REQUESTED:
            yield from _requested(request, who, links)
        case EventType.ASK_DENIED | EventType.DECISION_DENIED:
            asked = " asked and" if event.type is EventType.ASK_DENIED else ""
            yield [who, say(f"{asked} was refused: “"), why, say("”")]
        case EventType.CONFIRMED | EventType.CANCELLED | EventType.DECLINED:
            yield [who, say(f" {event.type} it")]
            yield from reason_line(str(event.details.get("why", "")))
        case EventType.EXPIRED:
            yield expiry_line(event, request, links)
        case (EventType.UNDONE | EventType.STOP_REQUESTED) as type_:
            yield [who, say(_DONE_BY[type_])]
        case EventType.LATCHED_AGAIN:
            yield [bold("⚠️ Latched again: "), *ids_inline(found_ids(event), links)]
        case (
            EventType.POSTED
            | EventType.REMINDED
            | EventType.RECLAIMED
            | EventType.BEGUN
            | EventType.RECHECKED
        ) as type_:
            yield [say(_SENTENCES[type_])]
        case EventType.DELIVERY_FAILED:
            yield [say("the card or a reply could not be posted: "), why]
        case (
            EventType.CLEARED
            | EventType.RESTORED
            | EventType.ALREADY_CLEAR
            | EventType.CHANGED
            | EventType.REFUSED
            | EventType.UNKNOWN
            | EventType.STOPPED
        ):
            outcome = Outcome(event.type)
            yield [bold(outcome_title(event, outcome)), *call_details(event)]
            yield from outcome_lines(event, outcome, request, links)
        case _:
            assert_never(event.type)


def _requested(request: Request, who: Inline, links: Links) -> Iterator[Line]:
    customer = request.customer
    doing = "latch again" if request.kind is Kind.RELATCH else "unlatch"
    name = display_name(customer)
    # without a name the number alone could be taken for one of HubSpot's
    subject = str(customer.customer_id) if name else f"customer {customer.customer_id}"
    named = [say(", "), text(name)] if name else []
    asked = say(f" asked to {doing} {subject}")
    yield [who, asked, *named, say(": "), *ids_inline(customer.ids, links)]
    if request.reason:
        yield [say("Why: "), text(request.reason, limit=500)]
