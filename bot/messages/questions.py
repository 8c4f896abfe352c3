"""Asks which of several meanings a text has: each has a button, and says what it would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.commands import COMMAND, QUOTED_LENGTH, Ask, Doubt, Move, Question
from bot.domain.models import Customer, Request
from bot.messages.block_kit import (
    Block,
    Line,
    Message,
    bold,
    code,
    cut,
    date,
    lines,
    link,
    message,
    say,
    text,
    user,
)
from bot.messages.card import Action
from bot.messages.lists import asking, hit_lines
from bot.messages.phrases import Links, amount, ids_inline, titled

MAX_LABEL_LENGTH = 75
SHOWN_REASON_LENGTH = 500
MAX_CHOICES = 5
MAX_WAITING = 10
MAX_DESCRIBED = 5
"""So many customers are shown with all that is known of them; of more, the names and the ids."""


def which_meaning(asked: Question, command: str = COMMAND) -> Message:
    """Ask which of two meanings a text has.

    Where a button can't carry its meaning, the message says how to type it.
    """
    many, few = asked.meant, asked.few
    why: list[Line] = [[say(asked.why)]] if asked.why else []
    return message(
        [[say("❓ This can mean two things, so nothing was done. Which do you mean?")], *why],
        *_choice(many, _customers(many), "…", command),
        *(_reason_choice(few, command) if few else ()),
    )


def whom(
    question: Question,
    hits: Sequence[Sequence[Customer]],
    links: Links,
    command: str = COMMAND,
) -> Message:
    """Ask whom a text means; `hits` are the customers whom each of its doubts may name, in order.

    A choice takes one customer for each doubt. Where several doubts may name several customers
    each, a choice is one of these customers alone.
    """
    doubts, few = question.meant.doubts, question.few
    found = {each.customer_id: each for one in hits for each in one}
    choices = _choices(question.meant, hits)
    more: Line = [say("There are more: ask about one of them at a time.")]
    return message(
        [[say("❓ It is not certain whom you mean, so nothing was done. Do you mean …?")]]
        if found
        else [[say("🔎 Fusebill has no such customer, so nothing was done.")]],
        *(_of_doubt(*each, links, len(found)) for each in zip(doubts, hits, strict=True)),
        [_why(question.meant)] if choices else None,
        *(
            block
            for choice in choices[:MAX_CHOICES]
            for block in _choice(choice, _label(choice, found), "…", command, with_why=False)
        ),
        [more] if len(choices) > MAX_CHOICES else None,
        *(_reason_choice(few, command) if few else ()),
    )


def waits_already(
    waiting: Sequence[tuple[Request, str | None]], wanted: Ask | Move, command: str
) -> Message | None:
    """Say whose cards wait already, with their addresses, and ask whether another one is wanted.

    None if no button carries that.
    """
    [(first, url), *others] = waiting
    about = amount(len(waiting), "customer") if others else titled(first.customer)
    label = "Ask anyway"
    pressed = asking(label, wanted, command, aloud=f"{label}: {about}", action=Action.ANYWAY)
    if pressed is None:
        return None
    if others:
        said = [[say(f"☝️ Cards already wait for {about}, so no other was posted:")]]
        said += [
            [text(titled(each.customer)), say(", "), *_asked(each, its)]
            for each, its in waiting[:MAX_WAITING]
        ]
        more = len(waiting) - MAX_WAITING
        said += [[say(f"{more} more")]] if more > 0 else []
    else:
        start: Line = [say("☝️ A card already waits for "), text(about), say(", ")]
        said = [[*start, *_asked(first, url)], [say("No other card was posted.")]]
    return message(said, pressed)


def _asked(request: Request, url: str | None) -> Line:
    """Who asked for a card, when, and where it is."""
    see = [say(": "), link(url, "see its card")] if url else []
    asked = [say("asked by "), user(request.requester.user_id), say(", ")]
    return [*asked, date(request.asked_at), *see, say(".")]


def _choices(meant: Ask, hits: Sequence[Sequence[Customer]]) -> list[Ask]:
    """What a person may mean: each choice once, with the reason."""
    ids = [[each.customer_id for each in one] for one in hits]
    settled = [*meant.customer_ids, *(one[0] for one in ids if len(one) == 1)]
    undecided = [one for one in ids if len(one) > 1]
    if len(undecided) == 1:
        chosen = [[*settled, each] for each in undecided[0]]
    else:
        chosen = [settled, *([each] for one in undecided for each in one)]
    different = dict.fromkeys(tuple(dict.fromkeys(each)) for each in chosen if each)
    return [Ask(each, meant.reason) for each in different]


def _of_doubt(doubt: Doubt, hits: Sequence[Customer], links: Links, total: int) -> Block:
    """What somebody typed, and whom it may name."""
    typed = text(doubt.typed, limit=QUOTED_LENGTH)
    if not hits:
        nobody = "the page of a customer" if doubt.is_address else "a Stax Bill ID or Customer ID"
        return lines([[typed, say(f" is not {nobody}.")]])
    what = "has the number of:" if doubt.is_address else "may be:"
    if total <= MAX_DESCRIBED:
        described = [line for each in hits for line in hit_lines(each, links)]
        return lines([[typed, say(f" {what}")], *described])
    # links would make a message of fifty customers too long
    named = [[text(titled(each)), say(", "), *ids_inline(each.ids, Links())] for each in hits]
    return lines([[typed, say(f" {what} "), *named[0]], *named[1:]])


def _label(choice: Ask, found: dict[int, Customer]) -> str:
    """What a choice asks about: the customer that tells it from the others, the last one."""
    *others, last = choice.customer_ids
    if last not in found:
        return _customers(choice)
    more = f" and {len(others)} more" if others else ""
    return f"{cut(titled(found[last]), MAX_LABEL_LENGTH - len(more))}{more}"


def _reason_choice(few: Ask, command: str) -> Iterator[Block]:
    """Fewer customers; the rest of the text is the reason."""
    label = f"{_customers(few)}, the rest is the reason"
    return _choice(few, label, "because …", command)


def _choice(
    reading: Ask, label: str, rest: str, command: str, *, with_why: bool = True
) -> Iterator[Block]:
    """One meaning in words, with its button; if that can't carry it, with what to type.

    Not `with_why` where all choices have the same reason, which stands above them once.
    """
    said: list[Line] = [[bold(f"{_customers(reading)}: "), say(_ids(reading))]]
    said += [_why(reading)] if with_why else []
    if pressed := asking(label, reading, command, aloud=f"{label}: {_ids(reading)}"):
        yield lines(said)
        yield pressed
    else:
        typed = f"{command} {_ids(reading)} {rest}"
        yield lines([*said, [say("This is too long for a button. Type: "), code(typed)]])


def _why(reading: Ask) -> Line:
    if not reading.reason:
        return [say("Without a reason.")]
    return [bold("Why: "), text(reading.reason, limit=SHOWN_REASON_LENGTH)]


def _customers(reading: Ask) -> str:
    count = len(reading.customer_ids)
    return "One customer" if count == 1 else amount(count, "customer")


def _ids(reading: Ask) -> str:
    return ", ".join(map(str, reading.customer_ids))
