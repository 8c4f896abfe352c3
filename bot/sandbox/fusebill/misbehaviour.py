"""The faults of the simulated Fusebill, and the HTTP answers that they produce."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from aiohttp import web

from bot.sandbox.fusebill.wire import ANSWERS

KINDS: dict[str, str] = {
    "not_found": "404: no such customer",
    "conflict": "409: against a business rule",
    "malformed": "400: malformed request",
    "key_refused": "400: the API key is refused",
    "unauthorized": "401: not authorized",
    "rate_limited": "429: too many calls",
    "server_error": "500: Fusebill's own fault",
    "bad_gateway": "502: HTML from a gateway",
    "unavailable": "503: not available",
    "html": "200, but HTML from a gateway",
    "slow": "Answers slowly",
    "hang": "Never answers",
    "lost_before": "Connection lost, nothing done",
    "lost_after": "Done, but the reply is lost",
    "empty": "Done, with an empty body",
    "no_content": "Done, 204 without a body",
    "null": "Done, the body is null",
    "array": "Done, the body is an array",
    "message": "400 with a Message instead of Errors",
    "lying_status": "404 whose body says 200",
    "keeps_ids": "200, but the ids stay",
    "string_ids": "Done, the ids are strings",
    "long_error": "409 with a text of 9,000 characters",
    "many_errors": "409 with forty errors",
    "hostile_error": "409 with a text that tries to notify everyone",
    "truncated": "Done, but the body breaks off",
    "invalid_json": "Done, but the body is no JSON",
    "late": "202, and done a second later",
    **{kind: answer.label for kind, answer in ANSWERS.items()},
}

WRITE, READ = "unlatch_customer", "get_customer"
LATE_OR_LOST: dict[str, dict[str, Any]] = {
    "takes 9 s": {"kind": "slow", "operation": WRITE, "seconds": 9},
    "outlives the client": {"kind": "outlives", "operation": WRITE, "seconds": 1},
    "lost after 2 s": {"kind": "lost_late", "operation": WRITE, "seconds": 2},
    "closes 5 ms after an answer": {"kind": "closes_soon", "times": None, "seconds": 0.005},
    "site is stopped": {"kind": "html", "operation": READ, "skips": 1, "status": 403},
    "back soon": {"kind": "html", "operation": READ, "skips": 1, "status": 200},
    "deleted": {"kind": "not_found", "times": None},
}
"""Calls that end late, get lost, or meet somebody else: the arguments of `misbehave`.

The pages come in place of the second read. `outlives` has its effect `seconds` after the client has
gone; `lost_late` has none, and its connection breaks after `seconds`.
"""

HOSTILE = "<!channel> <@U0ALICE> <https://evil.example|click here> *bold* `code` & <script>"
PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>gateway</body></html>"

_REFUSALS: dict[str, tuple[int, str]] = {
    "not_found": (404, "Customer with id {customer_id} not found."),
    "conflict": (409, "The customer can not be changed while it is being synchronised."),
    "malformed": (400, "The request is malformed."),
    "key_refused": (400, "Authorization key is not in the correct format."),
    "unauthorized": (401, "Authorization has been denied for this request."),
    "rate_limited": (429, "The limit of calls per minute is exceeded."),
    "server_error": (500, "An unexpected error has occurred."),
    "unavailable": (503, "The service is not available."),
    "lying_status": (404, "Customer with id {customer_id} not found."),
    "long_error": (409, "x" * 9_000),
    "many_errors": (409, "Rule {number} is violated."),
    "hostile_error": (409, HOSTILE),
}


@dataclass(slots=True)
class Misbehaviour:
    """One fault in the queue; `left` is the number of calls left, None: until cleared.

    It is for calls of `operation` about `customer_id` (None: any), after the first `skips`.
    """

    kind: str
    operation: str | None
    left: int | None
    details: dict[str, Any] = field(default_factory=dict)
    customer_id: int | None = None
    skips: int = 0

    def is_for(self, operation: str, customer_id: int | None) -> bool:
        """Whether it is for this call; a call that is skipped is counted."""
        if self.operation not in (None, operation) or self.customer_id not in (None, customer_id):
            return False
        if self.skips:
            self.skips -= 1
            return False
        return True

    def executes(self, *, refused: bool) -> bool:
        """Whether the call is executed; the detail `effect` says so whatever the answer is."""
        if "effect" in self.details:
            return bool(self.details["effect"])
        if self.kind in ANSWERS:
            return ANSWERS[self.kind].executes
        return not refused and self.kind not in (
            "keeps_ids",
            "late",
            "lost_before",
            "lost_late",
            "hang",
        )


def error(status: int, *texts: str, body_status: int | None = None) -> web.Response:
    """Build Fusebill's documented error; `body_status` is the status in the body, if another."""
    return web.json_response(
        {
            "ErrorId": 0,
            "HttpStatusCode": status if body_status is None else body_status,
            "Errors": [{"Key": "Api Error", "Value": text} for text in texts],
        },
        status=status,
    )


