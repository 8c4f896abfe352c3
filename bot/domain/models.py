"""The bot's data: customers, people, requests and their events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from bot.domain.commands import COMMAND
from bot.domain.values import value


class OpenEnum(StrEnum):
    """An enum that a newer version of the bot may have added members to.

    A value that this version does not know becomes a member of its own: it is stored and shown as
    it is, and `is_known` is false. It is not among the enum's members.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this version of the bot knows the value."""
        return self._name_ in type(self).__members__


class Kind(OpenEnum):
    """What a request asks for; `bot.domain.meanings.KINDS` words each."""

    UNLATCH = "unlatch"  # clear the HubSpot ids that the customer has
    RELATCH = "relatch"  # undo: give a cleared customer the ids back that it had
    MOVE = "move"  # give a customer other ids, or its ids to another customer; or undo that


class Verdict(OpenEnum):
    """How a card was decided; `bot.domain.meanings.VERDICTS` words each."""

    CONFIRMED = "confirmed"  # somebody who may decide pressed the card's button; work follows
    CANCELLED = "cancelled"  # who asked took it back; nothing is done
    DECLINED = "declined"  # somebody who may decide said no, with or without a reason
    EXPIRED = "expired"  # nobody decided in time; nothing is done
    OVERTAKEN = "overtaken"  # other cards changed its customers while it waited; the bot closed it


class Outcome(OpenEnum):
    """The result of a confirmed request; `bot.domain.meanings.OUTCOMES` words each."""

    CLEARED = "cleared"  # an unlatch was done: the customer has no ids any more
    RESTORED = "restored"  # an undo was done: the customer has its ids again
    MOVED = "moved"  # a move was done: the customer has the ids that the card showed as new
    ALREADY_CLEAR = "already_clear"  # the customer had no ids any more; nothing was called
    ALREADY_LATCHED = "already_latched"  # somebody else latched it to the ids of the undo
    CHANGED = "changed"  # the customer has other ids than the card showed
    REFUSED = "refused"  # known not to be done: Fusebill refused, or was not reached
    UNKNOWN = "unknown"  # a call may have changed the customer, and nothing shows whether it did
    NOT_BEGUN = "not_begun"  # calls for others got no answer, so none was made for this customer
    STOPPED = "stopped"  # somebody pressed Stop before the customer's turn; nothing was called
    LEFT_OUT = "left_out"  # another card changed the customer while this one, of many, waited


class EventType(OpenEnum):
    """What happened to a request; kept for ever, so never renamed. `EVENTS` says what each sets."""

    REQUESTED = "requested"  # somebody asked; the card is not posted yet
    POSTED = "posted"  # the card was posted late, and its life began then
    ASK_DENIED = "ask_denied"  # somebody asked who may not, or not there; it gets no card
    DECISION_DENIED = "decision_denied"  # somebody pressed who may not decide
    CONFIRMED = "confirmed"  # sets the verdict of this name, as the next four do
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"
    REMINDED = "reminded"  # those who may decide were reminded of a card that waits
    RECLAIMED = "adopted"  # another worker took up work that was interrupted
    BEGUN = "begun"  # the customer was read and is as the card showed: a call may follow
    CLEARED = "cleared"  # sets the outcome of this name, as the next ten do
    RESTORED = "restored"
    MOVED = "moved"
    ALREADY_CLEAR = "already_clear"
    ALREADY_LATCHED = "already_latched"
    CHANGED = "changed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_BEGUN = "not_begun"
    STOPPED = "stopped"
    LEFT_OUT = "left_out"
    STOP_REQUESTED = "stop_requested"  # somebody pressed Stop; kept by the card's first request
    UNDONE = "undone"  # another request gave the customer its ids back
    RECHECKED = "rechecked"  # a changed customer was read again, and is as the bot left it
    LATCHED_AGAIN = "latched_again"  # a changed customer was read again, and has other ids by now
    CUSTOMER_GONE = "customer_gone"  # a changed customer was read again: Fusebill no longer has it
    DELIVERY_FAILED = "delivery_failed"  # Slack does not take the card or a reply


def _known(kind: type[HubSpotIds | Customer], stored: object) -> dict[str, Any]:
    found = stored if isinstance(stored, dict) else {}
    return {name: found[name] for name in kind.__match_args__ if name in found}


