"""Reads the text after `/unlatch move`: which customer, what it is to be latched to, and why.

A bare number is a customer's id, never one of HubSpot: those have a word before them, or an address
around them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain.cells import (
    ADDRESS,
    ANY_PAGES,
    NoId,
    Pages,
    is_address,
    meaning,
    read_record,
    tidy,
    why_not,
)
from bot.domain.commands import (
    MAX_DIGITS,
    MAX_REASON_LENGTH,
    MOVE_USAGE,
    QUOTED_LENGTH,
    TOO_LONG,
    Doubt,
    Malformed,
    Move,
    tidy_reason,
)
from bot.domain.models import Customer, HubSpotIds
from bot.domain.values import value

FIELDS = {"contact": "vid", "company": "company_id"}
"""The words for HubSpot's ids, and their names in `HubSpotIds`."""
_WORD = re.compile(rf"{ADDRESS}|[^\s,;]+")
_ID = re.compile(rf"#?([1-9][0-9]{{0,{MAX_DIGITS - 1}}})")
_SAY_NOTHING = frozenset({"and", "&", "+", "customer", *FIELDS})
"""Words that may stand before an id or an address."""


@value
class _Part:
    """What some `words` name: a field of `HubSpotIds` with its id, or a `customer`."""

    name: str
    value: int | None
    words: int


def read_move(text: str, pages: Pages = ANY_PAGES) -> Move | Malformed:
    """What follows `/unlatch move`; raises nothing."""
    words = list(_WORD.finditer(text))
    typed = [each[0] for each in words]
    first = meaning(typed[0], pages) if typed else None
    if not isinstance(first, int):
        return Malformed(_no_customer(typed[:1], first), MOVE_USAGE)
    at, parts = 2 if typed[1:2] and typed[1].lower() == "to" else 1, list[_Part]()
    while part := _part(typed[at:], pages):
        if isinstance(part, NoId):
            return Malformed(part.why, MOVE_USAGE)
        parts.append(part)
        at += part.words
    reason = tidy_reason(text[words[at].start() :]) if at < len(words) else ""
    if why := _contradiction(first, parts, reason):
        return Malformed(why, MOVE_USAGE)
    return _moved(first, parts, reason)


def read_fields(
    customer_id: int,
    fields: Mapping[str, str],
    reason: str,
    pages: Pages = ANY_PAGES,
) -> Move | dict[str, str]:
    """What somebody typed into a form's `contact`, `company` and `customer`.

    Or what is wrong, by field. "None" removes an id; a number is what its field says.
    """
    parts, wrong = list[_Part](), dict[str, str]()
    for name, typed in fields.items():
        if not (word := tidy(typed)):
            continue
        words = ["no", name] if word.lower() == "none" else [name, word]
        part = _part(words, pages)
        if isinstance(part, _Part) and part.name == FIELDS.get(name, name):
            parts.append(part)
        else:
            shown = f"“{word[:QUOTED_LENGTH]}” names no {name}."
            wrong[name] = part.why if isinstance(part, NoId) else shown
    reason = tidy_reason(reason)
    if not (parts or wrong):
        wrong["contact"] = "Type what it is to be latched to, or another customer."
    if not wrong and (why := _contradiction(customer_id, parts, reason)):
        wrong[next(iter(fields))] = why
    return wrong or _moved(customer_id, parts, reason)


def _moved(customer_id: int, parts: Sequence[_Part], reason: str) -> Move:
    to = next((part.value for part in parts if part.name == "customer"), None)
    return Move(customer_id, {} if to else {part.name: part.value for part in parts}, to, reason)


def _part(words: Sequence[str], pages: Pages) -> _Part | NoId | None:
    """What the next words name; None where the reason begins."""
    if by_label := _labelled(*[*words, "", ""][:2]):
        return by_label
    if words and words[0].lower().rstrip(":") in _SAY_NOTHING:
        found = _part(words[1:], pages)
        return replace(found, words=found.words + 1) if isinstance(found, _Part) else None
    return _unlabelled(words[0], pages) if words else None


def _labelled(word: str, following: str) -> _Part | NoId | None:
    """An id of HubSpot with its word, or that word with "no" before it."""
    label, name = word.lower().rstrip(":"), following.lower()
    if label == "no" and name in FIELDS:
        return _Part(FIELDS[name], None, 2)
    if label in FIELDS and (number := _ID.fullmatch(following)):
        return _Part(FIELDS[label], int(number[1]), 2)
    if label in FIELDS and any(c.isdigit() for c in following) and not is_address(tidy(following)):
        shown = following[:QUOTED_LENGTH]
        return NoId(f"“{shown}” is not the id of a {label} in HubSpot: digits only.")
    return None


def _unlabelled(word: str, pages: Pages) -> _Part | NoId | None:
    if record := read_record(tidy(word), pages):
        return record if isinstance(record, NoId) else _Part(FIELDS[record[0]], record[1], 1)
    found = meaning(word, pages)
    if isinstance(found, int):
        return _Part("customer", found, 1)
    return NoId(found.why) if found else None


def _no_customer(typed: Sequence[str], found: Doubt | NoId | None) -> str:
    if found:
        return found.why
    return why_not(typed[0]) if typed else "Which customer is it, and what does it move to?"


def _contradiction(customer_id: int, parts: Sequence[_Part], reason: str) -> str:
    """Why the parts don't go together; empty if they do."""
    named = Counter(part.name for part in parts)
    customers = [part.value for part in parts if part.name == "customer"]
    if customers and len(parts) > 1:
        return (
            "A customer moves to another contact and company, or its ids to one other customer. A"
            f" bare number is a customer's id: if {customers[-1]} belongs to the reason, type a"
            " word before it; if it is HubSpot's, type “contact” or “company” before it."
        )
    if twice := [word for word, name in FIELDS.items() if named[name] > 1]:
        return f"Two ids are named for the {twice[0]}: a customer has one."
    if customers == [customer_id]:
        return "Both are the same customer."
    if len(parts) == len(FIELDS) and not any(part.value for part in parts):
        return "That is an unlatch: leave out “move”."
    return TOO_LONG if len(reason) > MAX_REASON_LENGTH else ""


def moved(
    customers: Sequence[Customer], move: Move
) -> tuple[Sequence[Customer], Sequence[HubSpotIds]]:
    """The customers that change, and the ids that each is to have."""
    first, named = customers[0].ids, move.ids
    if move.to is None:
        return customers, [replace(first, **named)]
    if named:
        return customers[1:], [HubSpotIds(**named)]
    return customers, [HubSpotIds(), first]
