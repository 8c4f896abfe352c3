"""Reads the bot's own lines from logs that were kept elsewhere: JSON, a line each, unpacked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class NotReadable(Exception):
    """A file of logs can't be read."""


def bot_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The bot's lines of a file or a pipe; what a log service puts before each is ignored.

    Raises: NotReadable.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                own = _object(line[max(line.find("{"), 0) :])
                if own is not None and isinstance(own.get("event"), str):
                    yield own
    except OSError as error:
        raise NotReadable(f"{path}: can't be read: {error.strerror}") from None


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
