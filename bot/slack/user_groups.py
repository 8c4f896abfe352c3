"""Caches who is in the user groups that the admin's lists name: fetched ahead, kept 5 minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import structlog

from bot.domain.policy import Members
from bot.slack.client import Slack
from bot.slack.errors import SlackError, advice, is_verdict

log = structlog.get_logger(__name__)

MAX_AGE_S = 300.0
REFRESH_EVERY_S = 240.0
RETRY_AFTER_S = 15.0


@dataclass(eq=False, slots=True)
class UserGroups:
    """The members that Slack last reported, so that no click has to wait for Slack.

    Slack allows `usergroups.users.list` 20 times a minute. `clock` returns seconds.
    """

    _slack: Slack
    _user_groups: frozenset[str]
    clock: Callable[[], float] = monotonic
    refresh_every_s: float = REFRESH_EVERY_S
    retry_after_s: float = RETRY_AFTER_S
    _known: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    _failures: dict[str, SlackError] = field(default_factory=dict)
    _asked_to_wait_s: float = 0.0

    def members(self) -> Members:
        """Each group's members, if Slack has reported them within five minutes.

        Otherwise the code of Slack's no, if that was its last word, or None.
        """
        oldest = self.clock() - MAX_AGE_S
        known: dict[str, frozenset[str] | str | None] = dict.fromkeys(self._user_groups)
        known |= self.refused()
        return known | {group: who for group, (at, who) in self._known.items() if at >= oldest}

    def refused(self) -> dict[str, str]:
        """The groups of which Slack's last word was no, each with its error code."""
        return {group: each.code for group, each in self._failures.items() if is_verdict(each)}

    def unread(self) -> dict[str, str]:
        """The groups that could not be read last time, each with why."""
        return {group: error.code for group, error in sorted(self._failures.items())}

    async def refresh(self) -> bool:
        """Ask Slack for every group; returns whether all of them were read."""
        self._asked_to_wait_s = 0.0
        results = await asyncio.gather(*map(self._fetch, sorted(self._user_groups)))
        return all(results)

    async def keep(self) -> None:
        """Refresh for ever, after a failure ever more rarely; returns at once without groups."""
        known = (isinstance(each, frozenset) for each in self.members().values())
        complete, pause_s = all(known), self.retry_after_s
        while self._user_groups:
            wait_s = self.refresh_every_s if complete else max(pause_s, self._asked_to_wait_s)
            await asyncio.sleep(wait_s)
            complete = await self.refresh()
            pause_s = self.retry_after_s if complete else min(pause_s * 2, self.refresh_every_s)

    async def _fetch(self, group: str) -> bool:
        try:
            members = await self._slack.user_group_members(group)
        except SlackError as error:
            log.warning("user group not read", user_group=group, why=error.code, **advice(error))
            # while Slack can't be reached, its last refusal stands
            if is_verdict(error) or group not in self.refused():
                self._failures[group] = error
            self._asked_to_wait_s = max(self._asked_to_wait_s, error.retry_after_s or 0.0)
            return False
        self._known[group] = (self.clock(), members)
        self._failures.pop(group, None)
        return True
