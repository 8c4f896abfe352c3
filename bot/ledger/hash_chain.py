"""Hashes a request's events into a chain: each hash covers its event and the hash before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
"""The columns of `requests` that never change once the card is posted."""
NOT_POSTED = "2:"
"""Begins a fingerprint that was taken before the card was posted, and so covers no `ts`."""


def chained(request: Request, new_event: NewEvent) -> Event:
    """The request's next event, with its number and hash."""
    number, details = request.events + 1, canonical_json(new_event.details)
    return Event(
        request_id=request.id,
        number=number,
        at=new_event.at,
        type=new_event.type,
        actor=new_event.actor,
        details=new_event.details,
        previous=request.head,
        hash=digest(
            *(request.head, request.id, number, new_event.at),
            *(new_event.type, new_event.actor, details),
        ),
    )


def digest(
    previous: str,
    request_id: str,
    number: int,
    at: datetime,
    event_type: str,
    actor: str,
    details: str,
) -> str:
    """The SHA-256, in hex, of an event's content and the hash of the event before it.

    `details` is the text as stored, canonical JSON, and is hashed as it is.
    """
    time = at.isoformat(timespec="microseconds")
    start = canonical_json([previous, request_id, number, time, event_type, actor])
    return hashlib.sha256(f"{start[:-1]},{details}]".encode()).hexdigest()


def fingerprint(row: Mapping[str, Any], *, posted: bool) -> str:
    """The SHA-256, in hex, of the columns of a request's row that never change, as stored.

    Before the card is `posted` its `ts` and its thread's are not known: the event that posts it
    late, or decides it, holds the fingerprint of the whole.
    """
    names = IMMUTABLE if posted else [n for n in IMMUTABLE if n not in ("message_ts", "thread_ts")]
    content = canonical_json([row[name] for name in names])
    return ("" if posted else NOT_POSTED) + hashlib.sha256(content.encode()).hexdigest()


def place_on_card(row: Mapping[str, Any]) -> list[object]:
    """The columns that place a request on its card, which its first event vouches for."""
    return [row["card_id"], row["position"], row["card_size"]]


def canonical_json(value: object) -> str:
    """JSON with exactly one spelling for each value, so that equal values have equal hashes."""
    return _CANONICAL.encode(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    # a value that the bot never wrote must not stop the verification
    return str(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)
