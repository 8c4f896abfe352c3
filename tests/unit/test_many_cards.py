"""Cards of many customers: what people read, and that Slack takes it whatever the ledger holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bot.domain.meanings import OUTCOMES, VERDICTS
from bot.domain.models import (
    Card,
    EventType,
    Kind,
    Outcome,
    Verdict,
)
from bot.messages.block_kit import Message
from bot.messages.card import Action, Deciders, draw
from bot.messages.outcomes import to_ask_again
from bot.messages.phrases import Links
from bot.messages.thread import next_reply
from bot.sandbox.slack.validation.block_kit import buttons, text_of
from tests.support.hostile import (
    ALL_LINKS,
    CUSTOMERS,
    EVENTS,
    LINKS,
    NO_LINKS,
    NOON,
    REQUESTS,
    lacks_null,
    mentions_and_links,
    people_of,
    refused_by_slack,
    shown,
)
from tests.support.many import ENDINGS, LONG, RESULTS, card_of, confirmed, customers, happened
from tests.support.names import BOB

LEFT_OUT: list[dict[str, Any]] = [
    {"customer_id": 77, "why": "not latched to anything", "name": "Sad Saddles"},
    {"customer_id": 78, "why": "not latched to anything"},
    {"customer_id": 79, "why": "not known"},
]
EXPIRES = "<!date^1795436100^{time}|2026-11-23 12:15:00 UTC>"
WHYS = st.text().filter(lacks_null)
SUMMARY = "Clears 2 contacts and 2 companies. Can be undone."


def lines(message: Message) -> list[str]:
    return text_of(message.blocks).splitlines()


def table_of(message: Message) -> list[list[str]]:
    """The texts of the table's cells."""
    (table,) = [block for block in message.blocks if block["type"] == "table"]
    return [line.split(" | ") for line in text_of([table]).splitlines()]


def as_lines(message: Message) -> Message:
    assert message.without_table
    return Message(message.text, message.without_table)


def pressable(message: Message) -> list[tuple[str, str, str]]:
    """The label, action and value of each button."""
    blocks = [block | {"block_id": str(n)} for n, block in enumerate(message.blocks)]
    return [(b["text"]["text"], b["action_id"], b["value"]) for _id, b in buttons(blocks)]


def results(*outcomes: Outcome, **details: Any) -> Card:
    """A card of which each customer has its outcome."""
    card = confirmed(card_of(customers(len(outcomes))))
    for index, outcome in enumerate(outcomes):
        card = happened(card, RESULTS[outcome], to=[index], why="so", **details)
    return card


def with_all(card: Card, **changes: Any) -> Card:
    """The card with these changes to each of its requests."""
    return Card(tuple(replace(each, **changes) for each in card.requests))


def confirmed_anew(card: Card) -> Card:
    """The card while its work has just begun."""
    return with_all(card, verdict=Verdict.CONFIRMED, outcome=None)


@st.composite
def any_cards(draw: st.DrawFn) -> Card:
    """Cards as the ledger may hold them: any customers, any events, any state."""
    first = draw(REQUESTS)
    # ids go from one customer to another, never among more
    most = 2 if first.kind is Kind.MOVE else 6
    on_it = draw(st.lists(CUSTOMERS, min_size=2, max_size=most))
    left = draw(st.lists(st.fixed_dictionaries({"customer_id": st.integers(1), "why": WHYS})))
    card = card_of(on_it, left_out=left)
    made = [
        replace(
            each,
            kind=first.kind,
            reason=first.reason,
            verdict=first.verdict,
            decider=first.decider,
            decided_at=first.decided_at,
            outcome=draw(st.none() | st.sampled_from([*Outcome, Outcome("from_tomorrow")])),
            events=(*each.events, *draw(st.lists(EVENTS, max_size=2))),
        )
        for each in card.requests
    ]
    return Card(tuple(made))


