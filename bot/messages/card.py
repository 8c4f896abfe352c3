"""Draws cards: the question, the work, the result; one customer in lines, many in a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.meanings import (
    KINDS,
    LATER,
    OUTCOMES,
    VERDICTS,
    is_free,
    may_be_checked,
    undoable,
)
from bot.domain.models import Card, EventType, Request
from bot.domain.values import value
from bot.messages.block_kit import (
    DATE_FORMAT,
    LABEL_LENGTH,
    TIME_FORMAT,
    Block,
    Line,
    Message,
    Part,
    bold,
    button,
    buttons,
    context,
    cut,
    date,
    header,
    link,
    message,
    say,
    small_time,
    text,
    user,
)
from bot.messages.outcomes import to_ask_again, why_of
from bot.messages.phrases import (
    Links,
    amount,
    card_subject,
    change_inline,
    display_name,
    facts,
    filled,
    left_out_lines,
    mentions,
    move_lines,
    needs_care,
    not_left_out,
    past_lines,
    titled,
)
from bot.messages.results import (
    event_of,
    named_ids,
    overtaken_while_open,
    progress,
    result_of,
    state,
)
from bot.messages.tables import with_table

BAR_LENGTH = 20
ONE_DAY = timedelta(days=1)
SLOW_AFTER = timedelta(seconds=8)
"""So long after a call was begun the card says how long it is waited for."""
CALL_ENDS_AFTER = timedelta(seconds=30)
"""So long a call is waited for: see `Timing.fusebill_write_s`."""
MAX_WORKED_ON = 4
"""So many customers a card of many shows while the work lasts: **Stop** stands below them."""


class Action(StrEnum):
    """The `action_id` of each button; the button's value is the id of a card.

    Three differ: the value of `USE` and `ANYWAY`, which ask for a card, is JSON: see
    `lists.asking`. That of `MOVE` is JSON, too: the `customer_id`, the `ids` that were taken from
    it, and the `reason`.
    """

    CONFIRM = "unlatch_confirm"
    CANCEL = "unlatch_cancel"
    UNDO = "unlatch_undo"
    CHECK = "unlatch_check"
    USE = "unlatch_use"
    ANYWAY = "unlatch_anyway"
    STOP = "unlatch_stop"
    MOVE = "unlatch_move"
    AGAIN = "unlatch_again"


@value
class Deciders:
    """What the question says of the people who decide.

    `notify` are the users and user groups that it mentions, so that they come. With `two_person`
    somebody else than the requester has to confirm; `listed`: only people on the admin's list may.
    """

    notify: Sequence[str] = ()
    two_person: bool = False
    listed: bool = False


ANYBODY = Deciders()


def draw(
    card: Card, links: Links, deciders: Deciders = ANYBODY, now: datetime | None = None
) -> Message:
    """What the card shows now: the question, the work that it waits for, or the result.

    With `now`, a card that is worked on says how long it waits.
    """
    if card.first.verdict is None:
        return _question(card, links, deciders)
    return _result(card, links) if card.is_finished else _work(card, links, now)


def duplicate(card: Card, url: str | None) -> Message:
    """Replaces the duplicate of a card that was posted twice; it has no buttons."""
    other = link(url, "the other card") if url else say("the other card in this channel")
    return message(
        header(f"☝️ See the other card: {card_subject(card)}"),
        [[say("This card was posted twice. The result will appear on "), other, say(".")]],
        [_asked_line(card.first)],
    )


def _question(card: Card, links: Links, deciders: Deciders) -> Message:
    """Ask for a decision: what changes, who asks and why, what needs care."""
    first, kind = card.first, KINDS[card.first.kind]
    waiting = [request for request in card.requests if request.outcome is None]
    left_out = overtaken_while_open(card, links)
    form = TIME_FORMAT if first.expires_at - first.asked_at <= ONE_DAY else DATE_FORMAT
    asked: list[Line] = [
        *_changes(card, waiting, links),
        _asked_line(first, form),
        *left_out,
        *_care_lines(waiting),
        *past_lines(card),
        *_who_decides(deciders),
    ]
    # a phone has room for a few words
    whom = card_subject(card)
    short = whom if card.is_of_many else display_name(first.customer) or titled(first.customer)
    label = kind.ask.replace("{}", cut(short, LABEL_LENGTH - len(kind.ask) + 2))
    about = kind.ask.replace("{}", whom)
    choice = buttons(
        button(label, Action.CONFIRM, card.id, kind.style, aloud=about),
        button("Cancel", Action.CANCEL, card.id, aloud=f"Cancel the request about {whom}"),
    )
    return _laid_out(
        card,
        [header(f"{about}?"), asked, left_out_lines(card.left_out, links)],
        [
            *([] if card.is_of_many else (facts(r.customer, links) for r in card.requests)),
            choice,
            context(small_time("Expires", first.expires_at, form)),
        ],
        results=[*map(state, card.requests)] if left_out else (),
        links=links,
    )


def _changes(card: Card, waiting: Sequence[Request], links: Links) -> list[Line]:
    """What the work does to the customers that still wait, and whether it can be undone."""
    kind = KINDS[card.first.kind]
    undo = [say(" Can be undone.")] if kind.may_be_undone and not card.first.undoes else []
    if card.first.to is not None:
        old, new = move_lines(card, links)
        return [old, [*new, say("."), *undo]]
    if not card.is_of_many:
        return [[*filled(kind.changes, change_inline(card.first, links)), *undo]]
    contacts = sum(request.customer.ids.vid is not None for request in waiting)
    companies = sum(request.customer.ids.company_id is not None for request in waiting)
    counted = f"{amount(contacts, 'contact')} and {amount(companies, 'company', 'companies')}"
    return [[say(kind.changes.replace("{}", counted)), *undo]]


def _care_lines(waiting: Sequence[Request]) -> Iterator[Line]:
    """What about the customers' status needs care, in the same words together."""
    found: dict[str, list[Request]] = {}
    for request in waiting:
        found.setdefault(needs_care(request.customer), []).append(request)
    for words, requests in found.items():
        if words:
            named = f": {named_ids(requests)}" if waiting[0].card_size > 1 else ""
            yield [bold("⚠️ "), text(words), say(named)] if named else [bold("⚠️ "), text(words)]


