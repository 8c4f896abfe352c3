"""Who may ask and who may decide, whatever the lists say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Customer, Kind, Person, Request, Verdict
from bot.domain.policy import ALLOWED, Members, Policy, may_ask, may_decide, may_read

HOME, AWAY = "T0HOME", "T0AWAY"
ALICE, BOB = Person("U0ALICE", HOME), Person("U0BOB", HOME)
GUEST = Person("U0GUEST", AWAY)
CARD = Request(
    id="card",
    kind=Kind.UNLATCH,
    customer=Customer(2554529),
    channel_id="C0BILLING",
    message_ts="1.000001",
    thread_ts="1.000001",
    requester=ALICE,
    reason="",
    asked_at=datetime(2026, 11, 23, tzinfo=UTC),
    expires_at=datetime(2026, 11, 24, tzinfo=UTC),
)

USER_IDS = st.sampled_from(["U0ALICE", "U0BOB", "U0GUEST", "W0CAROL"])
GROUP_IDS = st.sampled_from(["S0BILLING", "S0ADMINS"])
CHANNELS = st.sampled_from(["C0BILLING", "C0OTHER"])
PEOPLE = st.builds(Person, USER_IDS, st.sampled_from([HOME, AWAY]))
LISTS = st.frozensets(USER_IDS | GROUP_IDS)
MEMBERS: st.SearchStrategy[Members] = st.dictionaries(
    GROUP_IDS, st.none() | st.frozensets(USER_IDS)
)
POLICIES = st.builds(
    Policy,
    team_id=st.just(HOME),
    channels=st.frozensets(CHANNELS),
    requesters=LISTS,
    confirmers=LISTS,
    two_person=st.booleans(),
    require_reason=st.booleans(),
)
CARDS = st.builds(lambda person: replace(CARD, requester=person), PEOPLE)
VERDICTS = st.sampled_from([Verdict.CONFIRMED, Verdict.CANCELLED])


def listed(people: frozenset[str], person: Person, members: Members) -> bool:
    """Whether a list names somebody, by id or through a group of their own organisation."""
    groups = (members.get(group) or frozenset() for group in people)
    at_home = person.team_id == HOME
    return person.user_id in people or (at_home and any(person.user_id in g for g in groups))


@given(POLICIES, CARDS, st.sampled_from([HOME, AWAY, ""]), MEMBERS)
def test_no_input_lets_a_requester_alone_through_the_two_person_rule(
    policy: Policy, card: Request, team_id: str, members: Members
) -> None:
    alone = Person(card.requester.user_id, team_id)
    strict = replace(policy, two_person=True)
    assert not may_decide(strict, card, Verdict.CONFIRMED, alone, members).allowed


@given(POLICIES, CARDS, PEOPLE, MEMBERS)
def test_nobody_off_the_list_ever_confirms(
    policy: Policy, card: Request, person: Person, members: Members
) -> None:
    if may_decide(policy, card, Verdict.CONFIRMED, person, members).allowed and policy.confirmers:
        assert listed(policy.confirmers, person, members)


@given(POLICIES, CHANNELS, PEOPLE, st.text(max_size=3), MEMBERS)
def test_nobody_off_the_list_ever_asks(
    policy: Policy, channel_id: str, person: Person, reason: str, members: Members
) -> None:
    if may_ask(policy, person, channel_id, reason, members).allowed:
        assert not policy.requesters or listed(policy.requesters, person, members)
        assert not policy.channels or channel_id in policy.channels
        assert reason or not policy.require_reason


@given(POLICIES, CARDS, VERDICTS, PEOPLE, MEMBERS)
def test_strangers_decide_on_others_cards_only_where_their_own_id_is_listed(
    policy: Policy, card: Request, verdict: Verdict, person: Person, members: Members
) -> None:
    stranger = replace(person, team_id=AWAY)
    own = stranger.user_id == card.requester.user_id
    if may_decide(policy, card, verdict, stranger, members).allowed:
        assert stranger.user_id in policy.confirmers or (own and verdict is Verdict.CANCELLED)


@given(POLICIES, PEOPLE, MEMBERS)
def test_strangers_ask_only_where_their_own_id_is_listed(
    policy: Policy, person: Person, members: Members
) -> None:
    stranger = replace(person, team_id=AWAY)
    allowed = may_ask(policy, stranger, "C0BILLING", "why", members).allowed
    assert not allowed or stranger.user_id in policy.requesters


@given(POLICIES, CARDS, st.sampled_from([HOME, AWAY, ""]), MEMBERS)
def test_the_requester_may_always_cancel(
    policy: Policy, card: Request, team_id: str, members: Members
) -> None:
    own = Person(card.requester.user_id, team_id)
    assert may_decide(policy, card, Verdict.CANCELLED, own, members).allowed


@given(POLICIES, CARDS, VERDICTS, PEOPLE)
def test_a_group_whose_members_are_unknown_lets_nobody_in(
    policy: Policy, card: Request, verdict: Verdict, person: Person
) -> None:
    groups_alone = replace(policy, confirmers=frozenset({"S0BILLING", "S0ADMINS"}))
    unknown: Members = {"S0BILLING": None}
    if person.user_id != card.requester.user_id:
        assert not may_decide(groups_alone, card, verdict, person, unknown).allowed


@given(POLICIES, CARDS, VERDICTS, PEOPLE, MEMBERS)
def test_a_refusal_says_why_and_is_counted_under_a_label(
    policy: Policy, card: Request, verdict: Verdict, person: Person, members: Members
) -> None:
    decisions = [
        may_decide(policy, card, verdict, person, members),
        may_ask(policy, person, "C0BILLING", "", members),
    ]
    for decision in decisions:
        assert decision.allowed or (decision.why and decision.label)


@pytest.mark.parametrize(
    ("policy", "person", "label"),
    [
        (Policy(HOME), BOB, ""),
        (Policy(HOME), ALICE, ""),
        (Policy(HOME), GUEST, "stranger"),
        (Policy(HOME, confirmers=frozenset({"U0GUEST"})), GUEST, ""),
        (Policy(HOME, confirmers=frozenset({"U0BOB"})), BOB, ""),
        (Policy(HOME, confirmers=frozenset({"U0BOB"})), ALICE, "not_listed"),
        (Policy(HOME, two_person=True), BOB, ""),
        (Policy(HOME, two_person=True), ALICE, "two_person"),
        (Policy(HOME, confirmers=frozenset({"U0ALICE"}), two_person=True), ALICE, "two_person"),
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), BOB, ""),
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), GUEST, "stranger"),
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), ALICE, "not_listed"),
        (Policy(HOME, confirmers=frozenset({"S0GONE"})), BOB, "unknown_members"),
        (Policy(HOME, confirmers=frozenset({"S0GONE", "U0BOB"})), BOB, ""),
        (Policy(HOME, confirmers=frozenset({"S0GONE", "S0BILLING"})), BOB, ""),
    ],
)
def test_a_confirmation_is_judged_by_the_lists(policy: Policy, person: Person, label: str) -> None:
    members = {"S0BILLING": frozenset({"U0BOB", "U0GUEST"}), "S0GONE": None}
    assert may_decide(policy, CARD, Verdict.CONFIRMED, person, members).label == label


@pytest.mark.parametrize(
    ("person", "label"), [(ALICE, ""), (BOB, ""), (GUEST, "stranger"), (Person("U0X", HOME), "off")]
)
def test_somebody_elses_card_is_cancelled_by_those_who_may_confirm(
    person: Person, label: str
) -> None:
    policy = Policy(HOME, confirmers=frozenset({"U0BOB"}), two_person=True)
    decision = may_decide(policy, CARD, Verdict.CANCELLED, person, {})
    assert decision.label == {"off": "not_listed"}.get(label, label)


def test_a_wrong_channel_is_told_where_to_go() -> None:
    policy = Policy(HOME, channels=frozenset({"C0BILLING", "C0ADMINS"}))
    assert may_read(policy, ALICE, "C0BILLING", {}) == ALLOWED
    refused = may_read(policy, ALICE, "C0OTHER", {})
    assert refused.label == "channel"
    assert refused.channels == ("C0ADMINS", "C0BILLING")


def test_reading_needs_no_reason_but_asking_does_where_the_admin_says_so() -> None:
    policy = Policy(HOME, require_reason=True)
    assert may_read(policy, ALICE, "C0BILLING", {}).allowed
    assert may_ask(policy, ALICE, "C0BILLING", "moved", {}).allowed
    assert may_ask(policy, ALICE, "C0BILLING", "", {}).label == "reason"


def test_the_user_groups_of_both_lists_are_those_to_look_up() -> None:
    policy = Policy(
        HOME, requesters=frozenset({"S0A", "U0ALICE"}), confirmers=frozenset({"S0B", "W0CAROL"})
    )
    assert policy.user_groups == {"S0A", "S0B"}


@given(POLICIES, CARDS, PEOPLE, MEMBERS)
def test_nothing_is_confirmed_that_might_not_be_asked_any_more(
    policy: Policy, card: Request, person: Person, members: Members
) -> None:
    if may_decide(policy, card, Verdict.CONFIRMED, person, members).allowed:
        assert may_ask(policy, card.requester, card.channel_id, card.reason, members).allowed


@given(POLICIES, CARDS, PEOPLE, MEMBERS)
def test_what_was_overtaken_is_confirmed_by_nobody_and_cancelled_as_ever(
    policy: Policy, card: Request, person: Person, members: Members
) -> None:
    assert not may_decide(policy, card, Verdict.CONFIRMED, person, members, overtaken=True).allowed
    assert may_decide(
        policy, card, Verdict.CANCELLED, person, members, overtaken=True
    ) == may_decide(policy, card, Verdict.CANCELLED, person, members)
