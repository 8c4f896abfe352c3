"""One flow: its two requests, the remote calls that they led to, and the times between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

CARD = "chat.postMessage"
RESULT = "chat.update"
THREAD = "thread reply"
READ = "GET customer"
UNLATCH = "POST unlatch"


class FlowFailed(Exception):
    """The server did not do what the flow asks for."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One remote call, from its arrival at the double to its answer; seconds of one clock."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Flow:
    """One command, one card, one click, in its own channel and for its own customers."""

    channel_id: str
    customer_ids: tuple[int, ...]
    legs: list[Leg] = field(default_factory=list)
    cleared: set[int] = field(default_factory=set)
    commanded_at: float = 0.0
    clicked_at: float = 0.0
    command_ack_s: float = 0.0
    click_ack_s: float = 0.0
    card_ts: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    shown: asyncio.Future[None] = field(default_factory=asyncio.Future)
    settled: asyncio.Future[None] = field(default_factory=asyncio.Future)

    def add(self, leg: Leg) -> None:
        """Record a call that was answered."""
        self.legs.append(leg)
        if leg.name == CARD and not self.shown.done():
            self.shown.set_result(None)
        if not self.settled.done() and self.result and self.thread:
            self.settled.set_result(None)

    def tell(self, ephemeral: str) -> None:
        """Take what the server says to the person alone: one customer's flow needs no such word."""
        self.fail(f"the server sent an ephemeral message: {ephemeral}")

    def fail(self, why: str) -> None:
        """Make whoever waits for this flow raise FlowFailed."""
        for future in (self.shown, self.settled):
            if not future.done():
                future.set_exception(FlowFailed(why))
                future.exception()  # nobody may ever await one of the two

    @property
    def result(self) -> Leg | None:
        """The update that shows the result: the first one after the unlatch call."""
        unlatched = self.first(UNLATCH)
        return self.first(RESULT, unlatched.ended) if unlatched else None

    @property
    def thread(self) -> Leg | None:
        """The reply in the card's thread."""
        return self.first(THREAD)

    def beyond(self, since: float, shown: Leg | None) -> float:
        """Seconds from `since` to the arrival of `shown`, without the time of remote calls.

        Raises: FlowFailed if the call was never made.
        """
        if shown is None:
            raise FlowFailed("the call was never made")
        taken, reached = 0.0, since
        for leg in sorted(self.legs, key=lambda leg: leg.began):
            ended = min(leg.ended, shown.began)
            taken += max(0.0, ended - max(leg.began, reached))
            reached = max(reached, ended)
        return shown.began - since - taken

    @property
    def to_result_s(self) -> float:
        """From the click to the result, beyond the legs."""
        return self.beyond(self.clicked_at, self.result)

    @property
    def whole_s(self) -> float:
        """What people wait in total: command to card, plus click to result and thread reply."""
        last = max(leg.ended for leg in (self.result, self.thread) if leg)
        card = self.first(CARD)
        return (card.ended if card else 0.0) - self.commanded_at + last - self.clicked_at

    def first(self, name: str, after: float = 0.0) -> Leg | None:
        """The first call of this name that began at `after` or later."""
        return next((leg for leg in self.legs if leg.name == name and leg.began >= after), None)
