"""The nouns: what a card, a click and an answer of Fusebill are to this bot."""

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
    EXPIRED = "expired"


class Outcome(StrEnum):
    """What came of a confirmed request."""

    CLEARED = "cleared"
    RESTORED = "restored"
    ALREADY_CLEAR = "already_clear"
    CHANGED = "changed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class EventType(StrEnum):
    """What happened to a request, in the past tense; the ledger keeps every one."""

    REQUESTED = "requested"
    ASK_DENIED = "ask_denied"
    DECISION_DENIED = "decision_denied"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    RECLAIMED = "adopted"
    CLEARED = "cleared"
    RESTORED = "restored"
    ALREADY_CLEAR = "already_clear"
    CHANGED = "changed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDONE = "undone"
    DELIVERY_FAILED = "delivery_failed"


@dataclass(frozen=True, slots=True)
class HubSpotIds:
    """The HubSpot contact (`vid`) and company a customer is latched to; None where it is not."""

    vid: int | None = None
    company_id: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is latched."""
        return self.vid is not None or self.company_id is not None


@dataclass(frozen=True, slots=True)
class Customer:
    """A Fusebill customer as far as a person needs it to be sure whom they unlatch.

    `customer_id` is the only unique key; `reference` is what Fusebill's own screens call
    "Customer ID". Texts are Fusebill's own, raw and unbounded; empty where it gave none.
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
    """Somebody in Slack, as its signed payload names them: `user_id` of the team `team_id`."""

    user_id: str
    team_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """A card and all that was decided about it; a row of the ledger.

    `due_at` is when somebody must look at it again: the expiry while it waits for a click, the
    lease of its worker once decided, None when all is said and done. `claim` counts its workers,
    `events` its events; `head` is the hash of the last of them. `thread_ts` is the thread that
    keeps its trail, its own card's unless it was asked inside another's.
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
    """One thing that happened to a request; `number` counts from 1 within it.

    `details` holds what belongs to its type: `texts`, `status`, `seconds`, `why`, ids.
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
    """A request and everything that happened to it, in order."""

    request: Request
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has its number and its place in the chain."""

    at: datetime
    type: EventType
    actor: str
    details: dict[str, object]
