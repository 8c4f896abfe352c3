"""The steps of a card up to its decision: asked, refused, posted, decided, stopped.

A step is a function of a transaction and values. It calls nobody outside. It keeps the act of a
person first: the same act again changes nothing, and is answered from what came of it. Then it
locks the rows of its card in one statement, and their customers where it needs them; it changes
rows and appends events; last it sets and removes jobs. Ordinary refusals are values. Each step
looks before it changes anything, so that it can be run again when nobody knows whether a commit
took effect. `bot.requests.runner` runs them; `work_steps` has those that come after the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select

from bot.domain.models import Card, EventType, LeftOut, Person, Request, Verdict
from bot.domain.policy import ALLOWED, Decision, reminder_at, sent_since
from bot.ledger import jobs, response_urls, rows, same_customer, vouching
from bot.ledger.database.statements import Row, Statement
from bot.ledger.hash_chain import fingerprint, place_on_card
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.tables import acts

DOUBLE_CLICK = timedelta(seconds=2)
ACT_KEPT = timedelta(days=1)
JUST_DRAWN = timedelta(seconds=10)
"""A press so soon after the result was drawn may have crossed it on the way."""
_ACT = Statement(select(acts).where(acts.c.id == bindparam("act")))
_KEEP_ACT = Statement(insert(acts))
_FORGET_ACT = Statement(delete(acts).where(acts.c.id == bindparam("act")))
_FORGET_ACTS = Statement(delete(acts).where(acts.c.at <= bindparam("until")))

Judge = Callable[[Request, Request | None], Decision]
"""Applies the policy: may this person decide the request?

The second argument is the request that overtook it, if one did: another one for the same customer
that took effect after this one was asked, or may still, or that is being executed right now.
"""


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did, as Slack identifies it: delivered again, it is the same act.

    `while_open` is something that several acts share, such as the button of a double click: while
    the card that it led to waits for a decision, another such act is the same.
    """

    id: str
    while_open: str = ""


@dataclass(frozen=True, slots=True)
class Before:
    """What the same act led to when it was delivered before, in a word, and its card as it is now.

    The words are `asked`, `refused`, `taken`, `late`, `denied`, `stopped` and `nothing`.
    """

    came_of_it: str
    card: Card

    def why_refused(self, person: Person) -> str:
        """Why the person was refused; empty if the act came to something else."""
        if self.came_of_it != "refused":
            return ""
        denials = (EventType.ASK_DENIED, EventType.DECISION_DENIED)
        told = (
            str(event.details.get("why", ""))
            for event in reversed(self.card.first.events)
            if event.type in denials and event.actor == person.user_id
        )
        return next(told, "")


@dataclass(frozen=True, slots=True)
class Asked:
    """The card is in the ledger, and its posting is a job."""

    card: Card


@dataclass(frozen=True, slots=True)
class FollowUpOpen:
    """Another request in the same thread is undecided or being executed."""


@dataclass(frozen=True, slots=True)
class NothingToFollow:
    """What a follow-up belongs to has changed since somebody pressed: it is known, or undone."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Since the request that a follow-up belongs to, `by` has changed the customer, or may have."""

    by: Request


@dataclass(frozen=True, slots=True)
class Decided:
    """The result of an attempt to decide a card.

    `taken`: the verdict is now in the ledger, by this act. `before`: the same act was delivered
    before, so this changed nothing. If it was not taken, `decision` says why this person
    may not decide; if `decision` allows it, the card was already decided or has expired. `other` is
    the request that overtook one of the card's. `mismatch`: the card's rows are not what its own
    first events vouch for, so nothing is done about it.
    """

    card: Card
    taken: bool
    decision: Decision = ALLOWED
    other: Request | None = None
    mismatch: str = ""
    before: bool = False


