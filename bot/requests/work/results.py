"""What a customer's ids and Fusebill's answers say of a request: its outcome, and the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime

from bot.domain.models import HubSpotIds, Kind, Outcome, Request
from bot.fusebill.errors import FusebillError
from bot.fusebill.responses import Accepted

MAX_CALL_TEXT = 9_000  # characters of Fusebill's words kept of each call


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """The outcome, and the `details` for its event in the ledger.

    With `retry_at`, nothing was changed because Fusebill takes no more calls until then.
    """

    outcome: Outcome
    details: dict[str, object] = field(default_factory=dict)
    retry_at: datetime | None = None


def compare(ids: HubSpotIds, request: Request, *, called: bool) -> ExecutionResult | None:
    """The outcome that a customer's ids show; None if the request can still be executed.

    `called` says whether a call of the bot may have changed the ids already.
    """
    if ids == starting(request):
        return None
    if ids == wanted(request) and called:
        return done(request, "read_back")
    if not ids:
        return ExecutionResult(Outcome.ALREADY_CLEAR)
    return changed(ids, called=called)


def starting(request: Request) -> HubSpotIds:
    """The ids that the customer must have before the call."""
    return HubSpotIds() if request.kind is Kind.RELATCH else request.customer.ids


def wanted(request: Request) -> HubSpotIds:
    """The ids that the customer has once the request is done."""
    return request.customer.ids if request.kind is Kind.RELATCH else HubSpotIds()


def on_the_way(ids: HubSpotIds, request: Request) -> bool:
    """Whether each id is still the old one or already the new one."""
    old, new = starting(request), wanted(request)
    return ids.vid in (old.vid, new.vid) and ids.company_id in (old.company_id, new.company_id)


def done(request: Request, how: str, status: int | None = None) -> ExecutionResult:
    """The request is done; `how` Fusebill showed it: in its `answer`, or when `read_back`."""
    outcome = Outcome.RESTORED if request.kind is Kind.RELATCH else Outcome.CLEARED
    details: dict[str, object] = {**asdict(request.customer.ids), "how": how}
    return ExecutionResult(outcome, details | ({"status": status} if status else {}))


def changed(ids: HubSpotIds, *, called: bool) -> ExecutionResult:
    """The customer has other ids than the card showed; `called` as for `compare`."""
    return ExecutionResult(
        Outcome.CHANGED, {"found": asdict(ids)} | ({"called": True} if called else {})
    )


def evidence(answer: FusebillError | Accepted) -> dict[str, object]:
    """What came of a call, for the ledger: everything that the vendor's support would ask for."""
    texts: list[str] = []
    left = MAX_CALL_TEXT
    for each in answer.texts:
        texts += [each[:left]] if left > 0 else []
        left -= len(each)
    found: dict[str, object] = {"texts": texts} if texts else {}
    if answer.why:
        found["why"] = answer.why
    if isinstance(answer, FusebillError) and answer.error_id is not None:
        found["error_id"] = answer.error_id
    return {"status": answer.status} | found
