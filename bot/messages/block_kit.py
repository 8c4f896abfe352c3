"""Block Kit's pieces, as far as the bot uses them; the only place where text is escaped or cut.

Values that Fusebill or a person chose go into `rich_text` and `plain_text`, where nothing in them
is markup (in `mrkdwn` `*`, `_`, `` ` `` and `~` can't be escaped). Each value is cut by itself.
Limits: docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Block = dict[str, Any]
Inline = dict[str, Any]
Line = Sequence[Inline]

HEADER_LENGTH = 150
TEXT_LENGTH = 3000
SHOWN_LENGTH = 200
DATE_FORMAT = "{date_short_pretty} at {time_secs}"

# these turn the reading order of what follows, so that one id could be made to look like another
_TURNS_TEXT = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Message:
    """What Slack is given: `text` stands alone, for notifications and screen readers."""

    text: str
    blocks: list[Block]


def message(*parts: Block | Iterable[Line] | None) -> Message:
    """A message of blocks, whose `text` is what they say; lines become one rich_text block."""
    blocks = [part if isinstance(part, dict) else lines(part) for part in parts if part]
    spoken = "\n".join(filter(None, map(_spoken, blocks)))
    return Message(spoken if _fits(spoken, TEXT_LENGTH) else _begun(spoken, TEXT_LENGTH), blocks)


def header(value: str) -> Block:
    """A header, cut to Slack's 150 characters."""
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": cut(value, HEADER_LENGTH), "emoji": True},
    }


def lines(content: Iterable[Line]) -> Block:
    """A rich_text block with a section for each line."""
    sections = [{"type": "rich_text_section", "elements": list(line)} for line in content]
    return {"type": "rich_text", "elements": sections}


def buttons(*elements: Block | None) -> Block | None:
    """The actions of a card, None where there are none."""
    shown = [element for element in elements if element]
    return {"type": "actions", "elements": shown} if shown else None


def button(label: str, action_id: str, value: str, style: str = "") -> Block:
    """A button that carries nothing but an id."""
    element: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": label},
        "action_id": action_id,
        "value": value,
    }
    return element | ({"style": style} if style else {})


def text(value: str, *, limit: int = SHOWN_LENGTH) -> Inline:
    """Words that mean nothing but themselves."""
    return {"type": "text", "text": cut(value, limit) or "…"}


def say(value: str) -> Inline:
    """The bot's own words, spaces and all."""
    return {"type": "text", "text": value}


def bold(value: str) -> Inline:
    """The bot's own words, bold."""
    return {"type": "text", "text": value, "style": {"bold": True}}


def code(value: str) -> Inline:
    """Something to be typed or compared letter by letter."""
    return {"type": "text", "text": value, "style": {"code": True}}


def link(url: str | None, label: str) -> Inline:
    """A link, or the label alone where there is no address."""
    return {"type": "link", "url": url, "text": label} if url else code(label)


def user(user_id: str) -> Inline:
    """Somebody, by name as Slack shows it; rings them once."""
    return {"type": "user", "user_id": user_id}


def channel(channel_id: str) -> Inline:
    """A channel, by name as Slack shows it."""
    return {"type": "channel", "channel_id": channel_id}


def date(at: datetime) -> Inline:
    """A time that each reader sees in their own zone."""
    return {
        "type": "date",
        "timestamp": int(at.timestamp()),
        "format": DATE_FORMAT,
        "fallback": at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def escape(value: str) -> str:
    """A value as mrkdwn shows it literally, mentions and links included."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(value: str, limit: int) -> str:
    """A value in one line, at most `limit` characters, with nothing invisible that turns text."""
    looked_at = value[: limit * 4]
    # what is printable needs no look at each character, unless it turns what follows
    plain = looked_at.isprintable() and _TURNS_TEXT.isdisjoint(looked_at)
    one_line = " ".join((looked_at if plain else _shown(looked_at)).split())
    return one_line if looked_at == value and _fits(one_line, limit) else _begun(one_line, limit)


def _begun(value: str, limit: int) -> str:
    """The beginning of a value, with a mark that there was more."""
    return value[: _fitting(value, limit - 1)] + "…"


def _fits(value: str, limit: int) -> bool:
    return _fitting(value, limit) == len(value)


def _shown(value: str) -> str:
    """A value without what is no text, or changes the order in which text is read."""
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs") else c for c in value if c not in _TURNS_TEXT
    )


def _fitting(value: str, limit: int) -> int:
    """How many characters fit into so many UTF-16 units, which Slack counts as JavaScript does."""
    if value.isascii() or 2 * len(value) <= limit:
        return min(len(value), limit)
    units = 0
    for position, character in enumerate(value):
        units += 2 if ord(character) > 0xFFFF else 1  # noqa: PLR2004  # the end of the first plane
        if units > limit:
            return position
    return len(value)


def _spoken(block: Block) -> str:
    if block["type"] == "header":
        return escape(block["text"]["text"])
    if block["type"] == "rich_text":
        return "\n".join(
            "".join(map(_spoken_inline, section["elements"])) for section in block["elements"]
        )
    return ""


def _spoken_inline(inline: Inline) -> str:
    match inline["type"]:
        case "user":
            return f"<@{inline['user_id']}>"
        case "channel":
            return f"<#{inline['channel_id']}>"
        case "date":
            form = f"{inline['timestamp']}^{inline['format']}"
            return f"<!date^{form}|{inline['fallback']}>"
        case _:
            return escape(inline["text"])
