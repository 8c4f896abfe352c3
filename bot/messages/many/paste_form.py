"""Builds the form of `/unlatch many`, and reads what somebody sent with it.

What is wrong with it is said beside the field, so that nothing is lost of what was typed. A sent
form has no response_url, so it carries that of its command, which works for half an hour.
Source: docs.slack.dev/reference/interaction-payloads/view-interactions-payload
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.commands import MAX_CUSTOMERS, Ask, AskMany, Malformed, asked
from bot.domain.pasted_text import ColumnChoice, LineError, read_lines
from bot.messages.block_kit import Form
from bot.messages.forms import REASON, plain, reason_input, text_input

PASTE = "unlatch_many"
"""The `callback_id` of the form."""
IDS = "ids"
MAX_PASTED_LENGTH = 3_000
"""Slack's limit: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element"""
OPEN_FOR = timedelta(minutes=25)
"""The command's response_url must still work while the customers are read."""
MAX_ERRORS = 5
TOO_OLD = (
    "This form has been open for too long, and nothing was done. Copy your text, close the form and"
    " type /unlatch many again."
)
NO_REASON = "A reason is needed."
WHICH_COLUMN = (
    "It is not clear which column holds the customers: paste only that of “Stax Bill ID”."
)
NOT_IDS = "These may be references (“Customer ID”): paste the column “Stax Bill ID” instead."

Errors = Mapping[str, str]
"""What is wrong with a form that was sent, by the field's `block_id`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What somebody sent: the texts as typed, where they had typed the command, and when.

    `view_id` is Slack's id of the form, the same each time it is sent.
    """

    view_id: str
    channel_id: str
    response_url: str
    opened_at: datetime
    ids: str
    reason: str


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
        f"Up to {MAX_CUSTOMERS} customers, one on each line; the first id in a line counts. Slack"
        f" takes {MAX_PASTED_LENGTH:,} characters: {each} a line for {MAX_CUSTOMERS} lines. If your"
        " rows are longer, paste only the column of ids."
    )
    pasted = text_input(IDS, "Customer ids", hint, MAX_PASTED_LENGTH)
    pasted["element"]["focus_on_load"] = True
    return {
        "type": "modal",
        "callback_id": PASTE,
        "private_metadata": json.dumps(carried),
        "title": plain("Unlatch many customers"),
        "submit": plain("Ask"),
        "close": plain("Cancel"),
        "blocks": [pasted, reason_input(optional=not needs_reason)],
    }


def read_sent(view: dict[str, Any]) -> Sent:
    """Read a form that was sent. Raises: ValueError, LookupError or TypeError if it is another."""
    carried, values = json.loads(view["private_metadata"]), view["state"]["values"]
    return Sent(
        str(view["id"]),
        str(carried["channel_id"]),
        str(carried["response_url"]),
        datetime.fromtimestamp(carried["opened_at"], UTC),
        str(values[IDS][IDS]["value"] or ""),
        str(values[REASON][REASON]["value"] or ""),
    )


def understood(
    sent: Sent, now: datetime, *, needs_reason: bool, customer_url: str | None = None
) -> Ask | AskMany | Errors:
    """What a form asks for, or what is wrong with it; for `customer_url` see `read_lines`."""
    if now - sent.opened_at > OPEN_FOR:
        return {IDS: TOO_OLD}
    pasted = read_lines(sent.ids, customer_url)
    if isinstance(pasted, ColumnChoice):
        return {IDS: WHICH_COLUMN}
    if pasted.doubts:
        return {IDS: NOT_IDS}
    errors = {IDS: _said(pasted.errors)} if pasted.errors else {}
    # the reason is checked even if there are no ids to ask about
    ask = asked(pasted.customer_ids or (1,), sent.reason)
    if isinstance(ask, Malformed):
        return errors | ({REASON: ask.why} if len(pasted.customer_ids) <= MAX_CUSTOMERS else {})
    if needs_reason and not ask.reason:
        errors |= {REASON: NO_REASON}
    return errors or ask


def identity(sent: Sent) -> str:
    """What tells a form from others: the same if it is sent twice.

    It also covers the texts, since somebody may change them before they send the form again.
    """
    return json.dumps([sent.view_id, sent.ids, sent.reason])


def _said(errors: Sequence[LineError]) -> str:
    said = [f"Line {each.line}: {each.why}" if each.line else each.why for each in errors]
    more = len(said) - MAX_ERRORS
    rest = [f"{more} more {'line is' if more == 1 else 'lines are'} wrong."] if more > 0 else []
    return "\n".join([*said[:MAX_ERRORS], *rest])
