"""The chain of hashes: each event holds one over itself and the event before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.domain.models import Event, NewEvent, Request

IMMUTABLE = (
    "id",
    "kind",
    "customer_id",
    "customer",
    "channel_id",
    "message_ts",
    "thread_ts",
    "requester_id",
    "requester_team_id",
    "reason",
    "asked_at",
    "expires_at",
    "undoes",
)
"""The columns of `requests` that never change after the request was made."""


def chained(request: Request, new_event: NewEvent) -> Event:
    """The next event of a request, with its number and its hash."""
    event = Event(
        request_id=request.id,
        number=request.events + 1,
        at=new_event.at,
        type=new_event.type,
        actor=new_event.actor,
        details=new_event.details,
        previous=request.head,
    )
    return replace(event, hash=digest(event))


def digest(event: Event) -> str:
    """The SHA-256, in hex, over an event's content and the hash of the one before it."""
    content = [
        event.previous,
        event.request_id,
        event.number,
        event.at.isoformat(timespec="microseconds"),
        event.type,
        event.actor,
        event.details,
    ]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def fingerprint(row: Mapping[str, Any]) -> str:
    """The SHA-256, in hex, over the columns of a request's row that never change."""
    content = canonical_json([row[name] for name in IMMUTABLE])
    return hashlib.sha256(content.encode()).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with one spelling for each value: what is hashed must be written the same every time."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    # a value that this bot never wrote must not stop the verification
    return str(value)
