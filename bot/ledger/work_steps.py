"""The steps of a card after its decision: its work, its drawing, its reminder and its recheck.

Each is what the process that holds a job writes, and is refused (LostHold) once another one holds
it. See `ask_steps` for what a step is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta

from bot.domain.meanings import is_done, is_rechecked, may_be_checked
from bot.domain.models import Card, EventType, Outcome, Person, Request
from bot.domain.outcomes import Result
from bot.domain.policy import is_worth_a_reminder
from bot.domain.values import value
from bot.ledger import jobs, people, rows, same_customer
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.people import Act

OLDER_VERSION = "an older version"
"""Who holds work that a version before 0006 began: see the migration."""


def resumed(tx: Transaction, job: Job, *, older_version: bool) -> Card:
    """Note that work was interrupted and is taken up again; returns the card.

    An `older_version` did not always write down that it was about to call, so what it held may have
    been called. Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id)
    for row, request in zip(locked.rows, locked.card.requests, strict=True):
        reclaimed: dict[str, object] = {"claim": job.takes}
        is_noted = any(
            event.type is EventType.RECLAIMED and event.details == reclaimed
            for event in request.events
        )
        if request.is_to_be_executed and not is_noted:
            locked.append(row, EventType.RECLAIMED, reclaimed)
            if older_version and not request.is_begun:
                locked.append(row, EventType.BEGUN, {"older_version": True})
    jobs.extend(tx, job)
    locked.show()
    return locked.card


def begun(tx: Transaction, job: Job, request_ids: Sequence[str]) -> frozenset[str]:
    """Note that these requests are about to be called; returns those that may be.

    None may once somebody has stopped the work. The hold is found and extended in the same
    transaction. Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id)
    if locked.card.is_stopping:
        return frozenset()
    may_call = set[str]()
    for row, request in zip(locked.rows, locked.card.requests, strict=True):
        if row["id"] in request_ids and request.is_to_be_executed:
            may_call.add(row["id"])
            if not request.is_begun:
                waited: dict[str, object] = {"waited": True} if request.waits_for else {}
                locked.append(row, EventType.BEGUN, waited)
    jobs.extend(tx, job)
    return frozenset(may_call)


def recorded(
    tx: Transaction, job: Job, results: Mapping[str, Result], recheck_after: timedelta
) -> Card:
    """Write outcomes, mark what was undone, and have both cards drawn; returns the card.

    Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id, same_customer.CARD_LOCKED_WITH_OTHERS)
    is_new = _settle(locked, results)
    card = locked.card
    _after_outcomes(tx, locked, results, recheck_after)
    is_finished = not any(request.is_to_be_executed for request in card.requests)
    if is_finished and (is_new or not tx.again):
        jobs.end(tx, job)
    elif not is_finished:
        jobs.extend(tx, job)
    if is_finished:
        locked.show()
    return card


def _settle(locked: rows.LockedCard, results: Mapping[str, Result], actor: str = "") -> bool:
    """Write outcomes; false if each was written before."""
    is_new = False
    for row in locked.rows:
        result = results.get(row["id"])
        # what was stopped, or written by a commit whose answer was lost, has its outcome
        if result is None or row["outcome"] not in (None, Outcome.UNKNOWN):
            continue
        locked.settle(row, result.outcome, result.details, actor)
        is_new = True
    return is_new


def _after_outcomes(
    tx: Transaction,
    locked: rows.LockedCard,
    results: Mapping[str, Result],
    recheck_after: timedelta,
) -> None:
    """Mark what a card undid; set what follows: cards that it overtook, another look later."""
    card = locked.card
    settled = [request for request in card.requests if request.id in results]
    done = {request.id: request for request in settled if is_done(request)}
    undone = {request.undoes: request for request in done.values() if request.undoes}
    if undone:
        _mark_undone(tx, undone)
    if any(row["others_wait"] for row in locked.rows if row["id"] in done):
        tx.set(card.id, Kind.OVERTAKE, here=True)
    if recheck_after and any(map(is_rechecked, settled)):
        tx.set(card.id, Kind.RECHECK, tx.now + recheck_after)


def _mark_undone(tx: Transaction, by: Mapping[str, Request]) -> None:
    """Mark the requests that others undid, by id; the cards in one order for all steps."""
    for card_id in sorted(rows.cards_of(tx.connection, list(by))):
        locked = rows.lock(tx, card_id)
        for row in locked.rows:
            relatch = by.get(row["id"])
            if relatch is None or row["undone_by"] is not None:
                continue
            actor = relatch.decider.user_id if relatch.decider else ""
            locked.change(row, undone_by=relatch.id)
            locked.append(row, EventType.UNDONE, {"by_request": relatch.id}, actor)
        locked.show()