def asked(
    tx: Transaction,
    card: Card,
    act: Act,
    life: timedelta,
    response_url: str | None = None,
    left_out: Sequence[LeftOut] = (),
    follows: Sequence[Request] = (),
) -> Asked | Before | FollowUpOpen | NothingToFollow | Overtaken:
    """Insert a card's requests, each with its first event, which vouches for the row.

    The card waits for `life` from now on. `response_url` is kept while it works, to tell the
    requester what the card can't show. `left_out` are customers that were asked for and are not on
    the card.
    """
    if earlier := came_before(tx, act):
        if not tx.again or earlier.came_of_it != "asked":
            return earlier
        tx.set(earlier.card.id, Kind.POST, here=True)
        tx.finish(earlier.card)
        return Asked(earlier.card)
    first = card.first
    if follows and (refusal := _no_room(tx, card, follows)):
        return refusal
    dated = [
        replace(each, asked_at=tx.now, expires_at=tx.now + life, is_open=True)
        for each in card.requests
    ]
    details: list[dict[str, object]] = [
        {"reason": each.reason, **asdict(each.customer.ids)} for each in dated
    ]
    if left_out:
        details[0]["left_out"] = [asdict(each) for each in left_out]
    added = _insert(tx, dated, EventType.REQUESTED, details)
    if response_url:
        response_urls.remember(tx.connection, card.id, first.requester, response_url, tx.now)
    _keep(tx, act, card.id, "asked")
    tx.set(card.id, Kind.POST, here=True)
    tx.finish(added)
    return Asked(added)


def _no_room(
    tx: Transaction, follow_up: Card, follows: Sequence[Request]
) -> FollowUpOpen | NothingToFollow | Overtaken | None:
    """Why a follow-up may not be added now."""
    customers = [request.customer.customer_id for request in follow_up.requests]
    same_customer.lock_customers(tx.connection, customers)
    if same_customer.open_follow_up(tx.connection, follow_up):
        return FollowUpOpen()
    if not rows.are_as_read(tx.connection, follows):
        return NothingToFollow()
    undone = [request.undoes for request in follow_up.requests if request.undoes]
    by = next(iter(same_customer.overtakers(tx.connection, undone).values()), None)
    return Overtaken(by) if by else None


def refused_to_ask(tx: Transaction, request: Request, decision: Decision, act: Act) -> None:
    """Record that somebody may not ask, as a request that never gets a card."""
    if _came_of(tx, act):
        return
    denied = replace(request, asked_at=tx.now, expires_at=tx.now)
    details: dict[str, object] = {"why": decision.why, "reason": request.reason}
    _insert(tx, [denied], EventType.ASK_DENIED, [details])
    _keep(tx, act, request.id, "refused")


def _insert(
    tx: Transaction,
    requests: Sequence[Request],
    event: EventType,
    details: Sequence[Mapping[str, object]],
) -> Card:
    new = rows.LockedCard([rows.request_row(each) for each in requests])
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
        new.append(row, tx.now, event, row["requester_id"], first)
    new.insert(tx.connection)
    return new.card


def refused(tx: Transaction, card_id: str, person: Person, why: str, act: Act) -> None:
    """Record that somebody may not press a button, once for a double click."""
    locked = rows.lock(tx.connection, card_id)
    is_news = tx.again
    if not _came_of(tx, act):
        is_news = _deny(tx, locked, person, {"why": why})
        locked.save(tx.connection)
        _keep(tx, act, card_id, "refused")
    if is_news:
        _show_if_posted(tx, locked)
    tx.finish(locked.card)


def _show_if_posted(tx: Transaction, locked: rows.LockedCard) -> None:
    # without a card it is shown once that is posted
    if locked.first["message_ts"]:
        tx.set(locked.id, Kind.SHOW, here=True)


def _deny(
    tx: Transaction, locked: rows.LockedCard, person: Person, details: Mapping[str, object]
) -> bool:
    """Append a refusal; false if it is the second half of a double click."""
    denied = EventType.DECISION_DENIED
    for event in locked.card.first.events:
        same = (event.type, event.actor, event.details) == (denied, person.user_id, details)
        if same and abs(tx.now - event.at) <= DOUBLE_CLICK:
            return False
    locked.append(locked.first, tx.now, denied, person.user_id, details)
    return True


