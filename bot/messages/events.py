"""Describes what happened to a request: the result on its card, and the lines in its thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from bot.domain.meanings import EVENTS, OUTCOMES, VERDICTS
from bot.domain.models import Event, EventType, HubSpotIds, Kind, Outcome, Request, Verdict
from bot.messages.block_kit import Inline, Line, bold, code, cut, date, say, text, user
from bot.messages.phrases import ERROR_LENGTH, Links, display_name, error_lines, ids_inline


@dataclass(frozen=True, slots=True)
class ResultText:
    """The result of a decided request: a title for the card's header, and lines."""

    title: str
    lines: list[Line]


def result_text(request: Request, events: Sequence[Event], links: Links) -> ResultText:
    """Describe a decided request by its last outcome, or by its verdict if it has no outcome."""
    for event in reversed(events):
        if outcome := EVENTS[event.type].outcome:
            title = _outcome_title(event, outcome)
            return ResultText(title, [*_outcome_lines(event, outcome, request, links)])
    verdict = request.verdict or Verdict.CONFIRMED
    meaning = VERDICTS[verdict]
    lines = [*_verdict_lines(verdict, request, links)]
    return ResultText(f"{meaning.emoji} {meaning.title}", lines)


def event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    """Describe an event for the thread: when, who and what, in one or more lines."""
    first, *more = _event_lines(event, request, links)
    yield [date(event.at), say("  "), *first]
    yield from more


def actor(event: Event) -> Inline:
    """Mention the person who caused an event, or name the bot."""
    return user(event.actor) if event.actor else say("the bot")


def ask_again(request: Request) -> str:
    """What to type or click to make the same request again."""
    return "Undo…" if request.kind is Kind.RELATCH else f"/unlatch {request.customer.customer_id}"


def _verdict_lines(verdict: Verdict, request: Request, links: Links) -> Iterator[Line]:
    match verdict:
        case Verdict.CONFIRMED:
            yield [say("The result is not known yet.")]
        case Verdict.CANCELLED:
            ids = ids_inline(request.customer.ids, links)
            yield [say("Nothing was changed. The card showed: "), *ids]
        case Verdict.EXPIRED:
            yield [say("Nobody decided in time; nothing was changed.")]
            yield [say("To try again: "), code(ask_again(request))]
        case _:
            assert_never(verdict)


def _outcome_title(event: Event, outcome: Outcome) -> str:
    # the usual title says "not done", which is true only if nothing was called
    if outcome is Outcome.CHANGED and event.details.get("called"):
        return "⚠️ Other ids than confirmed"
    meaning = OUTCOMES[outcome]
    return f"{meaning.emoji} {meaning.title}"


def _outcome_lines(
    event: Event, outcome: Outcome, request: Request, links: Links
) -> Iterator[Line]:
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
    found: Any = event.details.get("found", {})
    yield [bold("Now: "), *ids_inline(HubSpotIds(**found), links)]
    if not relatch:
        again = code(f"/unlatch {request.customer.customer_id}")
        yield [say("To see the new ids and decide: "), again]


def _event_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    who = actor(event)
    why = text(str(event.details.get("why", "")), limit=ERROR_LENGTH)
    match event.type:
        case EventType.REQUESTED:
            yield from _requested(request, who, links)
        case EventType.POSTED:
            yield [say("the card was posted late, and expires "), date(request.expires_at)]
        case EventType.ASK_DENIED | EventType.DECISION_DENIED:
            asked = " asked and" if event.type is EventType.ASK_DENIED else ""
            yield [who, say(f"{asked} was refused: “"), why, say("”")]
        case EventType.CONFIRMED | EventType.CANCELLED:
            yield [who, say(f" {event.type} it")]
        case EventType.EXPIRED:
            yield [say("expired: nobody decided in time")]
        case EventType.UNDONE:
            yield [who, say(" undid this: the customer is latched as it was before")]
        case EventType.RECLAIMED:
            yield [say("the work was interrupted and has been resumed")]
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
            yield [bold(_outcome_title(event, outcome)), *_call_details(event)]
            yield from _outcome_lines(event, outcome, request, links)
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


def _call_details(event: Event) -> Line:
    status, seconds = event.details.get("status"), event.details.get("seconds")
    answered = [say(f" · Fusebill answered HTTP {status}")] if status else []
    return [*answered, say(f" · took {seconds} s")] if seconds is not None else answered
