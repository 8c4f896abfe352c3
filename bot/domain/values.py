"""How the bot's data are declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that nobody may change once it is made, as mypy checks.

    Python itself would check that with `frozen=True`, and make each instance at ten times the cost;
    a flow makes hundreds.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
