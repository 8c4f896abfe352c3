"""What only the person who asked or clicked gets to see."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.meanings import VERDICTS
from bot.domain.models import Customer, Request
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    RateLimited,
)
from bot.messages.block_kit import Line, Message, channel, code, date, message, say, text, user
from bot.messages.events import ask_again
from bot.messages.phrases import Links, called, customer_lines, ids_inline, said_lines

COMMAND = "/unlatch"
USAGE = f"{COMMAND} <customerId> [reason]"


def malformed(why: str) -> Message:
    """What was wrong with a command, and how it is typed."""
    return message([[say("✋ "), text(why), say(" Type "), code(USAGE)]])


def denied(why: str, channels: Sequence[str] = ()) -> Message:
    """A refusal by the admin's rules; `why` says what to do instead, or in which channels."""
    places = [part for channel_id in channels for part in (say(" "), channel(channel_id))]
    return message([[say("🔒 "), text(why, limit=400), *places]])


def looking_up(customer_id: int) -> Message:
    """That Fusebill is taking its time."""
    return message([[say(f"⏳ Still reading customer {customer_id} from Fusebill …")]])


def not_latched(customer: Customer, links: Links) -> Message:
    """That there is nothing to clear."""
    name = [text(called(customer), limit=80), say(" ")] if called(customer) else []
    return message(
        [[say("☑️ "), *name, say("is latched to nothing in HubSpot: there is nothing to clear.")]],
        list(customer_lines(customer, links)),
    )


def not_read(customer_id: int, error: FusebillError) -> Message:
    """That the customer could not be read, in Fusebill's words where it gave any."""
    return message(
        [
            [say(f"{_trouble(customer_id, error)} Nothing was changed.")],
            *said_lines(error.texts, error.status),
            *_advice(error),
        ]
    )


def _trouble(customer_id: int, error: FusebillError) -> str:
    match error:
        case CustomerNotFound():
            return f"🔎 Fusebill knows no customer {customer_id}."
        case KeyRefused():
            return "🔑 Fusebill did not take the bot's API key."
        case RateLimited():
            return "⏳ Fusebill takes no more calls just now."
        case FusebillRefused():
            return f"❌ Fusebill refused to show customer {customer_id}."
        case NotReached():
            return "❌ Fusebill could not be reached."
        case _:
            return f"❌ Fusebill gave no usable answer about customer {customer_id}."


def _advice(error: FusebillError) -> list[Line]:
    match error:
        case CustomerNotFound():
            return [
                [say("Is it the “Customer ID” of Fusebill's screens? That is the reference;")],
                [say("the id is the number in the address of the customer's page.")],
            ]
        case KeyRefused():
            return [[say("The bot's admin has to set a valid FUSEBILL_API_KEY.")]]
        case RateLimited(retry_at=at) if at:
            return [[say("Try again after "), date(at), say(".")]]
        case _:
            return [[say("Try again in a minute; if it stays, tell the bot's admin.")]]


def on_wait() -> Message:
    """That Slack lets through only so much at a time, and the card waits for its turn."""
    return message(
        [
            [say("⏳ Slack is letting through only so much in this channel just now.")],
            [say("Your card is in the line and will come; there is no need to ask again.")],
        ]
    )


def cannot_post(code_: str, bot_user_id: str) -> Message:
    """Why the card could not be posted, and what the person can do."""
    why, fix = {
        "not_in_channel": ("I am not in this channel", "invite"),
        "channel_not_found": ("I can't see this channel", "invite"),
        "is_archived": ("This channel is archived", "elsewhere"),
        "restricted_action": ("Posting is restricted in this channel", "elsewhere"),
        "restricted_action_read_only_channel": ("This channel is read-only", "elsewhere"),
        "read_only_channel": ("This channel is read-only", "elsewhere"),
        "user_is_restricted": ("I may not post in this channel", "elsewhere"),
        "ratelimited": ("Slack lets too little through in this channel just now", "later"),
    }.get(code_, (f"Slack did not take the card ({code_[:60]})", "admin"))
    start: Line = [say(f"✋ {why}, so no card was posted and nothing was changed. ")]
    advice: dict[str, Line] = {
        "invite": [say("Type /invite "), user(bot_user_id), say(" here, then try again.")],
        "elsewhere": [say("Use the command in a channel where I can post.")],
        "later": [say("Try again in some minutes.")],
        "admin": [say("Try again; if it stays, tell the bot's admin.")],
    }
    return message([[*start, *advice[fix]]])


def too_late(request: Request) -> Message:
    """That somebody else decided, who, and when."""
    if request.verdict and request.decider and request.decided_at:
        by: Line = [
            say(f"☝️ This request was {VERDICTS[request.verdict].label.lower()} "),
            user(request.decider.user_id),
            say(", "),
            date(request.decided_at),
            say(". Your click changed nothing."),
        ]
        return message([by])
    again = code(ask_again(request))
    return message([[say("⌛ This request has expired; nothing was changed. Ask again: "), again]])


def no_such_request() -> Message:
    """That a card has no row in the ledger."""
    return message(
        [
            [
                say("🤷 I don't know this request, so nothing was done. Ask: "),
                code(USAGE),
            ]
        ]
    )


def ledger_down(*, uncertain: bool = False) -> Message:
    """That the ledger failed; `uncertain` where it may have taken the click all the same."""
    happened = (
        [say("💾 The bot's ledger gave no answer in time: whether this counted can't be told yet.")]
        if uncertain
        else [say("💾 The bot's ledger can't be reached, so nothing was done.")]
    )
    return message(
        [
            happened,
            [say("If the card still has its buttons in a minute, press again.")],
        ]
    )


def not_recorded(request: Request) -> Message:
    """What takes a card's place that could not be written down."""
    again = code(ask_again(request))
    return message(
        [
            [
                say("💾 This could not be written down, so nobody can confirm it. Ask again: "),
                again,
            ]
        ]
    )


def stopped() -> Message:
    """That the bot was stopped in the middle of something that had no card yet."""
    return message(
        [
            [say("🔄 The bot is being restarted and did not get to this; nothing was changed.")],
            [say("Try again in a minute.")],
        ]
    )


def failed() -> Message:
    """That the bot itself is at fault; never with details."""
    return message(
        [[say("💥 Something went wrong in the bot. Look at the card before you retry.")]]
    )


def not_found_out(wanted: str, error: FusebillError) -> Message:
    """That a search could not be done."""
    return message(
        [
            [say("❌ Fusebill could not look for "), text(wanted, limit=80), say(".")],
            *said_lines(error.texts, error.status),
            *_advice(error),
        ]
    )


def nothing_to_undo() -> Message:
    """That a card has been undone, or never cleared anything."""
    return message([[say("☝️ There is nothing (more) to undo on this card; nothing was done.")]])


def follow_up_open() -> Message:
    """That somebody asked for the same already."""
    return message([[say("☝️ This is asked for already: see the card in this thread.")]])


def latched_anew(customer: Customer, links: Links) -> Message:
    """That the customer is latched to something by now, which an undo would overwrite."""
    return message(
        [
            [say("⚠️ This can't be undone: by now the customer is latched to ")],
            [*ids_inline(customer.ids, links), say(". Nothing was done.")],
        ]
    )


def known_by_now() -> Message:
    """That a card's outcome is known."""
    return message([[say("☝️ What came of this is known by now: see the card.")]])
