"""Parses the text after `/unlatch`; what could mean two things is asked about, never guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from bot.domain.addresses import (
    ADDRESS,
    NoId,
    host_of,
    id_in_address,
    is_address,
    is_of_customer,
)
from bot.domain.batch_input import (
    MAX_CUSTOMERS,
    MAX_DIGITS,
    Ambiguous,
    Reading,
    Refused,
    is_joiner,
    read_ids,
)
from bot.domain.typed_text import (
    one_line,
    printable,
    searchable,
    trimmed,
    unquoted,
    visible,
    without_links,
)

MAX_REASON_LENGTH = 500
MAX_SEARCH_LENGTH = 255
TOO_LONG = f"The reason is longer than {MAX_REASON_LENGTH} characters."
ASK_USAGE = "<customerId> [reason]"
FIND_USAGE = "find <text>"
HISTORY_USAGE = "history [customerId]"
SEARCH = "(/unlatch find searches names and references.)"
_BUTTONS = {
    **dict.fromkeys(("undo", "latch", "relatch"), ("Undo…", HISTORY_USAGE)),
    **dict.fromkeys(("cancel", "decline"), ("Cancel", "pending")),
    **dict.fromkeys(("confirm", "approve"), ("Unlatch customer", "pending")),
    "stop": ("Stop", "pending"),
}
"""Words for what only a button does: its label, and the command whose list links to its card."""
_WORD = re.compile(rf"[\s,;]*(?P<word>{ADDRESS}|[^\s,;]+)")


@dataclass(frozen=True, slots=True)
class Ask:
    """`/unlatch <customerId> [reason]`; `typed` holds the digits as typed."""

    customer_id: int
    reason: str
    typed: str = field(default="", compare=False)

    @property
    def customer_ids(self) -> tuple[int, ...]:
        """The one customer, as `AskMany` names several."""
        return (self.customer_id,)


@dataclass(frozen=True, slots=True)
class AskMany:
    """`/unlatch <customerId>, <customerId> [reason]`: two customers or more, each once."""

    customer_ids: tuple[int, ...]
    reason: str
    typed: str = field(default="", init=False, compare=False)


@dataclass(frozen=True, slots=True)
class AmbiguousAsk:
    """`/unlatch <number> <number> …`: the second is an id, or begins the reason."""

    ambiguous: Ambiguous


@dataclass(frozen=True, slots=True)
class Many:
    """`/unlatch many`: a form to paste many ids into."""


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
    """A text that is none of these; `why` says what is wrong, `usage` what to type after /unlatch.

    The usage is that of what the person wanted: whoever looks for something must not be told how to
    ask for an unlatch.
    """

    why: str
    usage: str = ASK_USAGE


Command = Ask | AskMany | AmbiguousAsk | Many | Find | History | Pending | Help | Malformed


def parse(text: str, customer_url: str | None = None) -> Command:
    """Parse the text of a slash command; raises nothing.

    `customer_url` is the address of a customer's page, with `{id}`: such an address is an id too.
    Slack sends `&`, `<` and `>` as entities (docs.slack.dev, "Formatting message text").
    """
    typed = trimmed(_unescaped(text))
    words = trimmed(printable(typed)).split(maxsplit=1)
    first = trimmed(words[0]) if words else ""
    rest = words[1].strip() if len(words) > 1 else ""
    match first.lower():
        case "":
            return Malformed("The customer's id is missing.")
        case "help":
            return Help()
        case "find":
            return _find(rest)
        case "history":
            return _history(rest, customer_url)
        case "pending" | "many" as word:
            return _alone(word, rest)
        case word:
            return _no_command(word) or _ask(first, typed, customer_url)


def asked(customer_ids: Sequence[int], reason: str, typed: str = "") -> Ask | AskMany | Malformed:
    """Ask about these customers, by an id or several; raises nothing.

    The reason becomes one line, and is none if nobody sees anything of it.
    """
    reason = _reason(reason)
    if len(reason) > MAX_REASON_LENGTH:
        return Malformed(TOO_LONG)
    different = tuple(dict.fromkeys(customer_ids))
    valid = all(0 < each < 10**MAX_DIGITS for each in different)
    if not (valid and 0 < len(different) <= MAX_CUSTOMERS):
        return Malformed(f"A card is about 1 to {MAX_CUSTOMERS} customers.")
    if len(different) == 1:
        return Ask(different[0], reason, typed or str(different[0]))
    return AskMany(different, reason)


def _ask(
    first: str, text: str, customer_url: str | None
) -> Ask | AskMany | AmbiguousAsk | Malformed:
    text_with_ids = _with_ids(text, customer_url)
    if isinstance(text_with_ids, Malformed):
        return text_with_ids
    text = text_with_ids
    found = read_ids(text)
    match found:
        case Refused(why=why):
            return Malformed(why if any(map(str.isdigit, first)) else f"{why} {SEARCH}")
        case Reading(customer_ids=customer_ids, reason=reason):
            typed = re.search("[0-9]+", text)
            return asked(customer_ids, reason, typed[0] if typed else "")
        case Ambiguous(many=many, few=few):
            return _ambiguous(many, few)
        case _:
            assert_never(found)


def _with_ids(text: str, customer_url: str | None) -> str | Malformed:
    """The text with ids for the addresses that it begins with, and those among its first ids.

    What separates them stays. An address after the first id may also belong to the reason: it is an
    id only if it is that of a customer's page, or of the same site as one before it.
    """
    read, at, hosts = "", 0, set[str]()
    while word := _WORD.match(text, at):
        typed = trimmed(word["word"])
        if is_address(typed):
            if read and not (host_of(typed) in hosts or is_of_customer(typed, customer_url)):
                break
            digits = _digits(typed, customer_url)
            if isinstance(digits, Malformed):
                return digits
            hosts.add(host_of(typed))
            read += text[at : word.start("word")] + digits
        elif re.fullmatch("#?[0-9]+", unquoted(typed)) or (read and is_joiner(typed)):
            read += word[0]
        else:
            break
        at = word.end()
    return read + text[at:]


def _ambiguous(many: Reading, few: Reading) -> AmbiguousAsk | Malformed:
    many, few = (Reading(each.customer_ids, _reason(each.reason)) for each in (many, few))
    if len(many.reason) > MAX_REASON_LENGTH:
        return Malformed(TOO_LONG)
    if len(few.reason) > MAX_REASON_LENGTH:
        return Malformed(
            f"If these numbers are ids, type commas between them. If not, {TOO_LONG[0].lower()}"
            f"{TOO_LONG[1:]}"
        )
    return AmbiguousAsk(Ambiguous(many, few))


def _reason(typed: str) -> str:
    reason = one_line(printable(typed))
    return reason if visible(reason) else ""


def _find(rest: str) -> Find | Malformed:
    wanted = searchable(without_links(rest))
    if not any(c.isalnum() for c in wanted):
        return Malformed("There are no letters or digits to search for.", FIND_USAGE)
    if len(wanted) > MAX_SEARCH_LENGTH:
        why = f"The text to search for is longer than {MAX_SEARCH_LENGTH} characters."
        return Malformed(why, FIND_USAGE)
    return Find(wanted)


def _history(rest: str, customer_url: str | None) -> History | Malformed:
    if not trimmed(rest):
        return History(None)
    digits = _digits(trimmed(rest), customer_url)
    if isinstance(digits, Malformed):
        return replace(digits, usage=HISTORY_USAGE)
    return History(int(digits))


def _unescaped(text: str) -> str:
    # only these three: html.unescape would turn "&#49;" into a digit
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _alone(word: Literal["pending", "many"], rest: str) -> Pending | Many | Malformed:
    if rest:
        return Malformed(f"Nothing can follow “{word}”.", word)
    return Pending() if word == "pending" else Many()


def _no_command(word: str) -> Malformed | None:
    """Where to find the button that does what a word says; None for any other word."""
    if word not in _BUTTONS:
        return None
    label, listing = _BUTTONS[word]
    why = f"“{word}” is no command, so nothing was done."
    where = f"{label} is a button on the request's card, and a list links to the card."
    return Malformed(f"{why} {where}", listing)


def _digits(word: str, customer_url: str | None) -> str | Malformed:
    """The digits of a customer id, as typed or in an address."""
    if is_address(word):
        found = id_in_address(word, customer_url)
        return Malformed(found.why) if isinstance(found, NoId) else _checked(found)
    digits = unquoted(word.rstrip(",;")).removeprefix("#")
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
    return f"{word[:40]!r} is not a customer id: digits only. {SEARCH}"
