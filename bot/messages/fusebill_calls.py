"""Words what Fusebill answered to the calls for a request, from the evidence in its event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bot.domain.models import Event
from bot.messages.block_kit import Line, say
from bot.messages.fusebill_errors import call_line
from bot.messages.phrases import error_lines


def answer_lines(event: Event) -> Iterator[Line]:
    """What Fusebill answered: each call that may have changed something, then the last error."""
    texts: Any = event.details.get("texts", ())
    status: Any = event.details.get("status")
    calls = calls_of(event)
    lines = call_lines(calls)
    if calls and status and _is_answer(calls[-1], status, texts):
        lines.pop()  # the same answer: quoted once, with all its words
    yield from lines
    # without words, the reason above says what the answer was
    if texts or f"HTTP {status}" not in str(event.details.get("why", "")):
        yield from error_lines(texts, status)


def call_details(event: Event) -> Line:
    """How Fusebill answered and how long it took, as far as it is known."""
    calls, seconds = calls_of(event), event.details.get("seconds")
    statuses = [call.get("status") for call in calls] or [event.details.get("status")]
    shown = [f"HTTP {status}" if status else "not at all" for status in statuses]
    known = bool(calls) or any(statuses)
    answered = [say(f" · Fusebill answered {', '.join(shown)}")] if known else []
    return [*answered, say(f" · took {seconds} s")] if seconds is not None else answered


def calls_of(event: Event) -> list[dict[str, object]]:
    """The event's calls to Fusebill; none in events of before they were kept."""
    calls = event.details.get("calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def call_lines(calls: list[dict[str, object]]) -> list[Line]:
    """A line for each call, numbered if there are several."""
    several = len(calls) > 1
    return [call_line(n if several else None, call) for n, call in enumerate(calls, 1)]


def _is_answer(call: dict[str, Any], status: int, texts: Sequence[str]) -> bool:
    """Whether the last error is the answer to this call; the call keeps fewer of its words."""
    kept: Sequence[str] = call.get("texts", ())
    same = all(whole.startswith(start) for start, whole in zip(kept, texts, strict=False))
    return call.get("status") == status and same and bool(kept) == bool(texts)
