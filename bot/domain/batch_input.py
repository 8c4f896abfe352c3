"""Reads the ids of many customers, from a command's text or pasted from a spreadsheet.

Where a text has two meanings nothing is guessed: both are returned, or it is refused. The texts are
as people typed them, without Slack's entities.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile, zip_longest

from bot.domain.addresses import NoId, id_in_address, is_address
from bot.domain.typed_text import searchable, trimmed, unquoted

MAX_CUSTOMERS = 50
MAX_DIGITS = 18
QUOTED_LENGTH = 40

_LINE_BREAK = re.compile("\r\n|\r|\n")
_WORD = re.compile(r"(?P<gap>[ ,;\n]*)(?P<word>[^ ,;\n]+)")
_THOUSANDS = re.compile(r"#?[1-9][0-9]{0,2}(,[0-9]{3})+,?")
_BLANKS_FOR_THOUSANDS = re.compile(r"#?[1-9][0-9]{0,2}( [0-9]{3})+")
_JOINERS = frozenset({"and", "&", "+", "plus", "/", "|", "und", "et", "y", "-", "\u2013", "\u2014"})
_QUOTES = " \"'\ufeff"  # a file's first cell begins with a byte order mark

Words = Sequence[re.Match[str]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One meaning of a text: each customer once, in the order typed, and a reason of one line."""

    customer_ids: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Only blanks, or "and", stand between two numbers: the second is an id or in the reason.

    `many` takes all numbers as ids; `few` takes those before the first such place, and the rest as
    the reason.
    """

    many: Reading
    few: Reading


@dataclass(frozen=True, slots=True)
class Refused:
    """A text with an id that is none, or with too many; `why` says which and what to do."""

    why: str


@dataclass(frozen=True, slots=True)
class LineError:
    """What can't be understood in a pasted text; `line` counts from 1, None is the whole text."""

    line: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """A pasted text: each customer once, in order; valid only if there are no errors."""

    customer_ids: tuple[int, ...]
    errors: tuple[LineError, ...] = ()


def read_ids(text: str) -> Reading | Ambiguous | Refused:
    """Read `2554529, 3100017; #3100025 moved portal`; raises nothing.

    Commas, semicolons and line breaks separate ids; the reason begins at the first word that is no
    id, and may be of any length. "2554529 and 3100017" has two meanings.
    """
    words = [word for word in _WORD.finditer(_plain(text)) if trimmed(word["word"])]
    ids = list(_leading(words))
    listed = [*ids[:1], *takewhile(lambda word: _is_id(word) and _is_listed(word), ids[1:])]
    certain = len(listed) == len(ids)
    why = (_slip(words, len(ids)) if certain else _blanks(ids)) or _thousands(listed)
    if why:
        return Refused(why)
    many = _reading(words, len(ids))
    if len(many.customer_ids) > MAX_CUSTOMERS:
        return Refused(_too_many(len(many.customer_ids)))
    return many if certain else Ambiguous(many, few=_reading(words, len(listed)))


def is_joiner(word: str) -> bool:
    """Whether a word may stand between two ids that somebody means together."""
    return word.lower() in _JOINERS


def read_lines(text: str, customer_url: str | None = None) -> Pasted:
    """Read a pasted column, or rows of a spreadsheet: the first id of each line; raises nothing.

    The address of a customer's page, of the form `customer_url` or with one number, is an id too.
    """
    customer_ids: list[int] = []
    errors: list[LineError] = []
    for number, line in enumerate(_LINE_BREAK.split(text), 1):
        if not _blanked(line).strip():
            continue
        found = _id_of_line(line, customer_url)
        if isinstance(found, int):
            customer_ids.append(found)
        else:
            errors.append(LineError(number, found))
    once = _once(customer_ids)
    if len(once) > MAX_CUSTOMERS:
        errors.append(LineError(None, _too_many(len(once))))
    if not once and not errors:
        errors.append(LineError(None, "There is no customer id here: put each on its own line."))
    return Pasted(once, tuple(errors))


def _plain(text: str) -> str:
    """The text with line feeds as its only line breaks, and blanks for other space and controls."""
    return "\n".join(map(_blanked, _LINE_BREAK.split(text)))


def _blanked(line: str) -> str:
    # databases refuse some control characters and lone surrogates
    return "".join(
        " " if c.isspace() or unicodedata.category(c) in ("Cc", "Cs") else c for c in line
    )


def _customer_id(word: str) -> int | None:
    # int() and \d also accept other scripts' digits, which are easy to misread
    digits = re.fullmatch(rf"#?([0-9]{{1,{MAX_DIGITS}}})", unquoted(trimmed(word)))
    return int(digits[1]) or None if digits else None


def _why_not(word: str) -> str:
    """Why a word is not a customer's id."""
    shown = repr(word[:QUOTED_LENGTH])
    digits = unquoted(trimmed(word)).removeprefix("#")
    if not re.fullmatch("[0-9]+", digits):
        return f"{shown} is not a customer id: digits only."
    if len(digits) > MAX_DIGITS:
        return f"{shown} is too long: a customer id has at most {MAX_DIGITS} digits."
    return "No customer has the id 0."


def _is_id(word: re.Match[str]) -> bool:
    return _customer_id(word["word"]) is not None


def _is_whole_id(word: re.Match[str]) -> bool:
    """Whether a word is an id, and not the beginning of a number such as 12,345."""
    number = re.match("[^ ;\n]*", word.string[word.start("word") :])
    return _is_id(word) and not (number and _THOUSANDS.fullmatch(number[0]))