def _who_decides(deciders: Deciders) -> Iterator[Line]:
    """Who has to confirm, and who is called to do that."""
    if deciders.two_person:
        listed = " on the list of confirmers" if deciders.listed else ""
        yield [say(f"Somebody else{listed} has to confirm.")]
    if deciders.notify:
        yield [say("For "), *mentions(deciders.notify)]


def _work(card: Card, links: Links, now: datetime | None) -> Message:
    """The card while Fusebill works on it.

    That of many shows how far it is, what failed, what is under way, and **Stop**.
    """
    first, doing = card.first, KINDS[card.first.kind].doing
    title = header(f"⏳ {doing.replace('{}', card_subject(card))} …")
    if not card.is_of_many:
        usual: Line = [say("Waiting for Fusebill. This card will show the result.")]
        ids = [filled(KINDS[first.kind].changes, change_inline(first, links))]
        changes = [*move_lines(card, links)] if first.to is not None else ids
        return message(title, [*changes, *_people_lines(card)], [*_waits(card, now)] or [usual])
    stopping: Line = [bold("Stopping… "), say("What the bot has not begun stays as it is.")]
    about = f"Stop: {doing[0].lower()}{doing[1:]}".replace("{}", card_subject(card))
    stop = buttons(button("Stop", Action.STOP, card.id, "danger", aloud=about))
    below: list[Part] = [
        _bar(card),
        [[bold(progress(card))], *([stopping] if card.is_stopping else []), *_waits(card, now)],
        None if card.is_stopping else stop,
        left_out_lines(card.left_out, links),
    ]
    failed = [
        each for each in card.requests if each.outcome and not OUTCOMES[each.outcome].as_asked
    ]
    under_way = [each for each in card.requests if each.is_begun and not each.outcome]
    shown = [*failed, *under_way][:MAX_WORKED_ON]
    above: list[Part] = [title, [*_people_lines(card)]]
    if not shown:
        return message(*above, *below)
    return with_table(above, shown, below, results=[*map(state, shown)], links=links)


