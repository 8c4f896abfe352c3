"""What came of a request, as far as its customer's ids show it.

A request changes a customer's ids from X to Y. Whoever reads the customer compares: still X,
already Y, or something else, which was never the bot's to change.
"""

from __future__ import annotations

from dataclasses import asdict, field
from datetime import datetime

from bot.domain.models import HubSpotIds, Kind, Outcome, Request
from bot.domain.values import value


@value
class Result:
    """What came of a request: its outcome, and the `details` for its event.

    With `retry_at`, nothing was changed because Fusebill takes no more calls until then; whoever
    executes may wait for that instead of recording it.
    """

    outcome: Outcome
    details: dict[str, object] = field(default_factory=dict)
    retry_at: datetime | None = None


def compare(ids: HubSpotIds, request: Request, *, called: bool) -> Result | None:
    """The outcome that ids show, perhaps of a call (`called`); None if it can still be executed."""
    if ids == request.ids_before:
        return None
    if ids == request.ids_after:
        # without a call, somebody else did it
        already = Outcome.ALREADY_LATCHED if ids else Outcome.ALREADY_CLEAR
        return done(request, "read_back") if called else Result(already)
    return changed(ids, called=called)


def is_on_the_way(ids: HubSpotIds, request: Request) -> bool:
    """Whether each id is still the old one or already the new one."""
    old, new = request.ids_before, request.ids_after
    return ids.vid in (old.vid, new.vid) and ids.company_id in (old.company_id, new.company_id)


def done(request: Request, how: str, status: int | None = None) -> Result:
    """The request is done; `how` Fusebill showed it: in its `answer`, or when `read_back`."""
    outcome = Outcome.MOVED if request.kind is Kind.MOVE else Outcome.RESTORED
    if not request.ids_after:
        outcome = Outcome.CLEARED
    ids = asdict(request.ids_after or request.ids_before)
    details: dict[str, object] = {**ids, "how": how}
    return Result(outcome, details | ({"status": status} if status else {}))


def changed(ids: HubSpotIds, *, called: bool) -> Result:
    """The customer has other ids than the card showed; `called` as for `compare`."""
    return Result(Outcome.CHANGED, {"found": asdict(ids)} | ({"called": True} if called else {}))
