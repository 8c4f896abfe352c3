"""Builds the messages that only the person who typed or clicked sees."""

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
from bot.messages.phrases import Links, customer_lines, display_name, error_lines, ids_inline

COMMAND = "/unlatch"
USAGE = f"{COMMAND} <customerId> [reason]"


def malformed(why: str) -> Message:
    """The command is malformed: what is wrong, and how to type it."""
    return message([[say("✋ "), text(why), say(" Type "), code(USAGE)]])


def denied(why: str, channels: Sequence[str] = ()) -> Message:
    """The admin's rules refuse this; `channels` are the ones where it is allowed."""
    places = [part for channel_id in channels for part in (say(" "), channel(channel_id))]
    return message([[say("🔒 "), text(why, limit=400), *places]])


def looking_up(customer_id: int) -> Message:
    """Fusebill is slow to answer."""
    return message([[say(f"⏳ Still reading customer {customer_id} from Fusebill …")]])


def not_latched(customer: Customer, links: Links) -> Message:
    """The customer has no HubSpot ids to clear."""
    name = text(display_name(customer) or "This customer", limit=80)
    nothing = " is not latched to anything in HubSpot, so there is nothing to clear."
    return message(
        [[say("☑️ "), name, say(nothing)]],
        list(customer_lines(customer, links)),
    )


def not_read(customer_id: int, error: FusebillError) -> Message:
    """The customer could not be read; quotes Fusebill's errors."""
    return message(
        [
            [say(f"{_trouble(customer_id, error)} Nothing was changed.")],
            *error_lines(error.texts, error.status),
            *_advice(error),
        ]
    )


def _trouble(customer_id: int, error: FusebillError) -> str:
    match error:
        case CustomerNotFound():
            return f"🔎 Fusebill has no customer {customer_id}."
        case KeyRefused():
            return "🔑 Fusebill did not accept the bot's API key."
        case RateLimited():
            return "⏳ Fusebill accepts no more calls right now."
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
                [say("Is it the “Customer ID” from Fusebill's screens? That is the reference.")],
                [say("The id is the number in the URL of the customer's page.")],
            ]
        case KeyRefused():
            return [[say("The bot's admin has to set a valid FUSEBILL_API_KEY.")]]
        case RateLimited(retry_at=at) if at:
            return [[say("Try again after "), date(at), say(".")]]
        case _:
            return [[say("Try again in a minute. If it still fails, tell the bot's admin.")]]


def on_wait() -> Message:
    """Slack's rate limit delays the card."""
    return message(
        [
            [say("⏳ Slack is limiting how fast the bot can post in this channel.")],
            [say("Your card is queued and will appear; there is no need to ask again.")],
        ]
    )


def cannot_post(code_: str, bot_user_id: str) -> Message:
    """The card could not be posted: why, by Slack's error code, and what the person can do."""
    why, fix = {
        "not_in_channel": ("I am not in this channel", "invite"),
        "channel_not_found": ("I can't see this channel", "invite"),
        "is_archived": ("This channel is archived", "elsewhere"),
        "restricted_action": ("Posting is restricted in this channel", "elsewhere"),
        "restricted_action_read_only_channel": ("This channel is read-only", "elsewhere"),
        "read_only_channel": ("This channel is read-only", "elsewhere"),
        "user_is_restricted": ("I'm not allowed to post in this channel", "elsewhere"),
        "ratelimited": ("Slack is limiting posts in this channel right now", "later"),
    }.get(code_, (f"Slack did not accept the card ({code_[:60]})", "admin"))
    start: Line = [say(f"✋ {why}, so no card was posted and nothing was changed. ")]
    advice: dict[str, Line] = {
        "invite": [say("Type /invite "), user(bot_user_id), say(" here, then try again.")],
        "elsewhere": [say("Use the command in a channel where I can post.")],
        "later": [say("Try again in a few minutes.")],
        "admin": [say("Try again. If it still fails, tell the bot's admin.")],
    }
    return message([[*start, *advice[fix]]])


def too_late(request: Request) -> Message:
    """The request is already decided: by whom and when, or that it expired."""
    if request.verdict and request.decider and request.decided_at:
        decided: Line = [
            say(f"☝️ This request was {VERDICTS[request.verdict].label.lower()} "),
            user(request.decider.user_id),
            say(", "),
            date(request.decided_at),
            say(". Your click changed nothing."),
        ]
        return message([decided])
    again = code(ask_again(request))
    return message([[say("⌛ This request has expired; nothing was changed. Ask again: "), again]])


def form_not_opened() -> Message:
    """Slack did not open the form for a reason."""
    return message(
        [[say("📝 Slack did not open the form, so nothing was decided. Press Cancel again.")]]
    )


def no_such_request() -> Message:
    """The ledger has no such request."""
    return message(
        [
            [
                say("🤷 I have no record of this request, so nothing was done. Ask again: "),
                code(USAGE),
            ]
        ]
    )


def ledger_down(*, uncertain: bool = False) -> Message:
    """The ledger failed; `uncertain` if it may have saved the click all the same."""
    failure = (
        [say("💾 The bot's ledger did not answer in time. We don't know yet if this counted.")]
        if uncertain
        else [say("💾 The bot's ledger can't be reached, so nothing was done.")]
    )
    return message(
        [
            failure,
            [say("If the card still has its buttons in a minute, press again.")],
        ]
    )


def not_recorded(request: Request) -> Message:
    """Replaces a card whose request could not be saved."""
    again = code(ask_again(request))
    return message(
        [
            [
                say("💾 This request could not be saved, so nobody can confirm it. Ask again: "),
                again,
            ]
        ]
    )


def stopped() -> Message:
    """The bot stopped before the request had a card."""
    return message(
        [
            [say("🔄 The bot is being restarted and did not get to this; nothing was changed.")],
            [say("Try again in a minute.")],
        ]
    )


def failed() -> Message:
    """An unexpected error in the bot; shows no details."""
    return message(
        [[say("💥 Something went wrong in the bot. Look at the card before you retry.")]]
    )


def search_failed(wanted: str, error: FusebillError) -> Message:
    """Fusebill could not search."""
    return message(
        [
            [say("❌ Fusebill could not search for "), text(wanted, limit=80), say(".")],
            *error_lines(error.texts, error.status),
            *_advice(error),
        ]
    )


def nothing_to_undo() -> Message:
    """The card was undone already, or never cleared anything."""
    return message([[say("☝️ There is nothing to undo on this card, so nothing was done.")]])


def follow_up_open() -> Message:
    """The same follow-up is already waiting for a decision."""
    return message([[say("☝️ There is already an open request for this in the thread.")]])


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


def outcome_known() -> Message:
    """The outcome is known, so there is nothing to check."""
    return message([[say("☝️ The outcome is already known: see the card.")]])
