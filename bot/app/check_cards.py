"""Asks Slack whether it accepts each kind of card that the bot draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bot.app.check_result import CheckResult, warning
from bot.domain.meanings import VERDICTS
from bot.domain.models import (
    Card,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.messages.block_kit import Message
from bot.messages.card import draw, duplicate
from bot.messages.phrases import Links
from bot.messages.thread import next_reply
from bot.slack.client import Slack, SlackError

UNKNOWN_METHOD = "unknown_method"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SOMEBODY = Person("U0000000000", "T0000000000")
_SAMPLE = Request(
    id="0" * 32,
    kind=Kind.UNLATCH,
    customer=Customer(1, HubSpotIds(101, 202), "Sam Spokes", "Stolen Bikes", "REF-7", "Active"),
    channel_id="C0000000000",
    message_ts="1700000000.000100",
    thread_ts="1700000000.000100",
    requester=_SOMEBODY,
    reason="a reason",
    asked_at=_NOW,
    expires_at=_NOW,
)

_CONFIRMED: dict[str, Any] = {
    "verdict": Verdict.CONFIRMED,
    "decider": _SOMEBODY,
    "decided_at": _NOW,
}


async def cards(slack: Slack, links: Links) -> CheckResult:
    """One line about all kinds of cards."""
    count, no_table = 0, ""
    for kind, message in sample_cards(links):
        try:
            problems = await slack.problems_of(message)
            if problems and message.without_table:
                no_table = problems[0]
                problems = await slack.problems_of(Message(message.text, message.without_table))
        except SlackError as error:
            return _not_checked(error)
        if problems:
            fix = "Tell the bot's makers: with this, people would get a card as plain text."
            return CheckResult(False, f"Cards: Slack refuses {kind} ({problems[0]})", fix)
        count += 1
    if no_table:
        fix = "Nothing to do: cards of many customers list them in lines instead."
        return warning(f"Cards: Slack takes no table ({no_table})", fix)
    return CheckResult(True, f"Cards: Slack accepts all {count} kinds")


def _not_checked(error: SlackError) -> CheckResult:
    if error.code == UNKNOWN_METHOD:
        return warning(
            "Cards: not checked, since this Slack has no blocks.validate (unknown_method)",
            "Nothing to do: cards that Slack refuses are posted as plain text.",
        )
    fix = "Run the check again in a minute."
    return warning(f"Cards: not checked, since Slack did not answer it ({error.code})", fix)


def sample_cards(links: Links) -> Iterator[tuple[str, Message]]:
    """Each kind of card and of thread reply, with a name for it."""
    for size in (1, 2):
        many = " of many" if size > 1 else ""
        for kind in Kind:
            asked = _card(size, EventType.REQUESTED, kind=kind, is_open=True)
            yield f"a card{many} to {kind}", draw(asked, links)
            working = _card(size, EventType.CONFIRMED, kind=kind, **_CONFIRMED)
            yield f"a card{many} that is being done ({kind})", draw(working, links)
        for verdict in Verdict:
            if not VERDICTS[verdict].executes:
                decided = _card(size, EventType(verdict), **_CONFIRMED | {"verdict": verdict})
                yield f"a card{many}: {verdict}", draw(decided, links)
    for outcome in Outcome:
        done = _card(1, EventType(outcome), **_CONFIRMED, outcome=outcome)
        yield f"a card: {outcome}", draw(done, links)
    yield "a card that was posted twice", duplicate(_card(1, EventType.REQUESTED), None)
    everything = Card((replace(_SAMPLE, **_CONFIRMED, events=tuple(map(_event, EventType))),))
    yield from _replies("a thread's reply", everything, links)
    results = [
        replace(_SAMPLE, **_CONFIRMED, outcome=each, card_size=2, events=(_event(EventType(each)),))
        for each in Outcome
    ]
    yield "a card of many: its results", draw(Card(tuple(results)), links)
    yield from _replies("a thread's reply about many", Card(tuple(results)), links)


def _replies(name: str, card: Card, links: Links) -> Iterator[tuple[str, Message]]:
    shown, number = 0, 0
    while reply := next_reply(card, shown, links):
        shown, number = reply.shown, number + 1
        yield f"{name}, {number}", reply.message


def _card(size: int, event: EventType, **changes: Any) -> Card:  # noqa: ANN401  # fields of Request
    """A card of so many customers, to all of which the same has happened."""
    request = replace(_SAMPLE, card_size=size, events=(_event(event),), **changes)
    return Card((request,) * size)


def _event(type_: EventType) -> Event:
    left_out = [{"customer_id": 2, "why": "not known"}]
    details: dict[str, object] = {"texts": ["a text"], "status": 500, "why": "a reason"}
    return Event(_SAMPLE.id, 1, _NOW, type_, _SOMEBODY.user_id, details | {"left_out": left_out})
