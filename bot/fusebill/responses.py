"""Turns Fusebill's HTTP answers into values or errors: pure functions, no I/O.

The HTTP status decides, even if the body names another one. Texts are Fusebill's own, unescaped.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import httpx

from bot.domain.models import Customer, HubSpotIds
from bot.domain.plain_text import visible
from bot.domain.values import value
from bot.fusebill.errors import (
    UNREADABLE,
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
from bot.fusebill.pace import DIGITS, retry_at
from bot.fusebill.texts import NOT_JSON, is_page, parsed, storable, texts_of

MAX_ERROR_ID = 10**18
MAX_CALL_TEXT = 9_000  # characters of the words that are kept of each call
MAX_TARGET = 200  # characters of a redirect's target

_KEY_REFUSED = "authorization key is not in the correct format"
_ID = re.compile(r"([0-9]{1,18})(?:\.0+)?")
_KINDS: dict[int, type[FusebillError]] = {  # whatever the body says
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Forbidden,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: Forbidden,
    HTTPStatus.METHOD_NOT_ALLOWED: WrongAddress,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
    HTTPStatus.REQUEST_TIMEOUT: Unavailable,
}
_GIVEN_UP = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT)
"""From somebody who stopped waiting for Fusebill."""


@value
class Answer:
    """An HTTP response; not `complete` if its body broke off. `received_at` is aware UTC.

    The names of its `headers` are in small letters. None of its words shows the `secret`.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    complete: bool = True
    secret: str = field(default="", repr=False)

    @property
    def content_type(self) -> str:
        """The header `Content-Type`, empty if there is none."""
        return self.headers.get("content-type", "")

    def json(self) -> object:
        """The JSON value of the body, or NOT_JSON."""
        return parsed(self.body, self.content_type)

    def texts(self) -> tuple[str, ...]:
        """The words of the body."""
        return texts_of(self.body, self.content_type, self.masked)

    def masked(self, text: str) -> str:
        """A text of the answer without the secret."""
        return text.replace(self.secret, "[API key]") if self.secret else text


@value
class Accepted:
    """Fusebill answered a change with a success (2xx), which alone does not show the change.

    `customer` is None unless the answer holds this customer with both ids; `why` then says what
    it was instead, and `texts` are its words.
    """

    status: int
    customer: Customer | None = None
    why: str = ""
    texts: tuple[str, ...] = ()


@value
class Found:
    """The customers that a search found; not `complete` if Fusebill has more pages of them."""

    customers: list[Customer]
    complete: bool = True


def customer_of(answer: Answer, customer_id: int) -> Customer:
    """Return the answer's customer, which has both HubSpot ids (or null for them).

    Raises: FusebillRefused or OutcomeUnknown by the status; OutcomeUnknown also for a success that
    broke off; NotUnderstood for one that holds no such customer.
    """
    value = _value_of(answer)
    try:
        customer = _customer(value)
    except ValueError as reason:
        raise _not_understood(answer, str(reason)) from None
    if customer.customer_id != customer_id:
        raise _not_understood(answer, "it shows another customer")
    if not (isinstance(value, dict) and {"hubSpotId", "hubSpotCompanyId"} <= value.keys()):
        # an answer without the ids must never be shown as "cleared"
        raise _not_understood(answer, "it lacks the HubSpot ids")
    return customer


def accepted_of(answer: Answer, customer_id: int) -> Accepted:
    """Return what a success says about a change; any 2xx means that Fusebill accepted it.

    An empty body and `null` have been seen from this API: then read the customer again.
    Raises: FusebillRefused or OutcomeUnknown by the status.
    """
    try:
        return Accepted(answer.status, customer_of(answer, customer_id))
    except OutcomeUnknown as unknown:
        if not httpx.codes.is_success(answer.status):
            unknown.may_still_run = answer.status in _GIVEN_UP
            raise
        return Accepted(answer.status, None, unknown.why, unknown.texts)


def customers_of(answer: Answer) -> list[Customer]:
    """Return the customers of a list, skipping entries that cannot be read.

    Raises: as `customer_of`; OutcomeUnknown if the answer is not a list.
    """
    value = _value_of(answer)
    if not isinstance(value, list):
        raise _not_understood(answer, "it is not a list")
    customers = []
    for entry in value:
        try:
            customers.append(_customer(entry))
        except ValueError:
            continue
    return customers


def evidence(answer: FusebillError | Accepted) -> dict[str, object]:
    """What came of a call, for the ledger: everything that the vendor's support would ask for."""
    texts: list[str] = []
    left = MAX_CALL_TEXT
    for each in answer.texts:
        texts += [each[:left]] if left > 0 else []
        left -= len(each)
    found: dict[str, object] = {"texts": texts} if texts else {}
    if answer.why:
        found["why"] = answer.why
    if isinstance(answer, FusebillError) and answer.error_id is not None:
        found["error_id"] = answer.error_id
    if isinstance(answer, FusebillError) and answer.may_still_run:
        found["may_still_run"] = True
    return {"status": answer.status} | found


def has_more(answer: Answer, page: int) -> bool:
    """Whether there is a page after this one; `X-NextPage` is -1 on the last page."""
    after = answer.headers.get("x-nextpage", "")
    return bool(DIGITS.fullmatch(after)) and int(after) > page


