"""The rules: who may ask and decide, and when a card is reminded of and looked at again. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain.meanings import is_move, is_rechecked
from bot.domain.models import EventType, Person, Request, Verdict
from bot.domain.values import value

Members = Mapping[str, frozenset[str] | str | None]
"""The members of each user group (`S…`) that the policy names.

None if Slack could not say; the error code if Slack has said no, which waiting does not change.
"""
MAX_RECHECK_DELAY = timedelta(days=7)
"""A recheck that an outage delayed for longer than this is left out."""
_ENDS_THE_RECHECK = frozenset(
    {EventType.RECHECKED, EventType.LATCHED_AGAIN, EventType.CUSTOMER_GONE}
)


@value
class Policy:
    """The admin's rules; an empty list of people or channels means anyone or anywhere.

    `team_id` is the workspace that installed the bot. People are at home in it, in its Enterprise
    Grid organisation `enterprise_id` (empty if it has none), and in the other workspaces and
    organisations that `teams` lists. `moves`: a customer may be given other ids, too.
    """

    team_id: str
    channels: frozenset[str] = frozenset()
    requesters: frozenset[str] = frozenset()
    confirmers: frozenset[str] = frozenset()
    two_person: bool = False
    require_reason: bool = False
    moves: bool = False
    enterprise_id: str = ""
    teams: frozenset[str] = frozenset()

    def is_at_home(self, team_id: str) -> bool:
        """Whether a workspace or organisation is ours."""
        return bool(team_id) and team_id in {self.team_id, self.enterprise_id} | self.teams

    def with_home_team(self, person: Person) -> Person:
        """The person, in the team that makes them at home, if one of theirs does.

        The ledger keeps one team of a requester, and a click judges the requester by it again.
        """
        if not self.is_at_home(person.team_id) and self.is_at_home(person.enterprise_id):
            return replace(person, team_id=person.enterprise_id)
        return person

    @property
    def user_groups(self) -> frozenset[str]:
        """The user groups (`S…`) that the lists name."""
        return frozenset(i for i in self.requesters | self.confirmers if i.startswith("S"))


@value
class Decision:
    """Whether an action is allowed; if not, `why` for people and `label` for the metrics.

    `channels` lists the channels where it is allowed.
    """

    allowed: bool
    why: str = ""
    label: str = ""
    channels: tuple[str, ...] = ()


ALLOWED = Decision(allowed=True)
IN_DIRECT_MESSAGE = Decision(
    allowed=False,
    why="Requests are made in a channel, where others see them. Nothing was done. Use the command"
    " in a channel.",
    label="direct_message",
)
"""Nobody else could confirm a card there."""


def may_read(policy: Policy, person: Person, channel_id: str, members: Members) -> Decision:
    """Whether a person may see customers and past requests."""
    if policy.channels and channel_id not in policy.channels:
        why = "The command can't be used in this channel. Use it in:"
        return Decision(False, why, "channel", tuple(sorted(policy.channels)))
    return _listed(policy, person, policy.requesters, members, "ask for an unlatch")


def may_ask(
    policy: Policy,
    person: Person,
    channel_id: str,
    reason: str | None,
    members: Members,
    *,
    moves: bool = False,
) -> Decision:
    """Whether a person may ask for a card in this channel, with this reason.

    A reason of None is not typed yet. `moves`: it is for a card that gives a customer other ids.
    """
    decision = may_read(policy, person, channel_id, members)
    if decision.allowed and moves and not policy.moves:
        return _denied("move", "Moving a latch is off. The bot's admin can set UNLATCH_MOVE=true.")
    if decision.allowed and policy.require_reason and reason == "":
        return _denied("reason", "A reason is needed. Type it after the id.")
    return decision


def may_decide(
    policy: Policy,
    request: Request,
    verdict: Verdict,
    person: Person,
    members: Members,
    *,
    other: Request | None = None,
) -> Decision:
    """Whether a person may confirm, cancel or decline a card; its requester may always cancel it.

    A card can't be confirmed if the rules no longer allow asking for it, or if `other`, another
    request for the same customer, has changed it since or is being executed.
    """
    if verdict is Verdict.CONFIRMED and not request.kind.is_known:
        return _denied(
            "kind", "A newer version of the bot made this card, and only that can do it."
        )
    # compare user ids only: Slack's payloads can name different teams for the same person
    own = person.user_id == request.requester.user_id
    if verdict in (Verdict.CANCELLED, Verdict.DECLINED) and own:
        return ALLOWED
    if verdict is Verdict.CONFIRMED and own and policy.two_person:
        return _denied(
            "two_person",
            "You made this request yourself. The two-person rule needs somebody else to confirm.",
        )
    doing = "confirm" if verdict is Verdict.CONFIRMED else "cancel somebody else's request"
    decision = _listed(policy, person, policy.confirmers, members, doing)
    if decision.allowed and verdict is Verdict.CONFIRMED:
        return _still_valid(policy, request, members, other)
    return decision


def _still_valid(
    policy: Policy, request: Request, members: Members, other: Request | None
) -> Decision:
    rules = policy, request.requester, request.channel_id, request.reason, members
    asked = may_ask(*rules, moves=is_move(request))
    if not asked.allowed and asked.label != "unknown_members":
        changed = "The rules have changed since this request was made, and no longer allow it."
        if asked.label in ("not_listed", "stranger"):
            # a user group may have changed instead, and asking again would not help this person
            changed = (
                "Whoever made this request may not ask for an unlatch any more. If it is still"
                " wanted, cancel it, and somebody who may ask can ask again."
            )
        elif asked.label == "move":
            changed += " The bot's admin can set UNLATCH_MOVE=true."
        elif asked.label == "channel":
            changed += " Cancel it and ask again in a channel where the command can be used."
        else:
            changed += " Cancel it and ask again with a reason."
        return _denied(asked.label, changed)
    if asked.allowed and other and other.outcome is None:
        return _denied(
            "busy",
            f"Another request for {_which(request, other)} is being carried out right now. Look at"
            " its result before you confirm this one.",
        )
    if asked.allowed and other:
        return _denied(
            "overtaken",
            f"Another request for {_which(request, other)} was confirmed after this one was made."
            f" Cancel this one {_instead(request)}",
        )
    return asked


def _which(request: Request, other: Request) -> str:
    """The customer of two requests; a card of many does not say by itself which one it is."""
    return "this customer" if request.card_size == 1 else f"customer {other.customer.customer_id}"


def _instead(request: Request) -> str:
    """What to do instead of confirming a card that was overtaken."""
    if request.undoes:
        left_out = "and press Undo… again, which leaves that customer out."
        alone = "instead: Undo belongs to the card that changed it last."
        return left_out if request.card_size > 1 else alone
    return "and ask again."


def _listed(
    policy: Policy, person: Person, people: frozenset[str], members: Members, doing: str
) -> Decision:
    if person.user_id in people:
        return ALLOWED
    groups = {group: members.get(group) for group in sorted(people) if group.startswith("S")}
    if any(isinstance(each, frozenset) and person.user_id in each for each in groups.values()):
        return ALLOWED
    if unknown := _unknown(groups, doing):
        return unknown
    # last: in an Enterprise Grid, colleagues come from many workspaces
    if not policy.is_at_home(policy.with_home_team(person).team_id):
        return _denied("stranger", f"People from other organisations may not {doing} here.")
    if not people:
        return ALLOWED
    return _denied("not_listed", f"You are not on the list of people who may {doing}.")


def _unknown(groups: Members, doing: str) -> Decision | None:
    """What to say if the members of a group are not known, and whether waiting helps."""
    if refused := [f"{group} ({no})" for group, no in groups.items() if isinstance(no, str)]:
        return _denied(
            "unknown_members",
            f"Slack does not tell the bot who is in the user group {', '.join(refused)}, so it"
            f" can't know whether you may {doing}. Trying again won't help: tell the bot's admin.",
        )
    if None in groups.values():
        why = f"Slack can't say right now who may {doing}. Try again in a minute."
        return _denied("unknown_members", why)
    return None


def _denied(label: str, why: str) -> Decision:
    return Decision(allowed=False, why=why, label=label)


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
    if not after_s or not is_rechecked(request) or request.settled_at is None:
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
