"""Builds the replies in a card's thread: the result first, then what led to it; the reminder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.meanings import EVENTS, VERDICTS
from bot.domain.models import Event, EventType, Request
from bot.messages.block_kit import (
    HEADER_LENGTH,
    Line,
    Message,
    bold,
    date,
    message,
    say,
    text,
    user,
)
from bot.messages.events import (
    actor,
    event_lines,
    expiry_line,
    found_ids,
    outcome_lines,
    outcome_title,
    reason_line,
)
from bot.messages.fusebill_calls import call_details
from bot.messages.phrases import Links, ids_inline, mentions, subject, titled


def thread_reply(events: Sequence[Event], request: Request, links: Links) -> Message:
    """One reply for the thread: the result and whom it concerns, then the events in order.

    A notification shows the first words only, so a reply about a result begins with it.
    """
    results = [event for event in events if _is_result(event)]
    if not results:
        return message([line for event in events for line in event_lines(event, request, links)])
    result = results[-1]
    trail = [
        line
        for event in events
        for line in (
            _result_trail(event, request, links)
            if event is result
            else event_lines(event, request, links)
        )
    ]
    return message([*_result_lines(result, request, links), *trail])


def reminder(request: Request, notify: Sequence[str]) -> Message:
    """Remind the people to notify of a card that still waits for a decision."""
    return message(
        [
            [say("⏰ Still waiting for a decision: "), text(subject(request)), say(". ")],
            [say("It expires "), date(request.expires_at), say(". "), *mentions(notify)],
        ]
    )


def _is_result(event: Event) -> bool:
    meaning = EVENTS[event.type]
    ends = meaning.verdict is not None and not VERDICTS[meaning.verdict].executes
    return ends or meaning.outcome is not None or event.type is EventType.LATCHED_AGAIN


def _result_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    meaning = EVENTS[event.type]
    requester = user(request.requester.user_id)
    customer = text(titled(request.customer), limit=HEADER_LENGTH)
    if meaning.outcome:
        title = outcome_title(event, meaning.outcome)
        yield [bold(f"{title}: "), customer, say("  "), requester]
        yield from outcome_lines(event, meaning.outcome, request, links)
    elif meaning.verdict:
        verdict = VERDICTS[meaning.verdict]
        yield [bold(f"{verdict.emoji} {verdict.title}: "), customer, say("  "), requester]
        yield from reason_line(str(event.details.get("why", "")))
    else:
        yield _latched_again(event, request, links)


def _latched_again(event: Event, request: Request, links: Links) -> Line:
    people = {request.requester.user_id, *([request.decider.user_id] if request.decider else [])}
    return [
        bold("⚠️ Latched again: "),
        *latched_again_words(event, request, links),
        say(".  "),
        *mentions(sorted(people)),
    ]


def latched_again_words(event: Event, request: Request, links: Links) -> Line:
    """What a cleared customer is latched to again, and which ids were cleared when."""
    found, cleared = found_ids(event), request.customer.ids
    about = (
        [say(", the ids that were cleared at ")]
        if found == cleared
        else [say("; "), *ids_inline(cleared, links), say(" were cleared at ")]
    )
    return [*ids_inline(found, links), *about, date(request.settled_at or event.at)]


def _result_trail(event: Event, request: Request, links: Links) -> Iterator[Line]:
    meaning = EVENTS[event.type]
    if meaning.outcome:
        # the emoji heads the reply, and need not be repeated
        title = outcome_title(event, meaning.outcome).partition(" ")[2].lower()
        yield [date(event.at), say(f"  {title}"), *call_details(event)]
    elif event.type is EventType.LATCHED_AGAIN:
        yield [date(event.at), say("  the customer was read again")]
    elif event.actor:
        yield [date(event.at), say("  "), actor(event), say(f" {event.type} it")]
    else:
        yield [date(event.at), say("  "), *expiry_line(event, request, links)]
