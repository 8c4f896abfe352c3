"""Turning Fusebill's answers into values or errors, without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from bot.domain.models import Customer, HubSpotIds
from bot.fusebill.errors import (
    CustomerNotFound,
    Forbidden,
    FusebillError,
    FusebillRefused,
    KeyRefused,
    NotUnderstood,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    WrongAddress,
)
from bot.fusebill.pace import rate_limit_of
from bot.fusebill.responses import Accepted, Answer, accepted_of, customer_of, customers_of
from bot.fusebill.texts import MAX_TEXT, MAX_TEXTS, texts_of
from tests.support.names import BIKES

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
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.integers().map(str)
    | st.datetimes().map(str),
)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def answer(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def result_of(read: Callable[[], Any]) -> Any:
    """What a reader returns or raises."""
    try:
        return read()
    except FusebillError as error:
        return error


def refused(value: object, status: int = 409) -> FusebillError:
    with pytest.raises(FusebillError) as caught:
        customer_of(answer(value, status), BIKES)
    return caught.value


def test_the_vendors_samples_are_read() -> None:
    read = customer_of(Answer(200, sample("unlatched_customer.json")), BIKES)
    assert read == Customer(
        customer_id=BIKES,
        ids=HubSpotIds(),
        name="John Doe",
        company_name="Stolen Bikes",
        reference="1337",
        status="Active",
        account_status="Good",
        email="[email protected]",
    )
    latched = customer_of(Answer(200, sample("latched_customer.json")), BIKES)
    assert latched.ids == HubSpotIds(434381295294, 202)
    with pytest.raises(CustomerNotFound) as caught:
        customer_of(Answer(404, sample("customer_not_found.json")), 123)
    assert caught.value.texts == ("Customer with id 123 not found.",)


NEITHER: dict[str, Any] = {"id": BIKES, "hubSpotId": None, "hubSpotCompanyId": None}


@pytest.mark.parametrize("body", [b"", b"null", b"\xef\xbb\xbfnull", b"<p>Login</p>"])
def test_any_success_accepts_a_change_and_only_a_customer_shows_it(body: bytes) -> None:
    accepted = accepted_of(Answer(202, body), BIKES)
    assert (accepted.status, accepted.customer) == (202, None)
    assert accepted.why.startswith("the answer cannot be read: ")
    for read in (lambda: customer_of(Answer(202, body), BIKES), lambda: customers_of(Answer(202))):
        with pytest.raises(NotUnderstood):
            read()
    assert accepted_of(answer(NEITHER, 201), BIKES) == Accepted(201, Customer(BIKES))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("null", None),
        ('""', None),
        ("0", None),
        ('"0"', None),
        ("0.0", None),
        ("-0", None),
        ("7", 7),
        ('"007"', 7),
        (f'"{"9" * 18}"', 10**18 - 1),
        ("101.0", 101),
        ('"101.0"', 101),
        ("900719925474099301.00", 900719925474099301),
    ],
)
def test_an_id_is_a_whole_number_a_string_of_one_or_nothing(value: str, read: int | None) -> None:
    body = f'{{"id": "{BIKES}", "hubSpotId": {value}, "hubSpotCompanyId": null}}'
    assert customer_of(Answer(200, body.encode()), BIKES).ids == HubSpotIds(vid=read)


@pytest.mark.parametrize(
    "value",
    [
        *("true", "1.5", '"1.5"', "-1", '" 7"', '"7\\n"', '"٣"', '"²"', '"1e5"', "1E400"),
        *("NaN", "[]", "{}", "9" * 19, f'"{"9" * 19}"', '"none"', '"."'),
    ],
)
def test_any_other_id_is_not_understood(value: str) -> None:
    for name in NEITHER:
        rest = ", ".join(f'"{key}": {BIKES}' for key in NEITHER if key != name)
        with pytest.raises(NotUnderstood, match=f"cannot be read: {name} is neither"):
            customer_of(Answer(200, f'{{"{name}": {value}, {rest}}}'.encode()), BIKES)


def test_a_customer_whose_ids_are_missing_or_stand_there_twice_is_not_understood() -> None:
    twice = f'{{"id": {BIKES}, "hubSpotId": 101, "hubSpotCompanyId": null, "hubSpotId": null}}'
    with pytest.raises(NotUnderstood, match="not JSON"):
        customer_of(Answer(200, twice.encode()), BIKES)
    for name in ("hubSpotId", "hubSpotCompanyId"):
        with pytest.raises(NotUnderstood, match="it lacks the HubSpot ids"):
            customer_of(answer({key: v for key, v in NEITHER.items() if key != name}), BIKES)


@pytest.mark.parametrize(
    ("body", "content_type", "why", "texts"),
    [
        (
            b"<!doctype html><title>Sign in</title>",
            "text/html",
            "it is a web page",
            ("Sign in",),
        ),
        (b'{"Message": "Session expired."}', "application/json", "it has no id", None),
        (b"OK", "text/plain", "it is not JSON", ("OK",)),
        (b'{"id": 1}{"id": 2}', "application/json", "it is not JSON", ()),
    ],
)
def test_a_success_that_means_nothing_says_what_it_is(
    body: bytes, content_type: str, why: str, texts: tuple[str, ...] | None
) -> None:
    with pytest.raises(NotUnderstood) as caught:
        customer_of(Answer(200, body, httpx.Headers({"Content-Type": content_type})), BIKES)
    assert caught.value.why == f"the answer cannot be read: {why}"
    assert caught.value.texts == (("Session expired.",) if texts is None else texts)


@pytest.mark.parametrize("value", [[], [{"id": BIKES}], 7, "text", {}, {"Message": "no"}])
def test_other_json_cannot_be_read_as_a_customer(value: object) -> None:
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        customer_of(answer(value), BIKES)
    with pytest.raises(OutcomeUnknown, match="another customer"):
        customer_of(answer({"id": 1}), BIKES)


def test_odd_fields_are_empty_or_text_that_can_be_stored() -> None:
    odd = NEITHER | {"firstName": None, "lastName": "Doe", "reference": 1337, "status": ["x"]}
    read = customer_of(answer(odd | {"companyName": "a\x00b\ud800c😀"}), BIKES)
    cleaned = "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c😀"
    assert read == Customer(BIKES, name="Doe", reference="1337", company_name=cleaned)


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ({"Errors": [{"Key": "a", "Value": "one"}, {"Value": "two"}]}, ("one", "two")),
        ({"Errors": [{"Value": None}, {}, "bare", 7.5], "Message": "unused"}, ("bare",)),
        ({"Errors": {"Value": "alone"}}, ("alone",)),
        ({"Errors": [], "Message": "instead"}, ("instead",)),
        ({"Message": {"no": "text"}}, ()),
        ([{"Value": "one"}, "two"], ("one", "two")),
        (
            {
                "Message": "An error has occurred.",
                "ExceptionMessage": "Time-out.",
                "StackTrace": "x",
            },
            ("An error has occurred.", "Time-out."),
        ),
        ({"Message": "No.", "MessageDetail": "No type was found."}, ("No.", "No type was found.")),
        (
            {"Message": "Invalid.", "ModelState": {"id": ["Too big.", "Odd."], "x": ["Missing."]}},
            ("Invalid.", "Too big.", "Odd.", "Missing."),
        ),
        (
            {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "In use."},
            ("Conflict", "In use."),
        ),
        ({"title": "Invalid", "errors": {"id": ["Too big."]}}, ("Too big.",)),
        ({"error": {"code": 5, "message": "Inner."}}, ("Inner.",)),
        ({"error": "denied", "error_description": "No scope."}, ("No scope.", "denied")),
        ({"Errors": [{"Value": "twice"}, {"Value": "twice"}]}, ("twice",)),
        ("a text", ("a text",)),
        ({}, ()),
        (None, ()),
    ],
)
def test_the_texts_of_an_error_are_found(value: object, texts: tuple[str, ...]) -> None:
    assert refused(value).texts == texts


@pytest.mark.parametrize(
    ("body", "content_type", "texts"),
    [
        (b"<html><head><title>403 Forbidden</title></head><body><h1>x</h1>", "", "403 Forbidden"),
        (b"<HTML><BODY><H1>Not\r\n here</H1><p>gateway</p></BODY></HTML>", "", "Not here"),
        (b"<html><style>p {}</style><p>Only <b>text</b></p></html>", "text/html", "Only text"),
        (b"<title>Caf\xe9 & co</title>", "text/html; charset=windows-1252", "Café & co"),
        (b'<meta charset="iso-8859-1"><title>Caf\xe9</title>', "", "Café"),
        (b"Caf\xe9 is closed", "text/plain; charset=windows-1252", "Café is closed"),
        (b'{"Message": "Caf\xe9"}', "application/json; charset=windows-1252", "Café"),
        (b'{"Message": "Caf\xc3\xa9"}', "application/json; charset=klingon", "Café"),
        ('{"Message": "Café"}'.encode("utf-16"), "", "Café"),
        (b"\xef\xbb\xbf" + '{"Message": "Café"}'.encode(), "", "Café"),
        (b"no type, but text", "", "no type, but text"),
        (b'{"Message": "as HTML"}', "text/html", "as HTML"),
        (b"&lt;b&gt; is <p>kept &amp; literal", "text/html", "&lt;b&gt; is <p>kept &amp; literal"),
        (b"<p>a &lt;b&gt; is literal</p>", "", "a <b> is literal"),
    ],
)
def test_the_words_of_other_bodies_are_found(body: bytes, content_type: str, texts: str) -> None:
    assert texts_of(body, content_type) == (texts,)


@pytest.mark.parametrize(
    "body", [b"<html></html>", b"", b"[" * 100_000, b"\xff\xfe", b"NaN", b"\x80\x81", b'{"Err']
)
def test_an_unreadable_body_has_no_texts(body: bytes) -> None:
    with pytest.raises(NotUnderstood) as caught:
        customer_of(Answer(409, body), BIKES)
    assert caught.value.texts == ()


@pytest.mark.parametrize("status", [400, 401, 409, 499])
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<html><title>This web app is stopped.</title>", "it is a web page"),
        (b"Bad Request (Invalid Hostname)", "it is not JSON"),
        (b"<Error><Message>No luck.</Message></Error>", "it is not JSON"),
        (b"", "it is empty"),
        (b"{}", "it says nothing"),
        (b'{"id": 7}', "it says nothing"),
    ],
)
def test_a_refusal_that_is_not_in_a_form_of_fusebills_is_nobodys_word(
    status: int, body: bytes, what: str
) -> None:
    with pytest.raises(FusebillError) as caught:
        customer_of(Answer(status, body), BIKES)
    error = caught.value
    assert type(error) is (Forbidden if status == 401 else NotUnderstood)
    assert error.why == f"the answer cannot be read: {what}"
    assert (error.own_form, error.may_pass) == (False, True)


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_half_an_answer_is_no_verdict(status: int) -> None:
    with pytest.raises(OutcomeUnknown, match="broke off") as caught:
        customer_of(Answer(status, json.dumps(NEITHER).encode(), complete=False), BIKES)
    assert caught.value.may_pass


@pytest.mark.parametrize(
    ("status", "value", "may_pass"),
    [
        (400, {"Message": "The request is invalid."}, False),
        (409, {"Message": "The customer is being synchronised."}, True),
        (401, {"Message": "Authorization has been denied for this request."}, False),
        (404, {"HttpStatusCode": 404, "Errors": [{"Value": "Not found."}]}, False),
        (404, {"Message": "No HTTP resource was found."}, True),
        (403, {"message": "Your IP address is not allowed."}, True),
        (302, {}, True),
        (500, {"Errors": [{"Value": "Queue."}]}, True),
        (503, {}, True),
    ],
)
def test_an_error_may_pass_unless_fusebill_itself_refuses_for_good(
    status: int, value: object, *, may_pass: bool
) -> None:
    assert refused(value, status).may_pass is may_pass


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (101, NotUnderstood),
        (302, WrongAddress),
        (400, FusebillRefused),
        (401, KeyRefused),
        (403, Forbidden),
        (404, CustomerNotFound),
        (405, WrongAddress),
        (409, FusebillRefused),
        (429, RateLimited),
        (500, Unavailable),
        (700, NotUnderstood),
    ],
)
def test_the_http_status_decides(status: int, error: type[FusebillError]) -> None:
    body: dict[str, Any] = {"HttpStatusCode": 200, "id": BIKES, "Errors": []}
    assert type(refused(body, status)) is error


@pytest.mark.parametrize(
    "body",
    [
        b'{"Message": "No HTTP resource was found that matches the request URI."}',
        b'{"message": "no Route matched with those values"}',
        b"<html><title>404 - File or directory not found.</title></html>",
        b"null",
        b"",
    ],
)
def test_a_404_in_any_other_form_is_a_wrong_address(body: bytes) -> None:
    with pytest.raises(WrongAddress):
        customer_of(Answer(404, body), BIKES)


def test_a_redirect_is_named_with_its_target() -> None:
    there = httpx.Headers({"Location": "https://login.example/"})
    with pytest.raises(WrongAddress, match=r"it redirects to https://login\.example/"):
        customer_of(Answer(307, b"", there), BIKES)


def test_an_error_keeps_its_id_whether_it_is_fusebills_own_and_a_bounded_text() -> None:
    texts = [{"Value": str(n) + "x" * 20_000} for n in range(200)]
    error = refused({"ErrorId": 77, "Errors": texts}, 500)
    assert (error.error_id, error.own_form) == (77, True)
    assert len(error.texts) == MAX_TEXTS
    assert {len(text) for text in error.texts} == {MAX_TEXT}
    error = refused({"message": "no"}, 500)
    assert (error.error_id, error.own_form) == (None, False)


def test_the_documented_words_about_the_key_count_in_any_form() -> None:
    words = b"Authorization key is not in the correct format."
    with pytest.raises(KeyRefused):
        customer_of(Answer(400, words), BIKES)


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
        ({"X-Rate-Limit-Reset-Minute": "1795435230000"}, NOW + timedelta(seconds=30)),
        (
            {"X-Rate-Limit-Reset-Minute": "2026-11-23T14:00:30.0000000+02:00"},
            NOW + timedelta(seconds=30),
        ),
        ({"X-Rate-Limit-Reset-Minute": "1795435230"}, NOW + timedelta(seconds=30)),
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


def test_an_outage_says_when_to_retry_and_the_limits_of_calls_do_not() -> None:
    headers = {"Retry-After": "30", "X-Rate-Limit-Reset-Minute": "2026-11-23T12:00:59Z"}
    for sent, retry_at in (
        (headers, NOW + timedelta(seconds=30)),
        ({**headers, "Retry-After": ""}, None),
    ):
        with pytest.raises(Unavailable) as caught:
            customer_of(Answer(503, b"", httpx.Headers(sent), NOW), BIKES)
        assert caught.value.retry_at == retry_at


def test_a_list_skips_unreadable_entries() -> None:
    rows = [{"id": 1}, {"id": 2, "hubSpotId": True}, "x", {"id": 3}]
    assert [each.customer_id for each in customers_of(answer(rows))] == [1, 3]


@given(status=st.integers(100, 999), body=BODIES, headers=HEADERS)
def test_any_answer_gives_the_customer_or_a_fusebill_error(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    response = Answer(status, body, httpx.Headers(headers))
    rate_limit_of(response.headers)
    for read in (lambda: customer_of(response, 1), lambda: customers_of(response)):
        found = result_of(read)
        if isinstance(found, FusebillError):
            assert found.status == status
            assert len(found.texts) <= MAX_TEXTS
            str(found).encode()
            assert isinstance(found, FusebillRefused) <= (300 <= status < 500)
        else:
            assert 200 <= status < 300
            assert isinstance(found, list) or found.customer_id == 1


KEY = "KEY" + "x1" * 30


def test_a_key_within_which_a_text_would_be_cut_is_hidden() -> None:
    [shown] = Answer(500, b"a" * (MAX_TEXT - 10) + KEY.encode(), secret=KEY).texts()
    assert "KEY" not in shown.replace("[API key]", "")


def test_a_key_within_which_a_redirects_address_would_be_cut_is_hidden() -> None:
    target = f"https://proxy.test/{'a' * 175}{KEY}"
    with pytest.raises(WrongAddress) as caught:
        customer_of(Answer(302, b"", httpx.Headers({"Location": target}), secret=KEY), BIKES)
    assert "KEYx" not in str(caught.value)
