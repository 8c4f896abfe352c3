"""Posts in a card's thread the events that it lacks.

Who posts in a thread claims it first in the ledger, so that no instance posts what another has just
posted; what it shows is noted there after each reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest

from bot.domain.models import Card, CardHistory
from bot.ledger.leases import Leases
from bot.messages import drawing
from bot.messages.phrases import Links
from bot.settings import Timing
from bot.slack.client import Slack

THREAD_TAKEN_S = 0.2


@dataclass(slots=True)
class Thread:
    """How many events of each request this process has shown in a card's thread."""

    shown: Sequence[int] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ThreadReplies:
    """Posts the replies in the threads of cards."""

    def __init__(self, leases: Leases, slack: Slack, links: Links, timing: Timing) -> None:
        self._leases = leases
        self._slack = slack
        self._links = links
        self._timing = timing

    async def post(
        self, history: CardHistory, thread: Thread, on_wait: Callable[[], None] = lambda: None
    ) -> Sequence[int]:
        """Post the events that the thread lacks; returns what it shows of each request then.

        The caller holds the thread's lock. Raises: SlackError.
        """
        card = history.card
        shown = _later([request.last_posted_event for request in card.requests], thread.shown)
        # without a thread they would go into the channel
        while card.first.thread_ts and drawing.lacks_reply(history, shown):
            shown = _later(shown, await self._take_thread(card, on_wait))
            try:
                if reply := drawing.next_reply(history, shown, self._links):
                    place = (card.first.channel_id, reply.message, card.first.thread_ts)
                    await self._slack.post(*place, on_wait=on_wait)
                    thread.shown = shown = reply.through
            finally:
                # saved after each reply, so that a retry continues from here
                await self._leases.leave_thread(card, shown)
        return shown

    async def _take_thread(self, card: Card, on_wait: Callable[[], None]) -> Sequence[int]:
        """Wait until no other instance posts in the thread; returns what it shows then."""
        lease = self._timing.lease
        while True:
            shown = await self._leases.take_thread(card, datetime.now(UTC), lease)
            if shown is not None:
                return shown
            on_wait()
            await asyncio.sleep(THREAD_TAKEN_S)


def _later(shown: Sequence[int], known: Sequence[int]) -> Sequence[int]:
    """What the thread shows of each request, as far as one of two knows."""
    return [max(pair) for pair in zip_longest(shown, known, fillvalue=0)]
