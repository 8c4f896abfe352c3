"""What only the person who typed or clicked reads about many customers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Ask, Question, tidy_reason
from bot.domain.meanings import VERDICTS
from bot.domain.models import EventType, Kind, LeftOut, Verdict
from bot.domain.typed_text import parse
from bot.messages import answers, click_answers, lists
from bot.messages.answers import (
    none_to_unlatch,
    others_left_out,
    outcome_without_card,
)
from bot.messages.block_kit import Message
from bot.messages.card import Action, duplicate
from bot.messages.forms import decline_form
from bot.messages.lists import OpenRequest, pending
from bot.messages.questions import which_meaning
from bot.messages.thread import reminder
from bot.sandbox.slack.validation.block_kit import buttons, text_of
from bot.sandbox.slack.validation.view_checks import problems
from tests.support.hostile import (
    ALL_LINKS,
    CARD,
    NO_LINKS,
    NOON,
    NUMBERS,
    TEXTS,
    mentions_and_links,
    refused_by_slack,
    shown,
)
from tests.support.many import ENDINGS, card_of, confirmed, customers, happened
from tests.support.names import ALICE, BOB

OF_47 = replace(CARD, card_size=47)
READINGS = st.builds(
    Ask,
    st.lists(NUMBERS, min_size=1, max_size=40, unique=True).map(tuple),
    TEXTS.map(tidy_reason),
)
ASKED = st.builds(Question, READINGS, READINGS)
LEFT_OUT = st.lists(st.builds(LeftOut, NUMBERS, TEXTS, TEXTS), max_size=50)

NAMED = {"command": "/unlatch"}


def lines(message: Message) -> list[str]:
    return text_of(message.blocks).splitlines()


def pressable(message: Message) -> list[tuple[str, dict[str, Any]]]:
    """The label of each button, and the JSON that it carries."""
    blocks = [block | {"block_id": str(n)} for n, block in enumerate(message.blocks)]
    found = [button for _id, button in buttons(blocks)]
    assert {button["action_id"] for button in found} <= {Action.USE}
    return [(button["text"]["text"], json.loads(button["value"])) for button in found]


def asked(text: str) -> Message:
    """The question about a text with two meanings."""
    command = parse(text)
    assert isinstance(command, Question)
    return which_meaning(command)


@given(ASKED)
def test_slack_takes_every_question(ambiguous: Question) -> None:
    message = which_meaning(ambiguous)
    assert refused_by_slack(message) == []
    assert mentions_and_links(message) == set()


@given(LEFT_OUT, ALL_LINKS)
def test_slack_takes_every_list_of_left_out_customers(left_out: list[LeftOut], links: Any) -> None:
    message = none_to_unlatch(left_out, links)
    assert refused_by_slack(message) == []
    found = mentions_and_links(message)
    assert not {each for each in found if not each.startswith("https://admin.example/")}
    assert all(str(each.customer_id) in text_of(message.blocks) for each in left_out)


def test_two_numbers_are_asked_about_with_a_button_for_each_meaning() -> None:
    message = asked("2554529 3100017 moved portal")
    assert lines(message) == [
        "❓ This can mean two things, so nothing was done. Which do you mean?",
        "2 customers: 2554529, 3100017",
        "Why: moved portal",
        "[2 customers]",
        "One customer: 2554529",
        "Why: 3100017 moved portal",
        "[One customer, the rest is the reason]",
    ]
    assert pressable(message) == [
        ("2 customers", {"ids": [2554529, 3100017], "reason": "moved portal"} | NAMED),
        (
            "One customer, the rest is the reason",
            {"ids": [2554529], "reason": "3100017 moved portal"} | NAMED,
        ),
    ]


def test_a_meaning_that_a_button_cannot_carry_says_how_to_type_it() -> None:
    why = ("because " * 300).strip()
    both, one = Ask((2554529, 3100017), why), Ask((2554529,), f"3100017 {why}")
    message = which_meaning(Question(both, one))
    assert pressable(message) == []
    typed = [line.partition("Type: ")[2] for line in lines(message) if "Type: " in line]
    assert typed == ["/unlatch 2554529, 3100017 …", "/unlatch 2554529 because …"]
    meant = [parse(each.removeprefix("/unlatch ").replace("…", "3 years")) for each in typed[1:]]
    assert meant == [Ask((2554529,), "because 3 years")]


@given(ASKED)
def test_a_button_brings_back_its_meaning_and_is_never_too_long(ambiguous: Question) -> None:
    found = pressable(which_meaning(ambiguous))
    meanings = [ambiguous.meant, ambiguous.few]
    carried = [Ask(tuple(value["ids"]), value["reason"]) for _label, value in found]
    assert [each for each in meanings if each in carried] == carried
    # the ids of 40 customers and a reason of a sentence always fit
    assert all(each in carried for each in meanings if each and len(each.reason) < 200)


def test_if_no_customer_is_left_each_is_named_with_why() -> None:
    left = [LeftOut(7, "not latched to anything", "Stolen Bikes"), LeftOut(8, "not known")]
    assert lines(none_to_unlatch(left)) == [
        "☝️ Of 2 customers, none can be unlatched. No card was posted, and nothing was changed.",
        "Left out: 7: not latched to anything (Stolen Bikes)",
        "Left out: 8: not known",
    ]


@pytest.mark.parametrize(
    ("kind", "done"), [(Kind.UNLATCH, "unlatched"), (Kind.RELATCH, "latched again")]
)
def test_a_card_of_one_does_not_hide_the_customers_that_were_left_out(
    kind: Kind, done: str
) -> None:
    assert lines(others_left_out(kind, [LeftOut(7, "not known")], NO_LINKS)) == [
        f"☝️ Of 2 customers, only one can be {done}. Its card does not show the others:",
        "Left out: 7: not known",
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_who_checks_too_late_is_told_how_to_see_what_is_now(count: int) -> None:
    others = card_of(customers(count)).requests
    said = lines(click_answers.unknown_since(others, None, "/unlatch"))
    who = "" if count == 1 else " to 2 customers"
    assert said[0].startswith(f"☝️ The bot can no longer tell what this did{who}: ")
    ids = ", ".join(str(each.customer_id) for each in customers(count))
    assert said[-1] == f"To see how things are now: /unlatch {ids}"


@pytest.mark.parametrize("gone", [True, False])
def test_the_outcome_of_many_without_a_card_is_the_cards(*, gone: bool) -> None:
    card = happened(confirmed(card_of(customers(3))), EventType.CLEARED, to=[0, 1])
    card = happened(card, EventType.UNKNOWN, to=[2])
    first, others, why = lines(outcome_without_card(card, NO_LINKS, "the card", gone=gone))
    assert first == "✅ 2 unlatched · ❓ 1 unknown: 3 customers"
    assert others == "❓ unknown: 2554531"
    assert ("any more" in why) is gone


@pytest.mark.parametrize("verdict", ENDINGS)
def test_without_a_card_the_verdict_about_many_is_said(verdict: Verdict) -> None:
    card = happened(card_of(customers(3)), EventType(verdict), "U0BOB")
    first, _why = lines(outcome_without_card(card, NO_LINKS, "the card", gone=True))
    assert first == f"{VERDICTS[verdict].emoji} {VERDICTS[verdict].title}: 3 customers"


OPEN_47 = card_of(customers(47), is_open=True)
DECIDED = replace(OF_47, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON)
DONE_47 = happened(confirmed(OPEN_47), EventType.CLEARED)
ABOUT_47 = {
    "duplicate": duplicate(OPEN_47, None),
    "reminder": reminder(OPEN_47, ["U0BOB"]),
    "never_posted": answers.never_posted(OPEN_47, "the bot was interrupted"),
    "expired": click_answers.too_late(happened(OPEN_47, EventType.EXPIRED), ALICE),
    "not_recorded": answers.not_recorded(OF_47),
    "pending": pending([OpenRequest(OF_47, None, may_decide=True)], 0),
    "history": lists.history(2554529, [(DECIDED, None)], []),
    "outcome": outcome_without_card(DONE_47, NO_LINKS, "the card", gone=True),
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("duplicate", "See the other card: 47 customers"),
        ("reminder", "Still waiting for a decision: 47 customers."),
        ("never_posted", "There is no card for 47 customers: the bot was interrupted."),
        ("never_posted", "Ask again: /unlatch many"),
        ("expired", "Ask again: /unlatch many"),
        ("not_recorded", "ask again: /unlatch many"),
        ("pending", "2554529 Stolen Bikes and 46 more"),
        ("history", "2554529 Stolen Bikes · one of 47 on its card"),
        ("outcome", "✅ 47 unlatched: 47 customers"),
    ],
)
def test_messages_about_a_request_say_that_its_card_has_more_customers(
    name: str, words: str
) -> None:
    assert words in shown(ABOUT_47[name])
    assert refused_by_slack(ABOUT_47[name]) == []


def test_a_late_click_does_not_take_one_customers_result_for_the_cards() -> None:
    card = happened(confirmed(card_of(customers(2))), EventType.CLEARED, to=[0])
    said = shown(click_answers.too_late(card, ALICE))
    assert "The card shows what came of each customer." in said
    assert "Unlatched" not in said


@pytest.mark.parametrize("size", [1, 47])
def test_the_form_that_declines_says_how_many_customers_it_is_about(size: int) -> None:
    form = decline_form(card_of(customers(size)), "1.2", NO_LINKS)
    assert problems(form) == []
    many = "Stolen Bikes (2554529) and 46 more" in str(form)
    # one customer's ids would look like those of all
    assert many is (size == 47)
    assert ("Ids on the card" in str(form)) is (size == 1)
