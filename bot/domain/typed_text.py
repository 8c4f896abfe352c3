"""Reads the text after `/unlatch`: what could mean two things is asked about, never guessed.

Text to words, each word to its meaning (`cells`), meanings to a command (`commands`). What begins
with no id, no address and no command's word is searched for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Literal

from bot.domain.cells import (
    ADDRESS,
    ANY_PAGES,
    Meaning,
    NoId,
    Pages,
    doubts_of,
    ids_of,
    is_address,
    is_joiner,
    meaning,
    one_number,
    tidy,
    why_not,
)
from bot.domain.commands import (
    MAX_CUSTOMERS,
    MAX_DIGITS,
    MAX_REASON_LENGTH,
    TOO_LONG,
    Ask,
    Asked,
    Command,
    Doubt,
    Find,
    Help,
    History,
    Malformed,
    Many,
    Pending,
    Question,
    UndoOf,
    asked,
    tidy_reason,
    too_many,
)
from bot.domain.moves import read_move
from bot.domain.plain_text import UNSEEN, blanked, searchable, trimmed, without_links
from bot.domain.values import value

MAX_SEARCH_LENGTH = 255
MAX_SEARCHED_IDS = 5
"""Each is one call to Fusebill."""
FIND_USAGE = "find <text>"
HISTORY_USAGE = "history [Stax Bill ID]"
SEARCH = "(To search names and references, begin with the word find.)"
_UNDOES = frozenset({"undo", "latch", "relatch"})
_BUTTONS = {
    **dict.fromkeys(_UNDOES, ("Undo…", HISTORY_USAGE)),
    **dict.fromkeys(("cancel", "decline"), ("Cancel", "pending")),
    **dict.fromkeys(("confirm", "approve"), ("Unlatch …", "pending")),
    "stop": ("Stop", "pending"),
}
"""Words for what only a button does: its label, and the command whose list links to its card."""
_BETWEEN = " ,;\n"
_WORD = re.compile(rf"(?P<gap>[{_BETWEEN}]*)(?P<word>{ADDRESS}|[^{_BETWEEN}]+)")
_THOUSANDS = re.compile(
    rf"(?<![^\s;{UNSEEN}])#?[1-9][0-9]{{0,2}}(?:,[{UNSEEN}]*[0-9]{{3}})+,?(?![^\s;{UNSEEN}])"
)
_DECIMALS = re.compile(r"(?<![^\s;])#?[0-9]+,[0-9]{1,2}(?![^\s;])")
_BLANKS_FOR_THOUSANDS = re.compile(r"#?[1-9][0-9]{0,2}( [0-9]{3})+")


@value
class _Word:
    """One word of a text and where it stands; `listed` as one of several ids is, after a separator.

    `number` is what looks like one number with separators, if the word is a part of that.
    """

    typed: str
    meaning: Meaning
    start: int
    end: int
    listed: bool
    begins_line: bool
    number: str

    @property
    def names(self) -> bool:
        """Whether this names a customer, or may."""
        return isinstance(self.meaning, int | Doubt)

    @property
    def is_address(self) -> bool:
        """Whether this is an address, of whatever."""
        return is_address(tidy(self.typed))


def parse(text: str, pages: Pages = ANY_PAGES) -> Command:
    """Parse the text of a slash command; raises nothing.

    Slack sends `&`, `<` and `>` as entities (docs.slack.dev, "Formatting message text").
    """
    plain = trimmed(_plain(trimmed(_unescaped(text))))
    first, rest = (trimmed(each) for each in [*plain.split(maxsplit=1), "", ""][:2])
    match first.lower():
        case "" | "help":
            return Help()
        case "find":
            return _find(rest, FIND_USAGE, pages)
        case "history":
            return _history(rest, pages)
        case "pending" | "many" as word:
            return _alone(word, rest)
        case "move":
            return read_move(rest, pages)
        case word:
            return _no_command(word, rest, pages) or _ask(plain, pages)


def _ask(text: str, pages: Pages) -> Asked | Find:
    """What a text means that begins with no command's word."""
    words = _words(text, pages)
    if not words or words[0].meaning is None:
        return _find(text, "<Stax Bill ID> [reason]", pages)
    if isinstance(words[0].meaning, NoId):
        return Malformed(words[0].meaning.why)
    ids = _leading(words)
    listed = [*ids[:1], *takewhile(lambda word: word.names and word.listed, ids[1:])]
    beside = _beside(words[len(ids) :])
    slip = _slip(words[len(ids) :]) if len(listed) == len(ids) else _blanks(ids)
    if why := slip or next((one_number(each.number) for each in listed if each.number), ""):
        return Malformed(why)
    many = _reading(text, words, len(ids), beside)
    count = len(many.customer_ids) + len(many.doubts)
    if count > MAX_CUSTOMERS:
        return Malformed(too_many(count))
    if len(listed) == len(ids) and not beside:
        return _one_meaning(many)
    return _two_meanings(many, _reading(text, words, len(listed)), beside)


