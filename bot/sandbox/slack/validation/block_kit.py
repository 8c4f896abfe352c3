"""Validates Block Kit blocks as Slack does, and renders them as text.

Pure functions on parsed JSON. Limits and fields: docs.slack.dev/reference/block-kit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation.block_checks import (
    ANY_TEXT,
    MAX_ID_LENGTH,
    MAX_TEXT_LENGTH,
    PLAIN,
    Check,
    choice,
    duplicates,
    flag,
    items,
    keys,
    of_type,
    one_of,
    problem,
    string,
    text,
    text_check,
    url,
)
from bot.sandbox.slack.validation.rich_text import rich_text, rich_text_lines
from bot.sandbox.slack.validation.tables import one_table, table, table_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BLOCKS = 50
MAX_CHARACTERS = 13_000
STYLES = ("primary", "danger")


def problems(blocks: object, *, tables: bool = True) -> list[str]:
    """What Slack would refuse in a message's blocks, one line each; empty if they are valid.

    Without `tables` the type `table` is one that this Slack does not know.
    """
    if not isinstance(blocks, list):
        return [problem("", "must be an array")]
    found = [] if len(blocks) <= MAX_BLOCKS else [problem("", f"no more than {MAX_BLOCKS} items")]
    known = _BLOCKS if tables else {kind: _BLOCKS[kind] for kind in _BLOCKS if kind != "table"}
    for index, block in enumerate(blocks):
        found.extend(of_type(block, f"/{index}", known, "block"))
    block_ids = [block.get("block_id") for block in blocks if isinstance(block, dict)]
    found.extend(duplicates(block_ids, "", "block_id"))
    found.extend(one_table(blocks))
    return found


def size(blocks: object) -> int:
    """The total number of characters in the blocks' texts, values and URLs."""
    if isinstance(blocks, list):
        return sum(size(item) for item in blocks)
    if not isinstance(blocks, dict):
        return 0
    counted = ("text", "url", "value", "fallback")
    here = sum(len(blocks[key]) for key in counted if isinstance(blocks.get(key), str))
    return here + sum(size(item) for item in blocks.values())


def buttons(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every button in order, as pairs of its block's `block_id` and the button."""
    for block in blocks:
        elements = block.get("elements", []) if block["type"] == "actions" else []
        for element in [*elements, block.get("accessory")]:
            if element and element["type"] == "button":
                yield block["block_id"], element


def text_of(blocks: object) -> str:
    """The visible text of the blocks, as lines: mrkdwn raw, a button as `[its label]`.

    Made for assertions; a block of an unknown type appears as its JSON.
    """
    if not isinstance(blocks, list):
        return ""
    return "\n".join(line for block in blocks for line in _lines(block))


def _lines(block: dict[str, Any]) -> Iterator[str]:
    kind = block.get("type")
    if kind == "divider":
        yield "---"
    elif kind == "rich_text":
        yield from rich_text_lines(block)
    elif kind == "table":
        yield from table_lines(block)
    elif kind in ("context", "actions"):
        yield " ".join(_shown(element) for element in block["elements"])
    elif kind in ("header", "section"):
        parts = [block.get("text"), *block.get("fields", []), block.get("accessory")]
        yield from (_shown(part) for part in parts if part)
    else:
        yield json.dumps(block)


def _shown(part: dict[str, Any]) -> str:
    return f"[{part['text']['text']}]" if part["type"] == "button" else str(part["text"])


def _header(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "text", "block_id")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from text(block.get("text"), f"{path}/text", 150, PLAIN)


def _section(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "", "text fields accessory block_id expand")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from flag(block, "expand", path)
    if "text" not in block and "fields" not in block:
        yield problem(path, "missing required field: text or fields")
    if "text" in block:
        yield from text(block["text"], f"{path}/text", MAX_TEXT_LENGTH, ANY_TEXT)
    if "fields" in block:
        yield from items(block, "fields", path, 10, text_check(2_000, ANY_TEXT))
    if "accessory" in block:
        yield from of_type(block["accessory"], f"{path}/accessory", _ELEMENTS, "element")


def _divider(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "", "block_id")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)


def _context(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "elements", "block_id")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from items(block, "elements", path, 10, text_check(MAX_TEXT_LENGTH, ANY_TEXT))


def _actions(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "elements", "block_id")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from items(block, "elements", path, 25, one_of(_ELEMENTS, "element"))
    elements = block.get("elements")
    if isinstance(elements, list):
        ids = [element.get("action_id") for element in elements if isinstance(element, dict)]
        yield from duplicates(ids, path, "action_id")


def _button(button: dict[str, Any], path: str) -> Iterator[str]:
    optional = "action_id url value style confirm accessibility_label"
    yield from keys(button, path, "text", optional)
    yield from text(button.get("text"), f"{path}/text", 75, PLAIN)
    yield from string(button, "action_id", path, MAX_ID_LENGTH)
    yield from string(button, "value", path, 2_000)
    yield from string(button, "accessibility_label", path, 75)
    yield from url(button, path)
    yield from choice(button, "style", path, STYLES)
    if "confirm" in button:
        yield from _confirm(button["confirm"], f"{path}/confirm")


def _confirm(confirm: object, path: str) -> Iterator[str]:
    if not isinstance(confirm, dict):
        yield problem(path, "must be an object")
        return
    yield from keys(confirm, path, "title text confirm deny", "style")
    yield from text(confirm.get("title"), f"{path}/title", 100, PLAIN)
    yield from text(confirm.get("text"), f"{path}/text", 300, ANY_TEXT)
    yield from text(confirm.get("confirm"), f"{path}/confirm", 30, PLAIN)
    yield from text(confirm.get("deny"), f"{path}/deny", 30, PLAIN)
    yield from choice(confirm, "style", path, STYLES)


_ELEMENTS: dict[str, Check] = {"button": _button}
_BLOCKS: dict[str, Check] = {
    "header": _header,
    "section": _section,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "rich_text": rich_text,
    "table": table,
}
