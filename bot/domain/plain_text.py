"""Tidies any text of people: characters that nobody sees, odd blanks, typed quotes."""

from __future__ import annotations

import re
import unicodedata

OVERRIDE = "\u202e"
"""Shows what follows backwards, so that an id looks like another one: never dropped."""
UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point, and two blanks that count as symbols: a part of a
regular expression's set."""
_IGNORED = re.compile(f"[{UNSEEN}]")
_DROPPED = UNSEEN.replace(OVERRIDE, "\u202d")
_CONTROL = "\x00-\x1f\x7f-\x9f\ud800-\udfff"
_AROUND = re.compile(rf"^[\s{_CONTROL}{_DROPPED}]+|[\s{_CONTROL}{_DROPPED}]+$")
_QUOTES = frozenset(
    {
        *('""', "''", "``"),
        # curly, German, French and single ones
        *(
            "\u201c\u201d",
            "\u201e\u201c",
            "\u201e\u201d",
            "\u201d\u201d",
            "\u00ab\u00bb",
            "\u00bb\u00ab",
        ),
        *("\u2018\u2019", "\u201a\u2018", "\u2019\u2019", "\u2039\u203a"),
    }
)
APOSTROPHES = "'`\u2019\u2018\u02bc\u00b4\uff07"
"""What phones and keyboards type for `'`."""
_AS_TYPED = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
_MARKS = frozenset("`*_~")
"""What Slack's composer leaves around text that is copied as code, bold, italic or struck."""
_LINK = re.compile(
    r"<(?:mailto:|tel:|https?://)[^<>|\s]+\|(?P<label>[^<>]+)>"
    r"|<?\b(?:mailto:|tel:)(?P<bare>[^<>|\s]+)>?",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    """Text without control characters and lone surrogates, which databases refuse."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def trimmed(text: str) -> str:
    """Text without blanks, unseen and control characters at its ends."""
    return text.strip(" ") if _is_plain(text) else _AROUND.sub("", text)


def visible(text: str) -> bool:
    """Whether anybody sees anything of a text."""
    if _is_plain(text):
        return not text.isspace() and text != ""
    return any(unicodedata.category(c)[0] not in "CZ" for c in _IGNORED.sub("", text))


def _is_plain(text: str) -> bool:
    """Whether a text has nothing but letters, digits, blanks and signs of ASCII, as most have."""
    return text.isascii() and text.isprintable()


def one_line(text: str) -> str:
    """Text with one blank for each run of blanks; an emoji keeps its joiners."""
    return " ".join(text.split())


def blanked(text: str) -> str:
    """Text with a blank for each other kind of space, and for what databases refuse."""
    if text.isprintable():
        return text
    return "".join(" " if c.isspace() else c for c in printable(text))


def searchable(text: str) -> str:
    """What is searched: one line, without unseen characters, and without quotes around it."""
    tidy = unicodedata.normalize("NFC", one_line(_IGNORED.sub("", text)))
    if len(tidy) > 1 and tidy[0] + tidy[-1] in _QUOTES:
        tidy = tidy[1:-1].strip()
    return tidy


def unquoted(word: str) -> str:
    """A word without the quotes around it, or the marks of a format."""
    while len(word) > 2 and (  # noqa: PLR2004  # the two, and something between them
        word[0] + word[-1] in _QUOTES or (word[0] == word[-1] and word[0] in _MARKS)
    ):
        word = word[1:-1]
    return word


def without_links(text: str) -> str:
    """Text as people read it: of a link such as <mailto:a@b.example|a@b.example>, its words."""
    return _LINK.sub(lambda link: link["label"] or link["bare"], text)


def folded(text: str) -> str:
    """A text for comparing: as searched, in small letters, with `'` for each apostrophe.

    An accent is the same whether it is a part of its letter or typed after it.
    """
    small = one_line(_IGNORED.sub("", text)).casefold().translate(_AS_TYPED)
    return unicodedata.normalize("NFC", small)
