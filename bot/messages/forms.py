"""Builds the form (modal) that declines a request, and the fields that other forms have too.

A form names no message, so it carries the ids that belong to it; everything else is read again from
the ledger. A sent form has no response_url, so it carries that of its command or press, which works
for half an hour.
Source: docs.slack.dev/surfaces/modals
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.commands import (
    COMMAND,
    MAX_REASON_LENGTH,
    Move,
    Place,
)
from bot.domain.models import Card
from bot.domain.values import value
from bot.messages.block_kit import (
    Block,
    Form,
    Line,
    Message,
    bold,
    lines,
    say,
    text,
    user,
)
from bot.messages.phrases import Links, card_subject, ids_inline, move_lines, titled

REASON = "reason"

DECLINE = "unlatch_decline"
"""The `callback_id` of the form that declines a request."""
MOVE = "unlatch_move_form"
"""The `callback_id` of the form that moves a latch."""
_LEFT = " Leave it empty to keep it; “none” removes it."
MOVE_FIELDS = (
    ("contact", "HubSpot contact", f"Its id or its address.{_LEFT}"),
    ("company", "HubSpot company", f"Its id or its address.{_LEFT}"),
    ("customer", "Or another customer", "The Stax Bill ID of the customer that gets the ids."),
)
"""Each field's name, label and hint."""
MAX_ADDRESS_LENGTH = 500
TITLE = "Decline this request?"
LEDGER_DOWN = (
    "The bot's ledger can't be reached, so nothing was decided. Press Decline again in a minute."
)
LEDGER_UNCERTAIN = (
    "The bot's ledger did not answer in time. The bot doesn't know yet if this counted. Press"
    " Decline again: a request is decided only once."
)
FAILED = "Something went wrong in the bot. Close this and look at the card before you retry."


@value
class Declined:
    """What somebody sent with the form: which request, from which card, and why.

    `response_url` is that of the press that opened the form: a form has none of its own.
    """

    request_id: str
    message_ts: str
    reason: str
    response_url: str = ""


def decline_form(card: Card, message_ts: str, links: Links, response_url: str = "") -> Form:
    """Ask for an optional reason; `message_ts` is the card whose button was pressed."""
    request = card.first
    carried = {"request_id": card.id, "message_ts": message_ts, "response_url": response_url}
    ids: Line = [bold("Ids on the card: "), *ids_inline(request.customer.ids, links)]
    one: list[Line] = [
        [bold("Customer: "), text(card_subject(card))],
        *(move_lines(card, links) if request.to is not None else [ids]),
    ]
    customers = f"{titled(request.customer)} and {request.card_size - 1} more"
    many: list[Line] = [[bold("Customers: "), text(customers)]]
    why: Line = [say(": "), text(request.reason, limit=500)] if request.reason else []
    asked: Line = [bold("Asked by "), user(request.requester.user_id), *why]
    about = [*(many if card.is_of_many else one), asked]
    blocks = [lines(about), reason_input(optional=True)]
    return modal(DECLINE, carried, TITLE, "Decline", "Back", blocks)


def answer_form(answer: Message) -> Form:
    """Replaces the form when it can no longer be sent: says what happened instead."""
    return {
        "type": "modal",
        "title": plain("Not declined"),
        "close": plain("Close"),
        "blocks": answer.blocks,
    }


def read_declined(view: dict[str, Any]) -> Declined:
    """Read a form that was sent. Raises: ValueError, LookupError or TypeError if it is another."""
    carried = json.loads(view["private_metadata"])
    typed = view["state"]["values"][REASON][REASON]["value"] or ""
    reason = " ".join(str(typed).split())
    return Declined(
        str(carried["request_id"]),
        str(carried["message_ts"]),
        reason,
        # a form that an older version opened carries none
        str(carried.get("response_url", "")),
    )


@value
class MoveSent:
    """What somebody sent with the form that moves a latch: where, whose, and each field's text.

    `cleared` are the ids that an unlatch took from the customer, if its result opened the form.
    """

    place: Place
    customer_id: int
    cleared: dict[str, int | None]
    fields: dict[str, str]
    reason: str


def move_form(move: Move, place: Place, *, needs_reason: bool) -> Form:
    """Ask what a customer is to be latched to; the card will be posted in this place."""
    carried = carrying(place) | {"customer_id": move.customer_id, "cleared": dict(move.ids)}
    reason = reason_input(optional=not needs_reason)
    if move.reason:
        reason["element"]["initial_value"] = move.reason
    fields = [
        text_input(name, label, hint, MAX_ADDRESS_LENGTH, multiline=False) | {"optional": True}
        for name, label, hint in MOVE_FIELDS
    ]
    fields[0]["element"]["focus_on_load"] = True
    blocks = [lines([[bold("Customer: "), say(str(move.customer_id))]]), *fields, reason]
    return modal(MOVE, carried, "Move a latch", "Ask", "Cancel", blocks)


def read_moved(view: dict[str, Any]) -> MoveSent:
    """Read a form that was sent. Raises: ValueError, LookupError or TypeError if it is another."""
    carried, values = json.loads(view["private_metadata"]), view["state"]["values"]
    typed = {name: str(values[name][name]["value"] or "") for name, *_ in MOVE_FIELDS}
    reason = str(values[REASON][REASON]["value"] or "")
    whose = (carried["customer_id"], carried["cleared"])
    return MoveSent(carried_place(carried), *whose, fields=typed, reason=reason)


def carrying(place: Place) -> dict[str, object]:
    """What a form carries of the place where it was asked for."""
    at = place.channel_id
    return {"channel_id": at, "response_url": place.response_url, "command": place.command}


def carried_place(carried: Mapping[str, Any]) -> Place:
    """The place that a form carries; one that 1.0.0 opened has no command."""
    at, command = str(carried["channel_id"]), str(carried.get("command", COMMAND))
    return Place(at, str(carried["response_url"]), command=command)


def modal(  # what a form has
    callback_id: str,
    carried: Mapping[str, object],
    title: str,
    submit: str,
    close: str,
    blocks: Sequence[Block],
) -> Form:
    """A form; what it carries is in what comes back when it is sent."""
    return {
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": json.dumps(carried),
        "title": plain(title),
        "submit": plain(submit),
        "close": plain(close),
        "blocks": blocks,
    }


def reason_input(*, optional: bool) -> Block:
    """The field of every form that asks for a reason."""
    hint = "Everybody in the channel can read it."
    return text_input(REASON, "Reason", hint, MAX_REASON_LENGTH) | {"optional": optional}


def text_input(
    name: str, label: str, hint: str, max_length: int, *, multiline: bool = True
) -> Block:
    """A field for text; `name` is its `block_id` and its `action_id`."""
    element = {
        "type": "plain_text_input",
        "action_id": name,
        "multiline": multiline,
        "max_length": max_length,
    }
    return field(name, label, hint, element)


def field(block_id: str, label: str, hint: str, element: Block) -> Block:
    """A field for whatever the element takes."""
    texts = {"label": plain(label), "hint": plain(hint)}
    return {"type": "input", "block_id": block_id, **texts, "element": element}


def plain(value: str) -> Block:
    """A text that Slack shows as it is."""
    return {"type": "plain_text", "text": value}
