"""The text after `/unlatch` is parsed, asked about, searched for or refused, never guessed at."""

from __future__ import annotations

import re
from typing import get_args

from hypothesis import example, given, strategies as st

from bot.domain.commands import (
    MAX_CUSTOMERS,
    MAX_DIGITS,
    MAX_REASON_LENGTH,
    Ask,
    Command,
    Find,
    Malformed,
    Question,
    asked,
)
from bot.domain.plain_text import UNSEEN
from bot.domain.typed_text import parse

ONE, TWO = 2554529, 3100017
ANY_TEXT = st.text(st.characters(exclude_categories=()))
PIECES = [
    *("#", "2554529", "0", "12", "0012", "1,500", "12.5", "99,50", "x7", "٣", "²", "&#49;"),
    *(",", ";", "\n", "\t", " ", ", ", '"', "(", ".", ":", "|", "\u200b", "and", "moved"),
    *("help", "find ", "history ", "undo ", "https://help.example/7", "help.example/8"),
    *("https://admin.staxbill.com/customers/9", "https://admin.staxbill.com/invoices/10"),
]
TYPED = st.lists(st.sampled_from(PIECES) | st.text(max_size=5) | ANY_TEXT, max_size=9).map("".join)
IDS = st.integers(min_value=1, max_value=10**MAX_DIGITS - 1)
MANY = st.lists(IDS, min_size=1, max_size=MAX_CUSTOMERS, unique=True)
SEPARATORS = st.sampled_from([", ", "; ", "\n", "\r\n", " ,\t", ",\n", " ;", ";;", "\t\n "])
REASONS = st.sampled_from(["", "moved portal", "3rd party", "after 12, 13 and #14", "- R&D <x>"])


def readings(command: Command) -> list[Ask]:
    """The meanings of a text that begins with an id."""
    match command:
        case Ask() as ask:
            return [ask]
        case Question(meant=meant, few=few):
            return [each for each in (meant, few) if each]
        case _:
            return []


def standing_alone(text: str) -> set[int]:
    """The numbers of a text between separators, and those between the slashes of an address."""
    marks = "\"'`#=*_~.:!?()[]<>|"
    text = re.sub(f"[{UNSEEN}\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text)
    words = {word.strip(marks) for word in re.split(r"[\s,;]+|(?=<)|(?<=>)", text)}
    parts = {part.strip(marks) for word in words for part in re.split("[/?#|]", word)}
    return {int(each) for each in parts if re.fullmatch("[0-9]+", each)}


@given(TYPED)
@example("&#49;")
@example("&num;1")
@example("٣٤٥")
@example("2554529\x85" + "12")
def test_an_id_stands_in_its_text_as_a_whole_word_or_between_slashes(typed: str) -> None:
    command = parse(typed)
    assert isinstance(command, get_args(Command))
    found = {each for reading in readings(command) for each in reading.customer_ids}
    found |= {each.customer_id or 0 for r in readings(command) for each in r.doubts} - {0}
    found |= set(command.customer_ids) if isinstance(command, Find) else set()
    assert found <= standing_alone(typed)


@given(TYPED)
def test_each_meaning_has_customers_and_a_reason_of_one_line(typed: str) -> None:
    for reading in readings(parse(f"{ONE} {typed}")):
        assert ONE in reading.customer_ids
        assert len(reading.customer_ids) + len(reading.doubts) <= MAX_CUSTOMERS
        assert len(set(reading.customer_ids)) == len(reading.customer_ids)
        assert len(reading.reason) <= MAX_REASON_LENGTH
        assert reading.reason == " ".join(reading.reason.split())
        reading.reason.encode()


@given(TYPED)
def test_what_is_refused_is_told_in_one_printable_line(typed: str) -> None:
    for command in (parse(typed), parse(f"{ONE}, {typed}"), parse(f"history {typed}")):
        if isinstance(command, Malformed):
            assert command.why.isprintable()
            assert len(command.why) < 330


@given(IDS, st.sampled_from("\u00a0\u202f\u2009 \t"), IDS)
def test_two_numbers_in_a_row_are_never_guessed_at(one: int, between: str, other: int) -> None:
    command = parse(f"{one}{between}{other} moved")
    if isinstance(command, Question):
        few = Ask((one,), f"{other} moved")
        assert command == Question(Ask(tuple({one: 1, other: 1}), "moved"), few)
    else:
        assert isinstance(command, Malformed)


@given(st.text("123456789 ,;\tmoved/#.:", max_size=20))
def test_two_meanings_take_the_same_text_as_ids_or_as_the_reason(typed: str) -> None:
    command = parse(f"{ONE} {TWO}{typed}")
    if isinstance(command, Question):
        many, few = command.meant, command.few
        assert few is not None
        assert many.customer_ids[:1] == few.customer_ids == (ONE,)
        assert few.reason.startswith(str(TWO))
        assert few.reason.endswith(many.reason)


@given(MANY, st.data(), REASONS)
def test_any_separators_and_marks_give_the_same_ids(
    ids: list[int], data: st.DataObject, reason: str
) -> None:
    marks = st.sampled_from(["", "#"])
    typed = "".join(f"{data.draw(marks)}{each}{data.draw(SEPARATORS)}" for each in ids)
    assert readings(parse(typed + reason)) == [Ask(tuple(ids), reason)]


def test_asking_tidies_the_reason_and_counts_each_customer_once() -> None:
    assert asked([7, 7, 8], " moved\n\x00portal ") == Ask((7, 8), "moved portal")
    assert asked([7, 7], "\u2800") == Ask((7,), "")
    assert asked([7], "x" * 501) == Malformed("The reason is longer than 500 characters.")


def test_whoever_pastes_rows_that_are_too_long_to_search_is_told_of_the_form() -> None:
    rows = parse("Bikes\t2554529\n" * 40)
    assert isinstance(rows, Malformed)
    assert rows.usage == "many"


def test_what_nobody_sees_is_cut_off_also_before_a_control_character() -> None:
    typed = parse("1 moved\u202c\x00")
    assert typed == Ask((1,), "moved")
    assert parse(f"1 {typed.reason}") == typed