def posted(
    tx: Transaction,
    job: Job,
    message_ts: str,
    expires_at: datetime,
    *,
    reminds: bool,
    is_whole: bool = True,
) -> Card:
    """Note that a card was posted and when it expires; returns the card as it is now.

    If Slack took it only in a simpler form, not `is_whole`, it is drawn once more.

    The first message of a card stays its message. Whoever posted another one, or one for a card
    that has ended meanwhile, sees that in the answer's `message_ts`.
    """
    locked = rows.lock(tx.connection, job.card_id)
    first = locked.first
    if not first["is_open"] or first["message_ts"] not in (None, message_ts):
        tx.remove(job.card_id, Kind.POST)
        tx.finish()
        return locked.card
    late = expires_at != first["expires_at"]
    _place(locked, message_ts, expires_at)
    if late:
        for row in locked.rows:
            # otherwise the verdict's event will vouch for the card
            vouched = {"row": fingerprint(row, posted=True)}
            locked.append(row, tx.now, EventType.POSTED, "", vouched)
    locked.save(tx.connection)
    tx.remove(job.card_id, Kind.POST)
    tx.set(job.card_id, Kind.EXPIRE, expires_at)
    if reminds:
        tx.set(job.card_id, Kind.REMIND, reminder_at(first["asked_at"], expires_at))
    is_denied = any(event.type is EventType.DECISION_DENIED for event in locked.card.events)
    if is_denied or not is_whole:
        tx.set(job.card_id, Kind.SHOW, here=True)
    tx.finish(locked.card)
    return locked.card


def _place(
    locked: rows.LockedCard, message_ts: str | None, expires_at: datetime | None = None
) -> None:
    """Note the message that shows a card, and the thread that shows its history."""
    thread_ts = locked.first["thread_ts"] or message_ts
    expires_at = expires_at or locked.first["expires_at"]
    locked.change_all(message_ts=message_ts, thread_ts=thread_ts, expires_at=expires_at)


def unposted(tx: Transaction, job: Job, why: str) -> bool:
    """End a request whose card can't be posted; false if it has a card or a verdict by now.

    Raises: LostHold.
    """
    locked = rows.lock(tx.connection, job.card_id)
    has_card = locked.first["message_ts"] is not None or locked.first["verdict"] is not None
    if locked.first["is_open"] and not has_card:
        jobs.end(tx, job, unless_set_again=False)
        locked.change_all(is_open=False)
        for row in locked.rows:
            # each request's own events say that it waits no longer
            locked.append(row, tx.now, EventType.DELIVERY_FAILED, "", {"why": why})
        locked.save(tx.connection)
        response_urls.forget_all(tx.connection, job.card_id)
    return not has_card


