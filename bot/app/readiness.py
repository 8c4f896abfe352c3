"""Says what this process is ready for: a click needs the ledger; Slack's trouble is `degraded`.

A host sends no requests to a process that is not ready. If all instances said so because Slack is
in trouble, clicks would reach none, though each could record them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import structlog

from bot.app.composition import Bot
from bot.inbound.socket_mode import SocketMode
from bot.ledger.database.engine import LedgerUnavailable, try_to_write
from bot.slack.errors import SlackError, advice

log = structlog.get_logger(__name__)

OK = "ok"
NOT_READY = "not ready"
DEGRADED = "degraded"
STOPPING = "stopping"
LEDGER_CACHE_S = 1.0
SLACK_CACHE_S = 5.0
SLACK_TIMEOUT_S = 3.0
Trouble = dict[str, str]
"""What the log says of a part that is not ok: why, and what to check; empty if it is."""


def is_ready(parts: Mapping[str, str]) -> bool:
    """Whether the process can take a click."""
    return set(parts.values()) <= {OK, DEGRADED}


class Readiness:
    """Returns a state for each part; the log says why one is not `ok`, and what to do about it.

    Anybody may call /readyz, so checks are cached (Slack for 5 s, the ledger for 1 s), and the
    answer names no host, no port and no error.
    """

    def __init__(self, bot: Bot, socket_mode: SocketMode | None) -> None:
        self._bot = bot
        self._checks = {
            "ledger": _Cached("ledger", NOT_READY, self._check_ledger, LEDGER_CACHE_S),
            "slack": _Cached("slack", DEGRADED, self._check_slack, SLACK_CACHE_S),
        }
        if bot.user_groups.are_needed:
            check = _Cached("user_groups", DEGRADED, self._check_user_groups, 0.0)
            self._checks["user_groups"] = check
        if socket_mode is not None:

            async def check_connection() -> Trouble:
                return {} if await socket_mode.connected() else {"why": "no connection"}

            check = _Cached("socket_mode", DEGRADED, check_connection, 0.0)
            self._checks["socket_mode"] = check

    async def __call__(self) -> dict[str, str]:
        parts = {"process": OK}
        if not self._bot.stopping.is_set():
            states = await asyncio.gather(*(check() for check in self._checks.values()))
            parts |= dict(zip(self._checks, states, strict=True))
        if self._bot.stopping.is_set():
            parts["process"] = STOPPING
        return parts

    async def _check_ledger(self) -> Trouble:
        try:
            await self._bot.runner.read(try_to_write)
        except LedgerUnavailable as error:
            return {"why": str(error)}
        return {}

    async def _check_slack(self) -> Trouble:
        try:
            async with asyncio.timeout(SLACK_TIMEOUT_S):
                await self._bot.slack.auth_test()
        except SlackError as error:
            return {"why": error.code} | advice(error)
        except TimeoutError:
            return {"why": f"no answer within {SLACK_TIMEOUT_S:.0f} s"}
        return {}

    async def _check_user_groups(self) -> Trouble:
        if unread := self._bot.user_groups.unread():
            return {"why": ", ".join(f"{group}: {code}" for group, code in unread.items())}
        return {}


class _Cached:
    """A check whose result is cached; concurrent callers share one check.

    A change is logged. `otherwise` is the state of a part that is in trouble.
    """

    def __init__(
        self, part: str, otherwise: str, check: Callable[[], Awaitable[Trouble]], cache_s: float
    ) -> None:
        self._part = part
        self._otherwise = otherwise
        self._check = check
        self._cache_s = cache_s
        self._lock = asyncio.Lock()
        self._trouble: Trouble = {}
        self._expires_at = 0.0

    async def __call__(self) -> str:
        async with self._lock:
            if monotonic() >= self._expires_at:
                before, self._trouble = self._trouble, await self._check()
                self._expires_at = monotonic() + self._cache_s
                if self._trouble != before:
                    self._log()
            return self._otherwise if self._trouble else OK

    def _log(self) -> None:
        if self._trouble:
            log.warning(self._otherwise, part=self._part, **self._trouble)
        else:
            log.info("ok again", part=self._part)
