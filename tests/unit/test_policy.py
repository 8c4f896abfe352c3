"""The policy: who may ask and who may decide, for any lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Customer, Kind, Outcome, Person, Request, Verdict
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
OTHERS = st.builds(
    lambda outcome: replace(CARD, id="other", verdict=Verdict.CONFIRMED, outcome=outcome),
    st.sampled_from([None, *Outcome]),
)
VERDICTS = st.sampled_from([Verdict.CONFIRMED, Verdict.CANCELLED])


def listed(people: frozenset[str], person: Person, members: Members) -> bool:
    """Whether a list names a person, by id or through a user group."""
    groups = (members.get(group) or frozenset() for group in people)
    return person.user_id in people or any(person.user_id in g for g in groups)


@given(POLICIES, CARDS, st.sampled_from([HOME, AWAY, ""]), MEMBERS)
def test_under_the_two_person_rule_a_requester_never_confirms_alone(
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
def test_outsiders_decide_others_cards_only_if_a_list_names_them(
    policy: Policy, card: Request, verdict: Verdict, person: Person, members: Members
) -> None:
    outsider = replace(person, team_id=AWAY)
    own = outsider.user_id == card.requester.user_id
    if may_decide(policy, card, verdict, outsider, members).allowed:
        named = listed(policy.confirmers, outsider, members)
        assert named or (own and verdict is Verdict.CANCELLED)


@given(POLICIES, PEOPLE, MEMBERS)
def test_outsiders_ask_only_if_a_list_names_them(
    policy: Policy, person: Person, members: Members
) -> None:
    outsider = replace(person, team_id=AWAY)
    allowed = may_ask(policy, outsider, "C0BILLING", "why", members).allowed
    assert not allowed or listed(policy.requesters, outsider, members)


@given(POLICIES, CARDS, st.sampled_from([HOME, AWAY, ""]), MEMBERS)
def test_the_requester_may_always_cancel(
    policy: Policy, card: Request, team_id: str, members: Members
) -> None:
    own = Person(card.requester.user_id, team_id)
    assert may_decide(policy, card, Verdict.CANCELLED, own, members).allowed


@given(POLICIES, CARDS, VERDICTS, PEOPLE)
def test_a_user_group_with_unknown_members_grants_nothing(
    policy: Policy, card: Request, verdict: Verdict, person: Person
) -> None:
    only_groups = replace(policy, confirmers=frozenset({"S0BILLING", "S0ADMINS"}))
    unknown: Members = {"S0BILLING": None}
    if person.user_id != card.requester.user_id:
        assert not may_decide(only_groups, card, verdict, person, unknown).allowed


@given(POLICIES, CARDS, VERDICTS, PEOPLE, MEMBERS)
def test_every_refusal_has_a_reason_and_a_label(
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
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), GUEST, ""),
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), Person("U0X", AWAY), "stranger"),
        (Policy(HOME, enterprise_id="E0HOME"), Person("U0X", "E0HOME"), ""),
        (Policy(HOME, enterprise_id="E0HOME"), Person("U0X", "T0SISTER", "E0HOME"), ""),
        (Policy(HOME, enterprise_id="E0HOME"), Person("U0X", "T0SISTER"), "stranger"),
        (Policy(HOME, enterprise_id="E0HOME"), Person("U0X", AWAY, "E0AWAY"), "stranger"),
        (Policy(HOME, teams=frozenset({"T0SISTER"})), Person("U0X", "T0SISTER"), ""),
        (Policy(HOME, teams=frozenset({"E0ALLY"})), Person("U0X", AWAY, "E0ALLY"), ""),
        (Policy(HOME), Person("U0X", ""), "stranger"),
        (Policy("", teams=frozenset({HOME})), Person("U0X", ""), "stranger"),
        (Policy(HOME, confirmers=frozenset({"S0BILLING"})), ALICE, "not_listed"),
        (Policy(HOME, confirmers=frozenset({"S0GONE"})), BOB, "unknown_members"),
        (Policy(HOME, confirmers=frozenset({"S0GONE", "U0BOB"})), BOB, ""),
        (Policy(HOME, confirmers=frozenset({"S0GONE", "S0BILLING"})), BOB, ""),
    ],
)
def test_the_lists_say_who_may_confirm(policy: Policy, person: Person, label: str) -> None:
    members = {"S0BILLING": frozenset({"U0BOB", "U0GUEST"}), "S0GONE": None}
    assert may_decide(policy, CARD, Verdict.CONFIRMED, person, members).label == label


@pytest.mark.parametrize(
    ("person", "label"), [(ALICE, ""), (BOB, ""), (GUEST, "stranger"), (Person("U0X", HOME), "off")]
)
def test_those_who_may_confirm_may_cancel_somebody_elses_card(person: Person, label: str) -> None:
    policy = Policy(HOME, confirmers=frozenset({"U0BOB"}), two_person=True)
    decision = may_decide(policy, CARD, Verdict.CANCELLED, person, {})
    assert decision.label == {"off": "not_listed"}.get(label, label)


def test_a_refusal_in_a_wrong_channel_lists_the_right_ones() -> None:
    policy = Policy(HOME, channels=frozenset({"C0BILLING", "C0ADMINS"}))
    assert may_read(policy, ALICE, "C0BILLING", {}) == ALLOWED
    refused = may_read(policy, ALICE, "C0OTHER", {})
    assert refused.label == "channel"
    assert refused.channels == ("C0ADMINS", "C0BILLING")


def test_a_required_reason_is_needed_to_ask_but_not_to_read() -> None:
    policy = Policy(HOME, require_reason=True)
    assert may_read(policy, ALICE, "C0BILLING", {}).allowed
    assert may_ask(policy, ALICE, "C0BILLING", "moved", {}).allowed
    assert may_ask(policy, ALICE, "C0BILLING", "", {}).label == "reason"


def test_the_user_groups_are_those_of_both_lists() -> None:
    policy = Policy(
        HOME, requesters=frozenset({"S0A", "U0ALICE"}), confirmers=frozenset({"S0B", "W0CAROL"})
    )
    assert policy.user_groups == {"S0A", "S0B"}


@given(POLICIES, CARDS, PEOPLE, MEMBERS)
def test_a_card_that_may_no_longer_be_asked_for_cannot_be_confirmed(
    policy: Policy, card: Request, person: Person, members: Members
) -> None:
    if may_decide(policy, card, Verdict.CONFIRMED, person, members).allowed:
        assert may_ask(policy, card.requester, card.channel_id, card.reason, members).allowed


@given(POLICIES, CARDS, PEOPLE, MEMBERS, OTHERS)
def test_an_overtaken_card_can_be_cancelled_but_not_confirmed(
    policy: Policy, card: Request, person: Person, members: Members, other: Request
) -> None:
    assert not may_decide(policy, card, Verdict.CONFIRMED, person, members, other=other).allowed
    assert may_decide(policy, card, Verdict.CANCELLED, person, members, other=other) == may_decide(
        policy, card, Verdict.CANCELLED, person, members
    )
