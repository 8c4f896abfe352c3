"""What each verdict, outcome and event is: one table for each enum.

Cards, lists, threads, ephemerals, and the ledger's queries and verification read these tables
instead of listing members themselves. To add a member to an enum, start here: a test fails until
the member has its row. A value that only a newer version of the bot knows is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bot.domain.models import EventType, OpenEnum, Outcome, Request, Verdict


@dataclass(frozen=True, slots=True)
class VerdictMeaning:
    """How a verdict is shown, and whether work follows.

    `title` heads the card and, in lower case, names the state in a list. `label` introduces who
    decided and when. Without `executes`, the verdict ends the request.
    """

    emoji: str
    title: str
    label: str
    executes: bool = False


@dataclass(frozen=True, slots=True)
class OutcomeMeaning:
    """How the result of a confirmed request is shown, and what can follow.

    `title` heads the card and, in lower case, names the state in a list; `count` follows a number
    of customers. `effective` means that the customer was or may have been changed, so older cards
    for the customer are overtaken. `as_asked` means that the customer is now as the card asked.
    `may_be_undone` and `may_be_checked` say whether the card offers **Undo…** or **Check again**.
    """

    emoji: str
    title: str
    count: str
    effective: bool = False
    as_asked: bool = False
    may_be_undone: bool = False
    may_be_checked: bool = False


@dataclass(frozen=True, slots=True)
class EventMeaning:
    """Which verdict or outcome an event set on its request, if any.

    A `quiet` event disturbs nobody: the thread shows it with the next event that is not quiet.
    """

    verdict: Verdict | None = None
    outcome: Outcome | None = None
    quiet: bool = False


Member = TypeVar("Member", bound=OpenEnum)
Meaning = TypeVar("Meaning")


class Meanings(dict[Member, Meaning]):
    """A table with a row for each member; for any other value, `unknown` makes the row."""

    def __init__(self, unknown: Callable[[str], Meaning], rows: Mapping[Member, Meaning]) -> None:
        super().__init__(rows)
        self._unknown = unknown

    def __missing__(self, member: Member) -> Meaning:
        return self._unknown(str(member))


def _title(value: str) -> str:
    return value.replace("_", " ").capitalize()


VERDICTS: Mapping[Verdict, VerdictMeaning] = Meanings(
    lambda value: VerdictMeaning("❓", _title(value), f"{_title(value)} by"),
    {
        Verdict.CONFIRMED: VerdictMeaning("⏳", "In progress", "Confirmed by", executes=True),
        Verdict.CANCELLED: VerdictMeaning("🚫", "Cancelled", "Cancelled by"),
        Verdict.DECLINED: VerdictMeaning("⛔", "Declined", "Declined by"),
        Verdict.EXPIRED: VerdictMeaning("⌛", "Expired", "Expired"),
    },
)

OUTCOMES: Mapping[Outcome, OutcomeMeaning] = Meanings(
    lambda value: OutcomeMeaning("❓", _title(value), _title(value).lower(), effective=True),
    {
        Outcome.CLEARED: OutcomeMeaning(
            "✅", "Unlatched", "unlatched", effective=True, as_asked=True, may_be_undone=True
        ),
        Outcome.RESTORED: OutcomeMeaning(
            "✅", "Latched again", "latched again", effective=True, as_asked=True
        ),
        Outcome.ALREADY_CLEAR: OutcomeMeaning("☑️", "Already clear", "already clear", as_asked=True),
        Outcome.CHANGED: OutcomeMeaning("⚠️", "Not done, the ids changed", "other ids"),
        Outcome.REFUSED: OutcomeMeaning("❌", "Not done", "not done"),
        Outcome.UNKNOWN: OutcomeMeaning(
            "❓", "Outcome unknown", "unknown", effective=True, may_be_checked=True
        ),
        Outcome.STOPPED: OutcomeMeaning("🛑", "Stopped, not done", "stopped"),
    },
)

EVENTS: Mapping[EventType, EventMeaning] = Meanings(
    lambda _value: EventMeaning(),
    {
        EventType.REQUESTED: EventMeaning(),
        EventType.POSTED: EventMeaning(),
        EventType.ASK_DENIED: EventMeaning(),
        EventType.DECISION_DENIED: EventMeaning(),
        EventType.CONFIRMED: EventMeaning(verdict=Verdict.CONFIRMED),
        EventType.CANCELLED: EventMeaning(verdict=Verdict.CANCELLED),
        EventType.DECLINED: EventMeaning(verdict=Verdict.DECLINED),
        EventType.EXPIRED: EventMeaning(verdict=Verdict.EXPIRED),
        EventType.REMINDED: EventMeaning(quiet=True),
        EventType.RECLAIMED: EventMeaning(),
        EventType.BEGUN: EventMeaning(quiet=True),
        EventType.CLEARED: EventMeaning(outcome=Outcome.CLEARED),
        EventType.RESTORED: EventMeaning(outcome=Outcome.RESTORED),
        EventType.ALREADY_CLEAR: EventMeaning(outcome=Outcome.ALREADY_CLEAR),
        EventType.CHANGED: EventMeaning(outcome=Outcome.CHANGED),
        EventType.REFUSED: EventMeaning(outcome=Outcome.REFUSED),
        EventType.UNKNOWN: EventMeaning(outcome=Outcome.UNKNOWN),
        EventType.STOPPED: EventMeaning(outcome=Outcome.STOPPED),
        EventType.STOP_REQUESTED: EventMeaning(),
        EventType.UNDONE: EventMeaning(),
        EventType.RECHECKED: EventMeaning(quiet=True),
        EventType.LATCHED_AGAIN: EventMeaning(),
        EventType.DELIVERY_FAILED: EventMeaning(),
    },
)


def may_be_undone(request: Request) -> bool:
    """Whether the card offers **Undo…**."""
    return bool(
        request.outcome and OUTCOMES[request.outcome].may_be_undone and not request.undone_by
    )


def may_be_checked(request: Request) -> bool:
    """Whether the card offers **Check again**."""
    return bool(request.outcome and OUTCOMES[request.outcome].may_be_checked)