def decided(
    tx: Transaction,
    card_id: str,
    verdict: Verdict,
    person: Person | None,
    act: Act | None = None,
    *,
    judge: Judge = lambda _request, _other: ALLOWED,
    details: Mapping[str, object] | None = None,
    message_ts: str = "",
    response_url: str | None = None,
    seen: Mapping[str, Mapping[str, object]] | None = None,
) -> Decided:
    """The gate: record the verdict if there is none yet and `judge` allows it.

    It is one verdict about all requests of the card. A click counts only before the card expires,
    an expiry (of nobody's) only after. A click on the card `message_ts` may be quicker than the
    note that it was posted: then this notes it. `response_url` is kept while it works. `details`
    are added to each event, and `seen` has more for each request.
    Raises: NoSuchCard if there is no such card.
    """
    locked = rows.lock(tx.connection, card_id)
    card = locked.card
    if act and (came := _came_of(tx, act)):
        if tx.again:
            _set_jobs(tx, card)
        return _as_before(card, came, verdict, person)
    first = locked.first
    expired = first["expires_at"] <= tx.now
    if not first["is_open"] or expired is not (verdict is Verdict.EXPIRED):
        _keep(tx, act, card_id, "late")
        return Decided(card, taken=False)
    if mismatch := vouching.mismatch(locked):
        return Decided(card, taken=False, mismatch=mismatch)
    if message_ts and not first["message_ts"]:
        _place(locked, message_ts)
    others: list[Request] = []
    if verdict is Verdict.CONFIRMED:
        customers = (row["customer_id"] for row in locked.rows)
        same_customer.lock_customers(tx.connection, customers)
        others = same_customer.since_asked(tx.connection, card_id)
    other = same_customer.overtaking(card, others)
    decision = judge(card.first, other)
    if not decision.allowed:
        return _denied(tx, locked, verdict, person or Person("", ""), decision, other, act)
    if person and response_url:
        response_urls.remember(tx.connection, card_id, person, response_url, tx.now)
    # a card that is not confirmed executes nothing
    waits = verdict is Verdict.CONFIRMED
    since = sent_since(tx.now, tx.hold)
    after = same_customer.awaited(tx.connection, card, since) if waits else {}
    _decide(tx, locked, verdict, person, details or {}, after, seen or {})
    _keep(tx, act, card_id, "taken")
    tx.remove(card_id, Kind.POST, Kind.REMIND, Kind.EXPIRE)
    decided = locked.card
    _set_jobs(tx, decided)
    return Decided(decided, taken=True)


def _set_jobs(tx: Transaction, card: Card) -> None:
    """What is left to do for a decided card: its work, and its drawing."""
    if any(request.is_to_be_executed for request in card.requests):
        tx.set(card.id, Kind.WORK, here=True)
    if card.first.message_ts:
        tx.set(card.id, Kind.SHOW, here=True)
    tx.finish(card)


def _decide(
    tx: Transaction,
    locked: rows.LockedCard,
    verdict: Verdict,
    person: Person | None,
    details: Mapping[str, object],
    after: Mapping[str, Sequence[str]],
    seen: Mapping[str, Mapping[str, object]],
) -> None:
    """Write the verdict to each row, with an event that vouches for the row as it now is."""
    locked.change_all(
        verdict=verdict,
        is_open=False,
        decider_id=person and person.user_id,
        decider_team_id=person and person.team_id,
        decided_at=max(tx.now, locked.events[-1]["at"]),
    )
    for row in locked.rows:
        about: dict[str, object] = {**details, **seen.get(row["id"], {})}
        if person:
            # the hash chain covers the event, and `verify` compares the row with it
            about["team"] = person.team_id
        if waits_for := after.get(row["id"]):
            about["after"] = list(waits_for)
        about["row"] = fingerprint(row, posted=True)
        locked.append(row, tx.now, EventType(verdict), person.user_id if person else "", about)
    locked.save(tx.connection)


def _denied(
    tx: Transaction,
    locked: rows.LockedCard,
    verdict: Verdict,
    person: Person,
    decision: Decision,
    other: Request | None,
    act: Act | None,
) -> Decided:
    """Record a refusal, once for a double click."""
    details: dict[str, object] = {"verdict": verdict, "why": decision.why}
    if _deny(tx, locked, person, details):
        _show_if_posted(tx, locked)
    locked.save(tx.connection)
    _keep(tx, act, locked.id, "denied")
    tx.finish(locked.card)
    return Decided(locked.card, taken=False, decision=decision, other=other)


def _as_before(card: Card, came: str, verdict: Verdict, person: Person | None) -> Decided:
    """The result of the same act, which was delivered before."""
    if came in ("denied", "refused"):
        denials = (
            event
            for event in reversed(card.first.events)
            if event.type is EventType.DECISION_DENIED
            and event.details.get("verdict") in (None, verdict)
            and person
            and event.actor == person.user_id
        )
        why = next((str(event.details.get("why", "")) for event in denials), "")
        decision = Decision(allowed=False, why=why)
        return Decided(card, taken=False, decision=decision, before=True)
    return Decided(card, taken=came == "taken", before=True)