def _one_meaning(reading: Ask) -> Asked:
    if not reading.doubts:
        return asked(reading.customer_ids, reading.reason)
    return Malformed(TOO_LONG) if len(reading.reason) > MAX_REASON_LENGTH else Question(reading)


def _two_meanings(many: Ask, few: Ask, beside: Sequence[_Word]) -> Asked:
    if few.doubts:
        return Malformed(few.doubts[0].why)
    if len(many.reason) > MAX_REASON_LENGTH:
        return Malformed(TOO_LONG)
    if len(few.reason) > MAX_REASON_LENGTH:
        return Malformed(
            f"If these numbers are ids, type commas between them. If not, {TOO_LONG[0].lower()}"
            f"{TOO_LONG[1:]}"
        )
    if many.doubts:
        return Question(many, few)
    why = next((each.meaning.why for each in beside if isinstance(each.meaning, NoId)), "")
    return Question(many, few, why)


def _words(text: str, pages: Pages) -> list[_Word]:
    numbers = list(_THOUSANDS.finditer(text)) if "," in text else []
    if ";" in text:
        numbers += _DECIMALS.finditer(text)
    found = []
    for each in _WORD.finditer(text):
        typed, start, gap = trimmed(each["word"]), each.start("word"), each["gap"]
        if not typed:
            continue
        number = next((searchable(n[0]) for n in numbers if n.start() <= start < n.end()), "")
        what, begins_line = meaning(typed, pages), "\n" in gap
        doubtful_page = isinstance(what, Doubt) and what.is_address
        listed = (begins_line or not gap.isspace()) and not doubtful_page
        found.append(_Word(typed, what, start, each.end(), listed, begins_line, number))
    return found


def _leading(words: Sequence[_Word]) -> list[_Word]:
    """The ids that a text begins with, and the words that join two of them."""
    found: list[_Word] = []
    for word, following in zip(words, [*words[1:], None], strict=True):
        whole = following is not None and following.names and not following.number
        if not (word.names or (found and whole and is_joiner(word.typed))):
            break
        found.append(word)
    return found


def _beside(rest: Sequence[_Word]) -> list[_Word]:
    """What the reason holds that somebody may have meant as a customer.

    That is any address right after the ids, and the ids listed after that. After words it is what
    may name a customer: an address, or an id that begins a line.
    """
    first = list(takewhile(lambda word: word.is_address or (word.names and word.listed), rest))
    later = [each for each in rest[len(first) :] if each.names]
    return [*first, *(each for each in later if each.is_address or each.begins_line)]


