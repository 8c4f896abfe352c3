"""Configures structured logs: the bot's own and the libraries' (Bolt, aiohttp) look the same."""

from __future__ import annotations

import logging
import re
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

# at DEBUG these log payloads, headers and bodies, which hold secrets
CHATTY = (
    "slack_bolt",
    "slack_sdk",
    # it checks its own level, not its parent's, before it builds expensive messages
    "slack_sdk.web.async_base_client",
    "httpx",
    "aiohttp",
    "asyncio",
    "alembic",
)

# a ticket opens a Socket Mode connection, and errors show the URL that holds it
TICKET = re.compile(r"ticket=[\w.~%+-]*")


class _WithoutTickets(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return TICKET.sub("[ticket]", super().format(record))


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Set up logging to stderr for the process."""
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
                # with `rich` installed, the default shows local variables, which hold secrets
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
