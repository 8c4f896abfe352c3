"""Builds the Block Kit elements that the bot uses; the only module that escapes or cuts text.

Values from Fusebill or from people go into `rich_text` and `plain_text`, which Slack never parses
as markup (in `mrkdwn`, `*`, `_`, `` ` `` and `~` can't be escaped). Each value is cut separately.
Limits: docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from bot.domain.values import value

Block = dict[str, Any]
Inline = dict[str, Any]
Line = Sequence[Inline]
Part = Block | Iterable[Line] | None
"""A block, or lines that become one; None is left out of a message."""
Form = dict[str, Any]
"""A modal view, as `views.open` takes it."""

HEADER_LENGTH = 150
TEXT_LENGTH = 3000
SHOWN_LENGTH = 200
MESSAGE_LENGTH = 12_500
"""Somewhat below Slack's limit for all blocks of a message, "about 13,000"."""
DATE_FORMAT = "{date_short_pretty} at {time}"
TIME_FORMAT = "{time}"
"""Of what is near: a card that waits for a day at most says no dates."""
LABEL_LENGTH = 30
"""Of a button: Slack may show no more."""
ALOUD_LENGTH = 75

_COUNTED = frozenset({"text", "url", "value", "fallback"})
_BROKEN_MARKUP = re.compile(r"(&[a-z]{0,3}|<[^<>]*)$")
# these change the direction of the text that follows, and could make one id look like another
_BIDI_CONTROLS = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@value
class Message:
    """A Slack message; `text` says the same as `blocks`, for notifications and screen readers.

    `without_table` says the same with lines for the table, for where Slack takes no table block;
    None if there is no table.
    """

    text: str
    blocks: list[Block]
    without_table: list[Block] | None = None


def message(*parts: Part, first: str = "") -> Message:
    """Build a message from blocks and lines; lines become one rich_text block, None is skipped.

    What is said `first` is in its text alone: a notification shows the first words of that. Links
    are the first thing to go where it would be too long for Slack.
    """
    blocks = [part if isinstance(part, dict) else lines(part) for part in parts if part]
    if size(blocks) > MESSAGE_LENGTH:
        blocks = unlinked(blocks)
    said = [escape(cut(first, 2 * HEADER_LENGTH)), *map(_plain_text, blocks)]
    return Message(_cut_text("\n".join(filter(None, said))), blocks)


def unlinked(blocks: Sequence[Block]) -> list[Block]:
    """The blocks with the words of their links, without the addresses."""
    return [_unlinked(block) for block in blocks]


def _unlinked(part: Block) -> Block:
    if part.get("type") == "link":
        return code(part["text"])
    return {
        name: [_unlinked(each) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
        for name, value in part.items()
    }


def plainer(blocks: Sequence[Block], numbers: Iterable[int] = ()) -> list[Block]:
    """The blocks with those of these numbers as plain text, or all; buttons stay buttons."""
    which = set(numbers) or set(range(len(blocks)))
    plain = [_plainer(each) if n in which else each for n, each in enumerate(blocks)]
    return [each for each in plain if each]


def _plainer(block: Block) -> Block | None:
    """A block without anything but text; None if it says nothing."""
    if block["type"] == "actions":
        kept = ("type", "text", "action_id", "value", "accessibility_label")
        return {
            "type": "actions",
            "elements": [{name: each[name] for name in kept} for each in block["elements"]],
        }
    said = _plain_text(block)
    if not said:
        return None
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": _cut_text(said), "verbatim": True},
    }


def header(value: str) -> Block:
    """A header, cut to Slack's 150 characters; a code such as `:boom:` in a name stays a code."""
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": cut(value, HEADER_LENGTH), "emoji": False},
    }


def lines(content: Iterable[Line]) -> Block:
    """A rich_text block with a section for each line."""
    sections = [{"type": "rich_text_section", "elements": list(line)} for line in content]
    return {"type": "rich_text", "elements": sections}


def buttons(*elements: Block | None) -> Block | None:
    """An actions block; None if there are no buttons."""
    present = [element for element in elements if element]
    return {"type": "actions", "elements": present} if present else None


def button(label: str, action_id: str, value: str, style: str = "", *, aloud: str) -> Block:
    """A button; `value` comes back with the click, `style` is `primary` or `danger`.

    `aloud` is what a screen reader says: the label, and what it is about.
    """
    element: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": cut(label, ALOUD_LENGTH), "emoji": False},
        "action_id": action_id,
        "value": value,
        "accessibility_label": cut(aloud, ALOUD_LENGTH),
    }
    return element | ({"style": style} if style else {})


def context(*elements: Inline | None) -> Block | None:
    """A small line of `small`, `small_time` and `small_link`; None without any."""
    present = [element for element in elements if element]
    return {"type": "context", "elements": present} if present else None


def small(value: str) -> Inline | None:
    """A value from Fusebill or a person for a small line; shown literally, None if it is empty."""
    shown = cut(value, SHOWN_LENGTH)
    return {"type": "plain_text", "text": shown, "emoji": False} if shown else None


