"""The thread of a card: a line an act, each trouble once, in its words; nothing is lost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.meanings import EVENTS, OUTCOMES, VERDICTS
from bot.domain.models import Card, EventType, Outcome, Verdict
from bot.messages.block_kit import MESSAGE_LENGTH, Message, size
from bot.messages.phrases import Links
from bot.messages.thread import EVENTS_A_REPLY, Reply, next_reply
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
    CUSTOMERS,
    DETAILS,
    LINKS,
    NO_LINKS,
    mentions_and_links,
    people_of,
    refused_by_slack,
    shown,
)
from tests.support.many import (
    ENDINGS,
    LONG,
    RESULTS,
    card_of,
    confirmed,
    customers,
    happened,
)

ON_HOLD: dict[str, Any] = {
    "why": "Fusebill refused. Nothing was changed.",
    "texts": ["On hold"],
    "status": 409,
}


def lines(*messages: Message) -> list[str]:
    """The lines of messages, without their times."""
    found = [line for each in messages for line in text_of(each.blocks).splitlines()]
    return [re.sub(r" · [-\d]+ [:\d]+ UTC", "", line) for line in found]


def notified(message: Message) -> str:
    """What a notification of a message shows: its first line."""
    return message.text.splitlines()[0]


def replies(card: Card, shown_: int = 0, links: Links = NO_LINKS) -> list[Reply]:
    """All replies that a thread lacks which shows so many of the card's events."""
    found = []
    while reply := next_reply(card, shown_, links):
        assert reply.shown > shown_
        shown_ = reply.shown
        found.append(reply)
    return found


def words(card: Card, shown_: int = 0) -> list[str]:
    return lines(*(reply.message for reply in replies(card, shown_)))


@st.composite
def stories(draw: st.DrawFn) -> Card:
    """A card to which anything happened, in an order that the ledger would allow."""
    card = card_of(draw(st.lists(CUSTOMERS, min_size=1, max_size=6)))
    size = len(card.requests)
    types = [*EventType, EventType("from_tomorrow")]
    for type_ in draw(st.lists(st.sampled_from(types), max_size=8)):
        actor = draw(st.sampled_from(["", "U0ALICE", "U0BOB"]))
        some = draw(st.sets(st.integers(0, size - 1), min_size=1))
        card = happened(card, type_, actor, to=some, **draw(DETAILS))
    return card


@given(stories(), ALL_LINKS)
def test_slack_takes_every_reply_and_the_last_leaves_only_quiet_events_unsaid(
    card: Card, links: Any
) -> None:
    found = replies(card, links=links)
    for reply in found:
        assert refused_by_slack(reply.message) == []
        assert "None" not in shown(reply.message)
        marked = {m for m in mentions_and_links(reply.message) if not m.startswith("https://a")}
        assert marked <= people_of(card)
    assert found  # somebody asked
    assert all(EVENTS[each.type].quiet for each in card.events[found[-1].shown :])
    assert next_reply(card, len(card.events), NO_LINKS) is None


@given(stories(), st.data())
def test_whoever_goes_on_from_a_reply_says_what_the_others_would_have_said(
    card: Card, data: st.DataObject
) -> None:
    found = replies(card)
    index = data.draw(st.integers(0, len(found) - 1))
    assert replies(card, found[index].shown) == found[index + 1 :]


@pytest.mark.parametrize("outcome", Outcome)
def test_fifty_customers_with_the_longest_words_fit_into_their_replies(outcome: Outcome) -> None:
    card = confirmed(card_of([LONG] * 50, reason="r" * 500))
    for index in range(50):
        # different words for each, so that none are said together
        texts = [f"{index} {'x' * 300}"] * 20
        card = happened(card, RESULTS[outcome], to=[index], why=f"{index}", texts=texts, status=409)
    found = replies(card, links=LINKS)
    for reply in found:
        assert refused_by_slack(reply.message) == []
    assert found[-1].shown == len(card.events)