def _waits(card: Card, now: datetime | None) -> Iterator[Line]:
    """For what the work on a card waits, and how long, if that is not as usual."""
    left = [request for request in card.requests if request.is_to_be_executed]
    begun_at = [event.at for each in left for event in each.events if event.type is EventType.BEGUN]
    waited = now - min(begun_at) if now and begun_at else timedelta()
    if waited >= CALL_ENDS_AFTER:
        yield [say("Fusebill did not answer; for 30 s more the bot reads what came of the call.")]
    elif waited >= SLOW_AFTER:
        yield [say("Fusebill is slow to answer; the bot waits up to 30 s.")]
    elif not begun_at and any(request.waits_for for request in left):
        yield [
            say(
                "Waiting for an earlier request for this customer: its call may run for up to 60 s."
            )
        ]


def _result(card: Card, links: Links) -> Message:
    """The card of a decided request: what holds now, who decided, and what can be done."""
    result = result_of(card, links)
    above: list[Part] = [
        header(result.heading),
        [*result.lines, *_people_lines(card)],
        left_out_lines(card.left_out, links),
        [[say("⏳ A decision about this waits in the thread.")]] if card.is_followed_up else None,
    ]
    next_ = buttons(*_next_buttons(card, links))
    return _laid_out(card, above, [next_], results=result.each, links=links)


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


def _bar(card: Card) -> Block:
    """A bar of text characters; no part of the message's text, since it can't be read aloud."""
    kept = not_left_out(card)
    full = BAR_LENGTH * sum(request.outcome is not None for request in kept) // len(kept)
    bar = "█" * full + "░" * (BAR_LENGTH - full)
    return {"type": "section", "text": {"type": "plain_text", "text": bar}}


def _next_buttons(card: Card, links: Links) -> Iterator[Block]:
    """What can be done now; each button says aloud what it is about."""
    first, about = card.first, card_subject(card)
    if any(map(may_be_checked, card.requests)) and not card.is_followed_up:
        aloud = f"Check again: {about}"
        yield button("Check again", Action.CHECK, card.id, "primary", aloud=aloud)
    if undoable(card) and not card.is_followed_up:
        yield button("Undo…", Action.UNDO, card.id, aloud=f"Undo… {about}")
    if to_ask_again(card):
        yield button("Ask again", Action.AGAIN, card.id, aloud=f"Ask again: {about}")
    if links.offers_move and is_free(card):
        ids = {"vid": first.ids_before.vid, "company_id": first.ids_before.company_id}
        carried = {"customer_id": first.customer.customer_id, "ids": ids, "reason": first.reason}
        value = json.dumps(carried, ensure_ascii=False)
        yield button("Move…", Action.MOVE, value, aloud=f"Move… {about}")


def _asked_line(request: Request, form: str = DATE_FORMAT) -> Line:
    """Who asks, when, and why."""
    by, at = user(request.requester.user_id), date(request.asked_at, form)
    return [say("Asked by "), by, say(", "), at, *_because(request.reason)]


def _because(reason: str) -> Line:
    return [say(": "), text(reason, limit=500)] if reason else [say(".")]


def _people_lines(card: Card) -> Iterator[Line]:
    """Who decided for whom, when, and why."""
    request, verdict = card.first, card.first.verdict
    decider, at = request.decider, request.decided_at
    if verdict is None or decider is None or at is None:
        yield _asked_line(request)
        return
    how = "By "
    if not verdict.is_known:
        # the header need not name it
        how = f"{VERDICTS[verdict].title} by "
    elif request.outcome and any(event.type in LATER for event in request.events):
        # the header and the line above say what came after it
        how = f"{OUTCOMES[request.outcome].title} by "
    by: Line = [say(how), user(decider.user_id)]
    own = decider.user_id == request.requester.user_id
    if own or VERDICTS[verdict].executes:
        whom = [] if own else [say(" for "), user(request.requester.user_id)]
        yield [*by, *whom, say(", "), date(at), *_because(request.reason)]
        return
    decided = event_of(request, verdict)
    yield [*by, say(", "), date(at), *_because(why_of(decided) if decided else "")]
    yield _asked_line(request)
