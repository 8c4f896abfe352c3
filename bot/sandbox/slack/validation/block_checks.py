"""Checks of single Block Kit fields; each yields one line per problem.

`path` is the JSON pointer of the checked value within the message's blocks, as in Slack's answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Check = Callable[[dict[str, Any], str], Iterator[str]]
ItemCheck = Callable[[Any, str], Iterator[str]]

MAX_TEXT_LENGTH = 3_000
MAX_ID_LENGTH = 255
MAX_URL_LENGTH = 3_000
PLAIN = ("plain_text",)
ANY_TEXT = ("plain_text", "mrkdwn")


def problem(path: str, text: str) -> str:
    """One problem in the format of Slack's error messages."""
    return f"[ERROR] {text} [json-pointer:/blocks{path}]"


def duplicates(ids: list[Any], path: str, name: str) -> Iterator[str]:
    """Report ids that occur more than once."""
    counts = Counter(value for value in ids if isinstance(value, str))
    for value, count in counts.items():
        if count > 1:
            yield problem(path, f"`{name}` {value} already exists")


def of_type(value: object, path: str, known: dict[str, Check], kind: str) -> Iterator[str]:
    """Check an object by the rules of its `type`, which must be a known one."""
    if not isinstance(value, dict):
        yield problem(path, f"{kind} must be an object")
    elif not isinstance(value.get("type"), str) or value["type"] not in known:
        yield problem(f"{path}/type", f"unsupported {kind} type: {value.get('type')}")
    else:
        yield from known[value["type"]](value, path)


def keys(obj: dict[str, Any], path: str, required: str, optional: str = "") -> Iterator[str]:
    """Report missing, null and unknown fields; field names are separated by spaces."""
    for key in required.split():
        if obj.get(key) is None:
            yield problem(path, f"missing required field: {key}")
    for key in obj.keys() - {"type", *required.split(), *optional.split()}:
        yield problem(f"{path}/{key}", f"invalid additional property: {key}")
    for key in obj.keys() & set(optional.split()):
        if obj[key] is None:
            yield problem(f"{path}/{key}", f"must not be null: {key}")


def string(obj: dict[str, Any], key: str, path: str, max_length: int) -> Iterator[str]:
    """Report a field that is set but not a string of 1 to `max_length` characters."""
    value = obj.get(key)
    if value is None:
        return
    if not isinstance(value, str):
        yield problem(f"{path}/{key}", "must be a string")
    elif not value:
        yield problem(f"{path}/{key}", "must be more than 0 characters")
    elif len(value) > max_length:
        yield problem(f"{path}/{key}", f"must be less than {max_length + 1} characters")


def flag(obj: dict[str, Any], key: str, path: str) -> Iterator[str]:
    """Report a field that is set but not a boolean."""
    if key in obj and not isinstance(obj[key], bool):
        yield problem(f"{path}/{key}", "must be a boolean")


def integer(obj: dict[str, Any], key: str, path: str) -> Iterator[str]:
    """Report a field that is set but not an integer."""
    if key in obj and (not isinstance(obj[key], int) or isinstance(obj[key], bool)):
        yield problem(f"{path}/{key}", "must be an integer")


def choice(obj: dict[str, Any], key: str, path: str, choices: tuple[str, ...]) -> Iterator[str]:
    """Report a field that is set to something else than one of the choices."""
    if key in obj and obj[key] not in choices:
        yield problem(f"{path}/{key}", f"must be one of {', '.join(choices)}")


def text(value: object, path: str, max_length: int, types: tuple[str, ...]) -> Iterator[str]:
    """Check a text object: one of the types, 1 to `max_length` characters."""
    if not isinstance(value, dict) or value.get("type") not in types:
        yield problem(path, f"must be a text object of type {' or '.join(types)}")
        return
    option = "emoji" if value["type"] == "plain_text" else "verbatim"
    yield from keys(value, path, "text", option)
    yield from flag(value, option, path)
    yield from string(value, "text", path, max_length)


def items(
    obj: dict[str, Any],
    key: str,
    path: str,
    max_items: int,
    check: ItemCheck,
) -> Iterator[str]:
    """Check an array of 1 to `max_items` items, and each item with `check`."""
    values = obj.get(key)
    if not isinstance(values, list):
        yield problem(f"{path}/{key}", "must be an array")
        return
    if not 1 <= len(values) <= max_items:
        yield problem(f"{path}/{key}", f"must have between 1 and {max_items} items")
    for index, value in enumerate(values):
        yield from check(value, f"{path}/{key}/{index}")


def text_check(max_length: int, types: tuple[str, ...]) -> ItemCheck:
    """A check of one text object, for `items`."""
    return lambda value, path: text(value, path, max_length, types)


def one_of(known: dict[str, Check], kind: str) -> ItemCheck:
    """A check of one object of a known type, for `items`."""
    return lambda value, path: of_type(value, path, known, kind)


def url(obj: dict[str, Any], path: str) -> Iterator[str]:
    """Check the field `url`."""
    yield from string(obj, "url", path, MAX_URL_LENGTH)
    value = obj.get("url")
    if isinstance(value, str) and not value.startswith(("https://", "http://", "mailto:")):
        yield problem(f"{path}/url", "invalid url")
