"""Builds the forms (modals) that the bot opens, and reads what somebody sent with one.

One declines a request, the other is that of `/unlatch many`. A form names no message, so it carries
the ids that belong to it; everything else is read again from the ledger. A sent form has no
response_url, so it carries that of its command or press, which works for half an hour.
Source: docs.slack.dev/surfaces/modals
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.commands import (
    MAX_CUSTOMERS,
    MAX_REASON_LENGTH,
    Ask,
    AskMany,
    Malformed,
    Question,
    Reading,
    asked,
)
from bot.domain.models import Card
from bot.domain.pasted_text import Column, ColumnChoice, LineError, Pasted, read_lines
from bot.messages.block_kit import (
    HEADER_LENGTH,
    Block,
    Form,
    Line,
    Message,
    bold,
    cut,
    lines,
    text,
    user,
)
from bot.messages.phrases import Links, ids_inline, line_errors, titled, with_others

REASON = "reason"

DECLINE = "unlatch_decline"
"""The `callback_id` of the form that declines a request."""
TITLE = "Decline this request?"
LEDGER_DOWN = (
    "The bot's ledger can't be reached, so nothing was decided. Press Decline again in a minute."
)
LEDGER_UNCERTAIN = (
    "The bot's ledger did not answer in time. We don't know yet if this counted. Press Decline"
    " again: a request is decided only once."
)
FAILED = "Something went wrong in the bot. Close this and look at the card before you retry."

PASTE = "unlatch_many"
"""The `callback_id` of the form of `/unlatch many`."""
IDS, COLUMN = "ids", "column"
MAX_PASTED_LENGTH = 3_000
"""Slack's limit: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element"""
MAX_OPTIONS, MAX_OPTION_LENGTH = 100, 75
"""Slack's limits: docs.slack.dev/reference/block-kit/block-elements/select-menu-element"""
OPEN_FOR = timedelta(minutes=25)
"""The command's response_url must still work while the customers are read."""
MAX_ERRORS = 5
TOO_OLD = (
    "This form has been open for too long, and nothing was done. Copy your text, close the form and"
    " type /unlatch many again."
)
NO_REASON = "A reason is needed."

Errors = Mapping[str, str]
"""What is wrong with a form that was sent, by the field's `block_id`."""


@dataclass(frozen=True, slots=True)
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
    carried = {
        "request_id": card.id,
        "message_ts": message_ts,
        "response_url": response_url,
    }
    one: list[Line] = [
        [bold("Customer: "), text(titled(request.customer), limit=HEADER_LENGTH)],
        [bold("Ids on the card: "), *ids_inline(request.customer.ids, links)],
    ]
    many: list[Line] = [[bold("Customers: "), text(with_others(request), limit=HEADER_LENGTH)]]
    asked: Line = [bold("Asked by: "), user(request.requester.user_id)]
    about = [*(many if card.is_of_many else one), asked]
    if request.reason:
        about.append([bold("Why: "), text(request.reason, limit=500)])
    return {
        "type": "modal",
        "callback_id": DECLINE,
        "private_metadata": json.dumps(carried),
        "title": _plain(TITLE),
        "submit": _plain("Decline"),
        "close": _plain("Back"),
        "blocks": [lines(about), _reason_input(optional=True)],
    }


