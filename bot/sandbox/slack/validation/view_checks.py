"""Validates a modal (a view) as Slack does: its frame, its blocks, and what somebody typed.

Sources: docs.slack.dev/reference/views/modal-views,
docs.slack.dev/reference/block-kit/blocks/input-block,
docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element and
select-menu-element.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation import block_kit
from bot.sandbox.slack.validation.block_checks import (
    MAX_ID_LENGTH,
    MAX_TEXT_LENGTH,
    PLAIN,
    Check,
    duplicates,
    flag,
    integer,
    items,
    keys,
    of_type,
    problem,
    string,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    Values = dict[str, dict[str, str | None]]

MAX_VIEW_BLOCKS = 100
MAX_VIEW_BYTES = 250_000
MAX_TITLE_LENGTH = 24
MAX_LABEL_LENGTH = 2_000
MAX_PLACEHOLDER_LENGTH = 150
MAX_INPUT_LENGTH = 3_000
MAX_OPTIONS, MAX_OPTION_LENGTH = 100, 75
OPTIONAL = (
    "private_metadata callback_id clear_on_close notify_on_close external_id submit_disabled submit"
    " close"
)
REQUIRED = "Please complete this required field."


def problems(view: object) -> list[str]:
    """What Slack would refuse in a view, one line each; empty if it is valid."""
    found = _frame(view) if isinstance(view, dict) else [problem("", "must be an object")]
    # a problem's path begins at the view, not at a message's blocks
    return [line.replace("[json-pointer:/blocks", "[json-pointer:/view") for line in found]


def too_large(view: object) -> bool:
    """Whether a view has more than Slack's 250 kB."""
    return len(json.dumps(view, ensure_ascii=False).encode()) > MAX_VIEW_BYTES


def option(element: dict[str, Any], value: str | None) -> dict[str, Any] | None:
    """The option of a menu with this value; None if there is none."""
    return next((each for each in element.get("options", ()) if each["value"] == value), None)


def inputs(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The input blocks of a view, in order."""
    return [block for block in view["blocks"] if block["type"] == "input"]


def refusals(view: dict[str, Any], values: Values) -> dict[str, str]:
    """What Slack's own app refuses to send, by `block_id`: missing, too short or too long."""
    found: dict[str, str] = {}
    for block in inputs(view):
        element = block["element"]
        typed = values[block["block_id"]][element["action_id"]] or ""
        longest, shortest = element.get("max_length", MAX_INPUT_LENGTH), element.get("min_length")
        missing = option(element, typed) is None if "options" in element else not typed
        if missing and not block.get("optional"):
            found[block["block_id"]] = REQUIRED
        elif len(typed) > longest:
            found[block["block_id"]] = f"Must be {longest} characters or fewer."
        elif typed and shortest and len(typed) < shortest:
            found[block["block_id"]] = f"Must be at least {shortest} characters."
    return found


def _frame(view: dict[str, Any]) -> list[str]:
    found = list(keys(view, "", "title blocks", OPTIONAL))
    if view.get("type") != "modal":
        found.append(problem("/type", "must be one of modal"))
    for key in ("title", "submit", "close"):
        if key in view:
            found += text(view[key], f"/{key}", MAX_TITLE_LENGTH, PLAIN)
    found += string(view, "callback_id", "", MAX_ID_LENGTH)
    found += string(view, "external_id", "", MAX_ID_LENGTH)
    if len(str(view.get("private_metadata", ""))) > MAX_TEXT_LENGTH:
        found.append(problem("/private_metadata", f"must be less than {MAX_TEXT_LENGTH + 1}"))
    for key in ("clear_on_close", "notify_on_close", "submit_disabled"):
        found += flag(view, key, "")
    return found + _blocks(view)


def _blocks(view: dict[str, Any]) -> list[str]:
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        return [problem("/blocks", "must be a list of at least one block")]
    found: list[str] = []
    if len(blocks) > MAX_VIEW_BLOCKS:
        found.append(problem("/blocks", f"no more than {MAX_VIEW_BLOCKS} items"))
    for index, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("type") == "input":
            found += _input(block, f"/blocks/{index}")
        else:
            found += _moved(block_kit.problems([block]), index)
    ids = [block.get("block_id") for block in blocks if isinstance(block, dict)]
    found += duplicates(ids, "/blocks", "block_id")
    if "input" in [b.get("type") for b in blocks if isinstance(b, dict)] and "submit" not in view:
        found.append(problem("/submit", "a view with input blocks must have a submit button"))
    return found


def _moved(found: list[str], index: int) -> list[str]:
    """Problems with one block of a message, moved to its place in the view."""
    here = f"[json-pointer:/blocks/blocks/{index}"
    return [line.replace("[json-pointer:/blocks/0", here) for line in found]


def _input(block: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(block, path, "label element", "block_id hint optional dispatch_action")
    yield from string(block, "block_id", path, MAX_ID_LENGTH)
    yield from text(block.get("label"), f"{path}/label", MAX_LABEL_LENGTH, PLAIN)
    if "hint" in block:
        yield from text(block["hint"], f"{path}/hint", MAX_LABEL_LENGTH, PLAIN)
    yield from flag(block, "optional", path)
    yield from flag(block, "dispatch_action", path)
    known: dict[str, Check] = {
        "plain_text_input": _plain_text_input,
        "static_select": _static_select,
    }
    yield from of_type(block.get("element"), f"{path}/element", known, "element")


def _plain_text_input(element: dict[str, Any], path: str) -> Iterator[str]:
    optional = "initial_value multiline min_length max_length placeholder focus_on_load"
    yield from keys(element, path, "action_id", optional)
    yield from string(element, "action_id", path, MAX_ID_LENGTH)
    yield from string(element, "initial_value", path, MAX_INPUT_LENGTH)
    yield from flag(element, "multiline", path)
    yield from flag(element, "focus_on_load", path)
    for key in ("min_length", "max_length"):
        yield from integer(element, key, path)
        if element.get(key, 1) not in range(1, MAX_INPUT_LENGTH + 1):
            yield problem(f"{path}/{key}", f"must be between 1 and {MAX_INPUT_LENGTH}")
    if "placeholder" in element:
        yield from text(
            element["placeholder"], f"{path}/placeholder", MAX_PLACEHOLDER_LENGTH, PLAIN
        )


def _static_select(element: dict[str, Any], path: str) -> Iterator[str]:
    yield from keys(element, path, "action_id options", "placeholder focus_on_load initial_option")
    yield from string(element, "action_id", path, MAX_ID_LENGTH)
    yield from flag(element, "focus_on_load", path)
    if "placeholder" in element:
        yield from text(
            element["placeholder"], f"{path}/placeholder", MAX_PLACEHOLDER_LENGTH, PLAIN
        )
    yield from items(element, "options", path, MAX_OPTIONS, _option)
    options = element.get("options")
    known = options if isinstance(options, list) else []
    if "initial_option" in element and element["initial_option"] not in known:
        yield problem(f"{path}/initial_option", "must be one of the options")
    values = [each.get("value") for each in known if isinstance(each, dict)]
    yield from duplicates(values, f"{path}/options", "value")


def _option(value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield problem(path, "must be an object")
        return
    yield from keys(value, path, "text value", "description")
    yield from text(value.get("text"), f"{path}/text", MAX_OPTION_LENGTH, PLAIN)
    yield from string(value, "value", path, MAX_OPTION_LENGTH)
