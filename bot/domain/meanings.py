"""What each kind, verdict, outcome and event is: one table for each enum.

Cards, lists, threads, ephemerals, and the ledger's queries and verification read these tables
instead of listing members themselves. To add a member to an enum, start here: a test fails until
the member has its row. A value that only a newer version of the bot knows is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self, TypeVar

from bot.domain.models import Card, Event, EventType, Kind, OpenEnum, Outcome, Request, Verdict
from bot.domain.values import value


@value
class KindMeaning:
    """How a request of a kind is worded; `{}` stands for its customer, or for "47 customers".

    `ask` is the question on the card and its button, in Slack's `style`; `asked` is what the thread
    says that somebody did. `doing` heads the card while the work lasts, and `done` is what becomes
    of a customer. `changes` says what the work does, with the ids, or how many, for `{}`; the card
    adds that it can be undone if that `may_be_undone`. `again` is what to type, or to press, to ask
    once more, with an id and the reason or "many" for `{}`. `mark` stands before a state in a list.
    """

    ask: str
    asked: str
    style: str
    doing: str
    done: str
    changes: str
    again: str
    mark: str = ""
    may_be_undone: bool = False


@value
class VerdictMeaning:
    """How a verdict is shown, and whether work follows.

    `title` heads the card and, in lower case, names the state in a list. Without `executes`, the
    verdict ends the request. After one that nobody made, the same `may_be_asked_again`.
    """

    emoji: str
    title: str
    executes: bool = False
    may_be_asked_again: bool = False

    @property
    def heading(self) -> str:
        """The title with its emoji."""
        return f"{self.emoji} {self.title}"


@value
class OutcomeMeaning:
    """How the result of a confirmed request is shown, and what can follow.

    `title` heads the card and, in lower case, names the state in a list; `count` follows a number
    of customers. `effective` means that the customer was or may have been changed, so older cards
    for the customer are overtaken. `as_asked` means that the customer is now as the card asked.
    `may_be_undone`, `may_be_checked` and `may_be_asked_again` say whether the card offers
    **Undo…**, **Check again** or **Ask again**.
    """

    emoji: str
    title: str
    count: str
    effective: bool = False
    as_asked: bool = False
    may_be_undone: bool = False
    may_be_checked: bool = False
    may_be_asked_again: bool = False

    @property
    def heading(self) -> str:
        """The title with its emoji."""
        return f"{self.emoji} {self.title}"

    @property
    def is_done(self) -> bool:
        """Whether the bot did what the card asked."""
        return self.effective and self.as_asked


@value
class EventMeaning:
    """What an event set on its request; a `quiet` one waits in the thread for one that is not."""

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


def _unknown_kind(value: str) -> KindMeaning:
    title = _title(value)
    return KindMeaning(
        ask=f"{title} {{}}",
        asked=f"asked: {title.lower()}",
        style="primary",
        doing=f"{title}: {{}}",
        done="done",
        changes="HubSpot ids: {}.",
        again="{command} help",
        mark=f"{title.lower()} ",
    )


KINDS: Mapping[Kind, KindMeaning] = Meanings(
    _unknown_kind,
    {
        Kind.UNLATCH: KindMeaning(
            ask="Unlatch {}",
            asked="asked",
            style="danger",
            doing="Unlatching {}",
            done="unlatched",
            changes="Clears {}.",
            again="{command} {who}",
            may_be_undone=True,
        ),
        Kind.RELATCH: KindMeaning(
            ask="Latch {} again",
            asked="asked for an undo",
            style="primary",
            doing="Latching {} again",
            done="latched again",
            changes="Restores {}.",
            again="Undo…",
            mark="undo ",
        ),
        Kind.MOVE: KindMeaning(
            ask="Move the latch of {}",
            asked="asked for a move",
            style="danger",
            doing="Moving the latch of {}",
            done="moved",
            changes="Moves {}.",
            again="{command} move {who}",
            mark="move: ",
            may_be_undone=True,
        ),
    },
)

VERDICTS: Mapping[Verdict, VerdictMeaning] = Meanings(
    lambda value: VerdictMeaning("❓", _title(value)),
    {
        Verdict.CONFIRMED: VerdictMeaning("⏳", "In progress", executes=True),
        Verdict.CANCELLED: VerdictMeaning("🚫", "Cancelled"),
        Verdict.DECLINED: VerdictMeaning("⛔", "Declined"),
        Verdict.EXPIRED: VerdictMeaning("⌛", "Expired", may_be_asked_again=True),
        Verdict.OVERTAKEN: VerdictMeaning("⏩", "Overtaken", may_be_asked_again=True),
    },
)

OUTCOMES: Mapping[Outcome, OutcomeMeaning] = Meanings(
    lambda value: OutcomeMeaning("❓", _title(value), _title(value).lower(), effective=True),
    {
        Outcome.CLEARED: OutcomeMeaning(
            "✅", "Unlatched", "unlatched", effective=True, as_asked=True, may_be_undone=True
        ),
        Outcome.RESTORED: OutcomeMeaning(
            "↩️", "Restored", "restored", effective=True, as_asked=True
        ),
        Outcome.MOVED: OutcomeMeaning(
            "✅", "Moved", "moved", effective=True, as_asked=True, may_be_undone=True
        ),
        Outcome.ALREADY_CLEAR: OutcomeMeaning("☑️", "Already clear", "already clear", as_asked=True),
        Outcome.ALREADY_LATCHED: OutcomeMeaning(
            "☑️", "Already latched to these ids", "already latched", as_asked=True
        ),
        Outcome.CHANGED: OutcomeMeaning(
            "⚠️", "Not done, the ids changed", "other ids", may_be_asked_again=True
        ),
        Outcome.REFUSED: OutcomeMeaning("❌", "Not done", "not done", may_be_asked_again=True),
        Outcome.UNKNOWN: OutcomeMeaning(
            "❓", "Outcome unknown", "unknown", effective=True, may_be_checked=True
        ),
        Outcome.NOT_BEGUN: OutcomeMeaning(
            "❌", "Not begun, Fusebill does not answer", "not begun", may_be_asked_again=True
        ),
        Outcome.STOPPED: OutcomeMeaning(
            "🛑", "Stopped, not done", "stopped", may_be_asked_again=True
        ),
        Outcome.LEFT_OUT: OutcomeMeaning(
            "⏩", "Overtaken, left out", "overtaken", may_be_asked_again=True
        ),
    },
)

LATER: Mapping[EventType, OutcomeMeaning] = {
    EventType.UNDONE: OutcomeMeaning("↩️", "Undone", "undone"),
    EventType.LATCHED_AGAIN: OutcomeMeaning(
        "⚠️", "Latched again", "latched again", may_be_asked_again=True
    ),
    EventType.CUSTOMER_GONE: OutcomeMeaning("🔎", "Gone from Fusebill", "gone"),
}
"""What may have happened to a customer after its outcome: it holds instead of that."""
CHANGED_SINCE = OutcomeMeaning("⚠️", "Changed since", "changed since", may_be_asked_again=True)
"""A customer that was given ids has been latched to others."""
OTHER_IDS = OutcomeMeaning("⚠️", "Other ids than confirmed", "other ids", may_be_asked_again=True)
"""The ids changed, and a call was made: the usual title says "not done"."""

EVENTS: Mapping[EventType, EventMeaning] = Meanings(
    lambda _value: EventMeaning(),
    dict.fromkeys(EventType, EventMeaning())
    | {EventType(each): EventMeaning(verdict=each) for each in Verdict}
    | {EventType(each): EventMeaning(outcome=each) for each in Outcome}
    | {
        EventType.REMINDED: EventMeaning(quiet=True),
        EventType.BEGUN: EventMeaning(quiet=True),
        EventType.UNDONE: EventMeaning(quiet=True),
        EventType.RECHECKED: EventMeaning(quiet=True),
    },
)


def is_done(request: Request) -> bool:
    """Whether the bot did what the card asked."""
    return bool(request.outcome and OUTCOMES[request.outcome].is_done)


def meaning_of(event: Event, request: Request) -> OutcomeMeaning | None:
    """What an event says of a request's customer; None if that is nothing."""
    if event.type in LATER:
        changed = event.type is EventType.LATCHED_AGAIN and request.ids_after
        return CHANGED_SINCE if changed else LATER[event.type]
    outcome = EVENTS[event.type].outcome
    if outcome is Outcome.CHANGED and event.details.get("called"):
        return OTHER_IDS
    return OUTCOMES[outcome] if outcome else None


