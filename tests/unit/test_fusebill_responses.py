"""Turning Fusebill's answers into values or errors, without I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Customer, HubSpotIds
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotReached,
    OutcomeUnknown,
    RateLimited,
)
from bot.fusebill.responses import (
    MAX_TEXT,
    MAX_TEXTS,
    Answer,
    customer_of,
    customers_of,
    has_both_ids,
    rate_limit_of,
)
from tests.support.names import BIKES

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(__file__).parents[1] / "samples"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Authorization key is not in the correct format.", "\ud800", "\x00"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["Errors", "Message", "Key", "Value", "HttpStatusCode", "id"])
            | st.sampled_from(["hubSpotId", "hubSpotCompanyId", "firstName", "primaryEmail"])
            | st.text(),
            inner,
        )
    ),
)
BODIES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "X-Rate-Limit-Reset-Minute", "X-Rate-Limit-Remaining-Day"]),
    st.from_regex(r"[ -~]{0,40}", fullmatch=True)
    | st.integers().map(str)
    | st.datetimes().map(str),
)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def answer(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def error_of(read: Callable[[], object]) -> FusebillError | None:
    try:
        read()
    except FusebillError as error:
        return error
    return None


def refused(value: object, status: int = 409) -> FusebillError:
    with pytest.raises(FusebillError) as caught:
        customer_of(answer(value, status), BIKES)
    return caught.value


def test_the_vendors_sample_is_read() -> None:
    assert customer_of(Answer(200, sample("unlatched_customer.json")), BIKES) == Customer(
        customer_id=BIKES,
        ids=HubSpotIds(),
        name="John Doe",
        company_name="Stolen Bikes",
        reference="1337",
        status="Active",
        account_status="Good",
        email="[email protected]",
    )


def test_a_latched_customer_is_read() -> None:
    customer = customer_of(Answer(200, sample("latched_customer.json")), BIKES)
    assert customer is not None
    assert customer.ids == HubSpotIds(434381295294, 202)


def test_the_vendors_error_is_read() -> None:
    with pytest.raises(CustomerNotFound) as caught:
        customer_of(Answer(404, sample("customer_not_found.json")), 123)
    assert caught.value.texts == ("Customer with id 123 not found.",)


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null", b"\xef\xbb\xbfnull"])
def test_a_success_without_a_customer_is_none(body: bytes) -> None:
    assert customer_of(Answer(200, body), BIKES) is None
    # but an empty list has to be a list
    with pytest.raises(OutcomeUnknown, match="not a list"):
        customers_of(Answer(200, body))


@pytest.mark.parametrize(
    ("value", "read"),
    [(None, None), ("", None), (7, 7), ("007", 7), ("9" * 18, 10**18 - 1), (0, 0)],
)
def test_an_id_is_a_number_a_string_of_digits_or_nothing(value: object, read: int | None) -> None:
    customer = customer_of(answer({"id": str(BIKES), "hubSpotId": value}), BIKES)
    assert customer is not None
    assert customer.ids == HubSpotIds(vid=read)


@pytest.mark.parametrize(
    "value", [True, False, 1.0, -1, "-7", " 7", "7\n", "٣", "²", "1e5", "9" * 19, 10**18, [], {}]
)
@pytest.mark.parametrize("name", ["id", "hubSpotId", "hubSpotCompanyId"])
def test_any_other_id_cannot_be_read(name: str, value: object) -> None:
    with pytest.raises(OutcomeUnknown, match=f"cannot be read: {name} is neither"):
        customer_of(answer({"id": BIKES, name: value}), BIKES)


@pytest.mark.parametrize("value", [[], [{"id": BIKES}], 7, "text", True, {}, {"Message": "no"}])
def test_other_json_cannot_be_read_as_a_customer(value: object) -> None:
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        customer_of(answer(value), BIKES)


def test_another_customer_cannot_be_read() -> None:
    with pytest.raises(OutcomeUnknown, match="another customer"):
        customer_of(answer({"id": 1}), BIKES)


def test_invalid_fields_are_empty_and_numbers_become_text() -> None:
    odd = {"id": BIKES, "firstName": None, "lastName": "Doe", "reference": 1337, "status": ["x"]}
    assert customer_of(answer(odd), BIKES) == Customer(BIKES, name="Doe", reference="1337")


def test_characters_that_cannot_be_stored_are_replaced() -> None:
    customer = customer_of(answer({"id": BIKES, "companyName": "a\x00b\ud800c😀"}), BIKES)
    assert customer is not None
    assert customer.company_name == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c😀"


@pytest.mark.parametrize(
    ("value", "complete"),
    [
        ({"hubSpotId": None, "hubSpotCompanyId": None}, True),
        ({"hubSpotId": None}, False),
        ([], False),
        (None, False),
    ],
)
def test_an_answer_has_both_ids_or_not(value: object, *, complete: bool) -> None:
    assert has_both_ids(answer(value)) is complete


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ({"Errors": [{"Key": "a", "Value": "one"}, {"Value": "two"}]}, ("one", "two")),
        ({"Errors": [{"Value": None}, {}, "bare", 7.5], "Message": "unused"}, ("bare",)),
        ({"Errors": {"Value": "alone"}}, ("alone",)),
        ({"Errors": [], "Message": "instead"}, ("instead",)),
        ({"Errors": None, "Message": "instead"}, ("instead",)),
        ({"Message": {"no": "text"}}, ()),
        ([{"Value": "one"}, "two"], ("one", "two")),
        ("a text", ("a text",)),
        ({}, ()),
        (None, ()),
    ],
)
def test_the_texts_of_an_error_are_found(value: object, texts: tuple[str, ...]) -> None:
    assert refused(value).texts == texts


def test_the_texts_of_an_error_are_bounded() -> None:
    error = refused({"Errors": [{"Value": "x" * 20_000}] * 200})
    assert len(error.texts) == MAX_TEXTS
    assert {len(text) for text in error.texts} == {MAX_TEXT}


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"[" * 100_000, b"\xff\xfe", b"NaN"])
def test_an_unreadable_body_has_no_texts(body: bytes) -> None:
    with pytest.raises(FusebillRefused) as caught:
        customer_of(Answer(409, body), BIKES)
    assert caught.value.texts == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, OutcomeUnknown),
        (400, FusebillRefused),
        (401, KeyRefused),
        (403, KeyRefused),
        (404, CustomerNotFound),
        (405, FusebillRefused),
        (408, OutcomeUnknown),
        (409, FusebillRefused),
        (429, RateLimited),
        (500, OutcomeUnknown),
        (599, OutcomeUnknown),
        (700, OutcomeUnknown),
    ],
)
def test_the_http_status_decides(status: int, error: type[FusebillError]) -> None:
    body: dict[str, Any] = {"HttpStatusCode": 200, "id": BIKES, "Errors": []}
    assert type(refused(body, status)) is error


def test_the_errors_form_the_documented_tree() -> None:
    assert issubclass(FusebillRefused, FusebillError)
    assert not issubclass(FusebillRefused, OutcomeUnknown | NotReached)
    for refusal in (CustomerNotFound, KeyRefused, RateLimited):
        assert issubclass(refusal, FusebillRefused)


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "retry_at"),
    [
        ({}, None),
        ({"Retry-After": "7"}, NOW + timedelta(seconds=7)),
        ({"Retry-After": "9" * 18}, NOW + timedelta(days=1)),
        ({"Retry-After": "Mon, 23 Nov 2026 12:00:09 GMT"}, NOW + timedelta(seconds=9)),
        ({"X-Rate-Limit-Reset-Minute": "2026-11-23T12:00:30Z"}, NOW + timedelta(seconds=30)),
        ({"X-Rate-Limit-Reset-Minute": "2026-11-23T12:00:30"}, NOW + timedelta(seconds=30)),
        (
            {"X-Rate-Limit-Reset-Minute": "2026-11-23T14:00:30.0000000+02:00"},
            NOW + timedelta(seconds=30),
        ),
        ({"X-Rate-Limit-Reset-Minute": "1795435230"}, NOW + timedelta(seconds=30)),
        ({"X-Rate-Limit-Reset-Minute": "1795435230000"}, NOW + timedelta(seconds=30)),
        ({"X-Rate-Limit-Reset-Minute": "30"}, None),
        ({"X-Rate-Limit-Reset-Minute": "soon"}, None),
        (
            {
                "X-Rate-Limit-Reset-Minute": "2026-11-23T12:00:30Z",
                "X-Rate-Limit-Reset-Day": "2026-11-24T00:00:00Z",
                "X-Rate-Limit-Remaining-Day": "0",
            },
            NOW + timedelta(hours=12),
        ),
    ],
)
def test_a_rate_limit_says_when_to_retry(
    headers: dict[str, str], retry_at: datetime | None
) -> None:
    with pytest.raises(RateLimited) as caught:
        customer_of(Answer(429, b"", httpx.Headers(headers), NOW), BIKES)
    assert caught.value.retry_at == retry_at


def test_a_list_skips_unreadable_entries() -> None:
    rows = [{"id": 1}, {"id": 2, "hubSpotId": True}, "x", {"id": 3}]
    assert [each.customer_id for each in customers_of(answer(rows))] == [1, 3]


@given(status=st.integers(100, 999), body=BODIES, headers=HEADERS)
def test_any_answer_gives_a_value_or_a_fusebill_error(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    response = Answer(status, body, httpx.Headers(headers))
    rate_limit_of(response)
    for read in (lambda: customer_of(response, 1), lambda: customers_of(response)):
        error = error_of(read)
        if error is None:
            assert 200 <= status < 300
            continue
        assert error.status == status
        assert len(error.texts) <= MAX_TEXTS
        str(error).encode()
        assert isinstance(error, FusebillRefused) <= (400 <= status < 500)


@given(body=BODIES)
def test_no_body_gives_a_customer_with_another_id(body: bytes) -> None:
    try:
        customer = customer_of(Answer(200, body), BIKES)
    except OutcomeUnknown:
        return
    assert customer is None or customer.customer_id == BIKES
