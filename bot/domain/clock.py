"""When something is done besides a card's expiry: reminders, rechecks, what waits. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain.models import EventType, Outcome, Request

MAX_RECHECK_DELAY = timedelta(days=7)
"""A recheck that an outage delayed for longer than this is left out."""

_ENDS_THE_RECHECK = frozenset(
    {EventType.RECHECKED, EventType.LATCHED_AGAIN, EventType.CUSTOMER_GONE}
)


def reminder_at(asked_at: datetime, expires_at: datetime) -> datetime:
    """Two thirds of a card's life: when the people to notify are reminded of it."""
    return asked_at + (expires_at - asked_at) * 2 / 3


def is_worth_a_reminder(request: Request, now: datetime) -> bool:
    """Whether enough of the card's life is left for somebody to come and decide: a tenth of it."""
    life = request.expires_at - request.asked_at
    return request.is_open and request.expires_at - now >= life / 10


def recheck_at(request: Request, after_s: int, now: datetime) -> datetime | None:
    """When to read a cleared customer once more, `after_s` seconds after it was cleared.

    None if there is nothing to check: turned off (0), not cleared, undone, checked already, or a
    week late.
    """
    if not after_s or request.outcome is not Outcome.CLEARED or request.settled_at is None:
        return None
    if request.undone_by or any(event.type in _ENDS_THE_RECHECK for event in request.events):
        return None
    at = request.settled_at + timedelta(seconds=after_s)
    return at if now < at + MAX_RECHECK_DELAY else None


def sent_since(now: datetime, hold: timedelta) -> datetime:
    """A call that was sent before this runs no more: two holds ago, so 60 s.

    A call is waited for as long as a hold lasts, and may go on by itself as long again.
    """
    return now - 2 * hold