def test_each_act_has_its_line_and_each_customer_that_is_not_cleared_its_words() -> None:
    card = confirmed(card_of(customers(4)))
    card = happened(card, EventType.CLEARED, to=[0, 3], seconds=0.2)
    card = happened(card, EventType.REFUSED, to=[1], seconds=0.3, **ON_HOLD)
    card = happened(card, EventType.ALREADY_CLEAR, to=[2])
    assert words(card) == [
        "<@U0ALICE> asked",
        "<@U0BOB> confirmed",
        "✅ 2 unlatched",
        "❌ Not done: Lost Pedals (2554530) · Fusebill: HTTP 409 · 0.3 s",
        "Fusebill refused. Nothing was changed.",
        "Fusebill: On hold (HTTP 409)",
        "☑️ Already clear: Found Wheels (2554531)",
        "The customer was no longer latched to anything, so the bot changed nothing.",
        "The card showed contact 103 and company 203.",
    ]
    [reply] = replies(card)
    assert notified(reply.message) == (
        "✅ 2 unlatched · ☑️ 1 already clear · ❌ 1 not done: 4 customers"
    )


def test_customers_with_the_same_words_are_named_together() -> None:
    card = happened(confirmed(card_of(customers(3))), EventType.STOPPED)
    assert words(card)[2:6] == [
        "🛑 Stopped, not done: 3 customers",
        "• Stolen Bikes (2554529)",
        "• Lost Pedals (2554530)",
        "• Found Wheels (2554531)",
    ]


def test_an_unusual_answer_to_a_call_that_cleared_is_quoted() -> None:
    calls = [{"status": 500, "texts": ["HubSpot sync queue unavailable."]}]
    card = happened(confirmed(card_of(customers(2))), EventType.CLEARED, to=[0])
    card = happened(card, EventType.CLEARED, to=[1], how="read_back", calls=calls)
    said = words(card)
    failed = "Fusebill: HTTP 500 “HubSpot sync queue unavailable.” · read back"
    assert f"✅ Unlatched: Lost Pedals (2554530) · {failed}" in said
    assert not any("Stolen Bikes" in line for line in said)


def test_a_customer_latched_again_is_told_to_who_asked_and_who_confirmed() -> None:
    card = happened(confirmed(card_of(customers(3))), EventType.CLEARED)
    before = len(card.events)
    card = happened(card, EventType.LATCHED_AGAIN, to=[1], found={"vid": 102, "company_id": 202})
    assert words(card, before) == [
        "⚠️ Latched again: Lost Pedals (2554530)",
        "contact 102 and company 202",
        "<@U0ALICE> <@U0BOB>",
    ]


@pytest.mark.parametrize("verdict", ENDINGS)
def test_a_card_that_was_not_confirmed_is_told_once(verdict: Verdict) -> None:
    by_itself = {
        Verdict.EXPIRED: "Expired",
        Verdict.OVERTAKEN: "The bot closed the card: another request came first",
    }
    meaning, actor = VERDICTS[verdict], "" if verdict in by_itself else "U0BOB"
    card = happened(card_of(customers(5)), EventType(verdict), actor, why="wrong portal")
    [reply] = replies(card)
    assert notified(reply.message) == f"{meaning.emoji} {meaning.title}: 5 customers"
    how = by_itself.get(verdict, f"<@U0BOB> {verdict}")
    assert words(card) == ["<@U0ALICE> asked", how]


def test_how_many_customers_were_undone_or_taken_up_again_is_counted() -> None:
    card = happened(confirmed(card_of(customers(4))), EventType.RECLAIMED, to=[1, 2])
    card = happened(card, EventType.CLEARED)
    card = happened(card, EventType.UNDONE, "U0BOB", to=[0, 1, 2])
    # who undid it stands in the thread already: that the card was undone waits for other news
    card = happened(card, EventType.CUSTOMER_GONE, to=[3])
    said = words(card)
    assert "The bot resumed interrupted work (2 customers)" in said
    assert "<@U0BOB> undid it (3 customers)" in said


def test_a_summary_before_the_end_does_not_look_like_the_end() -> None:
    card = happened(confirmed(card_of(customers(3))), EventType.CLEARED, to=[0])
    [reply] = replies(card)
    assert notified(reply.message) == "⏳ 1 of 3: 3 customers"