def _value_of(answer: Answer) -> object:
    if not httpx.codes.is_success(answer.status):
        raise _error_of(answer)
    if not answer.complete:
        raise OutcomeUnknown(answer.status, (), f"{UNREADABLE}: it broke off")
    value = answer.json()
    if value is NOT_JSON:
        raise _not_understood(answer, _shape_of(answer))
    return value


def _not_understood(answer: Answer, reason: str) -> NotUnderstood:
    value = answer.json()
    shown = value is NOT_JSON or (isinstance(value, dict) and "id" not in value)
    texts = answer.texts() if shown else ()
    return NotUnderstood(answer.status, texts, f"{UNREADABLE}: {reason}")


def _shape_of(answer: Answer) -> str:
    if not answer.body.strip():
        return "it is empty"
    if is_page(answer.body, answer.content_type):
        return "it is a web page"
    if answer.json() is NOT_JSON:
        return "it is not JSON"
    return "it says nothing"


def _error_of(answer: Answer) -> FusebillError:
    """The error of an answer that is no success: who refused, and in what words."""
    texts = answer.texts()
    own_form, error_id = _own_form(answer)
    kind, why = _kind_of(answer, texts, own_form=own_form)
    return kind(
        answer.status,
        texts,
        why,
        error_id=error_id,
        own_form=own_form,
        retry_at=retry_at(
            answer.headers,
            answer.received_at,
            limited=answer.status == HTTPStatus.TOO_MANY_REQUESTS,
        ),
    )


def _kind_of(
    answer: Answer, texts: tuple[str, ...], *, own_form: bool
) -> tuple[type[FusebillError], str]:
    status = answer.status
    if httpx.codes.is_redirect(status):
        target = answer.masked(storable(answer.headers.get("location", "")))[:MAX_TARGET]
        return WrongAddress, f"it redirects to {target or 'nowhere'}"
    if not httpx.codes.is_error(status):
        return NotUnderstood, f"{UNREADABLE}: its status says nothing"
    kind = Unavailable if httpx.codes.is_server_error(status) else _KINDS.get(status)
    if kind is not None:
        return kind, ""
    if not answer.complete:
        # the rest of the body would have shown who answered
        return OutcomeUnknown, f"{UNREADABLE}: it broke off"
    return _refusal(answer, texts, own_form=own_form)


def _refusal(
    answer: Answer, texts: tuple[str, ...], *, own_form: bool
) -> tuple[type[FusebillError], str]:
    """The error of a 4xx whose body shows who answered."""
    status = answer.status
    if status == HTTPStatus.NOT_FOUND:
        return CustomerNotFound if own_form else WrongAddress, ""
    if status == HTTPStatus.BAD_REQUEST and any(_KEY_REFUSED in text.lower() for text in texts):
        return KeyRefused, ""
    is_unauthorized = status == HTTPStatus.UNAUTHORIZED
    # ASP.NET behind the API has other forms than the documented one, all of them words in JSON
    if own_form or (texts and answer.json() is not NOT_JSON):
        return KeyRefused if is_unauthorized else FusebillRefused, ""
    foreign = Forbidden if is_unauthorized else NotUnderstood
    return foreign, f"{UNREADABLE}: {_shape_of(answer)}"


def _own_form(answer: Answer) -> tuple[bool, int | None]:
    """Whether the body is Fusebill's documented form of error, and its `ErrorId` if not 0."""
    value = answer.json()
    if not isinstance(value, dict):
        return False, None
    fields: dict[str, Any] = {str(name).lower(): each for name, each in value.items()}
    entries, error_id = fields.get("errors"), fields.get("errorid")
    listed = isinstance(entries, list) and any(
        isinstance(each, dict) and "value" in map(str.lower, each) for each in entries
    )
    own_form = listed or "errorid" in fields or "httpstatuscode" in fields
    if isinstance(error_id, int) and not isinstance(error_id, bool) and 0 < error_id < MAX_ERROR_ID:
        return own_form, error_id
    return own_form, None


def _customer(value: object) -> Customer:
    if not isinstance(value, dict):
        raise ValueError("it is not a customer")  # noqa: TRY004  # bad data, not a bug
    customer_id = _id(value, "id")
    if customer_id is None:
        raise ValueError("it has no id")
    return Customer(
        customer_id=customer_id,
        ids=HubSpotIds(_id(value, "hubSpotId"), _id(value, "hubSpotCompanyId")),
        name=" ".join(filter(None, (_text(value.get("firstName")), _text(value.get("lastName"))))),
        company_name=_text(value.get("companyName")),
        reference=_text(value.get("reference")),
        status=_text(value.get("status")),
        account_status=_text(value.get("customerAccountStatus")),
        email=_text(value.get("primaryEmail")),
    )


def _id(customer: dict[str, object], name: str) -> int | None:
    """A whole number or a string of one; 0 is none."""
    value = customer.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    digits = _ID.fullmatch(value) if isinstance(value, str) else None
    if digits is None:
        raise ValueError(f"{name} is neither a number nor a string of digits")
    return int(digits[1]) or None


def _text(value: object) -> str:
    """A text of a customer; one of which nobody sees anything is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return storable(value) if isinstance(value, str) and visible(value) else ""
