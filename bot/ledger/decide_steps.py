"""The steps that decide a card, or stop what was decided; and the drawing of what was pressed late.

See `ask_steps` for what a step is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from bot.domain.models import Card, EventType, Outcome, Person, Request, Verdict
from bot.domain.policy import ALLOWED, Decision, sent_since
from bot.domain.values import value
from bot.ledger import jobs, people, rows, same_customer
from bot.ledger.hash_chain import fingerprint
from bot.ledger.jobs import Kind, Transaction
from bot.ledger.people import Act, Repeated

DOUBLE_CLICK = timedelta(seconds=2)
NOBODY = Person("", "")
"""Who decides what the bot ends by itself."""
JUST_DRAWN = timedelta(seconds=10)
"""A press so soon after the result was drawn may have crossed it on the way."""

Judge = Callable[[Request, Request | None], Decision]
"""Applies the policy: may this person decide the request?

The second argument is a request that is in its way, if there is one: another one for the same
customer that may have taken effect after this one was asked, or is being executed right now.
"""


@value
class Decided:
    """The result of an attempt to decide a card.

    `taken`: the verdict is now in the ledger, by this act. `repeated`: the same act was delivered
    before, so this changed nothing. If it was not taken, `decision` says why this person
    may not decide; if `decision` allows it, the card was already decided or has expired. `other` is
    the request that is in the way of one of the card's. `closed`: the card is overtaken, as the
    ledger notes by this. `mismatch`: the card's rows are not what its own first events vouch for,
    so nothing is done about it.
    """

    card: Card
    taken: bool
    decision: Decision = ALLOWED
    other: Request | None = None
    closed: bool = False
    mismatch: str = ""
    repeated: bool = False


def refused(tx: Transaction, card_id: str, person: Person, why: str, act: Act) -> None:
    """Record that somebody may not press a button, once for a double click."""
    locked = rows.lock(tx, card_id)
    is_news = tx.again
    if not people.came_of(tx, act):
        is_news = _deny(tx, locked, person, {"why": why})
        people.keep_act(tx, act, card_id, "refused")
    if is_news:
        locked.show()


def _deny(
    tx: Transaction, locked: rows.LockedCard, person: Person, details: Mapping[str, object]
) -> bool:
    """Append a refusal; false if it is the second half of a double click."""
    denied = EventType.DECISION_DENIED
    for event in locked.card.first.events:
        same = (event.type, event.actor, event.details) == (denied, person.user_id, details)
        if same and abs(tx.now - event.at) <= DOUBLE_CLICK:
            return False
    locked.append(locked.first, denied, details, person.user_id)
    people.note_name(tx, person)
    return True


def decided(
    tx: Transaction,
    card_id: str,
    verdict: Verdict,
    person: Person = NOBODY,
    act: Act | None = None,
    *,
    judge: Judge = lambda _request, _other: ALLOWED,
    reason: str = "",
    message_ts: str = "",
    response_url: str | None = None,
    seen: Mapping[str, Mapping[str, object]] | None = None,
) -> Decided:
    """The gate: record the verdict if there is none yet and `judge` allows it.

    It is one verdict about all requests of the card. A click counts only before the card expires,
    an expiry only after. A click on the card `message_ts` may arrive before the ledger says that
    the card was posted: then this notes it. `response_url` is kept while it works. A `reason`
    is added to each event, and what was `seen` of a request to its own.
    Raises: NoSuchCard if there is no such card.
    """
    locked = rows.lock(tx, card_id)
    card = locked.card
    if act and (came := people.came_of(tx, act)):
        if tx.again:
            _set_jobs(tx, locked)
        return _repeated(Repeated(came, card), verdict, person)
    first = locked.first
    expired = first["expires_at"] <= tx.now
    if not first["is_open"] or expired is not (verdict is Verdict.EXPIRED):
        people.keep_act(tx, act, card_id, "late")
        return Decided(card, taken=False)
    if mismatch := locked.mismatch:
        return Decided(card, taken=False, mismatch=mismatch)
    if message_ts and not first["message_ts"]:
        locked.place(message_ts)
    # a card that is not confirmed executes nothing
    by: Mapping[str, Request] = {}
    other, about = None, dict(seen or {})
    if verdict is Verdict.CONFIRMED:
        same_customer.lock_customers(tx.connection, (row["customer_id"] for row in locked.rows))
        by, other = same_customer.since_asked(tx.connection, locked)
        awaited = same_customer.awaited(tx.connection, card, sent_since(tx.now, tx.hold))
        about = {request_id: {"after": others} for request_id, others in awaited.items()}
    decision = judge(card.first, other)
    if not decision.allowed:
        return _denied(tx, locked, verdict, person, decision, other, act)
    if by and _overtake(tx, locked, by):
        # nobody was quicker to note it
        people.keep_act(tx, act, card_id, "late")
        return Decided(locked.card, taken=False, closed=True)
    people.note_name(tx, person)
    if response_url:
        people.remember_url(tx, card_id, person, response_url)
    _decide(tx, locked, verdict, about, person, reason)
    people.keep_act(tx, act, card_id, "taken")
    return Decided(locked.card, taken=True)


def overtaken(tx: Transaction, card_id: str) -> Card | None:
    """Note what other cards have changed since a card was asked, if it still waits.

    Only of a card that people see: the step that notes its posting looks for itself, and one of
    the two waits for the other's lock. Returns the card if that closed it. Raises: NoSuchCard.
    """
    locked = rows.lock(tx, card_id)
    is_seen = locked.first["is_open"] and locked.first["message_ts"]
    return locked.card if is_seen and closes_overtaken(tx, locked) else None


def closes_overtaken(tx: Transaction, locked: rows.LockedCard) -> bool:
    """Note what other cards have changed since this one was asked; true if that closed it."""
    by, _other = same_customer.since_asked(tx.connection, locked)
    return bool(by) and not locked.mismatch and _overtake(tx, locked, by)


def _overtake(tx: Transaction, locked: rows.LockedCard, by: Mapping[str, Request]) -> bool:
    """Leave out the requests that others overtook; true if that leaves none, and closes the card.

    A pair is closed as a whole.
    """
    card = locked.card
    about = {each.id: _how(each, by[each.id]) for each in card.requests if each.id in by}
    if card.is_pair or all(each.outcome or each.id in by for each in card.requests):
        _decide(tx, locked, Verdict.OVERTAKEN, about)
        return True
    for row in locked.rows:
        if row["id"] in by:
            locked.settle(row, Outcome.LEFT_OUT, about[row["id"]])
    locked.show()
    return False


def _how(request: Request, other: Request) -> dict[str, object]:
    """By what a request was overtaken, for its card: what that did, who decided it, its card.

    Asking again does not help where the customer is now as this request wanted it; and an undo
    belongs to the card that changed the customer last.
    """
    return {
        "by_request": other.id,
        "did": other.outcome,
        "decider": other.decider and other.decider.user_id,
        "place": [other.channel_id, other.message_ts],
        "may_pass": not request.undoes and other.ids_after != request.ids_after,
    }


def _set_jobs(tx: Transaction, locked: rows.LockedCard) -> None:
    """What is left to do for a decided card: its work, and its drawing."""
    card = locked.card
    if any(request.is_to_be_executed for request in card.requests):
        tx.set(card.id, Kind.WORK, here=True)
    locked.show()
    if root := same_customer.card_of_thread(tx.connection, card):
        # no decision waits in its thread any more
        tx.set(root, Kind.SHOW, here=True)


def _decide(
    tx: Transaction,
    locked: rows.LockedCard,
    verdict: Verdict,
    about: Mapping[str, Mapping[str, object]],
    person: Person = NOBODY,
    reason: str = "",
) -> None:
    """Write the verdict to each row, with an event that vouches for the row as it now is.

    `about` has more of a request for its event.
    """
    tx.remove(locked.id, Kind.POST, Kind.REMIND, Kind.EXPIRE)
    locked.change_all(
        verdict=verdict,
        is_open=False,
        decider_id=None if person is NOBODY else person.user_id,
        decider_team_id=None if person is NOBODY else person.team_id,
        decided_at=locked.at,
    )
    for row in locked.rows:
        details = {**about.get(row["id"], {}), "row": fingerprint(row, posted=True)}
        if reason:
            details["why"] = reason
        if person is not NOBODY:
            # the hash chain covers the event, and `verify` compares the row with it
            details["team"] = person.team_id
        locked.append(row, EventType(verdict), details, person.user_id)
    _set_jobs(tx, locked)


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
        locked.show()
    people.keep_act(tx, act, locked.id, "denied")
    return Decided(locked.card, taken=False, decision=decision, other=other)


def _repeated(before: Repeated, verdict: Verdict, person: Person) -> Decided:
    """The result of the same act, which was delivered before."""
    card, came = before.card, before.came_of_it
    if came in ("denied", "refused"):
        decision = Decision(allowed=False, why=before.why_refused(person, verdict))
        return Decided(card, taken=False, decision=decision, repeated=True)
    return Decided(card, taken=came == "taken", repeated=True)


def stopped(tx: Transaction, card_id: str, person: Person, act: Act) -> Repeated:
    """Stop a card's work: what nobody has begun ends now; says what came of it.

    What was begun ends as a look at the customer shows. Raises: NoSuchCard.
    """
    locked = rows.lock(tx, card_id)
    if came := people.came_of(tx, act):
        if tx.again:
            locked.show()
        return Repeated(came, locked.card)
    left = [
        (row, request)
        for row, request in zip(locked.rows, locked.card.requests, strict=True)
        if request.is_to_be_executed
    ]
    if not left:
        people.keep_act(tx, act, card_id, "nothing")
        return Repeated("nothing", locked.card)
    if not locked.card.is_stopping:
        locked.append(locked.first, EventType.STOP_REQUESTED, {}, person.user_id)
        people.note_name(tx, person)
    not_begun = [row for row, request in left if not request.is_begun]
    for row in not_begun:
        locked.settle(row, Outcome.STOPPED, {})
    people.keep_act(tx, act, card_id, "stopped")
    if len(not_begun) == len(left):
        tx.remove(card_id, Kind.WORK)
    locked.show()
    return Repeated("stopped", locked.card)


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
    return card