def small_time(words: str, at: datetime, form: str) -> Inline:
    """The bot's own words and a time, for a small line."""
    return {"type": "mrkdwn", "text": f"{words} {_plain_inline(date(at, form))}", "verbatim": True}


def small_link(url: str | None, label: str) -> Inline | None:
    """A link to a page that the admin named, for a small line; None without one."""
    if not url:
        return None
    address = escape(url).replace("|", "%7C")
    return {"type": "mrkdwn", "text": f"<{address}|{label}>", "verbatim": True}


def text(value: str, *, limit: int = SHOWN_LENGTH) -> Inline:
    """A value from Fusebill or a person, cut to `limit`; shown literally."""
    return {"type": "text", "text": cut(value, limit) or "…"}


def say(value: str) -> Inline:
    """The bot's own words, spaces included."""
    return {"type": "text", "text": value}


def bold(value: str) -> Inline:
    """The bot's own words, bold."""
    return {"type": "text", "text": value, "style": {"bold": True}}


def code(value: str) -> Inline:
    """Something to type, or to compare letter by letter."""
    return {"type": "text", "text": value, "style": {"code": True}}


def link(url: str | None, label: str) -> Inline:
    """A link; without a URL, the label alone."""
    return {"type": "link", "url": url, "text": label} if url else code(label)


def user(user_id: str) -> Inline:
    """A mention of a person, which notifies them."""
    return {"type": "user", "user_id": user_id}


def user_group(user_group_id: str) -> Inline:
    """A mention of a user group, which notifies its members; it needs no scope."""
    return {"type": "usergroup", "usergroup_id": user_group_id}


def channel(channel_id: str) -> Inline:
    """A mention of a channel."""
    return {"type": "channel", "channel_id": channel_id}


def date(at: datetime, form: str = DATE_FORMAT) -> Inline:
    """A time, which Slack shows in each reader's time zone."""
    return {
        "type": "date",
        "timestamp": int(at.timestamp()),
        "format": form,
        "fallback": at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def escape(value: str) -> str:
    """Escape a value for mrkdwn, so that it can't mention or link."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(value: str, limit: int) -> str:
    """Put a value on one line of at most `limit` UTF-16 units, without control characters."""
    start = value[: limit * 4]
    # a fast path: controls, also those of direction, are not printable
    one_line = " ".join((start if start.isprintable() else _without_controls(start)).split())
    is_whole = start == value and units(one_line) <= limit
    return one_line if is_whole else _start(one_line, limit - 1) + "…"


def units(value: str) -> int:
    """The length of a text in UTF-16 units, as Slack counts it."""
    return len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2


def size(blocks: object) -> int:
    """The UTF-16 units of all texts, values and URLs in blocks, which Slack limits in all."""
    counted: list[str] = []
    parts = [blocks]
    # grows while it is read; a call for each part would cost twice as much
    for part in parts:
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            if part.get("type") == "rich_text_section":
                # most of a message: its elements have no other parts
                counted += [
                    said
                    for each in part["elements"]
                    for name, said in each.items()
                    if name in _COUNTED
                ]
                continue
            for name, value in part.items():
                if not isinstance(value, str):
                    parts.append(value)
                elif name in _COUNTED:
                    counted.append(value)
    return units("".join(counted))


def text_units(content: Iterable[Line]) -> int:
    """The UTF-16 units of lines in a message's text."""
    return sum(units("".join(map(_plain_inline, line))) + 1 for line in content)


def _cut_text(plain: str) -> str:
    """A message's text, cut to Slack's length."""
    if units(plain) <= TEXT_LENGTH:
        return plain
    # not within an entity (`&amp;`) or a mention, which would be shown as they are written
    return _BROKEN_MARKUP.sub("", _start(plain, TEXT_LENGTH - 1)) + "…"


def _without_controls(value: str) -> str:
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs") else c
        for c in value
        if c not in _BIDI_CONTROLS
    )


def _start(value: str, limit: int) -> str:
    """As much of a text as fits into `limit` UTF-16 units, which Slack counts as browsers do."""
    if value.isascii():
        return value[:limit]
    return value.encode("utf-16-le", "surrogatepass")[: 2 * limit].decode("utf-16-le", "ignore")


def _plain_text(block: Block) -> str:
    if block["type"] == "header":
        return escape(block["text"]["text"])
    if block["type"] == "rich_text":
        return "\n".join(
            "".join(map(_plain_inline, section["elements"])) for section in block["elements"]
        )
    if block["type"] == "context":
        shown = [(each["type"] == "mrkdwn", each["text"]) for each in block["elements"]]
        return " · ".join(words if is_own else escape(words) for is_own, words in shown)
    return ""


def _plain_inline(inline: Inline) -> str:
    match inline["type"]:
        case "user":
            return f"<@{inline['user_id']}>"
        case "usergroup":
            return f"<!subteam^{inline['usergroup_id']}>"
        case "channel":
            return f"<#{inline['channel_id']}>"
        case "date":
            form = f"{inline['timestamp']}^{inline['format']}"
            return f"<!date^{form}|{inline['fallback']}>"
        case _:
            return escape(inline["text"])
