"""Draws cards: the question, the work, the result; one customer in lines, many in a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.meanings import KINDS, VERDICTS, is_free, may_be_checked, undoable
from bot.domain.models import Card, EventType, LeftOut, Request
from bot.messages.block_kit import (
    Block,
    Line,
    Message,
    Part,
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
from bot.messages.phrases import (
    Links,
    amount,
    change_inline,
    customer_lines,
    ids_inline,
    mentions,
    move_lines,
    reference_line,
    subject,
)
from bot.messages.results import later_lines, progress, result_of, state
from bot.messages.tables import with_table

BAR_LENGTH = 20
SLOW_AFTER = timedelta(seconds=8)
"""So long after a call was begun the card says how long it is waited for."""
CALL_ENDS_AFTER = timedelta(seconds=30)
"""So long a call is waited for: see `Timing.fusebill_write_s`."""
LEFT_OUT_LENGTH = 2_500
LEFT_OUT_WHY_LENGTH = 80
MAX_WHYS = 5


class Action(StrEnum):
    """The `action_id` of each button; the button's value is the id of a card.

    Two differ: the value of `USE`, which asks for a card, is JSON: see `lists.asking`. That of
    `MOVE` is JSON, too: the `customer_id`, the `ids` that were taken from it, and the `reason`.
    """

    CONFIRM = "unlatch_confirm"
    CANCEL = "unlatch_cancel"
    UNDO = "unlatch_undo"
    CHECK = "unlatch_check"
    USE = "unlatch_use"
    STOP = "unlatch_stop"
    MOVE = "unlatch_move"


def draw(
    card: Card, links: Links, notify: Sequence[str] = (), now: datetime | None = None
) -> Message:
    """What the card shows now: the question, the work that it waits for, or the result.

    `notify` are the users and user groups that the question mentions, so that they come and decide.
    With `now`, a card that is worked on says how long it waits.
    """
    if card.first.verdict is None:
        return _question(card, links, notify)
    return _result(card, links) if card.is_finished else _work(card, links, now)


def duplicate(card: Card, url: str | None) -> Message:
    """Replaces the duplicate of a card that was posted twice; it has no buttons."""
    other = link(url, "the other card") if url else say("the other card in this channel")
    return message(
        header(f"☝️ See the other card: {subject(card.first)}"),
        [[say("This card was posted twice. The result will appear on "), other, say(".")]],
        list(_asked_lines(card.first)),
    )


def _question(card: Card, links: Links, notify: Sequence[str]) -> Message:
    """Ask for a decision: about which customers, which ids, who asks and why."""
    first, kind, about = card.first, KINDS[card.first.kind], subject(card.first)
    ask = kind.ask.replace("{}", about)
    asked = [
        *_asked_lines(first),
        [bold("Expires: "), date(first.expires_at)],
        *([[bold("For: "), *mentions(notify)]] if notify else []),
    ]
    verb = ask if card.is_of_many else kind.button
    choice = buttons(
        button(verb, Action.CONFIRM, card.id, kind.style),
        button("Cancel", Action.CANCEL, card.id),
    )
    return _laid_out(
        card, [header(f"{ask}?"), *_asked_about(card, links, asked)], [choice], links=links
    )


def _work(card: Card, links: Links, now: datetime | None) -> Message:
    """The card while Fusebill works on it; that of many shows how far it is, and **Stop**."""
    first, doing = card.first, KINDS[card.first.kind].doing
    title = header(f"⏳ {doing.replace('{}', subject(first))} …")
    if not card.is_of_many:
        ids: Line = [bold("Ids: "), *change_inline(first, links)]
        usual: Line = [say("Waiting for Fusebill. This card will show the result.")]
        return message(title, [*_waits(card, now)] or [usual], [ids, *_people_lines(first)])
    stopping: Line = [bold("Stopping… "), say("What has not begun is left alone.")]
    stop = buttons(button("Stop", Action.STOP, card.id, "danger"))
    above: list[Part] = [
        title,
        _bar(card),
        [[bold(progress(card))], *([stopping] if card.is_stopping else []), *_waits(card, now)],
        None if card.is_stopping else stop,
        list(_people_lines(first)),
    ]
    return _laid_out(card, above, results=[*map(state, card.requests)], links=links)


def _waits(card: Card, now: datetime | None) -> Iterator[Line]:
    """For what the work on a card waits, and how long, if that is not as usual."""
    left = [request for request in card.requests if request.is_to_be_executed]
    begun_at = [event.at for each in left for event in each.events if event.type is EventType.BEGUN]
    waited = now - min(begun_at) if now and begun_at else timedelta()
    if waited >= CALL_ENDS_AFTER:
        yield [say("Fusebill gave no answer; the bot looks for up to 30 s more what came of it.")]
    elif waited >= SLOW_AFTER:
        yield [say("Fusebill takes its time; waiting up to 30 s.")]
    elif not begun_at and any(request.waits_for for request in left):
        yield [
            say(
                "Waiting for an earlier request for the same customer: its call may still be under"
            ),
            say(" way, for up to 60 s after it was sent."),
        ]


def _result(card: Card, links: Links) -> Message:
    """The card of a decided request: its result, who decided and when, and the next steps."""
    result = result_of(card, links)
    people = [*_people_lines(card.first), *later_lines(card, links)]
    # a table has the references in a column
    reference = [] if card.is_of_many else reference_line(card.first.customer)
    return _laid_out(
        card,
        [header(result.heading), result.lines, [*reference, *people]],
        [buttons(*_next_buttons(card, links))],
        results=result.each,
        links=links,
    )


def _laid_out(
    card: Card,
    above: Sequence[Part],
    below: Sequence[Part] = (),
    *,
    results: Sequence[str] = (),
    links: Links,
) -> Message:
    """A card of many has the table of its customers in its middle."""
    if card.is_of_many:
        return with_table(above, card.requests, below, results=results, links=links)
    return message(*above, *below)


def _asked_about(card: Card, links: Links, asked: list[Line]) -> Iterator[Part]:
    """Which customers and ids the question is about, and who `asked`."""
    if card.is_pair:
        yield list(move_lines(card, links))
        yield asked
    elif card.is_of_many:
        yield [[say(_summary(card))]]
        yield asked
        yield left_out_lines(card.left_out, links)
    else:
        customer, label = card.first.customer, KINDS[card.first.kind].label
        yield list(customer_lines(customer, links))
        changes: Line = [bold(f"{label}: "), *ids_inline(customer.ids, links)]
        yield [changes] if card.first.to is None else list(move_lines(card, links))
        yield asked


def _summary(card: Card) -> str:
    """How many customers are on the card and latched to what, and how many are left out."""
    requests, whys = card.requests, Counter(each.why for each in card.left_out)
    contacts = sum(request.customer.ids.vid is not None for request in requests)
    companies = sum(request.customer.ids.company_id is not None for request in requests)
    ids = f"{amount(contacts, 'contact')}, {amount(companies, 'company', 'companies')}"
    on_it = f"{len(requests)} {KINDS[card.first.kind].latched}: {ids}"
    if not whys:
        return f"{on_it}."
    few = len(whys) <= MAX_WHYS and sum(map(len, whys)) <= LEFT_OUT_WHY_LENGTH
    if not few:
        return f"{on_it}; {whys.total()} left out."
    return f"{on_it}; {', '.join(f'{n} {why}' for why, n in whys.items())}: left out."


def left_out_lines(left_out: Sequence[LeftOut], links: Links) -> list[Line]:
    """Name each customer that is not on the card, and why; values are cut so that all fit."""
    room = max(LEFT_OUT_LENGTH // max(len(left_out), 1) - 30, 20)
    return [
        [
            bold("Left out: "),
            link(links.customer(each.customer_id), str(each.customer_id)),
            say(": "),
            text(each.why, limit=min(LEFT_OUT_WHY_LENGTH, room)),
            *([say(" ("), text(each.name, limit=min(60, room)), say(")")] if each.name else []),
        ]
        for each in left_out
    ]


def _bar(card: Card) -> Block:
    """A bar of text characters; no part of the message's text, since it can't be read aloud."""
    done = sum(request.outcome is not None for request in card.requests)
    full = BAR_LENGTH * done // len(card.requests)
    bar = "█" * full + "░" * (BAR_LENGTH - full)
    return {"type": "section", "text": {"type": "plain_text", "text": bar}}


def _next_buttons(card: Card, links: Links) -> Iterator[Block]:
    if any(map(may_be_checked, card.requests)):
        yield button("Check again", Action.CHECK, card.id, "primary")
    if undoable(card):
        yield button("Undo…", Action.UNDO, card.id)
    if links.offers_move and is_free(card):
        first = card.first
        ids = {"vid": first.ids_before.vid, "company_id": first.ids_before.company_id}
        carried = {"customer_id": first.customer.customer_id, "ids": ids, "reason": first.reason}
        yield button("Move…", Action.MOVE, json.dumps(carried, ensure_ascii=False))


def _asked_lines(request: Request) -> Iterator[Line]:
    """Who asked, when, and why."""
    yield [bold("Asked by: "), user(request.requester.user_id), say(", "), date(request.asked_at)]
    if request.reason:
        yield [bold("Why: "), text(request.reason, limit=500)]


def _people_lines(request: Request) -> Iterator[Line]:
    """Who asked and who decided, when, and why."""
    yield from _asked_lines(request)
    if request.verdict and request.decided_at:
        who = [user(request.decider.user_id), say(", ")] if request.decider else []
        yield [bold(f"{VERDICTS[request.verdict].label}: "), *who, date(request.decided_at)]
