"""Words an outcome, and what came after it, for cards and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import assert_never

from bot.domain.meanings import (
    EVENTS,
    OUTCOMES,
    is_done,
    may_be_asked_again,
)
from bot.domain.models import Card, Event, EventType, HubSpotIds, Outcome, Request
from bot.messages.block_kit import Inline, Line, cut, date, link, say, text, user
from bot.messages.fusebill_errors import after
from bot.messages.phrases import (
    ERROR_LENGTH,
    Links,
    change_inline,
    error_lines,
    filled,
    ids_inline,
)

_SAID = {
    Outcome.ALREADY_CLEAR: "The customer was no longer latched to anything, so the bot changed"
    " nothing.",
    Outcome.ALREADY_LATCHED: "The customer already has these ids; who set them is not known. The"
    " bot changed nothing.",
    Outcome.NOT_BEGUN: "Calls for other customers got no answer, so the bot made none for"
    " this one.",
    Outcome.STOPPED: "The work was stopped before this customer's turn. The bot changed nothing.",
    Outcome.UNKNOWN: "The bot doesn't know whether this was done. Check again reads the customer"
    " and changes nothing.",
}


def outcome_lines(event: Event, request: Request, links: Links) -> Iterator[Line]:
    """Describe an outcome: which ids, why, and what to do where no button says it."""
    match outcome := EVENTS[event.type].outcome:
        case Outcome.CLEARED:
            yield filled("Cleared {}.", ids_inline(request.ids_before, links))
        case Outcome.RESTORED:
            yield filled("Latched again to {}.", ids_inline(request.ids_after, links))
        case Outcome.MOVED:
            old, new = ids_inline(request.ids_before, links), ids_inline(request.ids_after, links)
            yield [say("Moved from "), *old, say(" to "), *new, say(".")]
        case Outcome.ALREADY_CLEAR | Outcome.ALREADY_LATCHED:
            yield [say(_SAID[outcome])]
            yield filled("The card showed {}.", change_inline(request, links))
        case Outcome.NOT_BEGUN | Outcome.STOPPED | Outcome.UNKNOWN:
            yield [say(_SAID[outcome])]
            yield from _reason(event)
        case Outcome.CHANGED:
            yield from _changed(event, request, links)
        case Outcome.REFUSED:
            yield from _refused(event)
        case Outcome.LEFT_OUT:
            yield [say("Another request came first: "), *overtaker(event, links)]
        case None:
            return
        case _:
            assert_never(outcome)


def _reason(event: Event) -> Iterator[Line]:
    """Why an outcome is not as asked, and Fusebill's own words."""
    if why := why_of(event):
        yield [text(why, limit=ERROR_LENGTH)]
    texts, status = _answered(event)
    # without words, the reason above says what the answer was
    if texts or f"HTTP {status}" not in why:
        yield from error_lines(texts, status)


def _answered(event: Event) -> tuple[Sequence[str], int | None]:
    """Fusebill's last error, as the event keeps it."""
    texts, status = event.details.get("texts"), event.details.get("status")
    words = [each for each in texts if isinstance(each, str)] if isinstance(texts, list) else []
    return words, status if isinstance(status, int) else None


def _refused(event: Event) -> Iterator[Line]:
    if not why_of(event):
        yield [say("Fusebill refused. Nothing was changed.")]
    yield from _reason(event)
    if isinstance(retry_at := event.details.get("retry_at"), str):
        yield after(datetime.fromisoformat(retry_at), "Ask again")
    if not is_worth_another_try(event):
        yield [say("Trying again won't help; tell the bot's admin.")]


def is_worth_another_try(event: Event) -> bool:
    """Whether asking again may help: not if the same refusal would come again."""
    return bool(event.details.get("may_pass", True))


def _changed(event: Event, request: Request, links: Links) -> Iterator[Line]:
    now = ids_inline(found_ids(event), links)
    if other := event.details.get("customer_id"):
        yield [say(f"Customer {other} is now latched to "), *now, say(".")]
    elif request.ids_before:
        then = ids_inline(request.ids_before, links)
        yield [say("Now latched to "), *now, say("; the card showed "), *then, say(".")]
    else:
        yield filled("Now latched to {}.", now)
    if event.details.get("called"):
        yield [say("The bot can't tell whether it or somebody else changed that.")]
        yield [say("Look at both systems before you ask again.")]
    else:
        yield [say("The bot changed nothing.")]


def later_line(event: Event, request: Request, links: Links) -> Line:
    """What happened to a customer after its result: undone by whom, latched again, gone."""
    if event.type is EventType.UNDONE:
        back = " gave back {}, " if request.ids_before else " took the ids away again, "
        ids = filled(back, ids_inline(request.ids_before, links))
        return [actor(event), *ids, date(event.at), say(".")]
    if event.type is EventType.LATCHED_AGAIN:
        found = filled("Found latched to {}", ids_inline(found_ids(event), links))
        who = say(". Find out who did that before you ask again.")
        return [*found, say(", "), date(event.at), who]
    return [say("Fusebill has no such customer any more.")]


def overtaker(event: Event, links: Links) -> Line:
    """By what a request was overtaken: what the other one did, who decided it, and its card."""
    did, decider = event.details.get("did"), event.details.get("decider")
    title = OUTCOMES[Outcome(str(did))].heading if did else "changed"
    by = [say(" by "), user(str(decider))] if decider else []
    url = links.cards.get(place_of(event) or ("", ""))
    see = [say(": "), link(url, "see its card")] if url else []
    return [say(title), *by, say(", "), date(event.at), *see, say(".")]


def place_of(event: Event) -> tuple[str, str] | None:
    """The channel and `ts` of the card that overtook a request; None if the event names none."""
    match event.details.get("place"):
        case [str(channel_id), str(message_ts)]:
            return channel_id, message_ts
    return None


def found_ids(event: Event) -> HubSpotIds:
    """The HubSpot ids that an event says the customer had; keys of a newer version are ignored."""
    return HubSpotIds.of(event.details.get("found"))


def actor(event: Event) -> Inline:
    """Mention the person who caused an event, or name the bot."""
    return user(event.actor) if event.actor else say("the bot")


def why_of(event: Event) -> str:
    """The reason that an event keeps; empty if there is none."""
    return cut(str(event.details.get("why") or ""), 500)


def to_ask_again(card: Card) -> list[Request]:
    """The requests of a card about which **Ask again** asks.

    Of a pair the last is among them, if the first is done, or is asked about again, too.
    """
    found = [
        each
        for each in card.requests
        if may_be_asked_again(each) and all(map(is_worth_another_try, each.events))
    ]
    first, last = card.first, card.requests[-1]
    is_whole = last in found and not is_done(last) and (is_done(first) or first in found)
    return found if is_whole or not card.is_pair else []
