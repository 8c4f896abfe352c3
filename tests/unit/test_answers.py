"""The messages that only the person who typed or clicked sees."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_lowercase

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Malformed
from bot.domain.meanings import OUTCOMES
from bot.domain.models import HubSpotIds, Outcome, Verdict
from bot.domain.typed_text import parse
from bot.fusebill.errors import (
    CustomerNotFound,
    Forbidden,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    NotUnderstood,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WrongAddress,
)
from bot.messages import answers, click_answers
from bot.messages.block_kit import Message
from bot.messages.fusebill_errors import fix, reason
from bot.sandbox.slack.validation.block_kit import text_of
from bot.slack.error_codes import Remedy, meaning_of
from tests.support.hostile import (
    ALL_LINKS,
    BY_LINKS,
    CARD,
    CUSTOMERS,
    LINKS,
    NO_LINKS,
    NOON,
    NUMBERS,
    REQUESTS,
    STOLEN_BIKES,
    TEXTS,
    TIMES,
    card_of_one,
    lacks_null,
    mentions_and_links,
    wrong_with,
)
from tests.support.names import ALICE, BOB

UNDER_WAY = "The call may still be under way."
ERROR_TEXTS = st.lists(TEXTS, max_size=20).map(tuple)
STATUSES = st.none() | st.integers(min_value=100, max_value=599)
KINDS = [CustomerNotFound, KeyRefused, Forbidden, WrongAddress, FusebillRefused, OutcomeUnknown]
KINDS += [Unavailable, NotUnderstood, FusebillError]
ERRORS = st.builds(NotReached, why=TEXTS, lasting=st.booleans()) | st.builds(
    lambda kind, status, texts, why: kind(status, texts, why),
    st.sampled_from(KINDS),
    STATUSES,
    ERROR_TEXTS,
    TEXTS,
)
ERRORS |= st.builds(
    lambda texts, at: RateLimited(429, texts, retry_at=at), ERROR_TEXTS, st.none() | TIMES
)
CODES = st.text(f"{ascii_lowercase}_", min_size=1, max_size=300).filter(lacks_null)
ANY = st.one_of(
    st.builds(answers.malformed, TEXTS),
    st.builds(answers.denied, TEXTS),
    st.builds(answers.looking_up, NUMBERS),
    st.builds(answers.not_latched, CUSTOMERS, ALL_LINKS),
    st.builds(answers.not_read, NUMBERS, ERRORS),
    st.builds(answers.cannot_post, CODES, st.sampled_from(Remedy), st.just("U0UNLATCH")),
    st.builds(click_answers.too_late, REQUESTS.map(card_of_one), st.sampled_from([ALICE, BOB])),
    st.builds(answers.not_recorded, REQUESTS, uncertain=st.booleans()),
    st.builds(answers.never_posted, REQUESTS.map(card_of_one), st.just("the bot was interrupted")),
    st.builds(
        lambda card, gone: answers.outcome_without_card(card, NO_LINKS, "the card", gone=gone),
        REQUESTS.map(card_of_one),
        st.booleans(),
    ),
    st.builds(click_answers.latched_meanwhile, CUSTOMERS, ALL_LINKS),
    st.builds(answers.search_failed, TEXTS, ERRORS),
    st.sampled_from(
        [
            answers.denied("Use it in:", ["C0BILLING", "C0ADMINS"]),
            click_answers.NO_SUCH_REQUEST,
            answers.ledger_down(),
            answers.ledger_down(uncertain=True),
            answers.ledger_down(pressed=False),
            click_answers.STOP_INTERRUPTED,
            answers.STOPPED,
            answers.FAILED,
            click_answers.NOTHING_TO_UNDO,
            click_answers.FOLLOW_UP_OPEN,
            click_answers.OUTCOME_KNOWN,
        ]
    ),
)


def words(message: Message) -> str:
    return text_of(message.blocks)


@given(ANY)
def test_slack_accepts_every_ephemeral_and_it_mentions_nobody_else(message: Message) -> None:
    known = {"<@U0UNLATCH>", "<@U0ALICE>", "<@U0BOB>", "<@W0CAROL>", "<#C0BILLING>", "<#C0ADMINS>"}
    assert wrong_with(message, known, *BY_LINKS) == []


@pytest.mark.parametrize(
    "typed", ["0", "#", "1,500", "2 554 529", "7, ٣٤٥", "7, <8>", "7, \u202e1" * 60, "0012 12"]
)
def test_a_malformed_command_is_answered_in_one_line_with_the_usage(typed: str) -> None:
    command = parse(typed)
    assert isinstance(command, Malformed)
    (line,) = words(answers.malformed(command.why)).splitlines()
    assert line.endswith(" Type /unlatch <Stax Bill ID> [reason]")


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (
            CustomerNotFound(404, ("Customer with id 7 not found.",)),
            [
                "🔎 Fusebill has no customer 7.",
                "Fusebill: Customer with id 7 not found. (HTTP 404)",
            ],
        ),
        (
            KeyRefused(400, ("Authorization key is not in the correct format.",)),
            ["🔑 Fusebill did not accept the bot's API key.", "set a valid FUSEBILL_API_KEY"],
        ),
        (RateLimited(429, retry_at=NOON), ["no more calls", "after 2026-11-23 12:00:00 UTC."]),
        (RateLimited(429), ["no more calls", "Try again in a minute"]),
        (FusebillRefused(409, ("On hold",)), ["refused to show customer 7", "On hold (HTTP 409)"]),
        (NotReached(why="host not found"), ["❌ Fusebill could not be reached: host not found."]),
        (Unavailable(502), ["⏳ Fusebill is not available (HTTP 502).", "Try again in a minute"]),
        (Forbidden(403, ("Access denied",)), ["✋", "Fusebill: Access denied (HTTP 403)"]),
        (WrongAddress(307, (), "it redirects to https://x.example"), ["https://x.example", "URL"]),
        (NotUnderstood(200, ("Log in",), "it is a web page"), ["it is a web page", "Log in"]),
        (OutcomeUnknown(), ["no conclusive answer", "tell the bot's admin"]),
    ],
)
def test_a_failed_read_is_explained_in_fusebills_words(
    error: FusebillError, lines: list[str]
) -> None:
    answer = words(answers.not_read(7, error))
    assert "Nothing was changed." in answer.splitlines()[0]
    for line in lines:
        assert line in answer


@given(NUMBERS, ERRORS)
def test_a_failed_read_always_says_that_nothing_was_changed(
    customer_id: int, error: FusebillError
) -> None:
    assert "Nothing was changed." in answers.not_read(customer_id, error).text.splitlines()[0]


def test_a_customer_that_is_not_latched_is_shown_without_a_button() -> None:
    unlatched = replace(STOLEN_BIKES, ids=HubSpotIds())
    message = answers.not_latched(unlatched, LINKS)
    nothing = "is not latched to anything in HubSpot, so there is nothing to clear."
    assert words(message).splitlines()[0] == f"☑️ Stolen Bikes (2554529) {nothing}"
    assert {block["type"] for block in message.blocks} == {"rich_text", "context"}


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("not_in_channel", "Type /invite <@U0UNLATCH> here"),
        ("is_archived", "This channel is archived"),
        ("restricted_action_read_only_channel", "This channel is read-only"),
        ("restricted_action_thread_only_channel", "This channel takes replies only"),
        ("invalid_auth", "Trying again won't help: tell the bot's admin."),
        ("invalid_blocks", "Slack did not accept the card (invalid_blocks)"),
    ],
)
def test_a_card_that_cannot_be_posted_says_what_to_do(code: str, advice: str) -> None:
    message = answers.cannot_post(code, meaning_of(code).remedy, "U0UNLATCH")
    assert advice in words(message)
    assert "nothing was changed" in message.text


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.CONFIRMED, "was confirmed by <@U0BOB>, 2026-11-23 12:00:00 UTC."),
        (Verdict.CANCELLED, "was cancelled by <@U0BOB>, 2026-11-23 12:00:00 UTC."),
        (Verdict.EXPIRED, "has expired; your click changed nothing. Ask again: /unlatch 2554529"),
        (None, "has expired; your click changed nothing. Ask again: /unlatch 2554529"),
    ],
)
def test_a_late_click_is_answered_with_who_decided_and_when(
    verdict: Verdict | None, expected: str
) -> None:
    decider = BOB if verdict is not Verdict.EXPIRED else None
    decided = replace(CARD, verdict=verdict, decider=decider, decided_at=NOON, is_open=True)
    assert expected in words(click_answers.too_late(card_of_one(decided), ALICE))


def test_a_click_on_a_card_whose_request_was_closed_says_why() -> None:
    closed = words(click_answers.too_late(card_of_one(replace(CARD, is_open=False)), ALICE))
    assert "could not be posted in time; nothing was changed. Ask again: /unlatch" in closed


def test_a_refusal_links_the_channels_it_names() -> None:
    message = answers.denied("Use it in:", ["C0ADMINS", "C0BILLING"])
    assert message.text == "🔒 Use it in: <#C0ADMINS> <#C0BILLING>"
    assert mentions_and_links(message) == {"<#C0ADMINS>", "<#C0BILLING>"}


def test_a_lost_request_says_how_to_ask_again() -> None:
    assert words(click_answers.NO_SUCH_REQUEST).endswith("Ask again.")
    why = "the bot was interrupted"
    for said in (answers.not_recorded(CARD), answers.never_posted(card_of_one(CARD), why)):
        assert words(said).endswith("sk again: /unlatch 2554529 moved to the new portal")


def test_a_request_that_may_have_been_saved_is_not_called_lost() -> None:
    told = words(answers.not_recorded(CARD, uncertain=True))
    assert "Your card may still appear" in told
    assert "nothing was changed" not in told.lower()


@pytest.mark.parametrize("outcome", Outcome)
def test_a_late_click_is_answered_with_the_outcome(outcome: Outcome) -> None:
    done = replace(CARD, verdict=Verdict.CONFIRMED, decider=BOB, decided_at=NOON, outcome=outcome)
    assert OUTCOMES[outcome].title in words(click_answers.too_late(card_of_one(done), ALICE))


@pytest.mark.parametrize(
    ("passes", "said"),
    [
        (True, "nothing was done. If you see no form, do the same again."),
        (False, "nothing was done. Trying again won't help: tell the bot's admin."),
    ],
)
def test_a_form_that_slack_did_not_open_says_what_to_do(*, passes: bool, said: str) -> None:
    assert words(answers.form_not_opened("access_denied", passes=passes)).endswith(said)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Forbidden(403), "Something in front of Fusebill answered (HTTP 403)."),
        (
            Forbidden(401, (), "the answer cannot be read: it is a web page"),
            "Something in front of Fusebill answered (HTTP 401: it is a web page).",
        ),
        (WrongAddress(405), "This does not look like Fusebill's API (HTTP 405)."),
        (
            WrongAddress(307, (), "it redirects to {why}"),
            "This does not look like Fusebill's API (HTTP 307: it redirects to {why}).",
        ),
        (
            NotUnderstood(200, (), "the answer cannot be read: it is empty"),
            "The answer was not in Fusebill's form (HTTP 200: it is empty).",
        ),
        (
            OutcomeUnknown(why="the answer was lost"),
            "Fusebill gave no conclusive answer: the answer was lost.",
        ),
        (
            OutcomeUnknown(why="no answer in time", may_still_run=True),
            f"Fusebill gave no conclusive answer: no answer in time. {UNDER_WAY}",
        ),
        (
            Unavailable(504, may_still_run=True),
            f"Fusebill is not available (HTTP 504). {UNDER_WAY}",
        ),
    ],
)
def test_an_error_names_what_came_and_no_more(error: FusebillError, sentence: str) -> None:
    assert reason(error) == sentence


def test_a_401_that_is_nobodys_word_may_also_be_about_the_key() -> None:
    for unauthorized, is_named in ((Forbidden(401), True), (Forbidden(403), False)):
        assert ("FUSEBILL_API_KEY" in words(answers.not_read(7, unauthorized))) is is_named
        assert ("FUSEBILL_API_KEY" in fix(unauthorized)) is is_named
