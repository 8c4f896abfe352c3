"""Turns Fusebill's HTTP responses into values or errors: pure functions, no I/O.

The HTTP status decides, even if the body names another one. Texts are Fusebill's own, unescaped.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from bot.domain.models import Customer, HubSpotIds
from bot.fusebill.errors import (
    CustomerNotFound,
    FusebillRefused,
    KeyRefused,
    OutcomeUnknown,
    RateLimited,
)

MAX_TEXTS = 100
MAX_TEXT = 9_000  # characters of each

_KEY_REFUSED = "authorization key is not in the correct format"
_DIGITS = re.compile(r"[0-9]{1,18}")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # neither UTF-8 nor PostgreSQL can hold these
_TICKS = {10: 1, 13: 1_000}  # per second, by the number of digits of an epoch today
_UNREADABLE = "the answer cannot be read"


@dataclass(frozen=True, slots=True)
class RateWindow:
    """How many calls are left in a window, and when it resets; None if Fusebill did not say."""

    remaining: int | None = None
    reset_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Fusebill's two rate limit windows, from the headers `X-Rate-Limit-*`."""

    minute: RateWindow
    day: RateWindow


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; `body` may be incomplete, `received_at` is aware UTC."""

    status: int
    body: bytes = b""
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Found:
    """The customers that a search found; not `complete` if there were too many pages to read."""

    customers: list[Customer]
    complete: bool = True


def customer_of(answer: Answer, customer_id: int) -> Customer | None:
    """Return the answer's customer; None for a success without a body or with `null`.

    This API has been seen to send both: then read the customer again.
    Raises: FusebillRefused or OutcomeUnknown by the status; OutcomeUnknown also for a success that
    cannot be read or holds another customer than `customer_id`.
    """
    value = _value_of(answer)
    if value is None:
        return None
    try:
        customer = _customer(value)
    except ValueError as reason:
        raise OutcomeUnknown(answer.status, (), f"{_UNREADABLE}: {reason}") from None
    if customer.customer_id != customer_id:
        raise OutcomeUnknown(answer.status, (), f"{_UNREADABLE}: it shows another customer")
    return customer


def customers_of(answer: Answer) -> list[Customer]:
    """Return the customers of a list, skipping entries that cannot be read.

    Raises: as `customer_of`; OutcomeUnknown if the answer is not a list.
    """
    value = _value_of(answer)
    if not isinstance(value, list):
        raise OutcomeUnknown(answer.status, (), f"{_UNREADABLE}: it is not a list")
    customers = []
    for entry in value:
        try:
            customers.append(_customer(entry))
        except ValueError:
            continue
    return customers


def has_more(answer: Answer, page: int) -> bool:
    """Whether there is a page after this one; `X-NextPage` is -1 on the last page."""
    after = answer.headers.get("X-NextPage", "")
    return bool(_DIGITS.fullmatch(after)) and int(after) > page


def has_both_ids(answer: Answer) -> bool:
    """Whether the answer holds both HubSpot ids, null included."""
    value = _json(answer.body)
    return isinstance(value, dict) and {"hubSpotId", "hubSpotCompanyId"} <= value.keys()


def rate_limit_of(answer: Answer) -> RateLimit:
    """Return the limits per minute and per day from the headers `X-Rate-Limit-*`."""
    return RateLimit(_window(answer.headers, "Minute"), _window(answer.headers, "Day"))


def _value_of(answer: Answer) -> object:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        if not answer.body.strip():
            return None
        value = _json(answer.body)
        if value is _NOT_JSON:
            raise OutcomeUnknown(status, (), f"{_UNREADABLE}: it is not JSON")
        return value
    texts = _texts(_json(answer.body))
    if status == HTTPStatus.NOT_FOUND:
        raise CustomerNotFound(status, texts)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimited(status, texts, retry_at=_retry_at(answer))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or (
        status == HTTPStatus.BAD_REQUEST and any(_KEY_REFUSED in text.lower() for text in texts)
    ):
        raise KeyRefused(status, texts)
    # 408 comes from a gateway that stopped waiting: Fusebill may still have made the change
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004  # 4xx
        raise FusebillRefused(status, texts)
    raise OutcomeUnknown(status, texts)


_NOT_JSON = object()


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):  # RecursionError: deeply nested brackets
        return _NOT_JSON


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
    value = customer.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ValueError(f"{name} is neither a number nor a string of digits")
    return int(value)


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    errors = value.get("Errors") if isinstance(value, dict) else value
    entries = errors if isinstance(errors, list) else [errors]
    found = [_text(each.get("Value") if isinstance(each, dict) else each) for each in entries]
    if not any(found) and isinstance(value, dict):
        found = [_text(value.get("Message"))]
    return tuple(text[:MAX_TEXT] for text in found if text.strip())[:MAX_TEXTS]


def _window(headers: httpx.Headers, name: str) -> RateWindow:
    return RateWindow(
        _number(headers.get(f"X-Rate-Limit-Remaining-{name}")),
        _moment(headers.get(f"X-Rate-Limit-Reset-{name}")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and _DIGITS.fullmatch(text) else None


def _moment(text: str | None) -> datetime | None:
    """Parse a timestamp in any common format: Fusebill documents none."""
    if not text:
        return None
    try:
        if _DIGITS.fullmatch(text):
            return datetime.fromtimestamp(int(text) / _TICKS[len(text)], UTC)
        parse = datetime.fromisoformat if text[0].isdigit() else parsedate_to_datetime
        moment = parse(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def _retry_at(answer: Answer) -> datetime | None:
    after = answer.headers.get("Retry-After", "")
    if _DIGITS.fullmatch(after):
        return answer.received_at + timedelta(seconds=min(int(after), 86_400))
    if after and (moment := _moment(after)):
        return moment
    limit = rate_limit_of(answer)
    exhausted = limit.day if limit.day.remaining == 0 else limit.minute
    return exhausted.reset_at