def holds_now(request: Request) -> OutcomeMeaning | None:
    """What holds now, as far as the bot saw it: the outcome, or what came after it."""
    if request.undone_by:
        return LATER[EventType.UNDONE]
    # an event has the value of the outcome that it sets
    outcome: str | None = request.outcome
    if request.outcome is None:
        return None
    now: OutcomeMeaning | None = None
    for event in reversed(request.events):
        if event.type == outcome or event.type in LATER:
            now = meaning_of(event, request)
            break
    now = now or OUTCOMES[request.outcome]
    is_move_back = now is OUTCOMES[Outcome.MOVED] and request.undoes
    return OUTCOMES[Outcome.RESTORED] if is_move_back else now


def is_rechecked(request: Request) -> bool:
    """Whether the customer is read once more later: nobody should change what was done to it."""
    return bool(request.outcome and OUTCOMES[request.outcome].may_be_undone)


def may_be_undone(request: Request) -> bool:
    """Whether the card offers **Undo…**; an undo is not undone itself."""
    now = holds_now(request)
    return now is not None and now.may_be_undone and not request.undoes


def is_move(request: Request) -> bool:
    """Whether somebody wants other ids for a customer, and not those back that it had."""
    return request.kind is Kind.MOVE and not request.undoes


def is_free(card: Card) -> bool:
    """Whether a card left its one customer without ids, for others to be given to it."""
    only = card.first.card_size == 1
    return only and may_be_undone(card.first) and not card.first.ids_after


