"""Answers clicks that can't be followed: who came first, or what is already done or decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.meanings import OUTCOMES, VERDICTS
from bot.domain.models import Card, Customer, LeftOut, Person, Request, Verdict
from bot.fusebill.errors import FusebillError
from bot.messages import answers
from bot.messages.block_kit import (
    Inline,
    Line,
    Message,
    code,
    date,
    link,
    message,
    say,
    text,
    user,
)
from bot.messages.phrases import Links, amount, ask_again, change_inline, ids_inline, told

NO_SUCH_REQUEST = told("🤷 The bot has no record of this request, so nothing was done. Ask again.")
MISMATCH = told(
    "🔒 This card doesn't match the ledger's record. Nothing was done; tell the bot's admin."
)
NOTHING_TO_UNDO = told("☝️ There is nothing to undo on this card, so nothing was done.")
FOLLOW_UP_OPEN = told("☝️ There is already an open request for this in the thread.")
OUTCOME_KNOWN = told("☝️ The outcome is already known: see the card.")
NOTHING_TO_ASK_AGAIN = told("☝️ There is nothing left to ask again: see the card.")
NOTHING_TO_STOP = told("☝️ There is nothing left to stop: see the card.")
STOP_INTERRUPTED = told(
    "🔄 The bot is being restarted. The bot doesn't know yet if your Stop counted.",
    "The work goes on. If the button is still there in a minute, press it again.",
)


def too_late(card: Card, person: Person) -> Message:
    """The card is already decided: by whom and when, and the outcome; or that it expired.

    Nobody is told that their click changed nothing on a card that they have decided themselves.
    """
    request = card.first
    if request.verdict and request.decider and request.decided_at:
        verdict, own = VERDICTS[request.verdict], request.decider.user_id == person.user_id
        decided: Line = [
            say(f"☝️ This request was {request.verdict} by "),
            user(request.decider.user_id),
            say(", "),
            date(request.decided_at),
            say("." if own else ". Your click changed nothing."),
        ]
        return message([decided, *([[say(_known(card))]] if verdict.executes else [])])
    if request.verdict is Verdict.OVERTAKEN:
        said = "⏩ Another request came first, so this one is closed: see the card."
        return message([[say(f"{said} Your click changed nothing.")]])
    again = code(ask_again(request))
    if request.verdict is None and not request.is_open:
        closed = "⌛ This request was closed because its card could not be posted in time;"
        return message([[say(f"{closed} nothing was changed. Ask again: "), again]])
    expired = say("⌛ This request has expired; your click changed nothing. Ask again: ")
    return message([[expired, again]])


def _known(card: Card) -> str:
    """What is known of the result of a confirmed card."""
    if len(card.requests) > 1:
        return "The card shows what came of each customer."
    if card.first.outcome is None:
        return "The result is not known yet."
    return f"The result: {OUTCOMES[card.first.outcome].heading}."


def overtaken(why: str, other: Request, url: str | None) -> Message:
    """Another request for the same customer came first: what it did, who, when, and its card."""
    return message([[say("🔒 "), text(why, limit=400)], [*_other(other, url)]])


def changed_since(other: Request, url: str | None) -> Message:
    """An undo belongs to the last request that changed the customer, and that is another one."""
    return message(
        [
            [say(f"☝️ This can't be undone here: the customer {_since(other)}.")],
            [*_other(other, url)],
            [say("Nothing was done. Undo belongs to the card that changed it last.")],
        ]
    )


def unknown_since(others: Sequence[Request], url: str | None, command: str) -> Message:
    """An unknown outcome can't be read off a customer that another request has changed since.

    `others` are those requests, one for each customer; `url` is the card of the only one.
    """
    ids = ", ".join(str(other.customer.customer_id) for other in others)
    now = [say("To see how things are now: "), code(f"{command} {ids}")]
    start = "☝️ The bot can no longer tell what this did"
    if len(others) > 1:
        since = "they have been changed since, or are being changed."
        return message([[say(f"{start} to {amount(len(others), 'customer')}: {since}")], now])
    first = others[0]
    since = f"the customer {_since(first)}."
    return message([[say(f"{start}: {since}")], [*_other(first, url)], now])


def _since(other: Request) -> str:
    """What is known of a change that another request makes, or made."""
    if other.outcome is None:
        return "is being changed right now"
    may_have = OUTCOMES[other.outcome].may_be_checked
    return "may have been changed since" if may_have else "has been changed since"


def _other(other: Request, url: str | None) -> Iterator[Inline]:
    verdict = VERDICTS[other.verdict] if other.verdict else None
    meaning = OUTCOMES[other.outcome] if other.outcome else verdict
    title = meaning.heading if meaning else "The other request"
    yield say(f"{title}: ")
    yield from change_inline(other, Links())
    if verdict and other.decider and other.decided_at:
        yield say(f" · {other.verdict} by ")
        yield user(other.decider.user_id)
        yield say(", ")
        yield date(other.settled_at or other.decided_at)
    if url:
        yield say(" · ")
        yield link(url, "see its card")


def not_read(customer_id: int, error: FusebillError) -> Message:
    """A customer could not be read; what its card asked for may have changed it."""
    return answers.not_read(customer_id, error, f"Nothing was done about customer {customer_id}.")


def nothing_left_to_undo(left_out: Sequence[LeftOut]) -> Message:
    """None of a card's customers can be latched again now."""
    return message(
        [
            [say("⚠️ None of these can be undone now, so nothing was done:")],
            *(
                [say(f"{each.customer_id} "), text(each.name, limit=60), say(f": {each.why}")]
                for each in left_out[:20]
            ),
        ]
    )


def latched_meanwhile(customer: Customer, links: Links) -> Message:
    """An undo would overwrite the ids that the customer has now."""
    return message(
        [
            [
                say("⚠️ This can't be undone: the customer is now latched to "),
                *ids_inline(customer.ids, links),
                say(". Nothing was done."),
            ]
        ]
    )


def follow_up_posted(url: str | None) -> Message:
    """A press on a result led to a new card, which waits in the thread."""
    card = link(url, "its card") if url else say("its card")
    return message([[say("☝️ A decision is needed: "), card, say(" is in the thread.")]])


def not_stopped(*, uncertain: bool = False) -> Message:
    """The ledger failed when somebody pressed **Stop**; `uncertain` if it may have saved that."""
    failure = (
        "💾 The bot's ledger did not answer in time. The bot doesn't know yet if your Stop counted."
        if uncertain
        else "💾 The bot's ledger can't be reached, so your Stop did not count: the work goes on."
    )
    return told(failure, "If the card still has the button in a minute, press it again.")


def asked_already(card: Card, url: str | None) -> Message:
    """The same was asked before, by the same act or the first half of a double click."""
    seen = [say(" · "), link(url, "see its card")] if url else []
    if card.first.is_open:
        is_posted = card.first.message_ts
        now = "its card waits for a decision" if is_posted else "its card will appear soon."
    elif card.first.message_ts:
        now = "its card shows what came of it"
    else:
        now = "its card could not be posted, so nothing was changed."
    return message([[say(f"☝️ This was asked for already: {now}"), *seen]])
