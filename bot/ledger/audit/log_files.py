"""Reads logs as they were shipped: from files or pipes, perhaps packed, wrapped or prefixed."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from bot.ledger.witness import MESSAGE

STDIN = Path("-")
GZIP = b"\x1f\x8b"
OTHER_FORMS = {
    b"\xfd7zXZ\x00": "it is xz: unpack it first",
    b"BZh": "it is bzip2: unpack it first",
    b"\x28\xb5\x2f\xfd": "it is zstd: unpack it first",
    b"PK\x03\x04": "it is a zip: unpack it first",
    b"\xff\xfe": "it is UTF-16: convert it to UTF-8 first",
    b"\xfe\xff": "it is UTF-16: convert it to UTF-8 first",
}
"""How files begin that look as if they had no lines, and what to do with them."""
WRAPPERS = ("log", "message", "MESSAGE", "line", "textPayload", "jsonPayload")
"""Where Docker, journald and log services put a process's own line, when they wrap it in JSON."""
STARTS = re.compile(r"^[^{]*\{|(?<=\s)\{")
"""Where the bot's line may begin: Loki's `logcli` puts labels before it, `{pod="…"} {…}`."""
MAX_STARTS = 3


class NotReadable(Exception):
    """A file of logs can't be read."""


def lines(path: Path) -> Iterator[str]:
    """The lines of a file or a pipe, plain or gzip; `-` is standard input. Raises: NotReadable."""
    try:
        with _opened(path) as file:
            # not read and sought: a pipe can't go back
            begin = file.peek(max(map(len, OTHER_FORMS)))
            for mark, why in OTHER_FORMS.items():
                if begin.startswith(mark):
                    raise NotReadable(f"{path}: can't be read: {why}")
            with gzip.open(file) if begin.startswith(GZIP) else file as plain:
                for line in plain:
                    yield line.decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it is not whole"
        raise NotReadable(f"{path}: can't be read: {why}") from None


def event_line(line: str) -> dict[str, Any] | None:
    """The bot's `ledger event` line in a line as it was shipped; None if there is none."""
    if MESSAGE not in line:
        return None
    for start in islice(STARTS.finditer(line), MAX_STARTS):
        if (found := _object(line[start.end() - 1 :])) is not None:
            return _unwrapped(found)
    return None


def _opened(path: Path) -> BufferedReader:
    # the end of the reading must not close standard input
    return open(0, "rb", closefd=False) if path == STDIN else path.open("rb")


def _unwrapped(found: dict[str, Any]) -> dict[str, Any] | None:
    # the bot's own lines have a text there; Elastic's Filebeat has an object of its own
    if isinstance(found.get("event"), str):
        return _event(found)
    for name in WRAPPERS:
        inner = found.get(name)
        # once only: no text within the bot's own line may count as a line
        own = _object(inner) if isinstance(inner, str) else inner
        if isinstance(own, dict) and "event" in own:
            return _event(own)
    return None


def _event(own: dict[str, Any]) -> dict[str, Any] | None:
    return own if own["event"] == MESSAGE else None


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
