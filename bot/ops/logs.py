"""Configures structured logs: the bot's own and the libraries' (Bolt, aiohttp) look the same."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Literal, TextIO

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks
from structlog.typing import EventDict, Processor

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
# of a proxy or a database, in the text of some library's error
PASSWORD = re.compile(r"""://[^\s/?#@"'<>]*:[^\s/?#"'<>]*@""")


def redacted(text: str) -> str:
    """A text without what opens a door: the ticket or the password in an address."""
    return PASSWORD.sub("://[password]@", TICKET.sub("[ticket]", text))


_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default=MappingProxyType({}))


@contextmanager
def fields(**more: object) -> Iterator[None]:
    """Give each log line of a block these fields, too.

    structlog's own block keeps a variable for each field, at four times the cost.
    """
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)


def _with_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {**_fields.get(), **event}


_ENCODER = json.JSONEncoder(default=repr)
"""Kept: `json.dumps` with any option builds one for each line."""


def _json(event: object, **_: object) -> str:
    return _ENCODER.encode(event)


class _Redacting(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


@dataclass(eq=False, slots=True)
class _Lines:
    """One of the bot's loggers: writes finished lines, as the libraries' are, to one stream.

    A line that can't be written is lost: no work may fail because a disk is full.
    """

    _handler: logging.StreamHandler[TextIO]
    name: str

    def write(self, line: str) -> None:
        self._handler.acquire()
        try:
            with suppress(OSError, ValueError):
                self._handler.stream.write(redacted(line) + "\n")
                self._handler.flush()
        finally:
            self._handler.release()

    debug = info = warning = error = critical = write


def _tell_of_retry(details: RetryDetails) -> None:
    """One line for a call that is tried again; stamina's own names Python's arguments."""
    why = str(details.caused_by) or type(details.caused_by).__name__
    again_in_s = round(details.wait_for, 2)
    structlog.get_logger(__name__).warning("trying again", why=why, again_in_s=again_in_s)


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Set up logging to stderr for the process."""
    shared: list[Processor] = [
        _with_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # with `rich` installed, the default shows local variables, which hold secrets
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    set_on_retry_hooks([_tell_of_retry])
    handler = logging.StreamHandler()
    structlog.configure(
        processors=[*shared, *last],
        # the standard library would only carry each line to the handler, at three times the cost
        logger_factory=cache(partial(_Lines, handler)),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler.setFormatter(
        _Redacting(
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
