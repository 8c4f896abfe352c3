"""Finds the words in an error's body, whatever form it has: pure functions, no I/O.

Fusebill documents `Errors`. ASP.NET behind it and gateways in front of it have forms of their own:
`Message`, `ModelState`, `title` and `detail` (RFC 9457), HTML, plain text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from email.message import Message
from functools import lru_cache
from html import unescape

MAX_TEXTS = 100
MAX_TEXT = 9_000  # characters of each
MAX_DEPTH = 6
MAX_MARKUP = 10_000  # characters of a page: its title stands at the beginning

NOT_JSON = object()

# in one object these say the same thing more and more exactly, so all of them are kept
_WORDS = (
    *("value", "message", "messagedetail", "exceptionmessage", "errormessage", "title", "detail"),
    *("error_description", "description", "reason", "fault", "faultstring", "error", "modelstate"),
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""")
# Python's own: no server means them, and some take very long
_NOT_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # neither UTF-8 nor PostgreSQL can hold these
_TITLE = re.compile(r"<(title|h1|h2)\b[^>]{0,200}>(.{1,1000}?)</\1", re.IGNORECASE | re.DOTALL)
_PAGE = re.compile(r"<(html|body|p)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def decoded(body: bytes, content_type: str = "") -> str:
    """The body as text: by its BOM, by the charset it declares, or as UTF-8."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    declared = _charset_of(content_type)
    if not declared and body.lstrip()[:1] == b"<" and (found := _CHARSET.search(body[:1024])):
        declared = found[1].decode("ascii")
    try:
        encoding = codecs.lookup(declared or "utf-8").name
        if encoding not in _NOT_CHARSETS:
            return body.decode(encoding, "replace")
    except (LookupError, ValueError):
        pass  # not a charset: then as if none were declared
    return body.decode("utf-8", "replace")


def parsed(body: bytes, content_type: str = "") -> object:
    """The body's JSON value, fractions as Decimal; NOT_JSON if it is not one JSON document.

    An object that has a name twice, with different values, is not one that can be relied on.
    """
    try:
        return _JSON.decode(decoded(body, content_type))
    except (ValueError, ArithmeticError, RecursionError):  # RecursionError: deeply nested brackets
        return NOT_JSON


def storable(text: str) -> str:
    """The text without what no ledger can hold."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def texts_of(
    body: bytes, content_type: str = "", masked: Callable[[str], str] = str
) -> tuple[str, ...]:
    """The words of an error: of JSON its messages, of HTML the title, of text all of it.

    Each is `masked` before it is cut: a part of a secret would not be recognised.
    """
    value = parsed(body, content_type)
    if value is not NOT_JSON:
        found = [*_of_json(value, 0)]
    else:
        text = decoded(body, content_type).strip()
        found = [_of_markup(text)] if text.startswith("<") else [*_of_plain(text, content_type)]
    kept = (masked(storable(text)).strip()[:MAX_TEXT] for text in found)
    return tuple(dict.fromkeys(text for text in kept if text))[:MAX_TEXTS]


def is_page(body: bytes, content_type: str = "") -> bool:
    """Whether the body is HTML."""
    start = decoded(body[:2_000], content_type).lstrip("\ufeff \t\r\n").lower()
    return start.startswith(("<!doctype html", "<html")) or "<title" in start


@lru_cache(maxsize=16)  # a server sends the same few
def _charset_of(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return str(header.get_param("charset", "") or "")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs) and any(value[name] != each for name, each in pairs):
        raise ValueError("a name stands there twice")
    return value


_JSON = json.JSONDecoder(parse_float=Decimal, object_pairs_hook=_object)


def _of_json(value: object, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value[:MAX_TEXTS]:
            yield from _of_json(each, depth + 1)
    elif isinstance(value, dict):
        fields = {str(name).lower(): each for name, each in value.items()}
        if found := [*_of_errors(fields.get("errors"), depth + 1)]:
            yield from found
            return
        for name in _WORDS:
            inner = fields.get(name)
            yield from (
                _of_fields(inner, depth + 1) if name == "modelstate" else _of_json(inner, depth + 1)
            )


def _of_errors(errors: object, depth: int) -> Iterator[str]:
    found = [*_of_json(errors, depth)]
    # RFC 9457 as ASP.NET writes it: {"errors": {"field": ["…"]}}
    yield from found or _of_fields(errors, depth)


def _of_fields(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _of_json(each, depth + 1)


def _of_plain(text: str, content_type: str) -> Iterator[str]:
    # broken JSON says nothing, nor do bytes that are no text
    declared = content_type.lower().startswith("text/")
    if text and text[0] not in "[{" and (declared or _REPLACEMENT not in text):
        yield text


def _of_markup(text: str) -> str:
    """A page's title or first heading, or else all that is read on it; empty if it is no page."""
    page = text[:MAX_MARKUP]
    titled = _TITLE.search(page)
    shown = titled[2] if titled else page if _PAGE.search(page) else ""
    return " ".join(unescape(_UNSEEN.sub(" ", shown)).split())
