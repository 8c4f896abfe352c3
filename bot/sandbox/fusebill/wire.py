"""Answers of Fusebill, and of what stands in front of it, byte by byte: one line each.

Most were reported by people who run such clients. They are written to the socket as they are,
because a well-behaved HTTP server can't send them. Each announces nothing about the connection,
which HTTP/1.1 takes for keep-alive, and closes it at once.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

JSON = ("Content-Type: application/json; charset=utf-8",)
HTML = ("Content-Type: text/html",)
TEXT = ("Content-Type: text/plain",)
LATIN = ("Content-Type: application/json; charset=windows-1252",)
PROBLEM = ("Content-Type: application/problem+json",)
XML = ("Content-Type: application/xml",)
CUSTOMER = "%customer%"


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """An answer: `body` may name a customer as one of `SHAPES`, `words` are what a person reads.

    `extra` is added to the true `Content-Length`; None sends `framing` instead of a length, with
    the body as it is. `before` precedes the status line. Unless it is a success, it `executes`
    nothing by itself.
    """

    label: str
    status: str = "200 OK"
    body: str | bytes = CUSTOMER
    headers: tuple[str, ...] = JSON
    words: str = ""
    extra: int | None = 0
    before: bytes = b""

    @property
    def code(self) -> int:
        """The status as a number."""
        return int(self.status[:3])

    @property
    def executes(self) -> bool:
        """Whether the call is executed, unless the fault's `effect` says otherwise."""
        return 200 <= self.code < 300  # noqa: PLR2004  # 2xx

    def rendered(self, value: object) -> bytes:
        """The whole answer; `value` is the customer, or the list of them, as it is now."""
        body = self.body
        if isinstance(body, str):
            for name, shape in SHAPES.items():
                if name in body:
                    body = body.replace(name, shape(value))
            body = body.encode()
        length = (f"Content-Length: {len(body) + (self.extra or 0)}",)
        lines = (f"HTTP/1.1 {self.status}", *self.headers, *(() if self.extra is None else length))
        return self.before + "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _each(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[object], str]:
    def shape(value: object) -> str:
        if isinstance(value, list):
            return json.dumps([change(each) for each in value])
        return json.dumps(change(value) if isinstance(value, dict) else value)

    return shape


def _ids(change: Callable[[Any], object]) -> Callable[[object], str]:
    names = ("hubSpotId", "hubSpotCompanyId")
    return _each(lambda row: row | {name: change(row[name]) for name in names})


def _twice(value: object) -> str:
    text = json.dumps(value)
    return text[:-1] + ', "hubSpotId": null}' if text.endswith("}") else text


SHAPES: dict[str, Callable[[object], str]] = {
    CUSTOMER: json.dumps,
    "%other%": _each(lambda row: row | {"id": 1, "hubSpotId": None, "hubSpotCompanyId": None}),
    "%half%": _each(lambda row: row | {"hubSpotId": None}),
    "%without%": _each(lambda row: {k: v for k, v in row.items() if not k.startswith("hubSpot")}),
    "%floats%": _ids(lambda each: None if each is None else float(each)),
    "%float texts%": _ids(lambda each: None if each is None else f"{each}.0"),
    "%zeros%": _ids(lambda each: each or 0),
    "%negative%": _ids(lambda _: -1),
    "%booleans%": _ids(lambda _: False),
    "%texts%": _ids(lambda _: "none"),
    "%objects%": _ids(lambda _: {}),
    "%twice%": _twice,
    "%chunked%": lambda value: _chunked(json.dumps(value)),
}


def _chunked(text: str) -> str:
    return f"{len(text):x}\r\n{text}\r\n0\r\nX-Checksum: 1\r\n\r\n"


def _own(status: int, text: str, error_id: int = 0) -> str:
    errors = [{"Key": "Api Error", "Value": text}]
    return json.dumps({"ErrorId": error_id, "HttpStatusCode": status, "Errors": errors})


def _page(title: str) -> str:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>x</h1></body></html>"


QUEUE = "HubSpot sync queue unavailable."
ROUTE = "No HTTP resource was found that matches the request URI."
LOGIN = "Sign in to your account"