def _slip(rest: Sequence[_Word]) -> str:
    """What is wrong with the word after the ids, if it was meant as one; empty for a reason."""
    if not rest or rest[0].is_address or not rest[0].listed:
        return ""
    word, following = rest[0], rest[1:2]
    if not any(c.isdigit() for c in word.typed):
        return ""
    # after a separator, "3rd party" is a reason; "12.5", "#31x" and "31x, 3100025" are ids mistyped
    only_signs = not any(c.isalpha() for c in word.typed)
    in_a_list = any(each.listed and each.names for each in following)
    meant_as_id = only_signs or in_a_list or word.typed.startswith("#")
    return why_not(word.typed) if meant_as_id else ""


def _blanks(ids: Sequence[_Word]) -> str:
    """What is wrong with `2 554 529`, which nobody means as three customers; empty if nothing is.

    Numbers with blanks for thousands separators are as short as no list of ids is.
    """
    typed = " ".join(each.typed for each in ids)
    if not _BLANKS_FOR_THOUSANDS.fullmatch(typed):
        return ""
    number = typed.removeprefix("#").replace(" ", "")[:MAX_DIGITS]
    return (
        f"Is {number} one id? Then type it without blanks. If not, type a comma between the ids,"
        " or a word before the reason."
    )


def _reading(text: str, words: Sequence[_Word], count: int, beside: Sequence[_Word] = ()) -> Ask:
    """The first `count` words and those `beside` as customers, and all else as the reason."""
    meanings = [each.meaning for each in [*words[:count], *beside]]
    at = words[count].start if count < len(words) else len(text)
    reason = ""
    for each in beside:
        reason, at = reason + text[at : each.start], each.end
    reason = (reason + text[at:]).lstrip(_BETWEEN if beside else "")
    return Ask(ids_of(meanings), tidy_reason(reason), doubts_of(meanings))


def _find(text: str, usage: str, pages: Pages) -> Find | Malformed:
    wanted = searchable(without_links(text))
    if not any(c.isalnum() for c in wanted):
        return Malformed("There are no letters or digits to search for.", usage)
    if len(wanted) > MAX_SEARCH_LENGTH:
        why = f"The text to search for is longer than {MAX_SEARCH_LENGTH} characters."
        # rows are for the form
        return Malformed(why, "many" if "\n" in text else FIND_USAGE)
    words = [each for each in _words(text, pages) if not each.number]
    # a sentence has its stops
    meanings = [meaning(each.typed.strip(".:!?()[]"), pages) for each in words]
    return Find(wanted, ids_of(meanings)[:MAX_SEARCHED_IDS])


def _history(rest: str, pages: Pages) -> History | Malformed:
    typed = trimmed(rest).rstrip(",;")
    if not typed:
        return History(None)
    match meaning(typed, pages):
        case int() as customer_id:
            return History(customer_id)
        case Doubt() | NoId() as found:
            return Malformed(found.why, HISTORY_USAGE)
        case _:
            return Malformed(f"{why_not(typed)} {SEARCH}", HISTORY_USAGE)


def _no_command(word: str, rest: str, pages: Pages) -> UndoOf | Malformed | None:
    """Where to find the button that does what a word says; None for any other word."""
    if word not in _BUTTONS:
        return None
    after = _words(rest, pages)
    if word in _UNDOES and after and isinstance(after[0].meaning, int):
        return UndoOf(after[0].meaning)
    label, listing = _BUTTONS[word]
    why = f"“{word}” is no command, so nothing was done."
    where = f"{label} is a button on the request's card, and a list links to the card."
    return Malformed(f"{why} {where}", listing)


def _alone(word: Literal["pending", "many"], rest: str) -> Pending | Many | Malformed:
    if rest:
        return Malformed(f"Nothing can follow “{word}”.", word)
    return Pending() if word == "pending" else Many()


def _plain(text: str) -> str:
    """The text with line feeds as its only line breaks, and blanks for other space and controls."""
    return "\n".join(map(blanked, re.split("\r\n|\r|\n", text)))


def _unescaped(text: str) -> str:
    # only these three: html.unescape would turn "&#49;" into a digit
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
