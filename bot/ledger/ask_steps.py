"""The steps of a card until people can see it: asked, refused_to_ask, posted, not_posted.

A step is a function of a transaction and values. It calls nobody outside. It keeps the act of a
person first (`people`); then it locks the rows of its card in one statement, and their customers
where it needs them; it changes rows and appends events; last it sets and removes jobs. Ordinary
refusals are values. Each step looks before it changes anything, so that it can be run again when
nobody knows whether a commit took effect. `bot.requests.runner` runs them. `decide_steps` has what
people press, `work_steps` what comes after the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from enum import Enum

from bot.domain.meanings import Past
from bot.domain.models import Card, EventType, LeftOut, Request
from bot.domain.policy import Decision, reminder_at
from bot.domain.values import value
from bot.ledger import decide_steps, jobs, lists, people, rows, same_customer
from bot.ledger.hash_chain import fingerprint, place_on_card
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.people import Act, Repeated


class NoFollowUp(Enum):
    """Why a follow-up may not be added now."""

    OPEN = "another request in the same thread is undecided or being executed"
    NOTHING = "what it belongs to has changed since somebody pressed: it is known, or undone"


@value
class Overtaken:
    """Since the request that a follow-up belongs to, `by` has changed the customer, or may have."""

    by: Request


@value
class Known:
    """What the ledger knows of the customers, for the caller to say what the card tells of it."""

    requests: Sequence[Request]


def asked(
    tx: Transaction,
    card: Card,
    act: Act,
    life: timedelta,
    response_url: str | None = None,
    left_out: Sequence[LeftOut] = (),
    follows: Sequence[Request] = (),
    past: Sequence[Past] | None = (),
) -> Card | Repeated | Known | NoFollowUp | Overtaken:
    """Insert a card's requests, each with its first event, which vouches for the row.

    Returns the card that is in the ledger now, and whose posting is a job, or why it is not.
    The card waits for `life` from now on. `response_url` is kept while it works, to tell the
    requester what the card can't show. `left_out` are customers that were asked for and are not on
    the card, `past` what the ledger knows of those that are; None if nobody has looked.
    """
    if earlier := people.repeated(tx, act):
        if not tx.again or earlier.came_of_it != "asked":
            return earlier
        tx.set(earlier.card.id, Kind.POST, here=True)
        return rows.lock(tx, earlier.card.id).card
    if past is None and (known := lists.known(tx.connection, card)):
        return Known(known)
    first = card.first
    if follows and (refusal := _no_room(tx, card, follows)):
        return refusal
    dated = [
        replace(each, asked_at=tx.now, expires_at=tx.now + life, is_open=True)
        for each in card.requests
    ]
    details: list[dict[str, object]] = [
        {"reason": each.reason, "command": each.command, **asdict(each.customer.ids)}
        | ({"to": asdict(each.to)} if each.to is not None else {})
        for each in dated
    ]
    if left_out:
        details[0]["left_out"] = [asdict(each) for each in left_out]
    if past:
        details[0]["past"] = [asdict(each) for each in past]
    added = _insert(tx, dated, EventType.REQUESTED, details)
    people.note_name(tx, first.requester)
    if response_url:
        people.remember_url(tx, card.id, first.requester, response_url)
    people.keep_act(tx, act, card.id, "asked")
    tx.set(card.id, Kind.POST, here=True)
    return added


def _no_room(
    tx: Transaction, follow_up: Card, follows: Sequence[Request]
) -> NoFollowUp | Overtaken | None:
    """Why a follow-up may not be added now."""
    customers = [request.customer.customer_id for request in follow_up.requests]
    same_customer.lock_customers(tx.connection, customers)
    if same_customer.open_follow_up(tx.connection, follow_up):
        return NoFollowUp.OPEN
    if not same_customer.are_as_read(tx.connection, follows):
        return NoFollowUp.NOTHING
    undone = [request.undoes for request in follow_up.requests if request.undoes]
    by = next(iter(same_customer.overtakers(tx.connection, undone).values()), None)
    return Overtaken(by) if by else None


def refused_to_ask(tx: Transaction, request: Request, decision: Decision, act: Act) -> None:
    """Record that somebody may not ask, as a request that never gets a card."""
    if people.came_of(tx, act):
        return
    denied = replace(request, asked_at=tx.now, expires_at=tx.now)
    details: dict[str, object] = {"why": decision.why, "reason": request.reason}
    _insert(tx, [denied], EventType.ASK_DENIED, [details])
    people.note_name(tx, request.requester)
    people.keep_act(tx, act, request.id, "refused")


def _insert(
    tx: Transaction,
    requests: Sequence[Request],
    event: EventType,
    details: Sequence[Mapping[str, object]],
) -> Card:
    new = rows.add(tx, requests)
    # a refusal never gets a card
    posted = event is not EventType.REQUESTED
    for row, about in zip(new.rows, details, strict=True):
        first: dict[str, object] = {
            "kind": row["kind"],
            "customer_id": row["customer_id"],
            "channel_id": row["channel_id"],
            **about,
            "row": fingerprint(row, posted=posted),
            "card": place_on_card(row),
        }
        new.append(row, event, first, row["requester_id"])
    return new.card


def posted(
    tx: Transaction,
    job: Job,
    message_ts: str,
    expires_at: datetime,
    *,
    reminds: bool,
    is_whole: bool = True,
) -> tuple[Card, bool]:
    """Note that a card was posted and when it expires; returns the card as it is now.

    Other cards may have changed its customers before people saw it: then it is closed at once, and
    this returns so.

    If Slack took it only in a simpler form, not `is_whole`, it is drawn once more.

    The first message of a card stays its message. Whoever posted another one, or one for a card
    that has ended meanwhile, sees that in the answer's `message_ts`.
    """
    locked = rows.lock(tx, job.card_id)
    first = locked.first
    if not first["is_open"] or first["message_ts"] not in (None, message_ts):
        tx.remove(job.card_id, Kind.POST)
        return locked.card, False
    late = expires_at != first["expires_at"]
    locked.place(message_ts, expires_at)
    if late:
        for row in locked.rows:
            # otherwise the verdict's event will vouch for the card
            vouched = {"row": fingerprint(row, posted=True)}
            locked.append(row, EventType.POSTED, vouched)
    tx.remove(job.card_id, Kind.POST)
    if decide_steps.closes_overtaken(tx, locked):
        return locked.card, True
    tx.set(job.card_id, Kind.EXPIRE, expires_at)
    if reminds:
        tx.set(job.card_id, Kind.REMIND, reminder_at(first["asked_at"], expires_at))
    if root := same_customer.card_of_thread(tx.connection, locked.card):
        # it says that a decision waits in its thread
        tx.set(root, Kind.SHOW, here=True)
    is_denied = any(event.type is EventType.DECISION_DENIED for event in locked.card.events)
    if is_denied or not is_whole:
        locked.show()
    return locked.card, False


def not_posted(tx: Transaction, job: Job, why: str) -> bool:
    """End a request whose card can't be posted; false if it has a card or a verdict by now.

    Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id)
    has_card = locked.first["message_ts"] is not None or locked.first["verdict"] is not None
    if locked.first["is_open"] and not has_card:
        jobs.end(tx, job)
        locked.change_all(is_open=False)
        for row in locked.rows:
            # each request's own events say that it waits no longer
            locked.append(row, EventType.DELIVERY_FAILED, {"why": why})
        people.forget_urls_of(tx.connection, job.card_id)
    return not has_card
