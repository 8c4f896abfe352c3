"""The words for customers, ids and events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given

from bot.domain.models import Customer, Event, EventType, HubSpotIds, Kind, Request, Verdict
from bot.messages.block_kit import Line, message
from bot.messages.phrases import (
    Links,
    Scene,
    called,
    customer_lines,
    event_lines,
    ids_inline,
    reference_line,
    said_lines,
    story,
    titled,
)
from bot.sandbox.slack.block_kit import text_of
from tests.support.hostile import (
    ALL_LINKS,
    BIKES,
    CARD,
    CUSTOMERS,
    EVENTS,
    LINKS,
    NO_LINKS,
    REQUESTS,
    TEXTS,
    event,
    refused_by_slack,
    shown,
)

AT = "2026-11-23 12:00:00 UTC  "


def words(lines: Iterable[Line]) -> list[str]:
    """What lines show."""
    return text_of(message(list(lines)).blocks).splitlines()


@pytest.mark.parametrize(
    ("customer", "name", "title"),
    [
        (BIKES, "Stolen Bikes", "Stolen Bikes (2554529)"),
        (replace(BIKES, company_name=""), "Sam Spokes", "Sam Spokes (2554529)"),
        (Customer(7), "", "customer 7"),
        (replace(BIKES, company_name="x" * 90), "x" * 90, f"{'x' * 79}… (2554529)"),
    ],
)
def test_a_customer_is_called_by_its_company_or_name_and_titled_with_its_id(
    customer: Customer, name: str, title: str
) -> None:
    assert called(customer) == name
    assert titled(customer) == title


@given(CUSTOMERS)
def test_a_title_always_begins_or_ends_with_the_whole_id(customer: Customer) -> None:
    title, customer_id = titled(customer), str(customer.customer_id)
    first = title.startswith(f"{customer_id} (")
    assert first or title.endswith((f" ({customer_id})", f"customer {customer_id}"))


@pytest.mark.parametrize("name", ["אופניים", "دراجات", "Bikes אופניים 24"])
def test_the_id_stands_before_a_name_that_reads_from_right_to_left(name: str) -> None:
    assert titled(Customer(7, company_name=name)) == f"7 ({name})"


def test_the_reference_is_labelled_so_that_nobody_takes_it_for_the_id() -> None:
    assert words(reference_line(BIKES)) == [
        "Reference: REF-7 (Fusebill's screens call this “Customer ID”; it is not the id above)"
    ]
    assert list(reference_line(replace(BIKES, reference=""))) == []


@pytest.mark.parametrize(
    ("status", "account_status", "line"),
    [
        ("Active", "Good", ["Status: Active, account Good"]),
        ("Active", "", ["Status: Active"]),
        ("", "Poor", ["Status: account Poor"]),
        ("", "", []),
    ],
)
def test_both_statuses_are_told_as_far_as_they_are_known(
    status: str, account_status: str, line: list[str]
) -> None:
    customer = Customer(7, status=status, account_status=account_status)
    assert words(customer_lines(customer, NO_LINKS))[1:] == line


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (HubSpotIds(101, 202), "contact 101, company 202"),
        (HubSpotIds(101), "contact 101"),
        (HubSpotIds(None, 202), "company 202"),
        (HubSpotIds(), "nothing in HubSpot"),
        (HubSpotIds(0, 434381295294), "contact 0, company 434381295294"),
    ],
)
def test_one_id_of_the_two_is_fine_and_so_is_none(ids: HubSpotIds, told: str) -> None:
    assert words([ids_inline(ids, NO_LINKS)]) == [told]
    assert words([ids_inline(ids, LINKS)]) == [told]


@pytest.mark.parametrize(
    ("links", "customer", "contact", "company"),
    [
        (Links(), None, None, None),
        (
            LINKS,
            "https://admin.example/customers/7",
            "https://app-eu1.hubspot.com/contacts/777/record/0-1/7",
            "https://app-eu1.hubspot.com/contacts/777/record/0-2/7",
        ),
        (
            Links("777"),
            None,
            "https://app.hubspot.com/contacts/777/record/0-1/7",
            "https://app.hubspot.com/contacts/777/record/0-2/7",
        ),
        (Links(fusebill_customer_url="https://a/{id}?b={id}"), "https://a/7?b=7", None, None),
    ],
)
def test_ids_lead_where_the_settings_say(
    links: Links, customer: str | None, contact: str | None, company: str | None
) -> None:
    assert (links.customer(7), links.contact(7), links.company(7)) == (customer, contact, company)


@pytest.mark.parametrize(
    ("texts", "status", "told"),
    [
        (["No such thing"], 404, ["Fusebill: No such thing (HTTP 404)"]),
        (["a", "b"], 409, ["Fusebill: a (HTTP 409)", "Fusebill: b (HTTP 409)"]),
        (["lost"], None, ["Fusebill: lost"]),
        ([], 502, ["Fusebill answered HTTP 502 and gave no reason."]),
        ([], None, []),
        (["x" * 9_000], 500, [f"Fusebill: {'x' * 299}… (HTTP 500)"]),
    ],
)
def test_fusebill_is_quoted_with_its_status(
    texts: list[str], status: int | None, told: list[str]
) -> None:
    assert words(said_lines(texts, status)) == told


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        (
            event(EventType.REQUESTED, "U0ALICE"),
            [
                "<@U0ALICE> asked to unlatch 2554529, Stolen Bikes: contact 101, company 202",
                "Why: moved to the new portal",
            ],
        ),
        (
            event(EventType.DECISION_DENIED, "U0BOB", why="Not listed."),
            ["<@U0BOB> was refused, and told: “Not listed.”"],
        ),
        (event(EventType.CONFIRMED, "U0BOB"), ["<@U0BOB> confirmed it"]),
        (event(EventType.CANCELLED, "U0ALICE"), ["<@U0ALICE> cancelled it"]),
        (event(EventType.EXPIRED), ["expired: nobody decided in time"]),
        (
            event(EventType.ADOPTED, claim=2),
            ["the work was interrupted and has been taken up again"],
        ),
        (
            event(EventType.CLEARED, seconds=0.2, how="read_back"),
            [
                "✅ Unlatched · took 0.2 s",
                "Cleared: contact 101, company 202",
                "Fusebill's own reply did not show it; a second look at the customer did.",
            ],
        ),
        (
            event(EventType.UNKNOWN, why="Interrupted."),
            [
                "❓ Outcome unknown",
                "Nobody can say yet whether this was done. ",
                "Interrupted.",
                "Check again reads the customer and changes nothing by itself.",
            ],
        ),
        (event(EventType.DELIVERY_FAILED, why="Slack: no"), ["delivery failed Slack: no"]),
    ],
)
def test_each_event_is_told_with_its_time_and_what_it_was(told: Event, lines: list[str]) -> None:
    assert words(event_lines(Scene(told, CARD, NO_LINKS))) == [AT + lines[0], *lines[1:]]


def test_asking_to_latch_again_is_told_as_that() -> None:
    scene = Scene(event(EventType.REQUESTED, "U0BOB"), replace(CARD, kind=Kind.RELATCH), NO_LINKS)
    assert "asked to latch again 2554529" in words(event_lines(scene))[0]


@given(EVENTS, REQUESTS, ALL_LINKS)
def test_every_event_in_the_thread_is_taken_by_slack(
    told: Event, request: Request, links: Links
) -> None:
    assert refused_by_slack(message(list(event_lines(Scene(told, request, links))))) == []


@given(EVENTS, REQUESTS, ALL_LINKS)
def test_what_came_of_a_request_is_always_told_in_words(
    told: Event, request: Request, links: Links
) -> None:
    came = story(request, [told], links)
    drawn = message(came.lines)
    assert came.title
    assert refused_by_slack(drawn) == []
    assert "None" not in shown(drawn)


@pytest.mark.parametrize("outcome", [EventType.REFUSED, EventType.UNKNOWN])
def test_half_a_character_in_the_why_does_not_keep_the_rest_from_slack(outcome: EventType) -> None:
    half = event(outcome, why="\ud83d Fusebill refused.")
    drawn = message(story(replace(CARD, verdict=Verdict.CONFIRMED), [half], NO_LINKS).lines)
    assert refused_by_slack(drawn) == []
    assert "Fusebill refused." in shown(drawn)


def test_the_last_outcome_is_what_came_of_it() -> None:
    confirmed = replace(CARD, verdict=Verdict.CONFIRMED)
    events = [
        event(EventType.REQUESTED, "U0ALICE"),
        event(EventType.REFUSED),
        event(EventType.CLEARED),
        event(EventType.DELIVERY_FAILED, why="gone"),
    ]
    assert story(confirmed, events, NO_LINKS).title == "✅ Unlatched"


@given(TEXTS)
def test_a_template_is_filled_with_the_id_alone(value: str) -> None:
    links = Links(fusebill_customer_url=f"https://a.example/{{id}}#{value}")
    assert links.customer(7) == f"https://a.example/7#{value}".replace("{id}", "7")