def refusal(fault: Misbehaviour, customer_id: int | None) -> web.Response | None:
    """Build the answer of a fault that prevents the call; None if the call is executed.

    Details: `status`, `text`, `retry_after`; for `rate_limited` also `reset_s` (seconds until the
    limit resets) and `reset_as` ("iso", the default, or "epoch").
    """
    kind, details = fault.kind, fault.details
    if kind in ("bad_gateway", "html"):
        status = details.get("status", 502 if kind == "bad_gateway" else 200)
        page = PAGE.format(f"{status} gateway")
        return web.Response(status=status, text=page, content_type="text/html")
    if kind == "message":
        text = details.get("text", "The request is invalid.")
        return web.json_response({"Message": text}, status=details.get("status", 400))
    if kind not in _REFUSALS:
        return None
    status, template = _REFUSALS[kind]
    numbers = range(1, 41 if kind == "many_errors" else 2)
    texts = [
        details.get("text", template).format(customer_id=customer_id, number=n) for n in numbers
    ]
    body_status = 200 if kind == "lying_status" else None
    answer = error(details.get("status", status), *texts, body_status=body_status)
    if kind == "rate_limited":
        answer.headers.update(_rate_limited_headers(details))
    if "retry_after" in details:
        answer.headers["Retry-After"] = str(details["retry_after"])
    return answer


def _rate_limited_headers(details: dict[str, Any]) -> dict[str, str]:
    at = datetime.now(UTC) + timedelta(seconds=details.get("reset_s", 60))
    reset = str(int(at.timestamp())) if details.get("reset_as") == "epoch" else at.isoformat()
    return {"X-Rate-Limit-Remaining-Minute": "0", "X-Rate-Limit-Reset-Minute": reset}


def rate_limit(limit: int, in_minute: int, in_day: int, reset_in_s: float) -> dict[str, str]:
    """Build the headers of every answer: the limit per minute, and the calls made so far."""
    now = datetime.now(UTC)
    minute = now + timedelta(seconds=reset_in_s)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    headers = {}
    for window, allowed, made, reset_at in (
        ("Minute", limit, in_minute, minute),
        ("Day", 180_000, in_day, day),
    ):
        headers[f"X-Rate-Limit-Limit-{window}"] = str(allowed)
        headers[f"X-Rate-Limit-Remaining-{window}"] = str(max(0, allowed - made))
        headers[f"X-Rate-Limit-Reset-{window}"] = reset_at.isoformat()
    return headers


def success(kind: str, value: object) -> web.Response:
    """Build the answer to an executed call, garbled by the fault `kind` if that does so."""
    if kind == "no_content":
        return web.Response(status=204)
    if kind == "late":
        return web.Response(status=202)
    texts = {"empty": "", "null": "null"}
    if kind in texts:
        return web.Response(text=texts[kind], content_type="application/json")
    whole = json.dumps([value] if kind == "array" else value)
    if kind == "invalid_json":
        whole = whole[: len(whole) // 2]
    return web.Response(text=whole, content_type="application/json")


def with_string_ids(value: Any) -> Any:  # noqa: ANN401  # whatever JSON the answer holds
    """Return `value` with its HubSpot ids as strings of digits."""
    if isinstance(value, list):
        return [with_string_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: str(each) if name in ("hubSpotId", "hubSpotCompanyId") and each is not None else each
        for name, each in value.items()
    }


def cut(request: web.Request) -> web.Response:
    """Close the connection at once; the returned response only satisfies aiohttp."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def client_is_gone(request: web.Request) -> None:
    """Wait until the client has closed its connection."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110  # aiohttp has no event for it
        await asyncio.sleep(0.01)


def send_bytes(request: web.Request, raw: bytes) -> NoReturn:
    """Send an answer as it is, then close. Raises: ConnectionAbortedError."""
    if request.transport is not None:
        request.transport.write(raw)
        request.transport.close()
    raise ConnectionAbortedError


async def spoil(request: web.Request, fault: Misbehaviour, answer: web.Response) -> None:
    """Do to the connection what the fault does while the answer is sent, or after it.

    Raises: ConnectionAbortedError.
    """
    if fault.kind == "lost_after":
        raise ConnectionAbortedError
    if fault.kind == "truncated":
        await _break_off(request, answer)
    if fault.kind == "closes_soon" and isinstance(request.transport, asyncio.Transport):
        request.transport.pause_reading()
        asyncio.get_running_loop().call_later(fault.details["seconds"], request.transport.close)


async def _break_off(request: web.Request, answer: web.Response) -> None:
    """Announce the whole body, send half of it, then close. Raises: ConnectionAbortedError."""
    whole = answer.body
    if not isinstance(whole, bytes) or request.transport is None:
        return
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(whole)
    await half.prepare(request)
    await half.write(whole[: len(whole) // 2])
    request.transport.close()  # unlike `abort`, it flushes first
    raise ConnectionAbortedError
