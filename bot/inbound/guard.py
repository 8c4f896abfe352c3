"""Acknowledges Slack's payloads, and tells whoever waits when something fails.

No exception leaves a listener: Bolt would turn an ack that was already given into an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

import structlog
from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.domain.commands import Place
from bot.inbound.payloads import Payload, about, place_of
from bot.ledger.database.engine import LedgerUnavailable
from bot.messages import answers, forms
from bot.messages.block_kit import Message
from bot.ops import logs
from bot.ops.metrics import RECEIVED_AT, Metrics
from bot.ops.tasks import BackgroundTasks
from bot.requests.decide import Answer
from bot.requests.people import PrivateMessages

log = structlog.get_logger(__name__)

Listener = Callable[[AsyncAck, Payload], Awaitable[None]]
BoltListener = Callable[[AsyncAck, Payload, AsyncBoltContext], Awaitable[None]]


@dataclass(eq=False, slots=True)
class Guard:
    """Runs listeners and the work that follows their acks, and answers for what fails in them."""

    _private: PrivateMessages
    _tasks: BackgroundTasks
    _metrics: Metrics

    def listener(self, listener: Listener) -> BoltListener:
        """Catch a listener's exceptions, and time it from the request's arrival to its end."""
        seconds = self._metrics.ack_seconds.labels(listener.__name__)

        # without `wraps`: Bolt reads the wrapped signature and would leave out `context`
        async def run(ack: AsyncAck, body: Payload, context: AsyncBoltContext) -> None:
            started = context.get(RECEIVED_AT) or perf_counter()
            with logs.fields(**about(body)):
                try:
                    await listener(ack, body)
                except Exception:
                    log.exception("listener failed", listener=listener.__name__)
                    await self._report_failure(ack, body)
            seconds.observe(perf_counter() - started)

        return run

    def spawn(
        self,
        work: Awaitable[None],
        place: Place,
        *,
        pressed: bool = False,
        interrupted: Message = answers.STOPPED,
    ) -> None:
        """Run the work after the ack, and tell the person if it fails.

        `pressed` says whether it follows a press on a card that shows if that counted.
        """

        async def run() -> None:
            try:
                await work
            except LedgerUnavailable as error:
                log.error("ledger unavailable", why=str(error))  # noqa: TRY400  # expected
                message = answers.ledger_down(uncertain=error.uncertain, pressed=pressed)
                await self._private.send(place, message)
            except asyncio.CancelledError:
                # the bot is stopping, and this work is not in the ledger
                await self._private.send(place, interrupted)
                raise
            except Exception:
                log.exception("work failed")
                await self._private.send(place, answers.FAILED)

        self._tasks.spawn(run())

    def tell(self, place: Place, answer: Answer) -> None:
        """Send one person a message after the ack."""
        self._tasks.spawn(self._tell(place, answer))

    async def _tell(self, place: Place, answer: Answer) -> None:
        await self._private.send(place, answer if isinstance(answer, Message) else await answer())

    async def _report_failure(self, ack: AsyncAck, body: Payload) -> None:
        if "command" in body:
            await ack_with(ack, answers.FAILED)
            return
        if "view" in body:
            await ack_with_error(ack, forms.FAILED)
            return
        # a click's ack can't carry a message
        await ack()
        # in the task: what failed may be the reading of the place
        self._tasks.spawn(self._send_failed(body))

    async def _send_failed(self, body: Payload) -> None:
        await self._private.send(place_of(body), answers.FAILED)


async def ack_with(ack: AsyncAck, message: Message) -> None:
    """Acknowledge a command with a message that only the person sees."""
    await ack(text=message.text, blocks=message.blocks, response_type="ephemeral")


async def ack_with_error(ack: AsyncAck, text: str) -> None:
    """Show a text beside the form's input; what was typed is kept."""
    await ack(response_action="errors", errors={forms.REASON: text})
