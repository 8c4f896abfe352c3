"""Reads values as they are stored: one of a wrong kind must not stop the reading of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, Table, cast

from bot.ledger.tables import Moment


def columns(table: Table, prefix: str = "") -> Iterator[ColumnElement[Any]]:
    """The columns, times as text."""
    for each in table.c:
        column = cast(each, String) if isinstance(each.type, Moment) else each
        yield column.label(prefix + each.name)


def time_of(stored: object) -> datetime:
    """Parse a time; UTC if it has no zone. Raises: ValueError."""
    moment = datetime.fromisoformat(str(stored))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def object_of(stored: str | bytes) -> dict[str, Any] | None:
    """Parse a JSON object; None if it is none."""
    try:
        found = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