def undoable(card: Card) -> list[Request]:
    """The requests of a card that **Undo…** is about, in the order in which it undoes them.

    Of a pair the last is the first to be undone, and none is before it is known what came of both.
    """
    found = [request for request in card.requests if may_be_undone(request)]
    if not card.is_pair:
        return found
    left = [request for request in card.requests if is_done(request) and not request.undone_by]
    return [] if found != left or any(map(may_be_checked, card.requests)) else found[::-1]


def may_be_checked(request: Request) -> bool:
    """Whether the card offers **Check again**."""
    return bool(request.outcome and OUTCOMES[request.outcome].may_be_checked)


def may_be_asked_again(request: Request) -> bool:
    """Whether the card offers **Ask again**."""
    if now := holds_now(request):
        return now.may_be_asked_again
    return bool(request.verdict and VERDICTS[request.verdict].may_be_asked_again)


@value
class Past:
    """What the ledger knew of a customer when a card was asked: its last change, or a waiting card.

    `outcome` is empty for a card that waits. `later` is the event that ended what the outcome says,
    so many seconds after it. The first event of a card keeps them as `past`.
    """

    customer_id: int
    outcome: str
    at: float
    later: str = ""
    after_s: float = 0.0
    url: str = ""

    @classmethod
    def of(cls, card: Card) -> tuple[Self, ...]:
        """Those that a card's first event holds; keys that a newer version added are ignored."""
        names = cls.__match_args__
        return tuple(cls(**{name: each[name] for name in names}) for each in card.noted("past"))