def stopped(tx: Transaction, card_id: str, person: Person, act: Act) -> Card | Before | None:
    """Stop a card's work: what nobody has begun ends now; None if nothing is left to do.

    What was begun ends as a look at the customer shows. Raises: NoSuchCard.
    """
    locked = rows.lock(tx.connection, card_id)
    if came := _came_of(tx, act):
        if tx.again:
            _show_if_posted(tx, locked)
            tx.finish(locked.card)
        return Before(came, locked.card)
    left = [
        (row, request)
        for row, request in zip(locked.rows, locked.card.requests, strict=True)
        if request.is_to_be_executed
    ]
    if not left:
        _keep(tx, act, card_id, "nothing")
        return None
    if not locked.card.is_stopping:
        locked.append(locked.first, tx.now, EventType.STOP_REQUESTED, person.user_id, {})
    not_begun = [row for row, request in left if not request.is_begun]
    for row in not_begun:
        locked.change(row, outcome="stopped", settled_at=max(tx.now, locked.events[-1]["at"]))
        locked.append(row, tx.now, EventType.STOPPED, "", {})
    locked.save(tx.connection)
    _keep(tx, act, card_id, "stopped")
    if len(not_begun) == len(left):
        tx.remove(card_id, Kind.WORK)
    _show_if_posted(tx, locked)
    tx.finish(locked.card)
    return locked.card


def pressed_late(tx: Transaction, card_id: str) -> Card | None:
    """Have a finished card drawn again, since a press shows that Slack shows an older one.

    None if it is open, being drawn, or was drawn so recently that the press crossed it.
    """
    card = rows.read(tx.connection, card_id)
    if card is None or not card.is_finished:
        return None
    job = jobs.find(tx, card_id, Kind.SHOW)
    just_drawn = job is None and card.events[-1].at > tx.now - JUST_DRAWN
    if just_drawn or (job and job["holder"] and job["held_until"] > tx.now):
        return None
    tx.set(card_id, Kind.SHOW, here=True)
    tx.finish(card)
    return card


def draw_again(tx: Transaction, card_id: str) -> None:
    """Have a card drawn once more, as it is now."""
    tx.set(card_id, Kind.SHOW)
    tx.finish()


def came_before(tx: Transaction, act: Act) -> Before | None:
    """What the same act led to before, or one that shares `while_open`; None if it is the first."""
    found = _ACT.row(tx.connection, {"act": act.id})
    shared = None
    if found is None and act.while_open:
        found = shared = _ACT.row(tx.connection, {"act": act.while_open})
    card = rows.read(tx.connection, found["card_id"]) if found else None
    if found is None or card is None or (shared and not card.first.is_open):
        return None
    return Before(found["came_of_it"], card)


def _came_of(tx: Transaction, act: Act) -> str:
    """What came of the same act before; empty if this is the first time."""
    found: Row | None = _ACT.row(tx.connection, {"act": act.id})
    return str(found["came_of_it"]) if found else ""


def _keep(tx: Transaction, act: Act | None, card_id: str, came_of_it: str) -> None:
    if act is None:
        return
    kept = {"card_id": card_id, "at": tx.now, "came_of_it": came_of_it}
    _KEEP_ACT.execute(tx.connection, {"id": act.id, **kept})
    if act.while_open:
        _FORGET_ACT.execute(tx.connection, {"act": act.while_open})
        _KEEP_ACT.execute(tx.connection, {"id": act.while_open, **kept})


def tidied(tx: Transaction) -> None:
    """Forget acts of more than a day ago, and response URLs that work no more."""
    _FORGET_ACTS.execute(tx.connection, {"until": tx.now - ACT_KEPT})
    response_urls.forget_expired(tx.connection, tx.now)
