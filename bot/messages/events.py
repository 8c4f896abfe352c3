"""Describes what happened to a request: the result on its card, and the lines in its thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from bot.domain.meanings import EVENTS, OUTCOMES, VERDICTS
from bot.domain.models import Event, EventType, HubSpotIds, Kind, Outcome, Request, Verdict
from bot.messages.block_kit import Inline, Line, bold, code, cut, date, say, text, user
from bot.messages.phrases import ERROR_LENGTH, Links, display_name, error_lines, ids_inline

_SENTENCES = {
    EventType.EXPIRED: "expired: nobody decided in time",
    EventType.REMINDED: "reminder: nobody had decided yet",
    EventType.RECLAIMED: "the work was interrupted and has been resumed",
    EventType.RECHECKED: "read again: the customer is still clear",
}


@dataclass(frozen=True, slots=True)
class ResultText:
    """The result of a decided request: a title for the card's header, and lines."""

    title: str
    lines: list[Line]


def result_text(request: Request, events: Sequence[Event], links: Links) -> ResultText:
    """Describe a decided request by its last outcome, or by its verdict if it has no outcome."""
    for event in reversed(events):
        if outcome := EVENTS[event.type].outcome:
            title = outcome_title(event, outcome)
            return ResultText(title, [*outcome_lines(event, outcome, request, links)])
    verdict = request.verdict or Verdict.CONFIRMED
    meaning = VERDICTS[verdict]
    lines = [*_verdict_lines(verdict, request, events, links)]
    return ResultText(f"{meaning.emoji} {meaning.title}", lines)


def event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    """Describe an event for the thread: when, who and what, in one or more lines."""
    first, *more = _event_lines(event, request, links)
    yield [date(event.at), say("  "), *first]
    yield from more


def found_ids(event: Event) -> HubSpotIds:
    """The HubSpot ids that an event says the customer had; keys of a newer version are ignored."""
    found: Any = event.details.get("found")
    known = found if isinstance(found, dict) else {}
    return HubSpotIds(known.get("vid"), known.get("company_id"))


def decline_reason(events: Sequence[Event]) -> str:
    """Why a request was declined; empty if no reason was given, or it was not declined."""
    declined = [event for event in events if event.type is EventType.DECLINED]
    return str(declined[-1].details.get("why", "")) if declined else ""


def actor(event: Event) -> Inline:
    """Mention the person who caused an event, or name the bot."""
    return user(event.actor) if event.actor else say("the bot")


def ask_again(request: Request) -> str:
    """What to type or click to make the same request again."""
    return "Undo…" if request.kind is Kind.RELATCH else f"/unlatch {request.customer.customer_id}"


def _verdict_lines(
    verdict: Verdict, request: Request, events: Sequence[Event], links: Links
) -> Iterator[Line]:
    match verdict:
        case Verdict.CONFIRMED:
            yield [say("The result is not known yet.")]
        case Verdict.CANCELLED:
            ids = ids_inline(request.customer.ids, links)
            yield [say("Nothing was changed. The card showed: "), *ids]
        case Verdict.DECLINED:
            yield from reason_line(decline_reason(events))
            ids = ids_inline(request.customer.ids, links)
            yield [say("Nothing was changed. The card showed: "), *ids]
        case Verdict.EXPIRED:
            yield [say("Nobody decided in time; nothing was changed.")]
            yield [say("To try again: "), code(ask_again(request))]
        case _:
            assert_never(verdict)


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
            if event.details.get("how") == "read_back":
                yield [
                    say("Fusebill's reply did not show this, but reading the customer again did.")
                ]
        case Outcome.RESTORED:
            yield [bold("Latched again to: "), *ids]
        case Outcome.ALREADY_CLEAR:
            yield [say("The customer was no longer latched to anything. Nothing was done.")]
            yield [say("The card showed "), *ids]
        case Outcome.CHANGED:
            yield from _changed(event, request, links)
        case Outcome.REFUSED:
            why = cut(str(event.details.get("why", "")), ERROR_LENGTH)
            yield [bold(why or "Fusebill refused. Nothing was changed.")]
            yield from _fusebill_lines(event)
        case Outcome.UNKNOWN:
            yield [bold("We don't know yet whether this was done. ")]
            if reason := event.details.get("why"):
                yield [text(str(reason), limit=ERROR_LENGTH)]
            yield from _fusebill_lines(event)
            yield [say("Check again reads the customer and changes nothing by itself.")]
        case _:
            assert_never(outcome)


def _changed(event: Event, request: Request, links: Links) -> Iterator[Line]:
    relatch = request.kind is Kind.RELATCH
    if event.details.get("called"):
        yield [say("Fusebill was called, or may have been, and the customer now has other ids.")]
        yield [say("We can't tell whether the bot or somebody else changed them.")]
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
        case EventType.ASK_DENIED:
            yield [who, say(" asked and was refused: “"), why, say("”")]
        case EventType.DECISION_DENIED:
            yield [who, say(" was refused: “"), why, say("”")]
        case EventType.CONFIRMED | EventType.CANCELLED | EventType.DECLINED:
            yield [who, say(f" {event.type} it")]
            yield from reason_line(str(event.details.get("why", "")))
        case EventType.UNDONE:
            yield [who, say(" undid this: the customer is latched as it was before")]
        case EventType.LATCHED_AGAIN:
            yield [bold("⚠️ Latched again: "), *ids_inline(found_ids(event), links)]
        case (
            EventType.EXPIRED | EventType.REMINDED | EventType.RECLAIMED | EventType.RECHECKED
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
        ):
            outcome = Outcome(event.type)
            yield [bold(outcome_title(event, outcome)), *call_details(event)]
            yield from outcome_lines(event, outcome, request, links)
        case _:
            assert_never(event.type)


def _requested(request: Request, who: Inline, links: Links) -> Iterator[Line]:
    customer = request.customer
    doing = "latch again" if request.kind is Kind.RELATCH else "unlatch"
    name = [say(", "), text(display_name(customer)), say(":")] if display_name(customer) else []
    asked = say(f" asked to {doing} {customer.customer_id}")
    yield [who, asked, *name, say(" "), *ids_inline(customer.ids, links)]
    if request.reason:
        yield [say("Why: "), text(request.reason, limit=500)]


def _fusebill_lines(event: Event) -> Iterator[Line]:
    texts: Any = event.details.get("texts", ())
    status: Any = event.details.get("status")
    yield from error_lines(texts, status)


def call_details(event: Event) -> Line:
    """How Fusebill answered and how long it took, as far as it is known."""
    status, seconds = event.details.get("status"), event.details.get("seconds")
    answered = [say(f" · Fusebill answered HTTP {status}")] if status else []
    return [*answered, say(f" · took {seconds} s")] if seconds is not None else answered
