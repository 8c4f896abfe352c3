"""The messages of the rivals in Python: they show as much as the bot's, built by hand."""

from __future__ import annotations

import json
from typing import Any

Block = dict[str, Any]
Customer = dict[str, Any]


def card(customer: Customer, person: str, reason: str) -> tuple[str, list[Block]]:
    """The text and blocks of a card; its button's value holds what the click will need."""
    text = f"Unlatch {customer['companyName']} ({customer['id']})?"
    value = {key: customer[key] for key in ("id", "hubSpotId", "hubSpotCompanyId")}
    button = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Unlatch customer"},
        "style": "danger",
        "action_id": "unlatch_confirm",
        "value": json.dumps(value | {"reason": reason}),
    }
    cancel = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Cancel"},
        "action_id": "unlatch_cancel",
        "value": str(customer["id"]),
    }
    return text, [
        _header(text),
        _lines(
            f"Name: {customer['firstName']} {customer['lastName']}",
            f"Reference: {customer['reference']}",
            f"Email: {customer['primaryEmail']}",
            f"Status: {customer['status']}, {customer['customerAccountStatus']}",
        ),
        _lines(f"Would be cleared: {_ids(value)}"),
        _lines(f"Asked by: <@{person}>", f"Why: {reason}"),
        {"type": "actions", "elements": [button, cancel]},
    ]


def result(value: dict[str, Any], person: str) -> tuple[str, list[Block]]:
    """The text and blocks of the result, which replaces the card."""
    text = f"Unlatched: customer {value['id']}"
    return text, [
        _header(text),
        _lines(f"Cleared: {_ids(value)}"),
        _lines(f"Why: {value['reason']}", f"Confirmed by: <@{person}>"),
    ]


def reply(value: dict[str, Any], person: str) -> str:
    """The text of the thread reply."""
    return f"<@{person}> confirmed. Fusebill cleared {_ids(value)}."


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


def _lines(*lines: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}


def _ids(value: dict[str, Any]) -> str:
    return f"contact {value['hubSpotId']}, company {value['hubSpotCompanyId']}"