@value
class HubSpotIds:
    """The HubSpot contact (`vid`) and company that a customer is latched to; None for neither."""

    vid: int | None = None
    company_id: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is latched."""
        return self.vid is not None or self.company_id is not None

    @classmethod
    def of(cls, stored: object) -> Self:
        """The ids as JSON keeps them; keys that a newer version of the bot added are ignored."""
        return cls(**_known(cls, stored))


@value
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

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """A customer as JSON keeps it; keys that a newer version of the bot added are ignored."""
        return cls(**_known(cls, stored) | {"ids": HubSpotIds.of(stored["ids"])})


@value
class Person:
    """A Slack user: `user_id` in the team `team_id`, as Slack's signed payload names them.

    `team_id` is a workspace (`T…`), or in an Enterprise Grid also the organisation (`E…`), which a
    command names as `enterprise_id`; the ledger does not keep the latter. `name` is Slack's for who
    acts right now; the ledger keeps it apart (`bot.ledger.people`): who is read from it has none.
    """

    user_id: str
    team_id: str
    enterprise_id: str = field(default="", compare=False)
    name: str = field(default="", compare=False)


@value
class Event:
    """One thing that happened to a request; `number` counts from 1 within the request.

    `details` depends on the type: `texts`, `status`, `seconds`, `why`, ids. `id` counts all events
    of the ledger: it says what came first, which a clock can't. No hash covers it.
    """

    request_id: str
    number: int
    at: datetime
    type: EventType
    actor: str
    details: Mapping[str, object]
    previous: str = ""
    hash: str = ""
    id: int = 0


@value
class Request:
    """What a card asks about one customer, what came of it, and its events; a row of the ledger.

    A card has a request for each of its `card_size` customers, in the order of their `position`,
    which counts from 1; `card_id` is the id of the first. What belongs to the card is the same in
    all of them: who asks, why, where it is, how it was decided, and whether it `is_open`, which
    means that it waits for a decision. `outcome` and `events` are the request's own.

    `event_count` and `head`, the hash of the last event, are the end of its hash chain. `events` is
    empty where only a list was read. `thread_ts` is the thread that shows its history: its own
    card's, or that of the card it follows. `shown_events` is kept on the first request: how many of
    the card's events, in the ledger's order, its thread shows. `to` are the new ids of a move; what
    any other kind leads to, the kind says.
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
    is_open: bool = False
    verdict: Verdict | None = None
    decider: Person | None = None
    decided_at: datetime | None = None
    outcome: Outcome | None = None
    settled_at: datetime | None = None
    undoes: str | None = None
    undone_by: str | None = None
    to: HubSpotIds | None = None
    card_id: str = ""
    command: str = COMMAND
    position: int = 1
    card_size: int = 1
    shown_events: int = 0
    event_count: int = 0
    head: str = ""
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        """A card has the id of its first request."""
        if self.position == 1:
            object.__setattr__(self, "card_id", self.id)

    @property
    def ids_before(self) -> HubSpotIds:
        """The ids that the customer must have before the call; the card showed them."""
        return HubSpotIds() if self.kind is Kind.RELATCH else self.customer.ids

    @property
    def ids_after(self) -> HubSpotIds:
        """The ids that the customer has once the request is done."""
        if self.kind is Kind.RELATCH:
            return self.customer.ids
        return self.to or HubSpotIds()

    @property
    def is_to_be_executed(self) -> bool:
        """Whether it was confirmed and has no outcome yet: its work may be under way."""
        # the one verdict that executes: a test compares this with the table in meanings.py
        return self.verdict is Verdict.CONFIRMED and self.outcome is None

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The requests for the same customer that have to end before this one begins."""
        confirmed = (event for event in self.events if event.type is EventType.CONFIRMED)
        after = next((event.details.get("after") for event in confirmed), None)
        return tuple(map(str, after)) if isinstance(after, list) else ()

    @property
    def is_begun(self) -> bool:
        """Whether a call of the bot may have changed the customer."""
        return any(event.type is EventType.BEGUN for event in self.events)


@value
class Card:
    """A message that asks for one decision about its customers: a request for each, in order.

    The unit of decision, work and drawing: one customer is a card of one. `is_followed_up`: another
    card in its thread waits for a decision; only what is read to be drawn says so.
    """

    requests: tuple[Request, ...]
    is_followed_up: bool = False

    @property
    def id(self) -> str:
        """The id of the first request."""
        return self.requests[0].card_id

    @property
    def first(self) -> Request:
        """The request that speaks for the card: who asks, why, where, and how it was decided."""
        return self.requests[0]

    @property
    def is_of_many(self) -> bool:
        """Whether the card asks about more than one customer, each for itself."""
        return len(self.requests) > 1 and not self.is_pair

    @property
    def is_pair(self) -> bool:
        """Whether the ids of one customer go to another: first the one is changed, then the other.

        Each is called only while the customer before it is done, and the one after it is as the
        card shows it.
        """
        return len(self.requests) > 1 and self.first.kind is Kind.MOVE

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of all its requests, in the ledger's order."""
        if len(self.requests) == 1:
            return self.first.events
        events = (event for request in self.requests for event in request.events)
        return tuple(sorted(events, key=lambda event: event.id))

    @property
    def is_finished(self) -> bool:
        """Whether each request that was confirmed has its outcome; false while undecided."""
        return all(r.verdict and not r.is_to_be_executed for r in self.requests)

    @property
    def is_stopping(self) -> bool:
        """Whether somebody pressed **Stop**."""
        return any(event.type is EventType.STOP_REQUESTED for event in self.first.events)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The customers that were asked for and are not on the card."""
        return tuple(
            LeftOut(each["customer_id"], str(each.get("why", "")), str(each.get("name", "")))
            for each in self.noted("left_out")
        )

    def noted(self, name: str) -> list[dict[str, Any]]:
        """What was noted under this name when the card was asked for, a row for each customer."""
        found = self.first.events[0].details.get(name) if self.first.events else None
        return found if isinstance(found, list) else []


@value
class LeftOut:
    """A customer that somebody asked for and that is not on the card, and `why` in few words.

    The first event of a card keeps them as `left_out`.
    """

    customer_id: int
    why: str
    name: str = ""