@given(any_cards(), ALL_LINKS)
def test_slack_takes_every_card_as_a_table_and_as_lines(card: Card, links: Any) -> None:
    for state in (card, with_all(card, verdict=None), confirmed_anew(card)):
        message = draw(state, links, Deciders(["U0BOB", "S0OPS"]))
        assert refused_by_slack(message) == []
        if message.without_table:
            assert refused_by_slack(as_lines(message)) == []
        assert len(message.text.encode("utf-16-le")) // 2 <= 3_000
        assert "None" not in shown(message)
        marked = {m for m in mentions_and_links(message) if "https://" not in m[:9]}
        assert marked <= people_of(card) | {"<@U0BOB>", "<usergroup>", "<!subteam^S0OPS>"}


@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_fifty_customers_with_the_longest_names_fit_with_all_their_ids(
    outcome: Outcome | None,
) -> None:
    asked = card_of([LONG] * 50, reason="r" * 500, left_out=LEFT_OUT * 3)
    card = confirmed(asked)
    card = happened(card, RESULTS[outcome], why="w" * 300) if outcome else card
    for each in (asked, confirmed(asked), card):
        message = draw(each, LINKS)
        assert refused_by_slack(message) == []
        if message.without_table is None:
            # its work has just begun: nothing failed, and nothing is under way
            assert lines(message)[0].startswith("⏳ Unlatching 50 customers")
            continue
        assert refused_by_slack(as_lines(message)) == []
        rows = table_of(message)[1:]
        assert len(rows) == 50
        assert {row[0] for row in rows} == {str(10**18 - 1)}
        assert all(f"{10**18 - 1} / {10**18 - 2}" in row[2] for row in rows)
        assert text_of(message.without_table).count(str(10**18 - 2)) == 50


def test_a_card_with_much_beside_its_table_stays_within_slacks_limit_for_a_message() -> None:
    left_out = [{"customer_id": 10**18 - 1, "why": "w" * 200, "name": "n" * 200} for _ in range(49)]
    people = [f"U{number:010}" for number in range(50)]
    card = card_of([LONG] * 50, reason="r" * 500, left_out=left_out)
    for message in (
        draw(card, LINKS, Deciders(people)),
        draw(card, NO_LINKS, Deciders(people)),
    ):
        assert refused_by_slack(message) == []
        assert refused_by_slack(as_lines(message)) == []
        # what the table needs for its ids is kept free
        assert table_of(message)[50][1] != "…"


def test_the_preview_asks_once_about_all_customers() -> None:
    message = draw(card_of(customers(2), left_out=LEFT_OUT), NO_LINKS)
    assert lines(message) == [
        "Unlatch 2 customers?",
        SUMMARY,
        f"Asked by <@U0ALICE>, {NOON:%F %T} UTC: moved to the new portal",
        "Left out: 77: not latched to anything (Sad Saddles)",
        "Left out: 78: not latched to anything",
        "Left out: 79: not known",
        "Id | Company | Contact / company | Reference",
        "2554529 | Stolen Bikes | 101 / 201 | REF-0",
        "2554530 | Lost Pedals | 102 / 202 | REF-1",
        "[Unlatch 2 customers] [Cancel]",
        f"Expires {EXPIRES}",
    ]
    assert pressable(message) == [
        ("Unlatch 2 customers", Action.CONFIRM, "5f01"),
        ("Cancel", Action.CANCEL, "5f01"),
    ]


def test_a_tables_customer_ids_are_right_aligned_and_all_its_cells_are_texts() -> None:
    message = draw(card_of(customers(2)), NO_LINKS)
    (table,) = [block for block in message.blocks if block["type"] == "table"]
    aligned = [each["align"] for each in table["column_settings"]]
    assert aligned == ["right", "left", "left", "left"]
    assert {cell["type"] for row in table["rows"] for cell in row} == {"raw_text"}


def test_an_undo_of_many_asks_to_latch_them_again() -> None:
    message = draw(card_of(customers(2), kind=Kind.RELATCH), NO_LINKS)
    assert lines(message)[:2] == [
        "Latch 2 customers again?",
        "Restores 2 contacts and 2 companies.",
    ]
    assert pressable(message)[0] == ("Latch 2 customers again", Action.CONFIRM, "5f01")


