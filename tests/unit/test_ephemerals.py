"""What only the person who asked or clicked gets to see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from bot.domain.commands import Malformed, parse
from bot.domain.models import HubSpotIds, Verdict
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
)
from bot.messages import ephemerals
from bot.messages.block_kit import Message
from bot.sandbox.slack.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
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
    refused_by_slack,
    rung,
    shown,
)
from tests.support.names import BOB

SAID = st.lists(TEXTS, max_size=20).map(tuple)
STATUSES = st.none() | st.integers(min_value=100, max_value=599)
KINDS = [CustomerNotFound, KeyRefused, FusebillRefused, NotReached, OutcomeUnknown, FusebillError]
ERRORS = st.builds(
    lambda kind, status, said: kind(status, said), st.sampled_from(KINDS), STATUSES, SAID
) | st.builds(lambda said, at: RateLimited(429, said, retry_at=at), SAID, st.none() | TIMES)
CODES = st.from_regex(r"[a-z_]{1,300}", fullmatch=True).filter(lambda code: "null" not in code)
ANY = st.one_of(
    st.builds(ephemerals.malformed, TEXTS),
    st.builds(ephemerals.denied, TEXTS),
    st.builds(ephemerals.looking_up, NUMBERS),
    st.builds(ephemerals.not_latched, CUSTOMERS, ALL_LINKS),
    st.builds(ephemerals.not_read, NUMBERS, ERRORS),
    st.builds(ephemerals.cannot_post, CODES, st.just("U0UNLATCH")),
    st.builds(ephemerals.too_late, REQUESTS),
    st.builds(ephemerals.not_recorded, REQUESTS),
    st.builds(ephemerals.latched_anew, CUSTOMERS, ALL_LINKS),
    st.builds(ephemerals.not_found_out, TEXTS, ERRORS),
    st.sampled_from(
        [
            ephemerals.denied("Use it in:", ["C0BILLING", "C0ADMINS"]),
            ephemerals.no_such_request(),
            ephemerals.ledger_down(),
            ephemerals.ledger_down(uncertain=True),
            ephemerals.stopped(),
            ephemerals.failed(),
            ephemerals.nothing_to_undo(),
            ephemerals.follow_up_open(),
            ephemerals.known_by_now(),
        ]
    ),
)


def words(message: Message) -> str:
    return text_of(message.blocks)


@given(ANY)
def test_slack_takes_every_ephemeral(message: Message) -> None:
    assert refused_by_slack(message) == []


@given(ANY)
def test_no_ephemeral_rings_or_links_what_a_value_says(message: Message) -> None:
    known = {"<@U0UNLATCH>", "<@U0ALICE>", "<@U0BOB>", "<@W0CAROL>", "<#C0BILLING>", "<#C0ADMINS>"}
    leads = ("https://app-eu1.hubspot.com/contacts/777/record/", "https://admin.example/customers/")
    assert {m for m in rung(message) - known if not m.startswith(leads)} == set()


@given(ANY)
def test_nobody_ever_reads_none_or_null(message: Message) -> None:
    assert "None" not in shown(message)
    assert "null" not in shown(message)


@pytest.mark.parametrize("typed", ["abc", "-5", "<!channel>", "1e5", "٣٤٥", "", "\u202e1" * 60])
def test_a_malformed_command_is_answered_in_one_line_with_how_it_is_typed(typed: str) -> None:
    refused = parse(typed)
    assert isinstance(refused, Malformed)
    (line,) = words(ephemerals.malformed(refused.why)).splitlines()
    assert line.endswith(" Type /unlatch <customerId> [reason]")


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (
            CustomerNotFound(404, ("Customer with id 7 not found.",)),
            [
                "🔎 Fusebill knows no customer 7.",
                "Fusebill: Customer with id 7 not found. (HTTP 404)",
            ],
        ),
        (
            KeyRefused(400, ("Authorization key is not in the correct format.",)),
            ["🔑 Fusebill did not take the bot's API key.", "set a valid FUSEBILL_API_KEY"],
        ),
        (RateLimited(429, retry_at=NOON), ["no more calls", "after 2026-11-23 12:00:00 UTC."]),
        (RateLimited(429), ["no more calls", "Try again in a minute"]),
        (FusebillRefused(409, ("On hold",)), ["refused to show customer 7", "On hold (HTTP 409)"]),
        (NotReached(why="no connection"), ["❌ Fusebill could not be reached."]),
        (
            OutcomeUnknown(502),
            ["no usable answer about customer 7", "HTTP 502 and gave no reason"],
        ),
        (OutcomeUnknown(), ["no usable answer", "tell the bot's admin"]),
    ],
)
def test_a_customer_that_cannot_be_read_is_told_in_fusebills_words(
    error: FusebillError, lines: list[str]
) -> None:
    told = words(ephemerals.not_read(7, error))
    assert "Nothing was changed." in told.splitlines()[0]
    for line in lines:
        assert line in told


@given(NUMBERS, ERRORS)
def test_a_customer_that_cannot_be_read_is_never_said_to_be_changed(
    customer_id: int, error: FusebillError
) -> None:
    assert "Nothing was changed." in ephemerals.not_read(customer_id, error).text.splitlines()[0]


def test_a_customer_with_nothing_latched_is_shown_without_a_button() -> None:
    unlatched = replace(STOLEN_BIKES, ids=HubSpotIds())
    message = ephemerals.not_latched(unlatched, LINKS)
    assert words(message).splitlines()[:3] == [
        "☑️ Stolen Bikes is latched to nothing in HubSpot: there is nothing to clear.",
        "Fusebill id: 2554529",
        "Company: Stolen Bikes",
    ]
    assert {block["type"] for block in message.blocks} == {"rich_text"}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("not_in_channel", "Type /invite <@U0UNLATCH> here"),
        ("channel_not_found", "Type /invite <@U0UNLATCH> here"),
        ("is_archived", "This channel is archived"),
        ("restricted_action", "Posting is restricted in this channel"),
        ("restricted_action_read_only_channel", "This channel is read-only"),
        ("invalid_blocks", "Slack did not take the card (invalid_blocks)"),
    ],
)
def test_where_no_card_can_be_posted_the_person_is_told_what_to_do(code: str, told: str) -> None:
    message = ephemerals.cannot_post(code, "U0UNLATCH")
    assert told in words(message)
    assert "nothing was changed" in message.text


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.CONFIRMED, "was confirmed by <@U0BOB>, 2026-11-23 12:00:00 UTC."),
        (Verdict.CANCELLED, "was cancelled by <@U0BOB>, 2026-11-23 12:00:00 UTC."),
        (Verdict.EXPIRED, "has expired; nothing was changed. Ask again: /unlatch 2554529"),
        (None, "has expired; nothing was changed. Ask again: /unlatch 2554529"),
    ],
)
def test_who_comes_too_late_is_told_who_decided_and_when(
    verdict: Verdict | None, told: str
) -> None:
    decider = BOB if verdict is not Verdict.EXPIRED else None
    decided = replace(CARD, verdict=verdict, decider=decider, decided_at=NOON)
    assert told in words(ephemerals.too_late(decided))


def test_a_refusal_that_names_channels_leads_there() -> None:
    message = ephemerals.denied("Use it in:", ["C0ADMINS", "C0BILLING"])
    assert message.text == "🔒 Use it in: <#C0ADMINS> <#C0BILLING>"
    assert rung(message) == {"<#C0ADMINS>", "<#C0BILLING>"}


def test_a_lost_request_is_told_how_to_ask_again() -> None:
    assert words(ephemerals.no_such_request()).endswith("Ask: /unlatch <customerId> [reason]")
    assert words(ephemerals.not_recorded(CARD)).endswith("Ask again: /unlatch 2554529")


def test_nothing_is_linked_where_the_settings_say_no_address() -> None:
    assert rung(ephemerals.not_latched(STOLEN_BIKES, NO_LINKS)) == set()
