"""The wording of customers, ids and Fusebill's errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given

from bot.domain.models import Customer, HubSpotIds
from bot.messages.block_kit import Line, message
from bot.messages.phrases import (
    COMPANY,
    CONTACT,
    Links,
    display_name,
    error_lines,
    facts,
    ids_inline,
    needs_care,
    titled,
)
from bot.sandbox.slack.validation.block_kit import text_of
from tests.support.hostile import CUSTOMERS, LINKS, NO_LINKS, STOLEN_BIKES, TEXTS


def words(lines: Iterable[Line]) -> list[str]:
    """The text of lines."""
    return text_of(message(list(lines)).blocks).splitlines()


@pytest.mark.parametrize(
    ("customer", "name", "title"),
    [
        (STOLEN_BIKES, "Stolen Bikes", "Stolen Bikes (2554529)"),
        (replace(STOLEN_BIKES, company_name=""), "Sam Spokes", "Sam Spokes (2554529)"),
        (Customer(7), "", "customer 7"),
        # an id after a name from right to left would be drawn in front of it
        (Customer(7, company_name="Bikes אופניים 24"), "Bikes אופניים 24", "7 (Bikes אופניים 24)"),
        (replace(STOLEN_BIKES, company_name="x" * 90), "x" * 90, f"{'x' * 79}… (2554529)"),
    ],
)
def test_a_title_has_the_company_or_name_and_the_id(
    customer: Customer, name: str, title: str
) -> None:
    assert display_name(customer) == name
    assert titled(customer) == title


@given(CUSTOMERS)
def test_a_title_always_begins_or_ends_with_the_whole_id(customer: Customer) -> None:
    title, customer_id = titled(customer), str(customer.customer_id)
    first = title.startswith(f"{customer_id} (")
    assert first or title.endswith((f" ({customer_id})", f"customer {customer_id}"))


def test_a_small_line_says_who_a_customer_is_in_the_words_of_the_vendors_screens() -> None:
    who = facts(STOLEN_BIKES, NO_LINKS)
    assert who
    assert [each["text"] for each in who["elements"]] == [
        "Sam Spokes",
        "sam@bikes.example, pay@bikes.example",
        "Customer ID REF-7",
    ]
    assert facts(Customer(7), NO_LINKS) is None


@pytest.mark.parametrize(
    ("status", "account_status", "words"),
    [
        ("Active", "Good", ""),
        ("", "", ""),
        ("Hold", "PoorStanding", "On hold, poor standing"),
        ("Active", "PoorStanding", "Poor standing"),
    ],
)
def test_only_a_status_that_is_not_as_usual_needs_care(
    status: str, account_status: str, words: str
) -> None:
    customer = Customer(7, status=status, account_status=account_status)
    assert needs_care(customer) == words


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (HubSpotIds(101, 202), "contact 101 and company 202"),
        (HubSpotIds(101), "contact 101"),
        (HubSpotIds(None, 202), "company 202"),
        (HubSpotIds(), "no contact and no company"),
    ],
)
def test_both_one_or_none_of_the_ids_are_named(ids: HubSpotIds, expected: str) -> None:
    assert words([ids_inline(ids, NO_LINKS)]) == [expected]
    assert words([ids_inline(ids, LINKS)]) == [expected]


@pytest.mark.parametrize(
    ("links", "customer", "contact", "company"),
    [
        (
            LINKS,
            "https://admin.example/customers/7",
            "https://app-eu1.hubspot.com/contacts/777/record/0-1/7",
            "https://app-eu1.hubspot.com/contacts/777/record/0-2/7",
        ),
        (Links(fusebill_customer_url="https://a/{id}?b={id}"), "https://a/7?b=7", None, None),
    ],
)
def test_ids_link_to_the_configured_urls(
    links: Links, customer: str | None, contact: str | None, company: str | None
) -> None:
    records = (links.record(CONTACT, 7), links.record(COMPANY, 7))
    assert (links.customer(7), *records) == (customer, contact, company)


@pytest.mark.parametrize(
    ("texts", "status", "expected"),
    [
        (["No such thing"], 404, ["Fusebill: No such thing (HTTP 404)"]),
        (["a", "b"], 409, ["Fusebill: a (HTTP 409)", "Fusebill: b (HTTP 409)"]),
        ([], 502, ["Fusebill answered HTTP 502 and gave no reason."]),
        (["a", "b", "c", *"defgh"], None, ["Fusebill: a", "Fusebill: b", "Fusebill: c", "+5 more"]),
        (["x" * 9_000], 500, [f"Fusebill: {'x' * 299}… (HTTP 500)"]),
    ],
)
def test_fusebill_is_quoted_with_its_status(
    texts: list[str], status: int | None, expected: list[str]
) -> None:
    assert words(error_lines(texts, status)) == expected


@given(TEXTS)
def test_only_the_id_is_filled_into_the_url_template(value: str) -> None:
    links = Links(fusebill_customer_url=f"https://a.example/{{id}}#{value}")
    assert links.customer(7) == f"https://a.example/7#{value}".replace("{id}", "7")
