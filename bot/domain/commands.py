"""Parses the text after `/unlatch`; what could mean two things is asked about, never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bot.domain.typed_text import one_line, printable, searchable, trimmed, visible

MAX_DIGITS = 18
MAX_REASON_LENGTH = 500
HUBSPOT = ("hubspot.com",)


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


def parse(text: str, customer_url: str | None = None) -> Command:
    """Parse the text of a slash command; raises nothing.

    `customer_url` is the address of a customer's page, with `{id}`: such an address is an id too.
    Slack sends `&`, `<` and `>` as entities (docs.slack.dev, "Formatting message text").
    """
    words = trimmed(printable(_unescaped(text))).split(maxsplit=1)
    first = trimmed(words[0]) if words else ""
    rest = words[1].strip() if len(words) > 1 else ""
    if first.lower() in ("help", ""):
        return Help() if first else Malformed("The customer's id is missing.")
    if first.lower() == "find":
        wanted = searchable(rest)
        found = any(c.isalnum() for c in wanted)
        return Find(wanted) if found else Malformed("There are no letters or digits to search for.")
    if first.lower() in ("history", "pending"):
        return _history(rest, customer_url) if first.lower() == "history" else _pending(rest)
    return _ask(first, rest, customer_url)


def _ask(first: str, rest: str, customer_url: str | None) -> Ask | Malformed:
    digits = _digits(first, customer_url)
    if isinstance(digits, Malformed):
        return digits
    if several := _several([digits, *rest.replace(",", " ").replace(";", " ").split()]):
        return several
    reason = one_line(rest)
    if len(reason) > MAX_REASON_LENGTH:
        return Malformed(f"The reason is longer than {MAX_REASON_LENGTH} characters.")
    return Ask(int(digits), reason if visible(reason) else "", digits)


def _history(rest: str, customer_url: str | None) -> History | Malformed:
    if not trimmed(rest):
        return History(None)
    digits = _digits(trimmed(rest), customer_url)
    return digits if isinstance(digits, Malformed) else History(int(digits))


def _unescaped(text: str) -> str:
    # only these three: html.unescape would turn "&#49;" into a digit
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _pending(rest: str) -> Pending | Malformed:
    return Malformed("Nothing can follow “pending”.") if rest else Pending()


def _digits(word: str, customer_url: str | None) -> str | Malformed:
    """The digits of a customer id, as typed or in an address."""
    if re.match(r"<?https?://", word, re.IGNORECASE):
        return _checked(_in_address(word, customer_url))
    if re.fullmatch(r"#?[0-9]+([,;]#?[0-9]+)+[,;]?", word):
        return _several(re.findall("[0-9]+", word)) or Malformed(_not_an_id(word))
    digits = word.removeprefix("#").rstrip(",;")
    # int() and \d also accept other scripts' digits, which are easy to misread
    return _checked(digits if re.fullmatch(r"[0-9]+", digits) else Malformed(_not_an_id(word)))


def _checked(digits: str | Malformed) -> str | Malformed:
    if isinstance(digits, Malformed):
        return digits
    if len(digits) > MAX_DIGITS:
        return Malformed(f"A customer id has at most {MAX_DIGITS} digits.")
    if int(digits) == 0:
        return Malformed("No customer has the id 0.")
    return digits


def _not_an_id(word: str) -> str:
    return (
        f"{word[:40]!r} is not a customer id: digits only."
        " (/unlatch find searches names and references.)"
    )


def _several(words: list[str]) -> Malformed | None:
    """What to do about more numbers than one in a row; None if there is only one."""
    numbers: list[str] = []
    for word in words:
        number = trimmed(word).removeprefix("#")
        if not re.fullmatch(r"0*[1-9][0-9]*", number) or len(numbers) > MAX_DIGITS:
            break
        numbers.append(number)
    if len(numbers) <= 1:
        return None
    whole = "".join(numbers)
    if len(whole) <= MAX_DIGITS and all(re.fullmatch("[0-9]{3}", each) for each in numbers[1:]):
        return Malformed(
            f"Is {whole[:MAX_DIGITS]} one id? Then type it without blanks or commas. If not: one"
            " command for each customer."
        )
    return Malformed(
        f"{numbers[0][:MAX_DIGITS]} and {numbers[1][:MAX_DIGITS]} are two numbers, and nothing was"
        " done: use one command for each customer. If the reason begins with a number, put a word"
        " before it."
    )


def _in_address(word: str, customer_url: str | None) -> str | Malformed:
    """The id in the address of a customer's page, or the only number in an address's path."""
    # Slack may send <address|label>
    address = word.strip("<>").split("|")[0]
    if customer_url:
        before, _, after = map(re.escape, customer_url.partition("{id}"))
        if fits := re.fullmatch(f"{before}([0-9]+){after}([/?#].*)?", address):
            return fits[1]
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return Malformed(_not_an_id(word))
    if host.endswith(HUBSPOT):
        return Malformed("This is an address of HubSpot; type the customer's id in Fusebill.")
    numbers = [part for part in parts.path.split("/") if re.fullmatch("[0-9]+", part)]
    if len(numbers) == 1:
        return numbers[0]
    count = "no number" if not numbers else "several numbers"
    return Malformed(f"This address has {count} in its path, so type the customer's id.")
