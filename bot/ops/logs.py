"""Logs as data: structlog for our own, the standard library's (Bolt, aiohttp) through the same."""

from __future__ import annotations

import logging
import re
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

# at DEBUG these print payloads, headers and bodies, and secrets are among them
CHATTY = (
    "slack_bolt",
    "slack_sdk",
    # it asks for its own level, whatever its parent's is, and makes its texts before it is asked
    "slack_sdk.web.async_base_client",
    "httpx",
    "aiohttp",
    "asyncio",
    "alembic",
)

# one opens a Socket Mode connection, and errors name the address that it is part of
TICKET = re.compile(r"ticket=[\w.~%+-]*")


class _WithoutTickets(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return TICKET.sub("(a ticket)", super().format(record))


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Set up logging for the process; lines go to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # the default shows local variables where `rich` is installed, secrets among them
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        _WithoutTickets(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelName(level)))
    for name in ("httpx", "aiohttp.access", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
