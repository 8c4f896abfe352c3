"""Reads Slack's payloads: who typed or clicked, where, and what."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import uuid4

from bot.domain.commands import COMMAND, Ask, Malformed, Move, Place, asked
from bot.domain.models import Person
from bot.ledger.people import Act
from bot.requests.people import By

Payload = dict[str, Any]


def about(body: Payload) -> dict[str, object]:
    """The fields for every log line that a payload leads to, as far as it has them."""
    user, container = body.get("user") or {}, body.get("container") or {}
    return {
        "user_id": body.get("user_id") or user.get("id"),
        "channel_id": body.get("channel_id") or container.get("channel_id"),
    } | ({"message_ts": container["message_ts"]} if "message_ts" in container else {})


def value(body: Payload) -> str:
    """The value of the button that was pressed."""
    return str(body["actions"][0].get("value", ""))


def act(body: Payload) -> Act:
    """What a person did, by Slack's own id of it: of its trigger, its `action_ts`, or its view."""
    if "command" in body:
        return Act(_hashed("command", body.get("trigger_id") or uuid4().hex))
    if "view" in body:
        return Act(_hashed("view", body["view"]["id"]))
    action = body["actions"][0]
    pressed_at = action.get("action_ts") or uuid4().hex
    who = body["user"]["id"]
    return Act(_hashed("press", message_of(body), who, action.get("action_id"), pressed_at))


def choice(body: Payload) -> Act:
    """A press on a button that asks for a card; both halves of a double click are the same act."""
    message_ts, pressed = message_of(body), act(body)
    if not message_ts:
        return pressed
    return Act(pressed.id, _hashed("choice", message_ts, body["user"]["id"], value(body)))


def once_sent(identity: str) -> Act:
    """A form that was sent, with these texts: somebody may change them before sending it again."""
    return Act(_hashed("form", identity))


def _hashed(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def meaning(body: Payload) -> tuple[Ask | Move | Malformed, str]:
    """What a button asks for that stands for a typed text, and the command's name; it is JSON."""
    try:
        carried = json.loads(value(body))
        reason, command = carried["reason"], carried["command"]
        if "to_ids" in carried:
            wanted = (carried["customer_id"], carried["to_ids"], carried["to"], reason)
            return Move(*wanted), command
        ids = carried["ids"]
    except (ValueError, LookupError, TypeError, RecursionError):
        why = "The bot does not know this button, so nothing was done."
        return Malformed(why), COMMAND
    # a bool is an int
    if not (isinstance(ids, list) and all(type(each) is int for each in ids)):
        why = "This button names no customers, so nothing was done."
        return Malformed(why), str(command)
    return asked(ids, str(reason)), str(command)


def moving(body: Payload) -> Move:
    """Whose latch a button moves, and the ids that an unlatch took from the customer."""
    carried = json.loads(value(body))
    return Move(int(carried["customer_id"]), dict(carried["ids"]), None, str(carried["reason"]))


def clicker(body: Payload) -> Person:
    """The person who clicked. `team` and `enterprise` describe the app's place, not the person's.

    Source: docs.slack.dev/reference/interaction-payloads/block_actions-payload
    """
    user, team = body["user"], body.get("team") or {}
    own = user.get("team_id") or team.get("id") or (body.get("enterprise") or {}).get("id") or ""
    # only if the workspace that Slack places in an organisation is the person's own
    enterprise_id = team.get("enterprise_id") if team.get("id") == own else None
    name = user.get("name") or user.get("username") or ""
    return Person(user["id"], own, enterprise_id or "", str(name))


def typed_by(body: Payload) -> By:
    """Who typed a command, where, and by which act.

    An app that is installed for an organisation may get no workspace.
    Source: docs.slack.dev/interactivity/implementing-slash-commands
    """
    enterprise_id, name = body.get("enterprise_id") or "", body.get("user_name") or ""
    person = Person(body["user_id"], body["team_id"] or enterprise_id, enterprise_id, name)
    channel_id = body["channel_id"]
    is_direct = _is_direct(channel_id, body.get("channel_name"))
    place = Place(channel_id, body["response_url"], is_direct, body["command"])
    return By(person, place, act(body))


def pressed_by(body: Payload) -> By:
    """Who pressed a button, where, and by which act."""
    return By(clicker(body), place_of(body), act(body))


def place_of(body: Payload) -> Place:
    """Where a button was pressed; a decision needs no part of it, so a lack of one stops none."""
    channel = body.get("channel") or {}
    channel_id = _container(body).get("channel_id") or channel.get("id") or ""
    is_direct = _is_direct(channel_id, channel.get("name"))
    return Place(channel_id, body.get("response_url") or "", is_direct)


def _is_direct(channel_id: str, name: object) -> bool:
    """Whether this is a direct message, of two people or more."""
    # a channel may be called "directmessage-help"
    named = str(name or "")
    return channel_id.startswith("D") or named.startswith("mpdm-") or named == "directmessage"


def message_of(body: Payload) -> str:
    """The `ts` of the message whose button was pressed; empty if Slack does not say."""
    return str(_container(body).get("message_ts") or "")


def _container(body: Payload) -> Payload:
    return body.get("container") or {}