def test_ids_are_linked_where_the_links_fit() -> None:
    few = mentions_and_links_of_table(draw(card_of(customers(2)), LINKS))
    assert "https://admin.example/customers/2554530" in few
    assert "https://app-eu1.hubspot.com/contacts/777/record/0-2/202" in few
    many = draw(card_of([LONG] * 50), LINKS)
    assert mentions_and_links_of_table(many) == ""


def mentions_and_links_of_table(message: Message) -> str:
    (table,) = [block for block in message.blocks if block["type"] == "table"]
    cells = [cell for row in table["rows"] for cell in row if cell["type"] == "rich_text"]
    return str(cells) if cells else ""


def test_a_text_without_room_for_all_says_how_many_more_there_are() -> None:
    text = draw(card_of([LONG] * 50, reason="r" * 500), NO_LINKS).text
    *_lines, last = text.splitlines()
    named = text.count(f"Id {LONG.customer_id}")
    assert last == f"{50 - named} more customers on the card."
    assert "Expires " in text


def test_more_customers_than_this_version_knows_are_counted() -> None:
    message = draw(card_of(customers(60)), NO_LINKS)
    assert "Unlatch 60 customers?" in message.text
    assert "10 more are not shown." in text_of(message.blocks)
    assert "10 more are not shown." in text_of(message.without_table)


def test_the_working_card_shows_how_far_it_is_and_can_be_stopped() -> None:
    card = confirmed(card_of(customers(4)))
    card = happened(card, EventType.CLEARED, to=[0, 1])
    card = happened(card, EventType.REFUSED, to=[2], why="on hold")
    message = draw(card, NO_LINKS)
    assert lines(message)[0] == "⏳ Unlatching 4 customers …"
    assert lines(message)[-3:] == ["█" * 15 + "░" * 5, "3 of 4, 1 not done", "[Stop]"]
    assert pressable(message) == [("Stop", Action.STOP, "5f01")]
    assert "░" not in message.text, "a bar is nothing to read aloud"
    # what is done or waits is counted
    assert table_of(message) == [
        ["Id", "Company", "Result (contact / company)", "Reference"],
        ["2554531", "Found Wheels", "❌ not done (103 / 203)", "REF-2"],
    ]
    nearly = happened(confirmed(card_of(customers(50))), EventType.CLEARED, to=range(49))
    assert "█" * 19 + "░" in lines(draw(nearly, NO_LINKS))


def test_who_was_left_out_while_the_card_waited_is_not_counted_as_worked_on() -> None:
    asked = happened(card_of(customers(3)), EventType.LEFT_OUT, to=[2])
    assert "Unlatch 2 customers?" in draw(asked, NO_LINKS).text
    card = happened(confirmed(asked), EventType.CLEARED, to=[0])
    drawn = lines(draw(card, NO_LINKS))
    assert drawn[0] == "⏳ Unlatching 2 customers …"
    assert drawn[-3:] == ["█" * 10 + "░" * 10, "1 of 2, 1 overtaken", "[Stop]"]
    reply = next_reply(happened(card, EventType.CLEARED, to=[1]), 0, NO_LINKS)
    assert reply, "the result counts who was overtaken, and so does the number behind it"
    assert reply.message.text.startswith("✅ 2 unlatched · ⏩ 1 overtaken: 3 customers\n")


def test_while_the_work_lasts_stop_stands_below_a_few_customers_those_that_failed_first() -> None:
    left_out = [{"customer_id": number, "why": "not known"} for number in range(40)]
    card = confirmed(card_of(customers(50), left_out=left_out))
    card = happened(card, EventType.BEGUN)
    card = happened(card, EventType.REFUSED, to=[7, 9], why="on hold")
    drawn = lines(draw(card, NO_LINKS))
    stop = drawn.index("[Stop]")
    assert [line.split(" | ")[0] for line in drawn[3 : stop - 2]] == [
        *(str(customers(50)[index].customer_id) for index in (7, 9, 0, 1))
    ]
    assert drawn[stop - 1] == "2 of 50, 2 not done"
    # who was left out stays, below what can be pressed
    assert drawn[stop + 40] == "Left out: 39: not known"


