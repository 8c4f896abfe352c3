"""Tells the people who wait for a request what its card can't show, through their response URLs."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from bot.domain.models import Request
from bot.ledger.database.engine import LedgerUnavailable
from bot.ledger.outbox import Outbox, ResponseUrl
from bot.messages.block_kit import Message
from bot.slack.client import Slack, SlackError, SlackUnavailable

log = structlog.get_logger(__name__)


class PrivateMessages:
    """Sends messages that only the people who asked and decided see.

    Each of them gets one; until then the ledger keeps their response URLs.
    """

    def __init__(self, outbox: Outbox, slack: Slack) -> None:
        self._outbox = outbox
        self._slack = slack

    async def send(self, request: Request, text: Message) -> None:
        """Send it to the requester and the decider, once, as long as their URLs work."""
        try:
            urls = await self._outbox.response_urls(request.id, datetime.now(UTC))
            told, used = set[str](), list[ResponseUrl]()
            for url in urls:
                try:
                    if url.user_id not in told:
                        await self._slack.send_ephemeral(url.url, text)
                        told.add(url.user_id)
                    used.append(url)
                except SlackUnavailable as error:
                    log.warning("result not sent to a person yet", why=error.code)
                except SlackError as error:
                    used.append(url)
                    log.warning("result not sent to a person", why=error.code)
            if used:
                await self._outbox.forget(used)
        except LedgerUnavailable as error:
            log.warning("result not sent to people yet", why=str(error))
