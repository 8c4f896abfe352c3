"""Parses the text after `/unlatch`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

MAX_DIGITS = 18
MAX_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Ask:
    """`/unlatch <customerId> [reason]`; `typed` holds the digits as typed."""

    customer_id: int
    reason: str
    typed: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Find:
    """`/unlatch find <text>`."""

    text: str


@dataclass(frozen=True, slots=True)
class History:
    """`/unlatch history [customerId]`."""

    customer_id: int | None


@dataclass(frozen=True, slots=True)
class Pending:
    """`/unlatch pending`."""


@dataclass(frozen=True, slots=True)
class Help:
    """`/unlatch help`, or `/unlatch` alone."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A text that is none of these; `why` says what is wrong with it."""

    why: str


Command = Ask | Find | History | Pending | Help | Malformed


def parse(text: str) -> Command:
    """Parse the text of a slash command; raises nothing.

    Slack sends `&`, `<` and `>` as entities (docs.slack.dev, "Formatting message text").
    """
    words = _printable(_unescaped(text)).split(maxsplit=1)
    first = words[0] if words else ""
    rest = words[1].strip() if len(words) > 1 else ""
    if first.lower() in ("help", ""):
        return Help() if first else Malformed("The customer's id is missing.")
    if first.lower() == "find":
        searchable = any(c.isalnum() for c in rest)
        return (
            Find(rest) if searchable else Malformed("There are no letters or digits to search for.")
        )
    if first.lower() in ("history", "pending"):
        return _history(rest) if first.lower() == "history" else _pending(rest)
    customer_id = _customer_id(first)
    if isinstance(customer_id, Malformed):
        return customer_id
    if len(rest) > MAX_REASON_LENGTH:
        return Malformed(f"The reason is longer than {MAX_REASON_LENGTH} characters.")
    return Ask(customer_id, _visible(" ".join(rest.split())), first.removeprefix("#"))


def _unescaped(text: str) -> str:
    # only these three: html.unescape would turn "&#49;" into a digit
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _printable(text: str) -> str:
    # databases refuse some control characters and lone surrogates
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _visible(reason: str) -> str:
    """Empty if no character is visible; otherwise unchanged, with an emoji's joiners."""
    visible = any(unicodedata.category(c)[0] not in "CZ" for c in reason)
    return reason if visible else ""


def _history(rest: str) -> History | Malformed:
    if not rest:
        return History(None)
    customer_id = _customer_id(rest)
    return customer_id if isinstance(customer_id, Malformed) else History(customer_id)


def _pending(rest: str) -> Pending | Malformed:
    return Malformed("Nothing can follow “pending”.") if rest else Pending()


def _customer_id(word: str) -> int | Malformed:
    digits = word.removeprefix("#")
    # int() and \d also accept other scripts' digits, which are easy to misread
    if not re.fullmatch(r"[0-9]+", digits):
        return Malformed(
            f"{word[:40]!r} is not a customer id: digits only."
            " (/unlatch find searches names and references.)"
        )
    if len(digits) > MAX_DIGITS:
        return Malformed(f"A customer id has at most {MAX_DIGITS} digits.")
    if int(digits) == 0:
        return Malformed("No customer has the id 0.")
    return int(digits)
