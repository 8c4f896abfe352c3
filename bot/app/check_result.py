"""The result of one check, as `python -m bot check` prints it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; unless it is `ok`, `fix` says what to do.

    A `warning` has a `fix` too, but the bot can run: it is `ok`.
    """

    ok: bool
    text: str
    fix: str = ""
    warning: bool = False

    def __str__(self) -> str:
        mark = "!" if self.warning else "✓" if self.ok else "✗"
        return f"{mark} {self.text}\n    {self.fix}" if self.fix else f"{mark} {self.text}"


def warning(text: str, fix: str) -> CheckResult:
    """Something that works, but probably not as the admin wants it."""
    return CheckResult(True, text, fix, warning=True)
