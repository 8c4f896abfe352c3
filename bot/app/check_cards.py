"""Asks Slack whether it accepts each kind of card that the bot draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from bot.app.check_result import CheckResult, warning
from bot.domain.meanings import VERDICTS
from bot.domain.models import (
    CardHistory,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    RequestHistory,
    Verdict,
)
from bot.messages.block_kit import Message
from bot.messages.cards import (
    confirmation_card,
    decided_card,
    other_card,
    working_card,
)
from bot.messages.many.cards import (
    confirmation_card_of_many,
    decided_card_of_many,
    working_card_of_many,
)
from bot.messages.many.threads import thread_replies
from bot.messages.phrases import Links
from bot.messages.threads import thread_reply
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
    for kind in Kind:
        asked = replace(_SAMPLE, kind=kind)
        yield f"a card to {kind}", confirmation_card(asked, links)
        yield f"a card that is being done ({kind})", working_card(asked, links)
    for verdict in Verdict:
        decided = replace(_SAMPLE, verdict=verdict, decider=_SOMEBODY, decided_at=_NOW)
        if not VERDICTS[verdict].executes:
            yield f"a card: {verdict}", decided_card(decided, [], links)
    for outcome in Outcome:
        done = replace(
            *(_SAMPLE,),
            verdict=Verdict.CONFIRMED,
            decider=_SOMEBODY,
            decided_at=_NOW,
            outcome=outcome,
        )
        yield f"a card: {outcome}", decided_card(done, [_event(EventType(outcome))], links)
    yield "a card that was posted twice", other_card(_SAMPLE, None)
    yield "a thread's reply", thread_reply([_event(each) for each in EventType], _SAMPLE, links)
    yield from _sample_cards_of_many(links)


def _sample_cards_of_many(links: Links) -> Iterator[tuple[str, Message]]:
    confirmed = replace(
        _SAMPLE, verdict=Verdict.CONFIRMED, decider=_SOMEBODY, decided_at=_NOW, card_size=2
    )
    for kind in Kind:
        asked = _card(replace(_SAMPLE, kind=kind), EventType.REQUESTED)
        yield f"a card to {kind} many", confirmation_card_of_many(asked, links)
        working = _card(replace(confirmed, kind=kind), EventType.CONFIRMED)
        yield f"a card of many that is being done ({kind})", working_card_of_many(working, links)
    expired = _card(replace(_SAMPLE, verdict=Verdict.EXPIRED), EventType.EXPIRED)
    yield "a card of many: expired", decided_card_of_many(expired, links)
    histories = [
        RequestHistory(replace(confirmed, outcome=outcome), (_event(EventType(outcome)),))
        for outcome in Outcome
    ]
    done = CardHistory(tuple(histories))
    yield "a card of many: its results", decided_card_of_many(done, links)
    for number, reply in enumerate(thread_replies(done, [0] * len(histories), links), 1):
        yield f"a thread's reply {number} about many", reply.message


def _card(request: Request, event: EventType) -> CardHistory:
    """A card of two customers, to both of which the same has happened."""
    return CardHistory((RequestHistory(request, (_event(event),)),) * 2)


def _event(type_: EventType) -> Event:
    left_out = [{"customer_id": 2, "why": "not known"}]
    details: dict[str, object] = {"texts": ["a text"], "status": 500, "why": "a reason"}
    return Event(_SAMPLE.id, 1, _NOW, type_, _SOMEBODY.user_id, details | {"left_out": left_out})
