"""Builds the form of `/unlatch many`, and reads what somebody sent with it.

Where nobody but a person can say which column of a pasted text holds the customers, the same form
comes back with a choice. For what a form carries see `forms`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.cells import ANY_PAGES, Pages
from bot.domain.commands import (
    MAX_CUSTOMERS,
    MAX_REASON_LENGTH,
    TOO_LONG,
    Ask,
    Place,
    tidy_reason,
)
from bot.domain.pasted_text import Column, ColumnChoice, LineError, Pasted, read_lines
from bot.domain.values import value
from bot.messages.block_kit import Block, Form, cut
from bot.messages.forms import (
    REASON,
    carried_place,
    carrying,
    field,
    modal,
    plain,
    reason_input,
    text_input,
)
from bot.messages.phrases import line_errors

MANY_TITLE = "Unlatch many customers"
WHY_TITLE = "Why unlatch?"
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
    " type the command again."
)
NO_REASON = "A reason is needed."

Errors = Mapping[str, str]
"""What is wrong with a form that was sent, by the field's `block_id`."""


@value
class Sent:
    """What somebody sent: the texts as typed, where they had typed the command, and when.

    `view_id` is Slack's id of the form, the same each time it is sent. `column` is the key of the
    column that was chosen for this very text, or empty.
    """

    view_id: str
    place: Place
    opened_at: datetime
    ids: str
    reason: str
    column: str = ""


@value
class Understood:
    """What a form asks for; `left_out` are the lines of its text that name no customer."""

    asked: Ask
    left_out: tuple[LineError, ...] = ()


def paste_form(
    place: Place, opened_at: datetime, customer_ids: Sequence[int] = (), *, needs_reason: bool
) -> Form:
    """Ask for ids and a reason; the card will be posted in this place.

    With `customer_ids` these are filled in, and only the reason is left to type.
    """
    carried = carrying(place) | {"opened_at": opened_at.timestamp()}
    each = MAX_PASTED_LENGTH // MAX_CUSTOMERS
    hint = (
        f"Up to {MAX_CUSTOMERS} customers, one on each line, or rows of a file with their header."
        f" Slack takes {MAX_PASTED_LENGTH:,} characters: {each} a line for {MAX_CUSTOMERS} lines."
        " If your rows are longer, paste only the column of ids."
    )
    pasted = text_input(IDS, "Stax Bill IDs", hint, MAX_PASTED_LENGTH)
    reason = reason_input(optional=not needs_reason)
    (reason if customer_ids else pasted)["element"]["focus_on_load"] = True
    if customer_ids:
        pasted["element"]["initial_value"] = "\n".join(map(str, customer_ids))
    title = WHY_TITLE if customer_ids else MANY_TITLE
    blocks = [reason, pasted] if customer_ids else [pasted, reason]
    return modal(PASTE, carried, title, "Ask", "Cancel", blocks)


def column_form(sent: Sent, choice: ColumnChoice, *, needs_reason: bool) -> Form:
    """The same form once more, with what was pasted: ask which column holds the customers."""
    form = paste_form(sent.place, sent.opened_at, needs_reason=needs_reason)
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
        carried_place(carried),
        datetime.fromtimestamp(carried["opened_at"], UTC),
        ids,
        str(values[REASON][REASON]["value"] or ""),
        str(chosen.get("value", "")),
    )


def understood(
    sent: Sent, now: datetime, *, needs_reason: bool, pages: Pages = ANY_PAGES
) -> Understood | ColumnChoice | Errors:
    """What a form asks for, or what is wrong with it."""
    if now - sent.opened_at > OPEN_FOR:
        return {IDS: TOO_OLD}
    found, reason = read_lines(sent.ids, pages, sent.column or None), tidy_reason(sent.reason)
    # the reason is checked even if there are no ids
    errors: dict[str, str] = {}
    if isinstance(found, Pasted) and found.errors:
        errors[IDS] = _said(found.errors)
    if len(reason) > MAX_REASON_LENGTH:
        errors[REASON] = TOO_LONG
    elif needs_reason and not reason:
        errors[REASON] = NO_REASON
    if errors:
        return errors
    if isinstance(found, ColumnChoice):
        return found
    return Understood(Ask(found.customer_ids, reason, found.doubts), found.left_out)


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
        {"text": plain(_shown(column)), "value": column.key} for column in columns[:MAX_OPTIONS]
    ]
    hint = (
        "The bot can't tell. Choose the Stax Bill IDs, or the Customer IDs (references), which you"
        " will be asked about once more."
    )
    element = {
        "type": "static_select",
        "action_id": COLUMN,
        "placeholder": plain("Choose a column"),
        "options": options,
        "focus_on_load": True,
    }
    return field(_column_id(text), "Which column holds the customers?", hint, element)


def _shown(column: Column) -> str:
    cells = ", ".join(column.cells)
    return cut(f"{column.name}: {cells}" if column.name else cells, MAX_OPTION_LENGTH)


def _column_id(text: str) -> str:
    """The `block_id` of a choice of columns, another for each text."""
    # Slack may send other line breaks than it got
    as_lines = "\n".join(text.strip().splitlines()).encode(errors="surrogatepass")
    return f"{COLUMN}-{hashlib.sha256(as_lines).hexdigest()[:16]}"
