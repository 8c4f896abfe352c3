"""Says what a cell may mean by itself: a word that somebody typed, or a cell of pasted rows.

A cell is an id whole or not at all. Source: support.staxbill.com/hc/en-us/articles/7311637035923
("Stax Bill ID" is what Fusebill's API calls `id`, "Customer ID" what it calls `reference`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.domain.addresses import NoId, is_address, read_address
from bot.domain.commands import MAX_DIGITS, Doubt
from bot.domain.plain_text import trimmed, unquoted

QUOTED_LENGTH = 40
_JOINERS = frozenset({"and", "&", "+", "plus", "/", "|", "und", "et", "y", "-", "\u2013", "\u2014"})
_GROUPED = re.compile(r"#?[1-9][0-9]{0,2}([.'\u2019][0-9]{3})+")
_FORMULA = re.compile('="(?P<text>.*)"')
NO_CUSTOMER_0 = "No customer has the id 0."


@dataclass(frozen=True, slots=True)
class Id:
    """A customer's id; `typed` holds its digits."""

    customer_id: int
    typed: str


Meaning = Id | Doubt | NoId | None
"""None stands for words, and for numbers that nobody would take for an id."""


def meaning(cell: str, customer_url: str | None) -> Meaning:
    """What a whole cell means; for `customer_url` see `read_address`."""
    cell = tidy(cell)
    if is_address(cell):
        found = read_address(cell, customer_url)
        if isinstance(found, NoId):
            return found
        number = _of_digits(found.digits) or NoId(why_not(found.digits))
        if isinstance(number, NoId) or number.customer_id is None:
            return NoId(why_not(found.digits))
        if found.certain and isinstance(number, Id):
            return number
        return Doubt(cell, number.customer_id, is_address=True)
    if _GROUPED.fullmatch(cell):
        return NoId(one_number(cell))
    # int() and \d also accept other scripts' digits, which are easy to misread
    return _of_digits(cell.removeprefix("#")) if re.fullmatch("#?[0-9]+", cell) else None


def _of_digits(digits: str) -> Meaning:
    if digits == "0":
        return NoId(NO_CUSTOMER_0)
    number = digits.lstrip("0")
    customer_id = int(number) if number and len(number) <= MAX_DIGITS else None
    if digits[0] == "0":
        return Doubt(digits, customer_id)
    return Id(customer_id, digits) if customer_id else None


def why_not(cell: str) -> str:
    """Why a cell is not a customer's id."""
    shown, cell = repr(cell[:QUOTED_LENGTH]), tidy(cell)
    if not re.fullmatch("#?[0-9]+", cell):
        return f"{shown} is not a Stax Bill ID: digits only."
    if not cell.strip("#0"):
        return NO_CUSTOMER_0
    return f"{shown} is too long: a Stax Bill ID has at most {MAX_DIGITS} digits."


def why_in_doubt(doubt: Doubt) -> str:
    """Why somebody must say whom a number means, where a text is too unclear to ask about it."""
    if doubt.is_address:
        return "This address may be another record's: type the Stax Bill ID, digits only."
    typed = doubt.typed[:QUOTED_LENGTH]
    return (
        f"“{typed}” begins with 0, so it may be a reference (a “Customer ID”)."
        f" To see whose: /unlatch find {typed}"
    )


def one_number(cell: str) -> str:
    """What is wrong with 2,554,529 or 2.554.529."""
    return (
        f"{cell[:QUOTED_LENGTH]!r} looks like one number with thousands separators."
        " In an id, type digits only; after an id, type a comma and a blank."
    )


def tidy(cell: str) -> str:
    """A cell without blanks and quotes around it, nor a spreadsheet's marks (`="007"`, `'7`)."""
    cell = trimmed(cell)
    formula = _FORMULA.fullmatch(cell)
    return unquoted(trimmed(formula["text"] if formula else cell)).lstrip("'")


def is_joiner(word: str) -> bool:
    """Whether a word may stand between two ids that somebody means together."""
    return word.lower() in _JOINERS


def ids_of(meanings: Iterable[Meaning]) -> tuple[int, ...]:
    """The certain ids among meanings, each once, in order."""
    return tuple(dict.fromkeys(each.customer_id for each in meanings if isinstance(each, Id)))


def doubts_of(meanings: Iterable[Meaning]) -> tuple[Doubt, ...]:
    """The doubtful ones among meanings, each once, in order."""
    return tuple(dict.fromkeys(each for each in meanings if isinstance(each, Doubt)))