ANSWERS: dict[str, WireAnswer] = {
    "created": WireAnswer("Done, 201", "201 Created"),
    "accepted": WireAnswer("Done, 202 without a body", "202 Accepted", ""),
    "partial": WireAnswer("Done, 206", "206 Partial Content"),
    "odd_success": WireAnswer("Done, 299", "299 Miscellaneous"),
    "ok_text": WireAnswer("Done, the body is OK", body="OK", headers=TEXT),
    "wrapped": WireAnswer("Done, the customer is wrapped", body='{"data": %customer%}'),
    "other": WireAnswer("Done, but it shows another customer", body="%other%"),
    "half": WireAnswer("Done, but it shows one id", body="%half%"),
    "without_ids": WireAnswer("Done, the ids are missing", body="%without%"),
    "float_ids": WireAnswer("Done, the ids are 101.0", body="%floats%"),
    "float_texts": WireAnswer('Done, the ids are "101.0"', body="%float texts%"),
    "zero_ids": WireAnswer("Done, no id is 0", body="%zeros%"),
    "negative_ids": WireAnswer("Done, the ids are -1", body="%negative%"),
    "boolean_ids": WireAnswer("Done, the ids are false", body="%booleans%"),
    "text_ids": WireAnswer('Done, the ids are "none"', body="%texts%"),
    "object_ids": WireAnswer("Done, the ids are objects", body="%objects%"),
    "twice": WireAnswer("Done, an id stands there twice", body="%twice%"),
    "two_documents": WireAnswer("Done, two JSON documents", body="%customer% %customer%"),
    "login": WireAnswer("Done, but it shows a login page", body=_page(LOGIN), headers=HTML),
    "error_in_200": WireAnswer("Done, but it shows an error", body=_own(500, QUEUE), words=QUEUE),
    "short_length": WireAnswer("Done, the length is too small", extra=-9),
    "long_length": WireAnswer("Done, the length is too great", extra=9),
    "no_length": WireAnswer("Done, without a length", extra=None),
    "big_header": WireAnswer("Done, a header of 9 kB", headers=(*JSON, f"X-Trace: {'t' * 9_000}")),
    "huge_header": WireAnswer("Done, a header of 60 kB", headers=(f"X-Trace: {'t' * 60_000}",)),
    "endless_header": WireAnswer("Done, a header of 200 kB", headers=(f"X: {'t' * 200_000}",)),
    "trailer": WireAnswer(
        "Done, with a trailer",
        body="%chunked%",
        headers=(*JSON, "Transfer-Encoding: chunked", "Trailer: X-Checksum"),
        extra=None,
    ),
    "bad_chunk": WireAnswer(
        "Done, a chunk is malformed",
        body="zz\r\n%customer%",
        headers=(*JSON, "Transfer-Encoding: chunked"),
        extra=None,
    ),
    "two_lengths": WireAnswer("Done, two lengths", headers=(*JSON, "Content-Length: 1")),
    "continue": WireAnswer("Done, a 100 first", before=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "storm": WireAnswer("Done, 200 times 102 first", before=b"HTTP/1.1 102 Wait\r\n\r\n" * 200),
    "bad_gzip": WireAnswer("Done, no gzip", headers=(*JSON, "Content-Encoding: gzip")),
    "gzip_page": WireAnswer(
        "Done, a page in gzip",
        body=gzip.compress(_page(LOGIN).encode()),
        headers=(*HTML, "Content-Encoding: gzip"),
    ),
    "not_http": WireAnswer("Done, but it speaks SSH", before=b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "upgrade": WireAnswer("101: other protocol", "101 Switching Protocols", "", ("Upgrade: h2c",)),
    "moved": WireAnswer("301: elsewhere", "301 Moved", "", ("Location: https://x.example/v2",)),
    "found": WireAnswer("302: to a login", "302 Found", "", ("Location: /login",)),
    "see_other": WireAnswer("303: elsewhere", "303 See Other", "", ("Location: /v1/done",)),
    "not_modified": WireAnswer("304: not modified", "304 Not Modified", "", ()),
    "redirect": WireAnswer("307: elsewhere", "307 Moved", "", ("Location: https://x.example/",)),
    "model_state": WireAnswer(
        "400: ASP.NET's ModelState",
        "400 Bad Request",
        '{"Message": "Invalid.", "ModelState": {"id": ["The id is odd."]}}',
        words="The id is odd.",
    ),
    "silent_401": WireAnswer("401 without a body", "401 Unauthorized", ""),
    "door": WireAnswer(
        "403: a gateway's page",
        "403 Forbidden",
        _page("Access denied by policy 7"),
        HTML,
        "Access denied by policy 7",
    ),
    "address": WireAnswer(
        "403: IP address not allowed",
        "403 Forbidden",
        '{"message": "Your IP address is not allowed."}',
        words="Your IP address is not allowed.",
    ),
    "no_route": WireAnswer(
        "404: no such endpoint", "404 Not Found", json.dumps({"Message": ROUTE}), words=ROUTE
    ),
    "iis_404": WireAnswer(
        "404: IIS's page", "404 Not Found", _page("404 - File not found."), HTML, "404 - File"
    ),
    "empty_404": WireAnswer("404 without a body", "404 Not Found", ""),
    "half_404": WireAnswer("404, the body breaks off", "404 Not Found", '{"Err', extra=99),
    "method": WireAnswer("405: method not allowed", "405 Method Not Allowed", ""),
    "proxy_login": WireAnswer("407: a proxy wants a login", "407 Proxy Authentication", ""),
    "timeout_408": WireAnswer("408: request time-out", "408 Request Timeout", ""),
    "lower_case": WireAnswer(
        "409: small letters",
        "409 Conflict",
        '{"errors": [{"value": "It is in use."}]}',
        words="It is in use.",
    ),
    "latin": WireAnswer(
        "409: in windows-1252",
        "409 Conflict",
        '{"Message": "Café"}'.encode("cp1252"),
        LATIN,
        "Café",
    ),
    "bom": WireAnswer(
        "409: in UTF-16", "409 Conflict", '{"Message": "Zażółć"}'.encode("utf-16"), (), "Zażółć"
    ),
    "gone": WireAnswer("410: gone", "410 Gone", "Gone for good.", TEXT, "Gone for good."),
    "length_411": WireAnswer("411: IIS wants a length", "411 Length Required", _page("411"), HTML),
    "problem": WireAnswer(
        "422: problem+json",
        "422 Unprocessable",
        '{"title": "Rule broken", "detail": "The parent is closed."}',
        PROBLEM,
        "The parent is closed.",
    ),
    "misdirected": WireAnswer("421: misdirected", "421 Misdirected Request", ""),
    "silent_429": WireAnswer("429, waits a second", "429 Slow Down", "", ("Retry-After: 1",)),
    "long_429": WireAnswer("429, waits an hour", "429 Slow Down", "", ("Retry-After: 3600",)),
    "legal": WireAnswer("451: legal reasons", "451 Unavailable", ""),
    "queue": WireAnswer(
        "500: the sync queue", "500 Internal", _own(500, QUEUE, error_id=77), words=QUEUE
    ),
    "exception": WireAnswer(
        "500: an ASP.NET exception",
        "500 Internal",
        '{"Message": "An error.", "ExceptionMessage": "Deadlock victim.", "StackTrace": "at X"}',
        words="Deadlock victim.",
    ),
    "xml": WireAnswer(
        "500: in XML", "500 Internal", "<Error><Message>No luck.</Message></Error>", XML
    ),
    "not_implemented": WireAnswer("501: not implemented", "501 Not Implemented", ""),
    "text_502": WireAnswer(
        "502: plain text", "502 Bad Gateway", "upstream error", TEXT, "upstream error"
    ),
    "wait_503": WireAnswer("503, waits a second", "503 Busy", "", ("Retry-After: 1",)),
    "long_503": WireAnswer("503, waits an hour", "503 Busy", "", ("Retry-After: 3600",)),
    "page_504": WireAnswer(
        "504: a page", "504 Time-out", _page("Gateway time-out"), HTML, "Gateway time-out"
    ),
    "origin_520": WireAnswer("520: a gateway's own status", "520 Web Server Error", ""),
    "status_700": WireAnswer("700: no such status", "700 Odd", ""),
}
