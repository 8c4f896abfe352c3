"""Answers to commands and forms, and the bot's own troubles: what only one person sees."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.commands import ASK_USAGE, COMMAND
from bot.domain.meanings import KINDS
from bot.domain.models import Card, Customer, Kind, LeftOut, Request
from bot.domain.pasted_text import LineError
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
)
from bot.messages.block_kit import (
    Line,
    Message,
    channel,
    code,
    message,
    say,
    text,
    user,
)
from bot.messages.fusebill_errors import advice, emoji, reason
from bot.messages.phrases import (
    Links,
    amount,
    ask_again,
    card_subject,
    error_lines,
    facts,
    ids_inline,
    left_out_lines,
    line_errors,
    titled,
    told,
)
from bot.messages.results import not_as_asked, result_of

MAX_LINES_LEFT_OUT = 30

SEARCHING = told("⏳ Still searching in Fusebill …")
ON_WAIT = told(
    "⏳ Slack is limiting how fast the bot can post in this channel.",
    "Your card is queued and will appear; there is no need to ask again.",
)
SLACK_AWAY = told(
    "⏳ Slack does not take your card right now.",
    "It will appear as soon as Slack does; there is no need to ask again.",
)
STOPPED = told(
    "🔄 The bot is being restarted and did not get to this; nothing was changed.",
    "Try again in a minute.",
)
FAILED = told("💥 Something went wrong in the bot. Look at the card before you retry.")


def malformed(why: str, usage: str = ASK_USAGE, command: str = COMMAND) -> Message:
    """The command is malformed: what is wrong, and what to type after the command's name."""
    return message([[say("✋ "), text(why), say(" Type "), code(f"{command} {usage}")]])


def denied(why: str, channels: Sequence[str] = ()) -> Message:
    """The admin's rules refuse this; `channels` are the ones where it is allowed."""
    places = [part for channel_id in channels for part in (say(" "), channel(channel_id))]
    return message([[say("🔒 "), text(why, limit=400), *places]])


def looking_up(customer_id: int) -> Message:
    """Fusebill is slow to answer."""
    return told(f"⏳ Still reading customer {customer_id} from Fusebill …")


def reading_many(done: int, total: int) -> Message:
    """Fusebill is slow to show so many customers: how far the bot is."""
    return told(f"⏳ Still reading from Fusebill: {done} of {total} customers …")


def not_latched(customer: Customer, links: Links) -> Message:
    """The customer has no HubSpot ids to clear."""
    nothing = " is not latched to anything in HubSpot, so there is nothing to clear."
    about = text(titled(customer))
    return message([[say("☑️ "), about, say(nothing)]], facts(customer, links))


def not_moved(customer: Customer, why: str, links: Links) -> Message:
    """The customer can't be moved, or can't take ids, because of the ids that it has now."""
    who = text(titled(customer))
    ids = ids_inline(customer.ids, links)
    return message([[say("☝️ "), who, say(" is latched to "), *ids, say(f", {why}")]])


def not_read(
    customer_id: int, error: FusebillError, holds: str = "Nothing was changed."
) -> Message:
    """The customer could not be read; quotes Fusebill's errors, and says what `holds`."""
    return message(
        [
            [text(f"{_trouble(customer_id, error)} {holds}", limit=400)],
            *_quoted(error),
            *advice(error),
        ]
    )


def search_failed(wanted: str, error: FusebillError) -> Message:
    """Fusebill could not search."""
    return message(
        [
            [say("❌ Fusebill could not search for "), text(wanted, limit=80), say(".")],
            [text(reason(error), limit=400)],
            *_quoted(error),
            *advice(error),
        ]
    )


def _trouble(customer_id: int, error: FusebillError) -> str:
    """What went wrong; names the customer where it is about the customer."""
    about: dict[type[FusebillError], str] = {
        CustomerNotFound: f"Fusebill has no customer {customer_id}.",
        FusebillRefused: f"Fusebill refused to show customer {customer_id}.",
    }
    return f"{emoji(error)} {about.get(type(error)) or reason(error)}"


def _quoted(error: FusebillError) -> list[Line]:
    """The answer's words; for a refusal without any, that there were none."""
    silent = type(error) is FusebillRefused or isinstance(error, KeyRefused | CustomerNotFound)
    return list(error_lines(error.texts, error.status)) if error.texts or silent else []


def none_to_unlatch(left_out: Sequence[LeftOut], links: Links | None = None) -> Message:
    """No customer is left to ask about: each with why."""
    many = amount(len(left_out), "customer")
    nothing = f"☝️ Of {many}, none can be unlatched. No card was posted, and nothing was changed."
    return message([[say(nothing)]], left_out_lines(left_out, links or Links()))


