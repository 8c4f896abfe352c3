"""Builds the messages about many customers that only the person who typed or clicked sees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from bot.domain.commands import Ambiguous, Reading
from bot.domain.meanings import VERDICTS
from bot.domain.models import CardHistory, LeftOut
from bot.messages.block_kit import (
    Block,
    Line,
    Message,
    bold,
    button,
    buttons,
    code,
    lines,
    message,
    say,
    text,
    units,
)
from bot.messages.cards import Action
from bot.messages.ephemerals import COMMAND, where_the_card_is
from bot.messages.many.cards import left_out_lines
from bot.messages.many.results import counts, not_as_asked
from bot.messages.phrases import Links, amount

MAX_VALUE_LENGTH = 2_000
"""Of a button: docs.slack.dev/reference/block-kit/block-elements/button-element"""
SHOWN_REASON_LENGTH = 500


def which_meaning(ambiguous: Ambiguous) -> Message:
    """Ask which of two meanings a text has: each has a button, and says what it would do.

    Where a button can't carry its meaning, the message says how to type it.
    """
    many, few = ambiguous.many, ambiguous.few
    return message(
        [[say("❓ This can mean two things, so nothing was done. Which do you mean?")]],
        *_choice(many, _customers(many), f"{COMMAND} {_ids(many)} …"),
        *_choice(
            few,
            f"{_customers(few)}, the rest is the reason",
            f"{COMMAND} {_ids(few)} because …",
        ),
    )


def reading_many(done: int, total: int) -> Message:
    """Fusebill is slow to show so many customers: how far the bot is."""
    return message([[say(f"⏳ Still reading from Fusebill: {done} of {total} customers …")]])


def none_to_unlatch(left_out: Sequence[LeftOut], links: Links | None = None) -> Message:
    """No customer is left to ask about: each with why."""
    many = amount(len(left_out), "customer")
    nothing = f"☝️ Of {many}, none can be unlatched. No card was posted, and nothing was changed."
    return message([[say(nothing)]], left_out_lines(left_out, links or Links()))


def others_left_out(left_out: Sequence[LeftOut], links: Links) -> Message:
    """Of several customers only one is on the card, which names no others: each with why."""
    many = amount(len(left_out) + 1, "customer")
    only = f"☝️ Of {many}, only one can be unlatched. Its card does not show the others:"
    return message([[say(only)]], left_out_lines(left_out, links))


def others_not_undone(left_out: Sequence[LeftOut], links: Links) -> Message:
    """Of several customers only one is on the card that undoes; the card names no others."""
    many = amount(len(left_out) + 1, "customer")
    only = f"☝️ Of {many}, only one can be latched again. Its card does not show the others:"
    return message([[say(only)]], left_out_lines(left_out, links))


def form_not_opened(*, certain: bool) -> Message:
    """Slack did not open the form for many ids; not `certain` if its answer was lost."""
    start = say(
        "📝 Slack did not open the form, so nothing was done. Type it again: "
        if certain
        else "📝 Slack did not say whether it opened the form. Nothing was done."
        " If you see no form, type it again: "
    )
    return message([[start, code(f"{COMMAND} many")]])


def many_unknown_since(customer_ids: Sequence[int]) -> Message:
    """Unknown outcomes can't be read off customers that other requests have changed since."""
    many = amount(len(customer_ids), "customer")
    return message(
        [
            [
                say(f"☝️ We can't see any more what this did to {many}: "),
                say("they have been changed since, or are being changed."),
            ],
            [say("To see how things are now: "), code(f"{COMMAND} {_joined(customer_ids)}")],
        ]
    )


def outcome_of_many_without_card(history: CardHistory, *, gone: bool) -> Message:
    """The outcome for one person, since the card can't show it; `gone`: it never will."""
    many = amount(len(history.histories), "customer")
    return message(
        [
            [say(f"{_result(history)}: {many}")],
            *([say(named)] for named in not_as_asked(history)),
            [say(where_the_card_is(gone=gone))],
        ]
    )


def _result(history: CardHistory) -> str:
    """The counts of a card that was confirmed; of any other, its verdict."""
    verdict = history.card.first.verdict
    if verdict is None or VERDICTS[verdict].executes:
        return counts(history)
    return f"{VERDICTS[verdict].emoji} {VERDICTS[verdict].title}"


def _choice(reading: Reading, label: str, typed: str) -> Iterator[Block]:
    """One meaning in words, with its button; if that can't carry it, with what to type."""
    value = json.dumps(
        {"ids": reading.customer_ids, "reason": reading.reason},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    why: Line = (
        [bold("Why: "), text(reading.reason, limit=SHOWN_REASON_LENGTH)]
        if reading.reason
        else [say("Without a reason.")]
    )
    said: list[Line] = [[bold(f"{_customers(reading)}: "), say(_ids(reading))], why]
    pressed = buttons(button(label, Action.MEANT, value))
    if pressed and units(value) <= MAX_VALUE_LENGTH:
        yield lines(said)
        yield pressed
    else:
        yield lines([*said, [say("This is too long for a button. Type: "), code(typed)]])


def _customers(reading: Reading) -> str:
    count = len(reading.customer_ids)
    return "One customer" if count == 1 else amount(count, "customer")


def _ids(reading: Reading) -> str:
    return _joined(reading.customer_ids)


def _joined(customer_ids: Sequence[int]) -> str:
    return ", ".join(map(str, customer_ids))
