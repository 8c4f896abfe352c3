"""Compares a card's rows with what the card's own first events say of them.

Whoever can write to the database can put a request on a card that people see without it. The gate
executes only what the first events name, since their hashes cover it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection

from bot.domain.models import EventType
from bot.ledger import rows
from bot.ledger.database.statements import Row
from bot.ledger.hash_chain import NOT_POSTED, digest, fingerprint
from bot.ledger.rows import LockedCard


def mismatch_of(connection: Connection, card_id: str) -> str:
    """What of a card does not match its events; empty if all does, or there is no such card."""
    with suppress(rows.NoSuchCard):
        return mismatch(rows.lock(connection, card_id))
    return ""


def mismatch(locked: LockedCard) -> str:
    """What of a locked card does not match its events, in a few words; empty if all does."""
    if len(locked.rows) != locked.first["card_size"]:
        return f"{len(locked.rows)} of its {locked.first['card_size']} requests are there"
    # a card is named after its first request, so nobody can put another one in its place
    if locked.first["id"] != locked.id:
        return f"its first request is {locked.first['id']}"
    chains: dict[str, list[Row]] = {row["id"]: [] for row in locked.rows}
    # the ledger's order is not a chain's order, if somebody changed the counts of events
    for event in sorted(locked.events, key=lambda each: int(each["number"])):
        chains[event["request_id"]].append(event)
    found = (_mismatch(row, chains[row["id"]], locked.first) for row in locked.rows)
    return next(filter(None, found), "")


def _mismatch(row: Row, chain: Sequence[Row], first: Row) -> str:
    previous = ""
    for event in chain:
        if event["previous"] != previous or event["hash"] != _digest(event):
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


def _digest(event: Row) -> str:
    names = ("previous", "request_id", "number", "at", "type", "actor", "details")
    return digest(*(event[name] for name in names))


def _is_vouched_for(row: Row, chain: Sequence[Row], first_details: dict[str, object]) -> bool:
    """Whether the row is what its last event that vouches for it says."""
    details = [json.loads(each["details"]) for each in chain if each["type"] == EventType.POSTED]
    vouched = [each["row"] for each in (first_details, *details) if "row" in each]
    if not vouched:
        # version 0.1.0 wrote no fingerprint
        return True
    return bool(vouched[-1] == fingerprint(row, posted=not vouched[-1].startswith(NOT_POSTED)))