def lines_left_out(errors: Sequence[LineError]) -> Message:
    """Lines of a pasted text that name no customer: each with why, as many as fit."""
    said = [[text(each)] for each in line_errors(errors[:MAX_LINES_LEFT_OUT])]
    more = len(errors) - MAX_LINES_LEFT_OUT
    rest = [[say(f"{amount(more, 'more line', 'more lines')}.")]] if more > 0 else []
    return message([[say("📝 Left out of what you pasted:")], *said, *rest])


def others_left_out(kind: Kind, left_out: Sequence[LeftOut], links: Links) -> Message:
    """Of several customers only one is on the card, which names no others: each with why."""
    many = amount(len(left_out) + 1, "customer")
    done = KINDS[kind].done
    only = f"☝️ Of {many}, only one can be {done}. Its card does not show the others:"
    return message([[say(only)]], left_out_lines(left_out, links))


def form_not_opened(code_: str, *, passes: bool) -> Message:
    """Slack did not say that it opened a form: its error code, or what became of its answer.

    `passes`: the same may work if it is done again.
    """
    said = (
        "Slack did not say that it opened the form, and nothing was done. If you see no form, do"
        " the same again."
        if passes
        else f"Slack does not let the bot open the form ({code_[:60]}), so nothing was done. Trying"
        " again won't help: tell the bot's admin."
    )
    return told(f"📝 {said}")


def cannot_post(code_: str, remedy: str, bot_user_id: str) -> Message:
    """The card could not be posted: why, by Slack's error code, and who can help.

    `remedy` is a word of `bot.slack.error_codes.Remedy`.
    """
    why = {
        "not_in_channel": "The bot is not in this channel",
        "channel_not_found": "The bot can't see this channel",
        "is_archived": "This channel is archived",
        "restricted_action": "Posting is restricted in this channel",
        "restricted_action_read_only_channel": "This channel is read-only",
        "restricted_action_thread_only_channel": "This channel takes replies only",
        "restricted_action_non_threadable_channel": "This channel takes no replies",
        "messages_tab_disabled": "Cards can't be posted here",
    }.get(code_, f"Slack did not accept the card ({code_[:60]})")
    help_: dict[str, Line] = {
        "person": [say("Type /invite "), user(bot_user_id), say(" here, then try again.")],
        "channel": [say("Use the command in a channel where the bot can post.")],
    }
    nobody: Line = [say("Trying again won't help: tell the bot's admin.")]
    start = say(f"✋ {why}, so no card was posted and nothing was changed. ")
    return message([[start, *help_.get(remedy, nobody)]])


def ledger_down(*, uncertain: bool = False, pressed: bool = True) -> Message:
    """The ledger failed; `uncertain` if it may have saved it all the same.

    `pressed` says whether that was a press on a card; else there may be no card to look at.
    """
    failure = (
        "💾 The bot's ledger did not answer in time. The bot doesn't know yet if this counted."
        if uncertain
        else "💾 The bot's ledger can't be reached, so nothing was done."
    )
    again = "If the card still has its buttons in a minute, press again."
    return told(failure, again if pressed else "Wait a minute, then do the same again.")


def not_recorded(request: Request, *, uncertain: bool = False) -> Message:
    """The request could not be saved, so it has no card; `uncertain` if it may have been saved."""
    again = code(ask_again(request))
    if uncertain:
        return message(
            [
                [say("💾 The bot's ledger did not answer in time. Your card may still appear.")],
                [say("If there is none in two minutes, ask again: "), again],
            ]
        )
    return message(
        [
            [say("💾 The bot's ledger can't be reached, so no card was posted.")],
            [say("Nothing was changed.")],
            [say("In a minute, ask again: "), again],
        ]
    )


def never_posted(card: Card, why: str) -> Message:
    """A card was not posted as long as it could be decided, and why."""
    one = f"customer {card.first.customer.customer_id}"
    about = one if len(card.requests) == 1 else card_subject(card)
    return message(
        [
            [say(f"🔄 There is no card for {about}: {why}. Nothing was changed.")],
            [say("Ask again: "), code(ask_again(card.first))],
        ]
    )


def outcome_without_card(card: Card, links: Links, lost: str, *, gone: bool) -> Message:
    """The outcome for one person, since Slack takes no more of the card, or of card and trail.

    `lost` names them; `gone`: they never will be shown.
    """
    result = result_of(card, links)
    why = (
        f"Slack can't show {lost} any more, so you get the result here."
        if gone
        else f"Slack does not let the bot show {lost} now, so you get the result here. If the bot"
        " is no longer in the channel, invite it again: the card will follow."
    )
    # the lines about many customers speak of the card's table
    said = [[say(each)] for each in not_as_asked(card)] if card.is_of_many else result.lines
    about = text(card_subject(card))
    return message([[say(f"{result.title}: "), about], *said, [say(why)]])