def _leading(words: Words) -> Iterator[re.Match[str]]:
    """The ids that a text begins with, and the words that join two of them."""
    for word, following in zip_longest(words, words[1:]):
        joins = following is not None and is_joiner(word["word"]) and _is_whole_id(following)
        if not (_is_id(word) or (joins and word is not words[0])):
            return
        yield word


def _is_listed(word: re.Match[str]) -> bool:
    """Whether more than blanks separate a word from the one before it."""
    return not word["gap"].isspace() or "\n" in word["gap"]


def _slip(words: Words, count: int) -> str:
    """What is wrong with the word after `count` ids, if it was meant as one; empty for a reason."""
    if not words:
        return "The customer's id is missing."
    if count == len(words):
        return ""
    word, following = words[count], words[count + 1 : count + 2]
    if count == 0:
        return _why_not(word["word"])
    has_digit = any(c.isdigit() for c in word["word"])
    if not has_digit or not _is_listed(word):
        return ""
    # after a separator, "3rd party" is a reason; "12.5", "#31x" and "31x, 3100025" are ids mistyped
    only_signs = not any(c.isalpha() for c in word["word"])
    in_a_list = any(_is_listed(each) and _is_id(each) for each in following)
    meant_as_id = only_signs or in_a_list or word["word"].startswith("#")
    return _why_not(word["word"]) if meant_as_id else ""


def _thousands(listed: Words) -> str:
    """What is wrong with `2,554,529`, which would be three customers; empty if nothing is."""
    if not listed:
        return ""
    text = listed[0].string[: listed[-1].end()]
    numbers = filter(_THOUSANDS.fullmatch, map(searchable, re.split("[ ;\n]+", text)))
    return next(
        (
            f"{each[:QUOTED_LENGTH]!r} looks like one number with thousands separators."
            " In an id, type digits only; after an id, type a comma and a blank."
            for each in numbers
        ),
        "",
    )


def _blanks(ids: Words) -> str:
    """What is wrong with `2 554 529`, which nobody means as three customers; empty if nothing is.

    Numbers with blanks for thousands separators are as short as no list of ids is.
    """
    typed = " ".join(trimmed(word["word"]) for word in ids)
    if not _BLANKS_FOR_THOUSANDS.fullmatch(typed):
        return ""
    number = typed.removeprefix("#").replace(" ", "")[:MAX_DIGITS]
    return (
        f"Is {number} one id? Then type it without blanks. If not, type a comma between the ids,"
        " or a word before the reason."
    )


def _reading(words: Words, count: int) -> Reading:
    ids = _once(_customer_id(word["word"]) for word in words[:count])
    rest = words[0].string[words[count].start("word") :] if count < len(words) else ""
    return Reading(ids, " ".join(rest.split()))


def _id_of_line(line: str, customer_url: str | None) -> int | str:
    """The first id of a line, or what is wrong with the line."""
    is_row = "\t" in line
    parts = re.split("\t" if is_row else "[,;]", line)
    cells = [cell for part in parts if (cell := _blanked(part).strip(_QUOTES))]
    words = [word for cell in cells for word in cell.split()]
    found = {word: _read_word(word, customer_url) for word in [*cells, *words]}
    numbers = [word for word in words if isinstance(found[word], int)]
    others = [word for word in words if word not in numbers and not is_joiner(word)]
    if not is_row and len(numbers) > 1 and (not others or _are_joined(words, numbers)):
        return (
            f"{len(numbers)} numbers stand in this line: put each customer on its own line,"
            " without thousands separators."
        )
    # in a row's cells, a number among words is more likely a part of a name
    candidates = cells if is_row else [*cells, *words]
    ids = [each for word in candidates if isinstance(each := found[word], int)]
    if ids:
        first = found[words[0]]
        unclear = not is_row and isinstance(first, int) and first != ids[0]
        return _either(first, ids[0]) if unclear else ids[0]
    for each in found.values():
        if isinstance(each, NoId):
            return each.why
    digits = [each for each in words if re.fullmatch("#?[0-9]+", each)]
    if digits and digits[0] in cells:
        return _why_not(digits[0])
    shown = " ".join(words)[:QUOTED_LENGTH]
    return f"There is no customer id in {shown!r}."


def _are_joined(words: Sequence[str], numbers: Sequence[str]) -> bool:
    """Whether a word such as "and" joins the first number to another one.

    A name after the id may have such a word too: `2554529 Route 66 & 67`.
    """
    begun = words[words.index(numbers[0]) :]
    run = list(takewhile(lambda word: word in numbers or is_joiner(word), begun))
    threes = zip(run, run[1:], run[2:], strict=False)
    return any(is_joiner(b) and a in numbers and c in numbers for a, b, c in threes)


def _read_word(word: str, customer_url: str | None) -> int | NoId | None:
    """The id that a word or an address is; None if it is neither."""
    if not is_address(word):
        return _customer_id(word)
    found = id_in_address(word, customer_url)
    return found if isinstance(found, NoId) else _customer_id(found) or NoId(_why_not(found))


def _either(first: object, other: int) -> str:
    return (
        f"{first} and {other} could both be the id: put each customer on its own line, and nothing"
        " but its id before the first comma."
    )


def _once(customer_ids: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(each for each in customer_ids if each is not None))


def _too_many(count: int) -> str:
    return f"These are {count} customers; one card takes at most {MAX_CUSTOMERS}. Split them up."
