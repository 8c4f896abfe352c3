"""Says more simply what Slack refuses of a message: its buttons stay, since they are the message.

Slack has refused blocks that it takes on other days, and has answered server errors to tables. So a
refused message loses its table first (lines say the same), then the blocks that Slack names become
text, then all but the buttons. Text alone is the last resort.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import structlog

from bot.messages.block_kit import Message, plainer
from bot.slack.errors import UNPOSTABLE, SlackRefused, SlackUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
Blocks = list[dict[str, Any]]
Send = Callable[[str, Blocks | None], Awaitable[T]]

MAX_PLAIN_LENGTH = 3000
"""Slack takes 4,000 characters in an update: docs.slack.dev/reference/methods/chat.update"""
TABLE_ATTEMPTS = 2
"""After so many server errors to a table, lines are sent: the table may be the reason."""
_SERVER_ERROR = re.compile("http_5[0-9][0-9]|internal_error|fatal_error")
_BLOCK = re.compile(r"/blocks/([0-9]+)")


async def send(message: Message, call: Send[T]) -> tuple[T, str]:
    """Send a message, or as much of it as Slack takes.

    Returns Slack's answer, and the code with which it refused the whole message; empty if it took
    that. Raises: SlackError.
    """
    refusals: list[SlackRefused] = []
    for blocks in _ever_simpler(message, refusals):
        try:
            answer = await _sent(message, blocks, call)
        except SlackRefused as error:
            if error.code not in UNPOSTABLE:
                raise
            log.warning("message refused", why=error.code, slack_says=list(error.words))
            refusals.append(error)
        else:
            return answer, refusals[0].code if refusals else ""
    return await call(message.text[:MAX_PLAIN_LENGTH], None), refusals[0].code


def _ever_simpler(message: Message, refusals: list[SlackRefused]) -> Iterator[Blocks]:
    """The message's blocks, each time simpler than what Slack has refused last."""
    yield message.blocks
    blocks = message.without_table or message.blocks
    if message.without_table:
        yield blocks
    named = {int(each) for word in refusals[-1].words for each in _BLOCK.findall(word)}
    if named:
        yield plainer(blocks, named)
    yield plainer(blocks)


async def _sent(message: Message, blocks: Blocks, call: Send[T]) -> T:
    """Send these blocks; server errors that a table gets again and again count as its refusal.

    Raises: SlackError.
    """
    has_table = bool(message.without_table) and blocks is message.blocks
    for _ in range(TABLE_ATTEMPTS - 1 if has_table else 0):
        try:
            return await call(message.text, blocks)
        except SlackUnavailable as error:
            if not _SERVER_ERROR.fullmatch(error.code):
                raise
    try:
        return await call(message.text, blocks)
    except SlackUnavailable as error:
        if not has_table or not _SERVER_ERROR.fullmatch(error.code):
            raise
        raise SlackRefused(
            "invalid_blocks", (f"{error.code}, to a message with a table",)
        ) from error
