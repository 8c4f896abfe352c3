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
        # what nobody sees around an id
        ("2554529\u200b", Ask(2554529, "")),
        ("\ufeff2554529\u00ad moved", Ask(2554529, "moved")),
        ("\u200b \u2060#2554529\u200e\u2069 moved", Ask(2554529, "moved")),
        ("history \u200b2554529\ufeff", History(2554529)),
        ("history \u200b", History(None)),
        ("\u200bhelp\u200b", Help()),
        # reasons that nobody sees
        ("2554529 \u2800", Ask(2554529, "")),
        ("2554529 \u3164\u115f", Ask(2554529, "")),
        ("2554529 \u200b\ufe0f\u034f\U000e0020", Ask(2554529, "")),
        ("2554529 👩\u200d👧", Ask(2554529, "👩\u200d👧")),
        # numbers that are no second id
        ("2554529 0", Ask(2554529, "0")),
        ("2554529 see 12345", Ask(2554529, "see 12345")),
        ("2554529 3rd try", Ask(2554529, "3rd try")),
        ("2554529 #12ab", Ask(2554529, "#12ab")),
        # addresses
        ("https://admin.example/Customers/2554529 moved", Ask(2554529, "moved")),
        ("&lt;https://admin.example/customers/2554529|2554529&gt;", Ask(2554529, "")),
        ("https://admin.example/v1/customers/2554529/edit?tab=3#x9", Ask(2554529, "")),
        ("HTTPS://ADMIN.EXAMPLE/2554529/", Ask(2554529, "")),
        ("history https://admin.example/customers/2554529", History(2554529)),
        ("find  Stolen\u00a0\u00a0Bikes ", Find("Stolen Bikes")),
        ('find "Stolen Bikes"', Find("Stolen Bikes")),
        ("find “Stolen  Bikes”", Find("Stolen Bikes")),
        ("find „Stolen Bikes“", Find("Stolen Bikes")),
        ("find Sto\u200blen\ufeff", Find("Stolen")),
        ("find O’Brien", Find("O’Brien")),
        ('find Bikes 24"', Find('Bikes 24"')),
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
        ("1,500", "Is 1500 one id? Then type it without blanks or commas."),
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
        ("2554\u200b529", "digits only"),
        ("\u202e2554529", "digits only"),
        ("", "The customer's id is missing."),
        (" \n\t ", "The customer's id is missing."),
        ("1" * 19, "A customer id has at most 18 digits."),
        ("0" * 19, "A customer id has at most 18 digits."),
        ("2554529 " + "x" * (MAX_REASON_LENGTH + 1), "The reason is longer than 500 characters."),
        ("find *:;", "There are no letters or digits to search for."),
        ("find", "There are no letters or digits to search for."),
        ("2554529 3100017 moved", "2554529 and 3100017 are two numbers, and nothing was done"),
        ("2554529 3100017 moved", "use one command for each customer"),
        ("2554529, 3100017", "2554529 and 3100017 are two numbers"),
        ("2554529,3100017", "2554529 and 3100017 are two numbers"),
        ("2554529;#3100017 moved", "2554529 and 3100017 are two numbers"),
        ("2554529\n3100017\n3100025", "2554529 and 3100017 are two numbers"),
        ("2554529\t3100017\tmoved", "2554529 and 3100017 are two numbers"),
        ("2554529 \u200b3100017", "2554529 and 3100017 are two numbers"),
        ("2 554 529", "Is 2554529 one id? Then type it without blanks or commas."),
        ("2\u202f554\u202f529", "Is 2554529 one id?"),
        ("2\u00a0554\u00a0529 moved", "Is 2554529 one id?"),
        ("2,554,529", "Is 2554529 one id?"),
        ("2.554.529", "digits only"),
        ("https://admin.example/customers", "This address has no number in its path"),
        ("https://admin.example/a/1/b/2", "This address has several numbers in its path"),
        ("https://admin.example/?id=2554529", "This address has no number in its path"),
        ("https://app.hubspot.com/contacts/777/record/0-2/202", "This is an address of HubSpot"),
        ("https://app-eu1.hubspot.com/company/202", "This is an address of HubSpot"),
        ("https://admin.example/" + "9" * 19, "at most 18 digits"),
        ("https://admin.example/0", "No customer has the id 0."),
        ("https://[junk/1", "digits only"),
        ("ftp://admin.example/2554529", "digits only"),
        ("history https://admin.example/", "This address has no number"),
        ("history abc", "digits only"),
        ("history 2554529 2554530", "digits only"),
    ],
)
def test_a_malformed_command_is_refused_with_one_line(typed: str, why: str) -> None:
    refused = parse(typed)
    assert isinstance(refused, Malformed)
    assert why in refused.why
    assert refused.why.isprintable()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("https://a.example/7/customer/2554529/view", Ask(2554529, "")),
        ("https://a.example/7/customer/2554529/view?tab=1 moved", Ask(2554529, "moved")),
        ("https://other.example/customers/2554529", Ask(2554529, "")),
    ],
)
def test_an_address_that_fits_the_admins_names_a_customer(typed: str, expected: Command) -> None:
    assert parse(typed, "https://a.example/7/customer/{id}/view") == expected


@given(IDS, st.sampled_from("\u00a0\u202f\u2009 ,;\t"), IDS)
def test_two_numbers_in_a_row_are_never_guessed_at(one: int, between: str, other: int) -> None:
    assert isinstance(parse(f"{one}{between}{other}"), Malformed)


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
        digits = re.search(r"[0-9]+", typed)
        assert digits is not None
        assert command.customer_id == int(digits[0]) > 0


@given(IDS, TYPED)
def test_a_reason_is_one_line_of_limited_length(customer_id: int, typed: str) -> None:
    command = parse(f"{customer_id} {typed}")
    if isinstance(command, Ask):
        assert command.customer_id == customer_id
        assert len(command.reason) <= MAX_REASON_LENGTH
        assert command.reason == " ".join(command.reason.split())
        command.reason.encode()