def test_a_stopped_card_says_so_and_has_no_button() -> None:
    card = confirmed(card_of(customers(3)))
    card = happened(card, EventType.STOP_REQUESTED, BOB.user_id, to=[0])
    message = draw(card, NO_LINKS)
    assert "Stopping… What the bot has not begun stays as it is." in lines(message)
    assert pressable(message) == []


def test_the_result_counts_each_outcome_and_names_it_for_each_customer() -> None:
    card = results(Outcome.CLEARED, Outcome.CHANGED, Outcome.UNKNOWN, Outcome.CLEARED)
    message = draw(card, NO_LINKS)
    assert lines(message)[:2] == [
        "✅ 2 unlatched · ⚠️ 1 other ids · ❓ 1 unknown",
        "The thread says why each of the others is not as asked.",
    ]
    assert [(row[0], row[2]) for row in table_of(message)[1:]] == [
        ("2554529", "✅ unlatched (101 / 201)"),
        ("2554530", "⚠️ not done, the ids changed (102 / 202)"),
        ("2554531", "❓ outcome unknown (103 / 203)"),
        ("2554532", "✅ unlatched (104 / 204)"),
    ]
    assert pressable(message) == [
        ("Check again", Action.CHECK, "5f01"),
        ("Undo…", Action.UNDO, "5f01"),
        ("Ask again", Action.AGAIN, "5f01"),
    ]
    assert "By <@U0BOB> for <@U0ALICE>, " in message.text


def test_what_fusebill_was_called_for_is_not_called_undone() -> None:
    message = draw(results(Outcome.CHANGED, Outcome.CHANGED, called=True), NO_LINKS)
    assert [row[2].partition(" (")[0] for row in table_of(message)[1:]] == [
        "⚠️ other ids than confirmed"
    ] * 2
    assert "not done" not in message.text


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_count_its_words_and_its_buttons(outcome: Outcome) -> None:
    meaning = OUTCOMES[outcome]
    message = draw(results(outcome, outcome), NO_LINKS)
    assert lines(message)[0] == f"{meaning.emoji} 2 {meaning.count}"
    assert table_of(message)[1][2] == f"{meaning.emoji} {meaning.title.lower()} (101 / 201)"
    actions = {action for _label, action, _value in pressable(message)}
    assert (Action.UNDO in actions) is meaning.may_be_undone
    assert (Action.CHECK in actions) is meaning.may_be_checked
    assert ("not as asked" in message.text) is not meaning.as_asked


def test_an_outcome_of_a_newer_version_is_shown_as_it_is() -> None:
    card = results(Outcome.CLEARED, Outcome.CLEARED)
    card = Card((card.first, replace(card.requests[1], outcome=Outcome("moved_on"))))
    message = draw(card, NO_LINKS)
    assert lines(message)[0] == "✅ 1 unlatched · ❓ 1 moved on"
    assert table_of(message)[2][2] == "❓ moved on (102 / 202)"


def test_an_undo_is_told_with_who_and_how_many() -> None:
    card = happened(results(*[Outcome.CLEARED] * 3), EventType.UNDONE, "U0BOB", to=[0, 1])
    message = draw(card, NO_LINKS)
    assert any(line.startswith("<@U0BOB> undid 2 customers, ") for line in lines(message))
    assert [row[2] for row in table_of(message)[1:]] == [
        "↩️ undone (101 / 201)",
        "↩️ undone (102 / 202)",
        "✅ unlatched (103 / 203)",
    ]


def test_customers_that_are_latched_again_are_named() -> None:
    card = happened(results(*[Outcome.CLEARED] * 12), EventType.LATCHED_AGAIN, to=range(12))
    message = draw(card, NO_LINKS)
    assert "⚠️ Latched again: 2554529, 2554530, " in message.text
    assert " and 2 more, " in message.text
    assert table_of(message)[1][2] == "⚠️ latched again (101 / 201)"


