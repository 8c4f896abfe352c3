"""The small checks that Block Kit's rules are made of; each yields what it finds wrong.

`path` is the JSON pointer of the thing within the message's blocks, as Slack's answers name it.
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


def at(path: str, what: str) -> str:
    """A finding, worded as Slack words them."""
    return f"[ERROR] {what} [json-pointer:/blocks{path}]"


def repeated(ids: list[Any], path: str, name: str) -> Iterator[str]:
    """Ids that occur more than once."""
    counts = Counter(value for value in ids if isinstance(value, str))
    for value, count in counts.items():
        if count > 1:
            yield at(path, f"`{name}` {value} already exists")


def of_type(thing: object, path: str, known: dict[str, Check], kind: str) -> Iterator[str]:
    """Whether the thing is an object of a known type, and right as that."""
    if not isinstance(thing, dict):
        yield at(path, f"{kind} must be an object")
    elif not isinstance(thing.get("type"), str) or thing["type"] not in known:
        yield at(f"{path}/type", f"unsupported {kind} type: {thing.get('type')}")
    else:
        yield from known[thing["type"]](thing, path)


def keys(thing: dict[str, Any], path: str, required: str, optional: str = "") -> Iterator[str]:
    """Fields that are missing, null or unknown; the names are separated by spaces."""
    for key in required.split():
        if thing.get(key) is None:
            yield at(path, f"missing required field: {key}")
    for key in thing.keys() - {"type", *required.split(), *optional.split()}:
        yield at(f"{path}/{key}", f"invalid additional property: {key}")
    for key in thing.keys() & set(optional.split()):
        if thing[key] is None:
            yield at(f"{path}/{key}", f"must not be null: {key}")


def string(thing: dict[str, Any], key: str, path: str, longest: int) -> Iterator[str]:
    """A field that is there and no text, or an empty or too long one."""
    value = thing.get(key)
    if value is None:
        return
    if not isinstance(value, str):
        yield at(f"{path}/{key}", "must be a string")
    elif not value:
        yield at(f"{path}/{key}", "must be more than 0 characters")
    elif len(value) > longest:
        yield at(f"{path}/{key}", f"must be less than {longest + 1} characters")


def flag(thing: dict[str, Any], key: str, path: str) -> Iterator[str]:
    """A field that is there and neither true nor false."""
    if key in thing and not isinstance(thing[key], bool):
        yield at(f"{path}/{key}", "must be a boolean")


def integer(thing: dict[str, Any], key: str, path: str) -> Iterator[str]:
    """A field that is there and no integer."""
    if key in thing and (not isinstance(thing[key], int) or isinstance(thing[key], bool)):
        yield at(f"{path}/{key}", "must be an integer")


def choice(thing: dict[str, Any], key: str, path: str, choices: tuple[str, ...]) -> Iterator[str]:
    """A field that is there and none of the choices."""
    if key in thing and thing[key] not in choices:
        yield at(f"{path}/{key}", f"must be one of {', '.join(choices)}")


def text(thing: object, path: str, longest: int, types: tuple[str, ...]) -> Iterator[str]:
    """A text object of one of the types, neither empty nor too long."""
    if not isinstance(thing, dict) or thing.get("type") not in types:
        yield at(path, f"must be a text object of type {' or '.join(types)}")
        return
    own = "emoji" if thing["type"] == "plain_text" else "verbatim"
    yield from keys(thing, path, "text", own)
    yield from flag(thing, own, path)
    yield from string(thing, "text", path, longest)


def items(
    thing: dict[str, Any],
    key: str,
    path: str,
    most: int,
    check: ItemCheck,
) -> Iterator[str]:
    """An array of at least one and at most so many items, each of which is checked."""
    items = thing.get(key)
    if not isinstance(items, list):
        yield at(f"{path}/{key}", "must be an array")
        return
    if not 1 <= len(items) <= most:
        yield at(f"{path}/{key}", f"must have between 1 and {most} items")
    for index, item in enumerate(items):
        yield from check(item, f"{path}/{key}/{index}")


def texts_within(longest: int, types: tuple[str, ...]) -> ItemCheck:
    """The check of a text object, for `items`."""
    return lambda thing, path: text(thing, path, longest, types)


def one_of(known: dict[str, Check], kind: str) -> ItemCheck:
    """The check of an object that is one of the known types, for `items`."""
    return lambda thing, path: of_type(thing, path, known, kind)


def url(thing: dict[str, Any], path: str) -> Iterator[str]:
    """An address that is too long or none."""
    yield from string(thing, "url", path, MAX_URL_LENGTH)
    url = thing.get("url")
    if isinstance(url, str) and not url.startswith(("https://", "http://", "mailto:")):
        yield at(f"{path}/url", "invalid url")
