"""Each member of an enum has its row in the tables, and its words for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.meanings import EVENTS, KINDS, OUTCOMES, VERDICTS
from bot.domain.models import EventType, Kind, Outcome, Verdict
from bot.fusebill.errors import FusebillError
from bot.messages.block_kit import message
from bot.messages.card import Action, draw
from bot.messages.fusebill_errors import WORDS
from bot.messages.lists import history
from bot.messages.results import result_of
from bot.messages.thread import event_line, next_reply
from tests.support.hostile import CARD, NO_LINKS, card_of_one, event, shown
from tests.support.many import card_of, customers, happened
from tests.support.names import BOB


def test_every_kind_verdict_outcome_and_event_has_a_row() -> None:
    assert set(KINDS) == set(Kind)
    assert set(VERDICTS) == set(Verdict)
    assert set(OUTCOMES) == set(Outcome)
    assert set(EVENTS) == set(EventType)


def test_every_verdict_and_outcome_is_written_by_exactly_one_event() -> None:
    assert sorted(m.verdict for m in EVENTS.values() if m.verdict) == sorted(Verdict)
    assert sorted(m.outcome for m in EVENTS.values() if m.outcome) == sorted(Outcome)
    for event_type, meaning in EVENTS.items():
        for written in (meaning.verdict, meaning.outcome):
            assert written is None or written.value == event_type.value


def test_only_events_that_set_nothing_are_quiet() -> None:
    quiet = {event_type for event_type, meaning in EVENTS.items() if meaning.quiet}
    assert quiet == {EventType.REMINDED, EventType.BEGUN, EventType.RECHECKED, EventType.UNDONE}
    assert not any(EVENTS[each].verdict or EVENTS[each].outcome for each in quiet)


@pytest.mark.parametrize("verdict", [None, *Verdict, Verdict("postponed")])
@pytest.mark.parametrize("outcome", [None, *Outcome, Outcome("swapped")])
def test_a_request_is_to_be_executed_if_its_verdict_executes_and_it_has_no_outcome(
    verdict: Verdict | None, outcome: Outcome | None
) -> None:
    executes = verdict is not None and VERDICTS[verdict].executes
    request = replace(CARD, verdict=verdict, outcome=outcome)
    assert request.is_to_be_executed is (executes and outcome is None)


RESULTS = [
    event_type
    for event_type, meaning in EVENTS.items()
    if meaning.outcome or (meaning.verdict and not VERDICTS[meaning.verdict].executes)
]


@pytest.mark.parametrize("event_type", RESULTS)
def test_a_notification_about_a_result_begins_with_it_and_the_reply_mentions_the_requester(
    event_type: EventType,
) -> None:
    asked = event(EventType.REQUESTED, "U0ALICE")
    what = event(event_type, "U0BOB", why="so")
    outcome, verdict = EVENTS[event_type].outcome, EVENTS[event_type].verdict
    meaning = OUTCOMES[outcome] if outcome else VERDICTS[verdict or Verdict.EXPIRED]
    decided = replace(CARD, verdict=verdict or Verdict.CONFIRMED, outcome=outcome)
    reply = next_reply(card_of_one(decided, asked, what), 0, NO_LINKS)
    assert reply
    [first, *rest] = reply.message.text.splitlines()
    assert first == f"{meaning.emoji} {meaning.title}: Stolen Bikes (2554529)"
    assert "<@U0ALICE>" in rest[0]


@pytest.mark.parametrize("event_type", EventType)
def test_every_event_has_a_line_for_the_thread(event_type: EventType) -> None:
    line = shown(message([event_line(event(event_type, "U0BOB"), CARD, NO_LINKS)]))
    assert line.partition(" · ")[0].strip()
    assert "UTC" in line


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("event_type", EventType)
def test_no_event_is_lost_in_a_thread(event_type: EventType, count: int) -> None:
    asked = card_of(customers(count))
    card = happened(asked, event_type, "U0BOB", waited=True)
    card = happened(card, EventType.STOP_REQUESTED, "U0BOB", to=[0])
    reply = next_reply(card, len(asked.events), NO_LINKS)
    alone = next_reply(happened(asked, EventType.STOP_REQUESTED, "U0BOB", to=[0]), count, NO_LINKS)
    assert reply
    assert alone
    assert reply.shown == len(card.events)
    assert len(reply.message.text.splitlines()) > len(alone.message.text.splitlines())


def test_that_a_call_begins_at_once_is_not_told_in_the_thread() -> None:
    begun = happened(card_of(customers(1)), EventType.BEGUN)
    reply = next_reply(happened(begun, EventType.CLEARED), 1, NO_LINKS)
    assert reply
    assert reply.shown == len(begun.events) + 1
    assert "turn" not in reply.message.text


def errors_of(kind: type[FusebillError]) -> set[type[FusebillError]]:
    """An error and all that are more specific."""
    return {kind}.union(*map(errors_of, kind.__subclasses__()))


def test_every_error_of_fusebill_has_words_of_its_own() -> None:
    assert set(WORDS) == errors_of(FusebillError)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_heads_the_card_and_the_list_with_the_same_words(outcome: Outcome) -> None:
    meaning = OUTCOMES[outcome]
    done = replace(CARD, verdict=Verdict.CONFIRMED, decider=BOB, outcome=outcome)
    title = result_of(card_of_one(done, event(EventType(outcome))), NO_LINKS).title
    assert title == f"{meaning.emoji} {meaning.title}"
    assert f"{meaning.emoji} {meaning.title.lower()}" in shown(history(None, [(done, None)], []))


@pytest.mark.parametrize("outcome", Outcome)
def test_a_card_offers_what_its_outcome_allows(outcome: Outcome) -> None:
    meaning = OUTCOMES[outcome]
    done = replace(CARD, verdict=Verdict.CONFIRMED, decider=BOB, outcome=outcome)
    card = str(draw(card_of_one(done, event(EventType(outcome))), NO_LINKS).blocks)
    assert (Action.UNDO in card) is meaning.may_be_undone
    assert (Action.CHECK in card) is meaning.may_be_checked
    assert (Action.AGAIN in card) is meaning.may_be_asked_again


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_heads_the_card_of_a_request_that_has_no_outcome(verdict: Verdict) -> None:
    meaning = VERDICTS[verdict]
    title = result_of(card_of_one(replace(CARD, verdict=verdict)), NO_LINKS).title
    assert title == f"{meaning.emoji} {meaning.title}"


@pytest.mark.parametrize("kind", [*Kind, Kind("swap")])
def test_every_kind_has_a_card_to_confirm_and_one_for_the_work(kind: Kind) -> None:
    request = replace(CARD, kind=kind)
    asked = draw(card_of_one(request), NO_LINKS)
    working = draw(card_of_one(replace(request, verdict=Verdict.CONFIRMED)), NO_LINKS)
    for drawn, words in ((asked, KINDS[kind].ask), (working, KINDS[kind].doing)):
        assert words.replace("{}", "Stolen Bikes (2554529)") in shown(drawn)
    assert f"[{KINDS[kind].ask.replace('{}', 'Stolen Bikes')}]" in shown(asked)
    assert "{}" not in shown(asked) + shown(working)


def test_a_kind_of_a_newer_version_is_not_taken_for_an_unlatch() -> None:
    swap = replace(CARD, kind=Kind("swap"))
    said = shown(draw(card_of_one(swap, event(EventType.REQUESTED, "U0ALICE")), NO_LINKS))
    assert "latch" not in said.lower().replace("unlatch_", "")
    assert "⏳ swap waiting for a click" in shown(history(None, [(swap, None)], []))
