"""What reads customers to ask about them, between the simulators, for direct calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.app.composition import build
from bot.domain.commands import Place
from bot.domain.models import Customer
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError
from bot.fusebill.pace import Pace, RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.requests.customers import Customers
from bot.requests.people import PrivateMessages
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import SimulatedSlack, text_of
from tests.support import ledger
from tests.support.names import CHANNEL
from tests.support.world import QUICK, settings_for


@dataclass(frozen=True, slots=True)
class Workshop:
    """The reader, and the simulators that it calls."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    customers: Customers

    async def read(self, *customer_ids: int) -> dict[int, Customer | FusebillError]:
        """Read customers for Alice."""
        path = self.slack.responses.issue(Origin("U0ALICE", CHANNEL))
        return await self.customers.read(customer_ids, Place(CHANNEL, f"{self.slack.url}{path}"))

    def told(self) -> Sequence[str]:
        """What Alice was told meanwhile, oldest first."""
        ephemerals = self.slack.workspace.ephemerals("U0ALICE")
        return [text_of(each.blocks) or each.text for each in ephemerals]


@asynccontextmanager
async def workshop(folder: Path) -> AsyncIterator[Workshop]:
    """The reader of a bot on a SQLite ledger in a folder."""
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        settings = settings_for(slack, fusebill, folder)
        ledger.create_file(settings.database_url.get_secret_value())
        async with build(settings, QUICK) as bot, AiohttpTransport() as http:
            pace = Pace()

            def observe(
                _operation: str, _status: int | None, _s: float, limit: RateLimit | None
            ) -> None:
                if limit:
                    pace.observe(limit.minute)

            client = FusebillClient(
                *(http, settings.fusebill_base_url, settings.fusebill_api_key), observe=observe
            )
            private = PrivateMessages(bot.runner, bot.slack)
            yield Workshop(slack, fusebill, Customers(client, private, pace))
