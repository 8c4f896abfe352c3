"""The text after `/unlatch` is parsed or refused, never guessed at."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import example, given, strategies as st

from bot.domain.batch_input import MAX_CUSTOMERS, MAX_DIGITS, Ambiguous, Reading
from bot.domain.commands import (
    MAX_REASON_LENGTH,
    AmbiguousAsk,
    Ask,
    AskMany,
    Command,
    Find,
    Help,
    History,
    Malformed,
    Many,
    Pending,
    asked,
    parse,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
WORDS = st.sampled_from(["#", "2554529", "0", "help", "find", "history", "٣", "²", "&#49;", " "])
TYPED = ANY_TEXT | st.lists(WORDS | ANY_TEXT, max_size=5).map("".join)
PAIR = (2554529, 3100017)
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
        # several customers
        ("2554529, 3100017; #3100025 moved portal", AskMany((*PAIR, 3100025), "moved portal")),
        ("2554529,3100017", AskMany(PAIR, "")),
        ("2554529;#3100017 moved", AskMany(PAIR, "moved")),
        ("2554529\n3100017\r\n3100025\nmoved", AskMany((*PAIR, 3100025), "moved")),
        ("2554529,\t3100017 R&amp;D", AskMany(PAIR, "R&D")),
        ("\u200b2554529\u200b,\ufeff3100017\u00ad \u2800", AskMany(PAIR, "")),
        ("2554529, #2554529; 02554529 moved", Ask(2554529, "moved")),
        ("https://admin.example/customers/2554529\n3100017", AskMany(PAIR, "")),
        ("https://admin.example/customers/2554529, 3100017 moved", AskMany(PAIR, "moved")),
        ("https://a.example/c/2554529,https://a.example/c/3100017;", AskMany(PAIR, "")),
        ("https://a.example/c/2554529; <https://a.example/c/3100017|x> a", AskMany(PAIR, "a")),
        ("2554529, https://admin.fusebill.com/ui/customers/3100017/x", AskMany(PAIR, "")),
        (
            "2554529, https://help.example/tickets/3100017",
            Ask(2554529, "https://help.example/tickets/3100017"),
        ),
        (
            "2554529 see https://admin.fusebill.com/customers/3100017",
            Ask(2554529, "see https://admin.fusebill.com/customers/3100017"),
        ),
        ("https://admin.example/#/customers/2554529/edit moved", Ask(2554529, "moved")),
        ("2554529, 3100017 " + "x" * MAX_REASON_LENGTH, AskMany(PAIR, "x" * MAX_REASON_LENGTH)),
        ("find  Stolen\u00a0\u00a0Bikes ", Find("Stolen Bikes")),
        ('find "Stolen Bikes"', Find("Stolen Bikes")),
        ("find “Stolen  Bikes”", Find("Stolen Bikes")),
        ("find „Stolen Bikes“", Find("Stolen Bikes")),
        ("find Sto\u200blen\ufeff", Find("Stolen")),
        ("find O’Brien", Find("O’Brien")),
        ('find Bikes 24"', Find('Bikes 24"')),
        ("find Stolen Bikes", Find("Stolen Bikes")),
        ("Find R&amp;D", Find("R&D")),
        ("find Hotel:Royal", Find("Hotel:Royal")),
        ("history", History(None)),
        ("HISTORY #2554529", History(2554529)),
        ("history `2554529`", History(2554529)),
        ("pending", Pending()),
        ("many", Many()),
        (" MANY\u200b", Many()),
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
        ("1,500", "'1,500' looks like one number with thousands separators."),
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
        ("1" * 19, "is too long: a customer id has at most 18 digits."),
        ("0" * 19, "is too long: a customer id has at most 18 digits."),
        ("2554529 " + "x" * (MAX_REASON_LENGTH + 1), "The reason is longer than 500 characters."),
        ("find *:;", "There are no letters or digits to search for."),
        ("find", "There are no letters or digits to search for."),
        ("find " + "x" * 256, "The text to search for is longer than 255 characters."),
        ("2 554 529", "Is 2554529 one id? Then type it without blanks."),
        ("2\u202f554\u202f529", "Is 2554529 one id?"),
        ("2\u00a0554\u00a0529 moved", "Is 2554529 one id?"),
        ("2,554,529", "'2,554,529' looks like one number with thousands separators."),
        ("2554529, 3100017: moved", "'3100017:' is not a customer id"),
        (", ".join(map(str, range(1, 64))), "These are 63 customers; one card takes at most 50."),
        ("2554529, 3100017 " + "x" * 501, "The reason is longer than 500 characters."),
        ("2554529 12 " + "x" * 501, "The reason is longer than 500 characters."),
        ("2554529 12 " + "x" * 498, "If these numbers are ids, type commas between them."),
        ("many 2554529", "Nothing can follow “many”."),
        ("abc", "(/unlatch find searches names and references.)"),
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


@given(IDS, st.sampled_from("\u00a0\u202f\u2009 \t"), IDS)
def test_two_numbers_in_a_row_are_never_guessed_at(one: int, between: str, other: int) -> None:
    command = parse(f"{one}{between}{other} moved")
    if isinstance(command, AmbiguousAsk):
        few = Reading((one,), f"{other} moved")
        assert command.ambiguous == Ambiguous(Reading(tuple({one: 1, other: 1}), "moved"), few)
    else:
        assert isinstance(command, Malformed)


@pytest.mark.parametrize(
    ("typed", "many", "few"),
    [
        ("2554529 3100017", Reading(PAIR), Reading((2554529,), "3100017")),
        ("2554529\t3100017\tmoved", Reading(PAIR, "moved"), Reading((2554529,), "3100017 moved")),
        ("2554529 \u200b3100017", Reading(PAIR), Reading((2554529,), "\u200b3100017")),
        (
            "2554529 12 months free",
            Reading((2554529, 12), "months free"),
            Reading((2554529,), "12 months free"),
        ),
        (
            "https://a.example/c/2554529 https://a.example/c/3100017",
            Reading(PAIR),
            Reading((2554529,), "3100017"),
        ),
        (
            "https://admin.example/customers/2554529 12 \u2800",
            Reading((2554529, 12)),
            Reading((2554529,), "12"),
        ),
    ],
)
def test_blanks_alone_between_numbers_leave_two_meanings(
    typed: str, many: Reading, few: Reading
) -> None:
    assert parse(typed) == AmbiguousAsk(Ambiguous(many, few))


@pytest.mark.parametrize("ids", [(), (0,), (-1,), (10**MAX_DIGITS,), range(1, MAX_CUSTOMERS + 2)])
def test_ids_that_no_card_can_have_are_refused(ids: tuple[int, ...]) -> None:
    assert asked(ids, "moved") == Malformed("A card is about 1 to 50 customers.")


def test_asking_tidies_the_reason_and_counts_each_customer_once() -> None:
    assert asked([7, 7, 8], " moved\n\x00portal ") == AskMany((7, 8), "moved portal")
    assert asked([7, 7], "\u2800") == Ask(7, "")
    assert asked([7], "x" * 501) == Malformed("The reason is longer than 500 characters.")


def test_a_long_malformed_word_is_not_repeated_in_full() -> None:
    refused = parse("x" * 9_000)
    assert isinstance(refused, Malformed)
    assert len(refused.why) < 130


@given(TYPED)
def test_any_text_is_parsed_without_raising(typed: str) -> None:
    assert isinstance(parse(typed), get_args(Command))


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


def test_what_nobody_sees_is_cut_off_also_before_a_control_character() -> None:
    typed = parse("1 moved\u202c\x00")
    assert typed == Ask(1, "moved", "1")
    assert parse(f"1 {typed.reason}") == typed
