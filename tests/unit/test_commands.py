"""The text after `/unlatch` is parsed or refused, never guessed at."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, strategies as st

from bot.domain.commands import (
    MAX_REASON_LENGTH,
    Ask,
    Command,
    Find,
    Help,
    History,
    Malformed,
    Pending,
    parse,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
WORDS = st.sampled_from(["#", "2554529", "0", "help", "find", "history", "٣", "²", "&#49;", " "])
TYPED = ANY_TEXT | st.lists(WORDS | ANY_TEXT, max_size=5).map("".join)
IDS = st.integers(min_value=1, max_value=10**18 - 1)


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("2554529", Ask(2554529, "")),
        ("#2554529", Ask(2554529, "")),
        ("  2554529  ", Ask(2554529, "")),
        ("007", Ask(7, "")),
        ("999999999999999999 big", Ask(999999999999999999, "big")),
        ("2554529 moved  to\nthe\tnew portal ", Ask(2554529, "moved to the new portal")),
        ("2554529 R&amp;D &lt;!channel&gt;", Ask(2554529, "R&D <!channel>")),
        ("2554529 the &amp;lt; sign", Ask(2554529, "the &lt; sign")),
        ("2554529 a\x00b\ud800c", Ask(2554529, "a b c")),
        ("2554529 دمج 🚲", Ask(2554529, "دمج 🚲")),
        ("2554529 " + "x" * MAX_REASON_LENGTH, Ask(2554529, "x" * MAX_REASON_LENGTH)),
        ("find Stolen Bikes", Find("Stolen Bikes")),
        ("Find R&amp;D", Find("R&D")),
        ("history", History(None)),
        ("HISTORY #2554529", History(2554529)),
        ("pending", Pending()),
        (" Pending ", Pending()),
        ("help", Help()),
        ("Help me", Help()),
    ],
)
def test_a_well_formed_command_is_parsed(typed: str, command: Command) -> None:
    assert parse(typed) == command


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("abc", "'abc' is not a customer id: digits only."),
        ("pending 2554529", "Nothing can follow “pending”."),
        ("-5", "digits only"),
        ("+5", "digits only"),
        ("0", "No customer has the id 0."),
        ("#0", "No customer has the id 0."),
        ("1.5", "digits only"),
        ("1,500", "digits only"),
        ("1_500", "digits only"),
        ("1e5", "digits only"),
        ("0x10", "digits only"),
        ("٣٤٥", "digits only"),
        ("１２３", "digits only"),  # full-width digits
        ("²", "digits only"),
        ("1/../../2", "digits only"),
        ("&lt;!channel&gt;", "'<!channel>' is not a customer id"),
        ("<!channel>", "digits only"),
        ("##5", "digits only"),
        ("#", "digits only"),
        ("&#49;", "digits only"),
        ("2554529\u200b", "digits only"),
        ("\u202e2554529", "digits only"),
        ("", "The customer's id is missing."),
        (" \n\t ", "The customer's id is missing."),
        ("1" * 19, "A customer id has at most 18 digits."),
        ("0" * 19, "A customer id has at most 18 digits."),
        ("2554529 " + "x" * (MAX_REASON_LENGTH + 1), "The reason is longer than 500 characters."),
        ("find *:;", "There are no letters or digits to search for."),
        ("find", "There are no letters or digits to search for."),
        ("history abc", "digits only"),
        ("history 2554529 2554530", "digits only"),
    ],
)
def test_a_malformed_command_is_refused_with_one_line(typed: str, why: str) -> None:
    refused = parse(typed)
    assert isinstance(refused, Malformed)
    assert why in refused.why
    assert refused.why.isprintable()


def test_a_long_malformed_word_is_not_repeated_in_full() -> None:
    refused = parse("x" * 9_000)
    assert isinstance(refused, Malformed)
    assert len(refused.why) < 130


@given(TYPED)
def test_any_text_is_parsed_without_raising(typed: str) -> None:
    assert isinstance(parse(typed), Ask | Find | History | Pending | Help | Malformed)


@given(TYPED)
@example("&#49;")
@example("&num;1")
@example("٣٤٥")
def test_a_customer_id_consists_of_ascii_digits(typed: str) -> None:
    command = parse(typed)
    if isinstance(command, Ask):
        digits = re.match(r"[\s\0-\x1f\x7f-\x9f\ud800-\udfff]*#?([0-9]{1,18})", typed)
        assert digits is not None
        assert command.customer_id == int(digits[1]) > 0


@given(IDS, TYPED)
def test_a_reason_is_one_line_of_limited_length(customer_id: int, typed: str) -> None:
    command = parse(f"{customer_id} {typed}")
    if isinstance(command, Ask):
        assert command.customer_id == customer_id
        assert len(command.reason) <= MAX_REASON_LENGTH
        assert command.reason == " ".join(command.reason.split())
        command.reason.encode()
