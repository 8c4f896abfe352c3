"""Builds the cards of many customers from the ledger's histories of their requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bot.domain.meanings import OUTCOMES, VERDICTS, may_be_checked, may_be_undone
from bot.domain.models import CardHistory, EventType, Kind, LeftOut, Verdict
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
    say,
    text,
)
from bot.messages.cards import Action, asked_lines, people_lines
from bot.messages.events import NEWER, reason_line
from bot.messages.many.results import (
    counts,
    event_of,
    expiry_lines,
    later_lines,
    progress,
    seen_at_expiry,
    state,
)
from bot.messages.many.tables import with_table
from bot.messages.phrases import Links, amount, mentions

BAR_LENGTH = 20
LEFT_OUT_LENGTH = 2_500
LEFT_OUT_WHY_LENGTH = 80
MAX_WHYS = 5


def confirmation_card_of_many(
    history: CardHistory, links: Links, notify: Sequence[str] = ()
) -> Message:
    """The card that asks for one decision about many customers: which, who asks and why.

    `notify` are the users and user groups to mention, so that they come and decide.
    """
    first, requests = history.first.request, history.card.requests
    many = amount(len(requests), "customer")
    relatch = first.kind is Kind.RELATCH
    title = f"Latch {many} again?" if relatch else f"Unlatch {many}?"
    verb, style = (f"Latch {many} again", "primary") if relatch else (f"Unlatch {many}", "danger")
    return with_table(
        [
            header(title),
            [[say(_summary(history))]],
            [
                *asked_lines(first),
                [bold("Expires: "), date(first.expires_at)],
                *([[bold("For: "), *mentions(notify)]] if notify else []),
            ],
            left_out_lines(history.left_out, links),
        ],
        requests,
        [
            buttons(
                button(verb, Action.CONFIRM, first.card_id, style),
                button("Cancel", Action.CANCEL, first.card_id),
            )
        ],
        links=links,
    )


def working_card_of_many(history: CardHistory, links: Links) -> Message:
    """The card while Fusebill works on its customers: how far it is, and **Stop**."""
    first, requests = history.first.request, history.card.requests
    many, total = amount(len(requests), "customer"), len(requests)
    relatch = first.kind is Kind.RELATCH
    done = sum(request.outcome is not None for request in requests)
    stopping = is_stopping(history)
    stop = button("Stop", Action.STOP, first.card_id, "danger")
    waits: Line = [bold("Stopping… "), say("What has not begun is left alone.")]
    return with_table(
        [
            header(f"⏳ Latching {many} again …" if relatch else f"⏳ Unlatching {many} …"),
            _bar(done, total),
            [[bold(progress(history))], *([waits] if stopping else [])],
            None if stopping or done == total else buttons(stop),
            people_lines(first),
        ],
        requests,
        results=[state(each) for each in history.histories],
        links=links,
    )


def decided_card_of_many(history: CardHistory, links: Links) -> Message:
    """The card of a decided request: each customer's result, who decided, and the next steps.

    While customers of a confirmed card wait for their result, this is the card of the work.
    """
    first, requests = history.first.request, history.card.requests
    verdict = first.verdict or Verdict.CONFIRMED
    many = amount(len(requests), "customer")
    if not VERDICTS[verdict].executes:
        return _ended(history, verdict, links)
    if any(request.outcome is None for request in requests):
        return working_card_of_many(history, links)
    thread: Line = [say(" The thread says more about each that is not as asked.")]
    not_as_asked = any(not OUTCOMES[each.outcome].as_asked for each in requests if each.outcome)
    return with_table(
        [
            header(counts(history)),
            [[say(f"{many} on this card."), *(thread if not_as_asked else [])]],
            [*people_lines(first), *later_lines(history)],
        ],
        requests,
        [buttons(*_next_buttons(history))],
        results=[state(each) for each in history.histories],
        links=links,
    )


def is_stopping(history: CardHistory) -> bool:
    """Whether somebody pressed **Stop**."""
    return any(event.type is EventType.STOP_REQUESTED for event in history.first.events)


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


def _summary(history: CardHistory) -> str:
    """How many customers are on the card and latched to what, and how many are left out."""
    requests, whys = history.card.requests, Counter(each.why for each in history.left_out)
    contacts = sum(request.customer.ids.vid is not None for request in requests)
    companies = sum(request.customer.ids.company_id is not None for request in requests)
    relatch = history.first.request.kind is Kind.RELATCH
    start = "to be latched again" if relatch else "latched"
    kinds = f"{amount(contacts, 'contact')}, {amount(companies, 'company', 'companies')}"
    on_it = f"{len(requests)} {start}: {kinds}"
    if not whys:
        return f"{on_it}."
    few = len(whys) <= MAX_WHYS and sum(map(len, whys)) <= LEFT_OUT_WHY_LENGTH
    if not few:
        return f"{on_it}; {whys.total()} left out."
    return f"{on_it}; {', '.join(f'{n} {why}' for why, n in whys.items())}: left out."


def _bar(done: int, total: int) -> Block:
    """A bar of text characters; no part of the message's text, since it can't be read aloud."""
    full = BAR_LENGTH * done // max(total, 1)
    bar = "█" * full + "░" * (BAR_LENGTH - full)
    return {"type": "section", "text": {"type": "plain_text", "text": bar}}


def _ended(history: CardHistory, verdict: Verdict, links: Links) -> Message:
    """The card of a request that was not confirmed."""
    first, requests, meaning = history.first.request, history.card.requests, VERDICTS[verdict]
    expired, decided = verdict is Verdict.EXPIRED, event_of(history.first, verdict)
    why = str(decided.details.get("why", "")) if decided else ""
    unchanged: Line = [say("Nothing was changed. The table is what the card showed.")]
    said = expiry_lines(history) if expired else [*reason_line(why), unchanged]
    return with_table(
        [
            header(f"{meaning.emoji} {meaning.title}: {amount(len(requests), 'customer')}"),
            said if verdict.is_known else [NEWER],
            people_lines(first),
        ],
        requests,
        results=seen_at_expiry(history) if expired else [],
        links=links,
    )


def _next_buttons(history: CardHistory) -> Iterator[Block]:
    card_id, requests = history.first.request.card_id, history.card.requests
    if any(map(may_be_checked, requests)):
        yield button("Check again", Action.CHECK, card_id, "primary")
    if any(map(may_be_undone, requests)):
        yield button("Undo…", Action.UNDO, card_id)
