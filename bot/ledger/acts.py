"""What people did, as Slack identifies it: the same act again changes nothing.

Slack delivers again what was not acknowledged in time, and people press twice. So each step keeps
the act that it was for, with what came of it, in its own transaction. Acts are kept for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, delete, exists, insert, select

from bot.domain.models import Card, EventType, Person, Verdict
from bot.ledger import people, rows
from bot.ledger.database.statements import Statement
from bot.ledger.jobs import Transaction
from bot.ledger.tables import acts, requests

ACT_KEPT = timedelta(days=1)
_ACT = Statement(select(acts).where(acts.c.id == bindparam("act")))
_KEEP = Statement(insert(acts))
_FORGET_DECIDED = Statement(
    delete(acts)
    .where(acts.c.id == bindparam("act"))
    # what was written meanwhile, by the other half of a double click, is a conflict instead
    .where(~exists().where(requests.c.id == acts.c.card_id, requests.c.is_open))
)
_FORGET_OLD = Statement(delete(acts).where(acts.c.at <= bindparam("until")))


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did, as Slack identifies it: delivered again, it is the same act.

    `while_open` is something that several acts share, such as the button of a double click: while
    the card that it led to waits for a decision, another such act is the same.
    """

    id: str
    while_open: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What an act led to, in a word, and its card as it is now: what is told if it is repeated.

    The words are `asked`, `refused`, `taken`, `late`, `denied`, `stopped`, `nothing` and `checked`.
    """

    came_of_it: str
    card: Card

    def why_refused(self, person: Person, verdict: Verdict | None = None) -> str:
        """Why the person was refused, the `verdict` if it was one; else empty."""
        if self.came_of_it not in ("refused", "denied"):
            return ""
        told = (
            str(event.details.get("why", ""))
            for event in reversed(self.card.first.events)
            if event.type in (EventType.ASK_DENIED, EventType.DECISION_DENIED)
            and event.actor == person.user_id
            and event.details.get("verdict") in (None, verdict)
        )
        return next(told, "")


def repeated(tx: Transaction, act: Act) -> Repeated | None:
    """What the same act led to before, or one that shares `while_open`; None if it is the first."""
    found = _ACT.row(tx.connection, {"act": act.id})
    shared = None
    if found is None and act.while_open:
        found = shared = _ACT.row(tx.connection, {"act": act.while_open})
    card = rows.read(tx.connection, found["card_id"]) if found else None
    if found is None or card is None or (shared and not card.first.is_open):
        return None
    return Repeated(found["came_of_it"], card)


def came_of(tx: Transaction, act: Act) -> str:
    """What came of the same act before; empty if this is the first time."""
    found = _ACT.row(tx.connection, {"act": act.id})
    return str(found["came_of_it"]) if found else ""


def keep(tx: Transaction, act: Act | None, card_id: str, came_of_it: str) -> None:
    """Keep what came of an act; nothing if it was nobody's."""
    if act is None:
        return
    kept = {"card_id": card_id, "at": tx.now, "came_of_it": came_of_it}
    _KEEP.execute(tx.connection, {"id": act.id, **kept})
    if act.while_open:
        _FORGET_DECIDED.execute(tx.connection, {"act": act.while_open})
        _KEEP.execute(tx.connection, {"id": act.while_open, **kept})


def tidied(tx: Transaction) -> None:
    """Forget acts of more than a day ago, and response URLs that work no more."""
    _FORGET_OLD.execute(tx.connection, {"until": tx.now - ACT_KEPT})
    people.forget_expired_urls(tx.connection, tx.now)
