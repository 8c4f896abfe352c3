"""The bot's data: customers, people, requests and their events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a request asks for."""

    UNLATCH = "unlatch"
    RELATCH = "relatch"


class Verdict(StrEnum):
    """How a card was decided."""

    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"


class Outcome(StrEnum):
    """The result of a confirmed request."""

    CLEARED = "cleared"
    RESTORED = "restored"
    ALREADY_CLEAR = "already_clear"
    CHANGED = "changed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class EventType(StrEnum):
    """What happened to a request; the ledger keeps every event."""

    REQUESTED = "requested"
    ASK_DENIED = "ask_denied"
    DECISION_DENIED = "decision_denied"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    REMINDED = "reminded"
    RECLAIMED = "adopted"
    CLEARED = "cleared"
    RESTORED = "restored"
    ALREADY_CLEAR = "already_clear"
    CHANGED = "changed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDONE = "undone"
    RECHECKED = "rechecked"
    LATCHED_AGAIN = "latched_again"
    DELIVERY_FAILED = "delivery_failed"


@dataclass(frozen=True, slots=True)
class HubSpotIds:
    """The HubSpot contact (`vid`) and company that a customer is latched to; None for neither."""

    vid: int | None = None
    company_id: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is latched."""
        return self.vid is not None or self.company_id is not None


@dataclass(frozen=True, slots=True)
class Customer:
    """A Fusebill customer: its ids, and what people need to recognise it.

    `customer_id` is the only unique key; `reference` is what Fusebill's own screens call
    "Customer ID". The texts are Fusebill's, raw and of any length; empty if Fusebill gave none.
    """

    customer_id: int
    ids: HubSpotIds = field(default_factory=HubSpotIds)
    name: str = ""
    company_name: str = ""
    reference: str = ""
    status: str = ""
    account_status: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A Slack user: `user_id` in the team `team_id`, as Slack's signed payload names them."""

    user_id: str
    team_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """A card and its state; a row of the ledger.

    `due_at` is when the sweep must look at it again: its reminder, then its expiry while it waits
    for a click; the end of its worker's lease once decided; the time of its recheck once it was
    cleared (`bot.domain.clock`); None when nothing is left to do. `claim` counts its workers
    (the fencing token), `events` its events; `head` is the hash of the last event. `thread_ts` is
    the thread that shows its history: its own card's, or that of the card it follows.
    """

    id: str
    kind: Kind
    customer: Customer
    channel_id: str
    message_ts: str | None
    thread_ts: str | None
    requester: Person
    reason: str
    asked_at: datetime
    expires_at: datetime
    verdict: Verdict | None = None
    decider: Person | None = None
    decided_at: datetime | None = None
    outcome: Outcome | None = None
    settled_at: datetime | None = None
    due_at: datetime | None = None
    claim: int = 0
    publish_attempts: int = 0
    last_posted_event: int = 0
    events: int = 0
    head: str = ""
    undoes: str | None = None
    undone_by: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a request; `number` counts from 1 within the request.

    `details` depends on the type: `texts`, `status`, `seconds`, `why`, ids.
    """

    request_id: str
    number: int
    at: datetime
    type: EventType
    actor: str
    details: dict[str, object]
    previous: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class RequestHistory:
    """A request and all its events, in order."""

    request: Request
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has no number and no place in the hash chain yet."""

    at: datetime
    type: EventType
    actor: str
    details: dict[str, object]