def looked_again(
    tx: Transaction,
    card_id: str,
    person: Person,
    results: Mapping[str, Result],
    recheck_after: timedelta,
    act: Act | None = None,
) -> tuple[Card, Collection[str], Mapping[str, Request]] | None:
    """Record the outcomes of unknown requests that their customers show now; returns whose.

    Not of those whose customer another request has changed since, which is returned by their ids:
    what it shows says nothing of them. Nothing while another request in the thread is open: then
    this returns None. An act that also leads to a card is kept with that. Raises: NoSuchCard.
    """
    locked = rows.lock(tx, card_id, same_customer.CARD_LOCKED_WITH_OTHERS)
    same_customer.lock_customers(tx.connection, (row["customer_id"] for row in locked.rows))
    card = locked.card
    if same_customer.open_follow_up(tx.connection, card):
        return None
    unknown = {request.id for request in card.requests if may_be_checked(request)}
    others = same_customer.overtakers(tx.connection, sorted(unknown & results.keys()))
    known = {i: result for i, result in results.items() if i in unknown - others.keys()}
    if _settle(locked, known, person.user_id):
        people.note_name(tx, person)
        people.keep_act(tx, act, card_id, "checked")
    _after_outcomes(tx, locked, known, recheck_after)
    if known or tx.again:
        locked.show()
    # the first try may have written them
    recorded = results.keys() - others.keys() if tx.again else known.keys()
    return locked.card, recorded, others


def as_it_is(tx: Transaction, job: Job) -> Card | None:
    """The card as it is now, to be drawn; notes what is drawn with it. Raises: LostHold."""
    row = jobs.require_held(tx, job)
    job.wanted = row["wanted"]
    card = rows.read(tx.connection, job.card_id)
    # the card that has the thread says it for all cards in it
    if card and card.is_finished and card.first.thread_ts == card.first.message_ts:
        follow_up = same_customer.open_follow_up(tx.connection, card)
        return replace(card, is_followed_up=bool(follow_up and follow_up.is_open))
    return card


def shown(tx: Transaction, job: Job, events: int, again_in: timedelta | None = None) -> bool:
    """Note how many of a card's events its thread shows, and end the job, or do it `again_in`.

    False if there is more to show: the job was set again since the card was read. Raises: LostHold.
    """
    rows.note_shown(tx.connection, job.card_id, events)
    if again_in is not None:
        if jobs.require_held(tx, job)["wanted"] != job.wanted:
            return False
        jobs.put_off(tx, job, again_in)
        return True
    if not jobs.end_unless_set_again(tx, job):
        return False
    people.forget_urls_of(tx.connection, job.card_id)
    return True


def shown_so_far(tx: Transaction, job: Job, events: int) -> None:
    """Note how many of a card's events its thread shows, while more are posted."""
    jobs.require_held(tx, job)
    rows.note_shown(tx.connection, job.card_id, events)


def given_up(tx: Transaction, job: Job, events: int, why: str, *, gone: bool = False) -> bool:
    """Note that Slack does not take a card or a reply: it is drawn again only if somebody presses.

    If the card is `gone`, nothing is left to show. False if the job was set again since the card
    was read. Raises: LostHold.
    """
    rows.note_shown(tx.connection, job.card_id, events)
    locked = rows.lock(tx, job.card_id)
    details: dict[str, object] = {"why": why}
    last = locked.card.first.events[-1]
    # a press makes the bot try again: the same failure is written once
    if (last.type, last.details) != (EventType.DELIVERY_FAILED, details):
        locked.append(locked.first, EventType.DELIVERY_FAILED, details)
    if gone:
        locked.change(locked.first, shown_events=len(locked.events))
        return jobs.end_unless_set_again(tx, job)
    jobs.put_off(tx, job, None)
    return True


def reminded(tx: Transaction, job: Job, *, notifies: bool) -> Card | None:
    """Note that a waiting card's people are reminded now, before they are.

    None if that makes no sense any more: it is decided or too late, or nobody is to be notified.
    Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id)
    jobs.end(tx, job)
    if not notifies or not is_worth_a_reminder(locked.card.first, tx.now):
        return None
    locked.append(locked.first, EventType.REMINDED, {})
    return locked.card


@value
class Looked:
    """What a cleared customer was found to be: its event, or the time to look again."""

    event: EventType | None
    details: dict[str, object] = field(default_factory=dict)
    again_at: datetime | None = None


def rechecked(tx: Transaction, job: Job, found: Mapping[str, Looked]) -> Card:
    """Record what cleared customers look like, unless a later request may have changed them.

    Raises: LostHold.
    """
    locked = rows.lock(tx, job.card_id)
    same_customer.lock_customers(tx.connection, (row["customer_id"] for row in locked.rows))
    others = same_customer.changed_since(tx.connection, sorted(found))
    again = [each.again_at for each in found.values() if each.again_at and not each.event]
    is_news = False
    for row, request in zip(locked.rows, locked.card.requests, strict=True):
        looked = found.get(row["id"])
        later = others.get(row["id"], ())
        if looked is None or looked.event is None or request.undone_by:
            continue
        if tx.again and request.events[-1].type is looked.event:
            is_news = is_news or looked.event is not EventType.RECHECKED
            continue
        if later:
            # it changed the customer, or is about to: what it shows is no surprise
            running = any(other.outcome is None for other in later)
            again += [looked.again_at] if running and looked.again_at else []
            continue
        locked.append(row, looked.event, looked.details)
        is_news = is_news or looked.event is not EventType.RECHECKED
    if again:
        jobs.put_off(tx, job, min(again) - tx.now)
    elif not tx.again or jobs.find(tx, job.card_id, Kind.RECHECK):
        jobs.end(tx, job)
    if is_news:
        locked.show()
    return locked.card


def overtook(tx: Transaction, job: Job) -> Sequence[str]:
    """The cards that wait for customers that this one has changed. Raises: LostHold."""
    job.wanted = jobs.require_held(tx, job)["wanted"]
    return same_customer.waiting_for_changed(tx.connection, job.card_id)
