"""Validates `rich_text` blocks as Slack does, and renders them as text.

Limits and fields: docs.slack.dev/reference/block-kit/blocks/rich-text-block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation.block_checks import (
    MAX_ID_LENGTH,
    Check,
    choice,
    flag,
    integer,
    items,
    keys,
    one_of,
    problem,
    string,
    url,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ELEMENTS = 500
MAX_RUN_LENGTH = 13_000
STYLES = "bold italic strike code underline"
# An element without `text` or `fallback` is rendered as mrkdwn.
_TEMPLATES = {
    "link": "{url}",
    "user": "<@{user_id}>",
    "usergroup": "<!subteam^{usergroup_id}>",
    "channel": "<#{channel_id}>",
    "emoji": ":{name}:",
    "date": "<!date^{timestamp}^{format}>",
    "broadcast": "<!{range}>",
}
BROADCASTS = ("here", "channel", "everyone")


def rich_text(block: dict[str, Any], path: str) -> Iterator[str]:
    """Report what is wrong with a `rich_text` block."""
    yield from keys(block, path, "elements", "block_id")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from items(block, "elements", path, MAX_ELEMENTS, one_of(_PARTS, "element"))


def rich_text_lines(block: dict[str, Any]) -> Iterator[str]:
    """The text of a `rich_text` block, one line per section and list item."""
    for part in block.get("elements", []):
        if part["type"] == "rich_text_list":
            yield from (f"- {_run(item)}" for item in part["elements"])
        else:
            yield _run(part)


def _run(part: dict[str, Any]) -> str:
    return "".join(_shown(element) for element in part["elements"])


def _shown(element: dict[str, Any]) -> str:
    text = element.get("text") or element.get("fallback")
    template = _TEMPLATES.get(element["type"], "{type}")
    return str(text) if text else template.format_map(element)


def _section(part: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(part, path, "elements")
    yield from items(part, "elements", path, MAX_ELEMENTS, one_of(_ELEMENTS, "element"))


def _quote(part: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(part, path, "elements", "border")
    yield from integer(part, "border", path)
    yield from items(part, "elements", path, MAX_ELEMENTS, one_of(_ELEMENTS, "element"))


def _preformatted(part: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(part, path, "elements", "border language")
    yield from integer(part, "border", path)
    known = {name: _ELEMENTS[name] for name in ("text", "link")}
    yield from items(part, "elements", path, MAX_ELEMENTS, one_of(known, "element"))


def _list(part: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(part, path, "elements style", "indent offset border")
    yield from choice(part, "style", path, ("bullet", "ordered"))
    for name in ("indent", "offset", "border"):
        yield from integer(part, name, path)
    sections: dict[str, Check] = {"rich_text_section": _section}
    yield from items(part, "elements", path, MAX_ELEMENTS, one_of(sections, "element"))


def _styled(element: dict[str, Any], path: str) -> Iterator[str]:
    if "style" not in element:
        return
    style = element["style"]
    if not isinstance(style, dict):
        yield problem(f"{path}/style", "must be an object")
        return
    yield from keys(style, f"{path}/style", "", STYLES)
    for name in STYLES.split():
        yield from flag(style, name, f"{path}/style")


def _text(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "text", "style")
    yield from string(element, "text", path, MAX_RUN_LENGTH)
    yield from _styled(element, path)


def _link(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "url", "text style unsafe")
    yield from url(element, path)
    yield from string(element, "text", path, MAX_RUN_LENGTH)
    yield from flag(element, "unsafe", path)
    yield from _styled(element, path)


def _named(key: str) -> Check:
    def check(element: dict[str, Any], path: str) -> Iterator[str]:
        yield from keys(element, path, key, "style")
        yield from string(element, key, path, MAX_ID_LENGTH)
        yield from _styled(element, path)

    return check


def _emoji(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "name", "unicode skin_tone style")
    yield from string(element, "name", path, MAX_ID_LENGTH)


def _date(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "timestamp format", "url fallback style")
    yield from integer(element, "timestamp", path)
    yield from string(element, "format", path, MAX_ID_LENGTH)
    yield from string(element, "fallback", path, MAX_RUN_LENGTH)
    yield from url(element, path)
    yield from _styled(element, path)


def _broadcast(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "range", "style")
    yield from choice(element, "range", path, BROADCASTS)


_ELEMENTS: dict[str, Check] = {
    "text": _text,
    "link": _link,
    "user": _named("user_id"),
    "usergroup": _named("usergroup_id"),
    "channel": _named("channel_id"),
    "emoji": _emoji,
    "date": _date,
    "broadcast": _broadcast,
}
_PARTS: dict[str, Check] = {
    "rich_text_section": _section,
    "rich_text_preformatted": _preformatted,
    "rich_text_quote": _quote,
    "rich_text_list": _list,
}
