"""Hashes a request's events into a chain, and says whether a card's rows are what these vouch for.

Each hash covers its event and the hash before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bot.domain.models import EventType

AnyRow = Mapping[str, Any]

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


def chained(row: AnyRow, at: datetime, event_type: str, actor: str, details: str) -> dict[str, Any]:
    """The next event of a request's row, as a row of `events`; `details` is canonical JSON."""
    event = {
        "request_id": row["id"],
        "number": row["events"] + 1,
        "at": at,
        "type": event_type,
        "actor": actor,
        "details": details,
        "previous": row["head"],
    }
    return event | {"hash": digest(event)}


def digest(event: AnyRow) -> str:
    """The SHA-256, in hex, of an event's content and the hash of the event before it.

    Its `details` are hashed as they are stored: canonical JSON.
    """
    chain = event["previous"], event["request_id"], event["number"], _utc(event["at"])
    start = canonical_json([*chain, event["type"], event["actor"]])
    return hashlib.sha256(f"{start[:-1]},{event['details']}]".encode()).hexdigest()


def fingerprint(row: AnyRow, *, posted: bool) -> str:
    """The SHA-256, in hex, of the columns of a request's row that never change.

    Before the card is `posted` its `ts` and its thread's are not known: the event that posts it
    late, or decides it, holds the fingerprint of the whole.
    """
    names = IMMUTABLE if posted else [n for n in IMMUTABLE if n not in ("message_ts", "thread_ts")]
    content = canonical_json([row[name] for name in names])
    return ("" if posted else NOT_POSTED) + hashlib.sha256(content.encode()).hexdigest()


def place_on_card(row: AnyRow) -> list[object]:
    """The columns that place a request on its card, which its first event vouches for."""
    return [row["card_id"], row["position"], row["card_size"]]


def mismatch(card_id: str, rows: Sequence[AnyRow], events: Sequence[AnyRow]) -> str:
    """What of a card's rows its own events do not vouch for, in a few words; empty if nothing.

    Whoever can write to the database can put a request on a card that people see without it. So
    only what the first events name is executed, since their hashes cover it.
    """
    first = rows[0]
    if len(rows) != first["card_size"]:
        return f"{len(rows)} of its {first['card_size']} requests are there"
    # a card is named after its first request, so nobody can put another one in its place
    if first["id"] != card_id:
        return f"its first request is {first['id']}"
    chains: dict[str, list[AnyRow]] = {row["id"]: [] for row in rows}
    # the ledger's order is not a chain's order, if somebody changed the counts of events
    for event in sorted(events, key=lambda each: int(each["number"])):
        chains[event["request_id"]].append(event)
    found = (_mismatch(row, chains[row["id"]], first) for row in rows)
    return next(filter(None, found), "")


def _mismatch(row: AnyRow, chain: Sequence[AnyRow], first: AnyRow) -> str:
    previous = ""
    for event in chain:
        if event["previous"] != previous or event["hash"] != digest(event):
            return f"the events of request {row['id']} were changed"
        previous = event["hash"]
    if not chain or previous != row["head"] or len(chain) != row["events"]:
        return f"the events of request {row['id']} are not as many as its row says"
    vouched = json.loads(chain[0]["details"])
    # version 0.1.0 named no place: each of its requests is a card of its own
    place = vouched.get("card", [row["id"], 1, 1])
    if place != [row["card_id"] or row["id"], row["position"], row["card_size"]]:
        return f"request {row['id']} does not belong to this card"
    if row["card_size"] != first["card_size"] or not _is_vouched_for(row, chain, vouched):
        return f"request {row['id']} is not as it was asked"
    return ""


def _is_vouched_for(row: AnyRow, chain: Sequence[AnyRow], first_details: dict[str, object]) -> bool:
    """Whether the row is what its last event that vouches for it says."""
    details = [json.loads(each["details"]) for each in chain if each["type"] == EventType.POSTED]
    vouched = [each["row"] for each in (first_details, *details) if "row" in each]
    if not vouched:
        # version 0.1.0 wrote no fingerprint
        return True
    return bool(vouched[-1] == fingerprint(row, posted=not vouched[-1].startswith(NOT_POSTED)))


def canonical_json(value: object) -> str:
    """JSON with exactly one spelling for each value, so that equal values have equal hashes."""
    return _CANONICAL.encode(value)


@lru_cache(maxsize=256)  # each step of a flow hashes the same times
def _utc(at: datetime) -> str:
    """A time as it is hashed: ISO 8601 in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return _utc(value)
    # a value that the bot never wrote must not stop the verification
    return str(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)