def answer_form(answer: Message) -> Form:
    """Replaces the form when it can no longer be sent: says what happened instead."""
    return {
        "type": "modal",
        "title": _plain("Not declined"),
        "close": _plain("Close"),
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


@dataclass(frozen=True, slots=True)
class Sent:
    """What somebody sent: the texts as typed, where they had typed the command, and when.

    `view_id` is Slack's id of the form, the same each time it is sent. `column` is the key of the
    column that was chosen for this very text, or empty.
    """

    view_id: str
    channel_id: str
    response_url: str
    opened_at: datetime
    ids: str
    reason: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class Understood:
    """What a form asks for; `left_out` are the lines of its text that name no customer."""

    asked: Ask | AskMany | Question
    left_out: tuple[LineError, ...] = ()


def paste_form(
    channel_id: str, response_url: str, opened_at: datetime, *, needs_reason: bool
) -> Form:
    """Ask for ids and a reason; the card will be posted in `channel_id`."""
    carried = {
        "channel_id": channel_id,
        "response_url": response_url,
        "opened_at": opened_at.timestamp(),
    }
    each = MAX_PASTED_LENGTH // MAX_CUSTOMERS
    hint = (
        f"Up to {MAX_CUSTOMERS} customers, one on each line, or rows of a file with their header."
        f" Slack takes {MAX_PASTED_LENGTH:,} characters: {each} a line for {MAX_CUSTOMERS} lines."
        " If your rows are longer, paste only the column of ids."
    )
    pasted = _text_input(IDS, "Stax Bill IDs", hint, MAX_PASTED_LENGTH)
    pasted["element"]["focus_on_load"] = True
    return {
        "type": "modal",
        "callback_id": PASTE,
        "private_metadata": json.dumps(carried),
        "title": _plain("Unlatch many customers"),
        "submit": _plain("Ask"),
        "close": _plain("Cancel"),
        "blocks": [pasted, _reason_input(optional=not needs_reason)],
    }


def column_form(sent: Sent, choice: ColumnChoice, *, needs_reason: bool) -> Form:
    """The same form once more, with what was pasted: ask which column holds the customers."""
    form = paste_form(sent.channel_id, sent.response_url, sent.opened_at, needs_reason=needs_reason)
    pasted, reason = form["blocks"]
    pasted["element"] |= {"initial_value": sent.ids, "focus_on_load": False}
    if sent.reason:
        reason["element"]["initial_value"] = sent.reason
    return form | {"blocks": [_column_input(sent.ids, choice.columns), pasted, reason]}


def read_sent(view: dict[str, Any]) -> Sent:
    """Read a form that was sent. Raises: ValueError, LookupError or TypeError if it is another."""
    carried, values = json.loads(view["private_metadata"]), view["state"]["values"]
    ids = str(values[IDS][IDS]["value"] or "")
    # whoever changes the text has chosen a column of another one
    chosen = values.get(_column_id(ids), {}).get(COLUMN, {}).get("selected_option") or {}
    return Sent(
        str(view["id"]),
        str(carried["channel_id"]),
        str(carried["response_url"]),
        datetime.fromtimestamp(carried["opened_at"], UTC),
        ids,
        str(values[REASON][REASON]["value"] or ""),
        str(chosen.get("value", "")),
    )


def understood(
    sent: Sent, now: datetime, *, needs_reason: bool, customer_url: str | None = None
) -> Understood | ColumnChoice | Errors:
    """What a form asks for, or what is wrong with it; for `customer_url` see `read_lines`."""
    if now - sent.opened_at > OPEN_FOR:
        return {IDS: TOO_OLD}
    found = read_lines(sent.ids, customer_url, sent.column or None)
    pasted = Pasted(()) if isinstance(found, ColumnChoice) else found
    errors = {IDS: _said(pasted.errors)} if pasted.errors else {}
    # the reason is checked even if there are no ids to ask about
    ask = asked(pasted.customer_ids or (1,), sent.reason)
    if isinstance(ask, Malformed):
        return errors | ({REASON: ask.why} if len(pasted.customer_ids) <= MAX_CUSTOMERS else {})
    if needs_reason and not ask.reason:
        errors |= {REASON: NO_REASON}
    if errors or isinstance(found, ColumnChoice):
        return errors or found
    if pasted.doubts:
        meant = Reading(pasted.customer_ids, ask.reason, pasted.doubts)
        return Understood(Question(meant), pasted.left_out)
    return Understood(ask, pasted.left_out)


def identity(sent: Sent) -> str:
    """What tells a form from others: the same if it is sent twice.

    It also covers what was typed and chosen, which somebody may change before sending it again.
    """
    return json.dumps([sent.view_id, sent.ids, sent.reason, sent.column])


def _said(errors: Sequence[LineError]) -> str:
    said = line_errors(errors)
    more = len(said) - MAX_ERRORS
    rest = [f"{more} more {'line is' if more == 1 else 'lines are'} wrong."] if more > 0 else []
    return "\n".join([*said[:MAX_ERRORS], *rest])


def _column_input(text: str, columns: Sequence[Column]) -> Block:
    """A choice of columns, each shown by its name and first cells."""
    options = [
        {"text": _plain(_shown(column)), "value": column.key} for column in columns[:MAX_OPTIONS]
    ]
    hint = (
        "The bot can't tell. Choose the Stax Bill IDs, or the Customer IDs (references), which you"
        " will be asked about once more."
    )
    return {
        "type": "input",
        "block_id": _column_id(text),
        "label": _plain("Which column holds the customers?"),
        "hint": _plain(hint),
        "element": {
            "type": "static_select",
            "action_id": COLUMN,
            "placeholder": _plain("Choose a column"),
            "options": options,
            "focus_on_load": True,
        },
    }


def _shown(column: Column) -> str:
    cells = ", ".join(column.cells)
    return cut(f"{column.name}: {cells}" if column.name else cells, MAX_OPTION_LENGTH)


def _column_id(text: str) -> str:
    """The `block_id` of a choice of columns, another for each text."""
    lines_ = "\n".join(text.strip().splitlines())
    return f"{COLUMN}-{hashlib.sha256(lines_.encode()).hexdigest()[:16]}"


def _reason_input(*, optional: bool) -> Block:
    """The field of every form that asks for a reason."""
    hint = "Everybody in the channel can read it."
    return _text_input(REASON, "Reason", hint, MAX_REASON_LENGTH) | {"optional": optional}


def _text_input(name: str, label: str, hint: str, max_length: int) -> Block:
    """A field of several lines; `name` is its `block_id` and its `action_id`."""
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(label),
        "hint": _plain(hint),
        "element": {
            "type": "plain_text_input",
            "action_id": name,
            "multiline": True,
            "max_length": max_length,
        },
    }


def _plain(value: str) -> Block:
    """A text that Slack shows as it is."""
    return {"type": "plain_text", "text": value}