def test_quiet_events_wait_for_the_next_that_is_not() -> None:
    card = happened(card_of(customers(2)), EventType.REMINDED, to=[0])
    before = 2
    assert replies(card, before) == []
    card = happened(card, EventType.CANCELLED, "U0ALICE")
    assert words(card, before) == [
        "The bot reminded the people to notify",
        "<@U0ALICE> cancelled",
    ]


def test_a_long_thread_goes_on_where_the_last_reply_ended_without_naming_anybody_twice() -> None:
    card = confirmed(card_of(customers(40)))
    for index in range(40):
        card = happened(card, EventType.REFUSED, to=[index], why=f"{index} " + "because " * 30)
    found = replies(card)
    assert len(found) > 2
    for reply in found:
        assert notified(reply.message) == "❌ 40 not done: 40 customers"
    said = "\n".join(lines(*(reply.message for reply in found)))
    assert all(said.count(f"({each.customer_id})") == 1 for each in customers(40))
    assert said.count("<@U0BOB> confirmed") == 1


@pytest.mark.parametrize("outcome", [Outcome.STOPPED, Outcome.REFUSED])
def test_the_text_of_no_reply_is_cut(outcome: Outcome) -> None:
    # names as long as they are shown, and a trail beside the customers
    long = [replace(each, company_name="n" * 80) for each in customers(50)]
    card = happened(confirmed(card_of(long, reason="r" * 500)), RESULTS[outcome], why="so")
    for number in range(5):
        card = happened(card, EventType.DECISION_DENIED, "U0BOB", to=[0], why=f"{number} " * 80)
    said = [reply.message.text for reply in replies(card)]
    # Slack shows a date as its reader's, so that only the end of a text shows if it was cut
    assert not any(text.endswith("…") for text in said)
    assert sum(text.count("n" * 80) for text in said) == 50


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_counted_and_named_unless_it_is_what_was_asked(outcome: Outcome) -> None:
    meaning = OUTCOMES[outcome]
    card = happened(confirmed(card_of(customers(2))), RESULTS[outcome], why="so")
    said = words(card)
    [reply] = replies(card)
    assert notified(reply.message) == f"{meaning.emoji} 2 {meaning.count}: 2 customers"
    simply_done = meaning.as_asked and meaning.effective
    assert any("Stolen Bikes" in line for line in said) is not simply_done


def test_an_event_of_a_newer_version_is_shown_as_it_is() -> None:
    card = happened(card_of(customers(2)), EventType("moved_on"), "U0BOB", to=[1])
    assert words(card)[-1] == "<@U0BOB>: moved on"
    changed = [replace(each, outcome=Outcome("moved_on")) for each in card.requests]
    assert replies(Card(tuple(changed)))


def test_what_a_single_request_went_through_is_told_in_replies_of_some_events() -> None:
    card = card_of(customers(1))
    for number in range(12):
        card = happened(card, EventType.DECISION_DENIED, "U0BOB", why=f"{number}")
    card = happened(card, EventType.CANCELLED, "U0ALICE")
    first, second = replies(card)
    assert (first.shown, second.shown) == (EVENTS_A_REPLY, 14)
    # a notification shows the first words only
    heading = "🚫 Cancelled: Stolen Bikes (2554529)"
    assert [notified(each.message) for each in (first, second)] == [heading] * 2
    assert words(card).count("<@U0ALICE> cancelled") == 1


def test_many_refusals_of_one_person_fit_into_replies() -> None:
    card = card_of(customers(3))
    why = "You are not on the list of people who may confirm."
    for _ in range(150):
        card = happened(card, EventType.DECISION_DENIED, "U7", to=[0], why=why)
    shown, told = 0, 0
    while reply := next_reply(card, shown, NO_LINKS):
        assert size(reply.message.blocks) <= MESSAGE_LENGTH
        told += reply.message.text.count(why)
        shown = reply.shown
    assert told == 150, "each is in the text, too"
