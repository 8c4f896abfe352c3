"""Who is in the user groups that the admin's lists name: asked beforehand, kept five minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from bot.domain.policy import Members
from bot.slack.client import Slack, SlackError

log = structlog.get_logger(__name__)

KEPT_FOR_S = 300.0
ASKED_EVERY_S = 240.0
ASKED_AGAIN_AFTER_S = 15.0


class UserGroups:
    """The members as Slack last told them; so that no click has to wait for Slack's answer.

    Slack allows `usergroups.users.list` 20 times a minute. `clock` gives seconds.
    """

    def __init__(
        self,
        slack: Slack,
        user_groups: frozenset[str],
        *,
        clock: Callable[[], float] = monotonic,
        asked_every_s: float = ASKED_EVERY_S,
        asked_again_after_s: float = ASKED_AGAIN_AFTER_S,
    ) -> None:
        self._slack = slack
        self._user_groups = user_groups
        self._clock = clock
        self._asked_every_s = asked_every_s
        self._asked_again_after_s = asked_again_after_s
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def members(self) -> Members:
        """Each group's members; None where Slack has not said within five minutes."""
        oldest = self._clock() - KEPT_FOR_S
        return {
            group: self._known[group][1]
            if group in self._known and self._known[group][0] >= oldest
            else None
            for group in self._user_groups
        }

    async def refresh(self) -> bool:
        """Ask Slack for every group; says whether it told them all."""
        asked = await asyncio.gather(*map(self._ask, sorted(self._user_groups)))
        return all(asked)

    async def keep(self) -> None:
        """Refresh for ever."""
        complete = None not in self.members().values()
        while self._user_groups:
            await asyncio.sleep(self._asked_every_s if complete else self._asked_again_after_s)
            complete = await self.refresh()

    async def _ask(self, group: str) -> bool:
        try:
            members = await self._slack.user_group_members(group)
        except SlackError as error:
            log.warning("user group not read", user_group=group, why=error.code)
            return False
        self._known[group] = (self._clock(), members)
        return True
