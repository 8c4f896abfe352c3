"""Builds cards from a request and its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from bot.domain.meanings import VERDICTS, may_be_checked, may_be_undone
from bot.domain.models import Event, EventType, Kind, Request
from bot.messages.block_kit import (
    Block,
    Line,
    Message,
    bold,
    button,
    buttons,
    date,
    header,
    link,
    message,
    say,
    text,
    user,
)
from bot.messages.events import actor, found_ids, result_text
from bot.messages.phrases import (
    Links,
    customer_lines,
    ids_inline,
    mentions,
    reference_line,
    subject,
    titled,
)


class Action(StrEnum):
    """The `action_id` of each button; the button's value is the id of a request.

    On a card of many customers it is the id of the card. Two differ: the value of `USE` is a
    customer's id and, after a blank, the reason; that of `MEANT` is JSON, the `ids` and the
    `reason` of one meaning of a command's text.
    """

    CONFIRM = "unlatch_confirm"
    CANCEL = "unlatch_cancel"
    UNDO = "unlatch_undo"
    CHECK = "unlatch_check"
    USE = "unlatch_use"
    STOP = "unlatch_stop"
    MEANT = "unlatch_meant"


def confirmation_card(request: Request, links: Links, notify: Sequence[str] = ()) -> Message:
    """The card that asks for a decision: which customer, which ids, who asks and why.

    `notify` are the users and user groups to mention, so that they come and decide.
    """
    customer = request.customer
    relatch = request.kind is Kind.RELATCH
    title = f"Latch {titled(customer)} again?" if relatch else f"Unlatch {titled(customer)}?"
    effect = "Would be latched to" if relatch else "Would be cleared"
    verb, style = ("Latch again", "primary") if relatch else ("Unlatch customer", "danger")
    return message(
        header(title),
        list(customer_lines(customer, links)),
        [[bold(f"{effect}: "), *ids_inline(customer.ids, links)]],
        [
            *asked_lines(request),
            [bold("Expires: "), date(request.expires_at)],
            *([[bold("For: "), *mentions(notify)]] if notify else []),
        ],
        buttons(
            button(verb, Action.CONFIRM, request.id, style),
            button("Cancel", Action.CANCEL, request.id),
        ),
    )


def working_card(request: Request, links: Links) -> Message:
    """The card while Fusebill works on a confirmed request; it has no buttons."""
    doing = "Latching" if request.kind is Kind.RELATCH else "Unlatching"
    return message(
        header(f"⏳ {doing} {titled(request.customer)} …"),
        [[say("Waiting for Fusebill. This card will show the result.")]],
        [[bold("Ids: "), *ids_inline(request.customer.ids, links)], *people_lines(request)],
    )


def decided_card(request: Request, events: Sequence[Event], links: Links) -> Message:
    """The card of a decided request: the result, who decided and when, and the next step."""
    result = result_text(request, events, links)
    return message(
        header(f"{result.title}: {titled(request.customer)}"),
        result.lines,
        [*reference_line(request.customer), *people_lines(request), *_later_lines(events, links)],
        buttons(_next_button(request)),
    )


def other_card(request: Request, url: str | None) -> Message:
    """Replaces the duplicate of a card that was posted twice; it has no buttons."""
    other = link(url, "the other card") if url else say("the other card in this channel")
    return message(
        header(f"☝️ See the other card: {subject(request)}"),
        [[say("This card was posted twice. The result will appear on "), other, say(".")]],
        list(asked_lines(request)),
    )


def _next_button(request: Request) -> Block | None:
    if may_be_checked(request):
        return button("Check again", Action.CHECK, request.id, "primary")
    return button("Undo…", Action.UNDO, request.id) if may_be_undone(request) else None


def _later_lines(events: Sequence[Event], links: Links) -> Iterator[Line]:
    for event in events:
        if event.type is EventType.UNDONE:
            yield [bold("Undone by: "), actor(event), say(", "), date(event.at)]
        if event.type is EventType.LATCHED_AGAIN:
            ids = ids_inline(found_ids(event), links)
            yield [bold("⚠️ Latched again: "), *ids, say(", "), date(event.at)]


def asked_lines(request: Request) -> Iterator[Line]:
    """Who asked, when, and why."""
    yield [bold("Asked by: "), user(request.requester.user_id), say(", "), date(request.asked_at)]
    if request.reason:
        yield [bold("Why: "), text(request.reason, limit=500)]


def people_lines(request: Request) -> Iterator[Line]:
    """Who asked and who decided, when, and why."""
    yield from asked_lines(request)
    if request.verdict and request.decided_at:
        who = [user(request.decider.user_id), say(", ")] if request.decider else []
        yield [bold(f"{VERDICTS[request.verdict].label}: "), *who, date(request.decided_at)]
