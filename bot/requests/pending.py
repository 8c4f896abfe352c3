"""`/unlatch pending`: shows one person which cards wait, and what is under way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from bot.domain.models import Person, Verdict
from bot.ledger.due_requests import DueRequests
from bot.messages.lists import OpenRequest, pending
from bot.requests.lookup import Lookup
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster, Place

MAX_SHOWN = 10


class PendingList:
    """Reads the open requests and applies the rules to each; changes nothing."""

    def __init__(
        self,
        due_requests: DueRequests,
        lookup: Lookup,
        poster: CardPoster,
        permissions: Permissions,
    ) -> None:
        self._due_requests = due_requests
        self._lookup = lookup
        self._poster = poster
        self._permissions = permissions

    async def show(self, person: Person, place: Place) -> None:
        """Show up to ten, oldest first, those that the person may decide before the others."""
        if not await self._permissions.may_read(person, place, "/unlatch pending"):
            return
        found = await self._due_requests.open(datetime.now(UTC))
        judge = self._permissions.judge(person, Verdict.CONFIRMED)
        decidable = {each.id: not each.verdict and judge(each, None).allowed for each in found}
        # sorted() keeps the order of equals: oldest first
        ordered = sorted(found, key=lambda request: not decidable[request.id])
        shown = ordered[:MAX_SHOWN]
        urls = await asyncio.gather(*map(self._lookup.permalink, shown))
        listed = [
            OpenRequest(request, url, decidable[request.id])
            for request, url in zip(shown, urls, strict=True)
        ]
        await self._poster.send_ephemeral(place, pending(listed, len(ordered) - len(shown)))