@pytest.mark.parametrize("verdict", ENDINGS)
def test_a_card_that_was_not_confirmed_says_so_and_can_only_be_asked_again_if_nobody_decided(
    verdict: Verdict,
) -> None:
    by_itself = verdict in (Verdict.EXPIRED, Verdict.OVERTAKEN)
    meaning, actor = VERDICTS[verdict], "" if by_itself else "U0BOB"
    card = happened(card_of(customers(2)), EventType(verdict), actor, why="wrong portal")
    message = draw(card, NO_LINKS)
    assert lines(message)[0] == f"{meaning.emoji} {meaning.title}: 2 customers"
    assert "hanged nothing." in message.text or "othing was changed." in message.text
    assert [label for label, *_ in pressable(message)] == (["Ask again"] if by_itself else [])
    assert ("By <@U0BOB>, " in message.text) is not by_itself
    assert ("UTC>: wrong portal" in message.text) is (not by_itself)


def test_what_expired_while_the_bot_was_away_is_told_for_each_customer() -> None:
    card = card_of(customers(4))
    same = {"vid": 101, "company_id": 201}
    found: list[dict[str, Any]] = [{"found": same}, {"found": {}}, {"found": {"vid": 9}}]
    for index, details in enumerate([*found, {"unread": True}]):
        card = happened(card, EventType.EXPIRED, to=[index], away=True, **details)
    message = draw(card, NO_LINKS)
    assert lines(message)[1] == (
        "Expired while the bot was away; 1 still latched, 1 no longer latched,"
        " 1 latched to other ids, 1 could not be read."
    )
    assert "nothing was changed" not in message.text
    assert [row[2] for row in table_of(message)] == [
        "Result (contact / company)",
        "still latched (101 / 201)",
        "no longer latched (102 / 202)",
        "latched to other ids (103 / 203)",
        "could not be read (104 / 204)",
    ]


def test_a_verdict_of_a_newer_version_is_shown_as_it_is() -> None:
    card = card_of(customers(2), verdict=Verdict("postponed"), decided_at=NOON)
    message = draw(card, NO_LINKS)
    assert lines(message)[0] == "❓ Postponed: 2 customers"
    assert "changed" not in message.text
    assert pressable(message) == []


def test_links_go_before_a_card_fails() -> None:
    on_it = 10
    links = Links("1", fusebill_customer_url=f"https://a.example/{'x' * 300}/{{id}}")
    left_out = [
        {"customer_id": number, "why": "not known in Fusebill", "name": ""} for number in range(40)
    ]
    drawn = draw(card_of(customers(on_it), left_out=left_out), links)
    assert refused_by_slack(drawn) == []
    assert "Left out: 39: not known in Fusebill" in text_of(drawn.blocks)
    assert f"[Unlatch {on_it} customers]" in text_of(drawn.blocks)
    few = draw(card_of(customers(on_it), left_out=left_out[:2]), links)
    assert "https://a.example/" in str(few.blocks)


def overtaken_by_others(count: int, number: int, event: EventType) -> Card:
    """A card of so many customers, a number of whom were each changed by a card of its own."""
    card = card_of([replace(LONG, customer_id=10**17 + each) for each in range(count)])
    for each in range(number):
        place = ["C0BILLING", f"1.{each}"]
        about: dict[str, Any] = {"by_request": "b", "did": "cleared", "decider": "U0BOB"}
        card = happened(card, event, to=[each], place=place, may_pass=False, **about)
    return card


def test_of_many_cards_that_overtook_one_the_first_are_linked_and_the_others_counted() -> None:
    url = f"https://sandbox.slack.example/archives/C0BILLING/{'p' * 60}"
    links = Links(cards={("C0BILLING", f"1.{each}"): url for each in range(5)})
    asked = draw(overtaken_by_others(50, 49, EventType.LEFT_OUT), links)
    assert refused_by_slack(asked) == []
    assert refused_by_slack(as_lines(asked)) == []
    shown = text_of(asked.blocks)
    assert shown.startswith("Unlatch 1 customer?\nClears 1 contact and 1 company.")
    assert (shown.count("see its card"), "44 more cards changed others" in shown) == (5, True)
    assert str(asked.blocks).count(url) == 5


def test_only_customers_that_are_not_yet_as_the_card_wanted_are_asked_about_again() -> None:
    card = overtaken_by_others(3, 2, EventType.LEFT_OUT)
    done = happened(confirmed(card), EventType.REFUSED, to=[2], why="Fusebill refused.")
    assert [r.position for r in to_ask_again(done)] == [3]
